"""What each source of knowledge proves: answers, lookups and notifications, one by one."""

from datetime import UTC, datetime, timedelta

import pytest

from helpers import cents, eur
from paysession import Capabilities, Declined, Kind, Money, Outcome, OutcomeUnknown, State, Status
from paysession._ledger.evidence import from_answer, from_effects, from_snapshot, verify
from paysession._ledger.ledger import Ledger
from paysession._ledger.rules import Request, begin
from paysession.checkout import Payer
from paysession.operation import Dispute, Operation
from paysession.outcome import Effect, Snapshot
from paysession.provider import Redirect
from paysession.store import SessionRow
from paysession.values import Failure, replace

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
CAN = Capabilities(capture="multiple", refund="multiple", lookup="consistent", increment=True)
TOLD = Capabilities(capture="multiple", refund="multiple")
"""A gateway that cannot be queried, but notifies."""


def a_session(status=Status.PENDING, **changes):
    session = SessionRow(
        id="ps_1", collection_id="pc_1", collection_reference="r", provider="p", amount=eur("42.00"),
        created_at=NOW, updated_at=NOW, status=status, initiated=True, ordinal=1, reference="pi_1",
    )  # fmt: skip
    return replace(session, **changes)


def authorized(**changes):
    return a_session(Status.AUTHORIZED, **{"granted": 4200, "authorized": 4200, "held": 4200} | changes)


def an_operation(kind, amount="42.00", state=State.SUCCEEDED, **changes):
    return Operation(
        id=f"ps_1-1-{kind}", session_id="ps_1", kind=kind, ordinal=1, amount=eur(amount), state=state,
        created_at=NOW, updated_at=NOW, session_status=Status.AUTHORIZED, **changes,
    )  # fmt: skip


def answered(session, kind, answer, amount=None, *, capabilities=CAN, **request):
    """Return the ledger once a request was answered, and the operation."""
    ledger, operation = begin(session, Request(kind, amount, **request), capabilities, NOW)
    ledger = Ledger(ledger.session, LATER, [operation])
    from_answer(ledger, operation, answer, capabilities)
    return ledger, ledger.written[operation.id]


def notified(session, *effects, operations=(), patient=False, capabilities=TOLD):
    """Return the ledger once a notification was recorded, and whether all of it was."""
    ledger = Ledger(session, LATER, operations)
    recorded = from_effects(ledger, effects, capabilities, room=0, patient=patient)
    return ledger, recorded


def looked(session, snapshot, *operations, capabilities=CAN, **options):
    ledger = Ledger(session, LATER, operations)
    from_snapshot(ledger, snapshot, capabilities, room=0, asked_at=LATER, **options)
    return ledger


def events(ledger):
    return [type_ for type_, _, _ in ledger.events]


def kinds(ledger):
    return [conflict.kind for conflict in ledger.opened]


# --- answers ------------------------------------------------------------------------------------------

PARTLY = replace(CAN, partial_authorization=True)


@pytest.mark.parametrize("minor", [1, 4199, 4200])
def test_less_than_was_asked_may_be_authorized_where_that_is_declared(minor):
    verify(a_session(), an_operation(Kind.AUTHORIZE), Outcome.authorized(amount=cents(minor)), PARTLY)


@pytest.mark.parametrize(
    ("kind", "amount", "capabilities"),
    [
        (Kind.AUTHORIZE, eur("41.99"), CAN),
        (Kind.AUTHORIZE, eur("42.01"), PARTLY),
        (Kind.AUTHORIZE, Money("41.99", "USD"), PARTLY),
        (Kind.CAPTURE, eur("41.99"), PARTLY),
    ],
)
def test_an_answer_with_another_amount_proves_nothing(kind, amount, capabilities):
    answer = Outcome.authorized(amount=amount) if kind is Kind.AUTHORIZE else Outcome.captured(amount)
    with pytest.raises(OutcomeUnknown, match=r"where 42\.00 EUR was asked"):
        verify(a_session(), an_operation(kind), answer, capabilities)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"expires_at": LATER}, "expires_at"),
        ({"payer": Payer(email="ann@example.org")}, "payer"),
        ({"reference": "pi_2"}, "reference"),
        ({"next_action": Redirect("https://gateway.example")}, "next_action"),
    ],
)
def test_an_answer_says_one_thing_of_the_object_and_nothing_else_changes(given, field):
    session = a_session(_data='{"a": 1}')
    row = answered(session, Kind.AUTHORIZE, Outcome.authorized(**given))[0].session
    assert getattr(row, field) == given[field]
    for other in {"expires_at", "payer", "reference", "next_action", "data"} - {field}:
        assert getattr(row, other) == getattr(session, other)


def test_a_refusal_with_a_reference_leaves_the_data():
    session = a_session(_data='{"a": 1}')
    row = answered(session, Kind.AUTHORIZE, Declined("no", "words", reference="pi_2"))[0].session
    assert (row.reference, row.data) == ("pi_2", {"a": 1})


def test_an_update_leaves_what_the_payer_must_do_unless_its_answer_says_more():
    before, after = (Redirect(f"https://gateway.example/{name}") for name in ("before", "after"))
    session = a_session(Status.REQUIRES_MORE, next_action=before)
    for given, expected in [({}, before), ({"next_action": after}, after)]:
        answer = Outcome.requires_more(**given)
        ledger, _ = answered(session, Kind.UPDATE, answer, eur("50.00"))
        assert (ledger.row.next_action, ledger.row.amount) == (expected, eur("50.00"))


def test_what_is_pending_is_queried_when_the_answer_says():
    answer = Outcome.pending(check_after=timedelta(days=3))
    ledger, _ = answered(authorized(), Kind.CAPTURE, answer)
    assert ledger.row.due_at == LATER + timedelta(days=3)


@pytest.mark.parametrize(
    ("other", "ours"),
    [
        ({}, True),
        ({"kind": Kind.REFUND}, False),
        ({"amount": eur("9.00")}, False),
        ({"state": State.DECLINED}, False),
        ({"state": State.PENDING}, True),
        ({"origin": "host"}, False),
        ({"reference": "another"}, False),
        ({"reverses": "ps_1-0-capture"}, False),
    ],
)
def test_what_was_found_before_its_answer_is_ours_if_the_answer_names_it(other, ours):
    found = replace(
        an_operation(Kind.CAPTURE, "10.00", origin="provider", reference="ch"), id="ps_1-0found", **other
    )
    ledger, operation = begin(authorized(captured=1000), Request(Kind.CAPTURE, eur("10.00")), CAN, NOW)
    ledger = Ledger(ledger.session, LATER, [operation, found])
    from_answer(ledger, operation, Outcome.captured(eur("10.00"), reference="ch"), CAN)
    assert ledger.row.captured + ledger.row.capturing == (1000 if ours else 2000)
    assert (ledger.written.get(found.id, found).answer == "merged") is ours


# --- notifications of a gateway that cannot be queried ------------------------------------------------


def test_a_notification_in_another_currency_is_a_conflict_and_nothing_else():
    effects = [
        Effect("capture", eur("1.00"), reference="a"),
        Effect("capture", Money("1.00", "USD"), reference="b"),
    ]
    ledger, recorded = notified(authorized(expires_at=NOW, due_at=NOW), *effects, patient=True)
    assert (recorded, kinds(ledger), ledger.row.captured) == (True, ["currency"], 0)
    assert (ledger.opened[0].expected, ledger.opened[0].found) == ("EUR", "1.00 USD")
    assert ledger.row.due_at is None


def test_a_refund_waits_for_its_capture_only_where_nothing_could_count_twice():
    refund = Effect("refund", eur("1.00"), reference="re", capture="ch")
    for other, waits in [({"reference": "c2"}, True), ({"key": "theirs"}, True), ({}, False)]:
        ledger, recorded = notified(
            authorized(captured=1000), refund, Effect("capture", eur("5.00"), **other), patient=True
        )
        assert (recorded, ledger.row.refunded) == ((False, 0) if waits else (True, 100))


def test_a_refund_of_a_capture_that_is_known_waits_for_nothing():
    refund = Effect("refund", eur("1.00"), reference="re", capture="ch")
    capture = an_operation(Kind.CAPTURE, reference="ch")
    session = authorized(captured=4200)
    for known, waits in [
        (capture, False),
        (replace(capture, reference=None), False),
        (replace(capture, reference="other"), True),
        (replace(capture, state=State.PENDING), True),
        (replace(capture, reverses="ps_1-0-capture"), True),
    ]:
        assert notified(session, refund, operations=[known], patient=True)[1] is not waits
    recorded = an_operation(Kind.REFUND, "1.00", reference="re")
    assert notified(replace(session, refunded=100), refund, operations=[recorded], patient=True)[1]


def test_where_nothing_else_names_the_object_its_authorization_does():
    effects = [
        Effect("authorize", eur("42.00"), "failed", "failed"),
        Effect("authorize", eur("42.00"), reference="au"),
        Effect("capture", eur("42.00"), reference="ch"),
    ]
    assert notified(a_session(reference=None), *effects)[0].row.reference == "au"
    assert notified(a_session(), *effects)[0].row.reference == "pi_1"


@pytest.mark.parametrize(("state", "expected"), [("pending", State.PENDING), ("failed", State.DECLINED)])
def test_a_cancel_of_ours_is_accepted_or_refused(state, expected):
    ledger, operation = begin(authorized(), Request(Kind.CANCEL), TOLD, NOW)
    error = Failure("too_late", "it was captured", "try_later") if state == "failed" else None
    effect = Effect("cancel", eur("42.00"), state, key=operation.id, error=error)
    ledger, _ = notified(ledger.session, effect, operations=[operation])
    closed = ledger.written[operation.id]
    assert (closed.state, closed.error) == (expected, error)
    assert ledger.row.status is Status.AUTHORIZED


def test_an_effect_that_failed_and_that_nobody_knew_is_recorded_if_it_can_be_named():
    error = Failure("blocked", "no", "declined")
    for reference, expected in [("ch", ["operation.failed"]), (None, [])]:
        effect = Effect("capture", eur("5.00"), "failed", reference, error=error)
        ledger, _ = notified(authorized(), effect)
        assert events(ledger) == expected
        assert [row.error for row in ledger.operations] == [error] * len(expected)


def test_an_authorization_that_is_undone_releases_what_was_not_captured():
    operation = an_operation(Kind.AUTHORIZE, answer="authorized", reference="au")
    undone = Effect("authorize", eur("42.00"), "reversed", "au")
    for captured, released in [(0, ["session.canceled"]), (1000, ["session.released"]), (4200, [])]:
        ledger, _ = notified(authorized(captured=captured), undone, operations=[operation])
        assert (ledger.row.authorized, events(ledger)) == (captured, released)


@pytest.mark.parametrize(
    ("session", "operation", "fails"),
    [
        (a_session(), None, True),
        (a_session(), an_operation(Kind.AUTHORIZE, state=State.DECLINED, reference="au"), False),
        (a_session(), an_operation(Kind.AUTHORIZE, reference="au", answer="authorized"), False),
        (a_session(), an_operation(Kind.AUTHORIZE, reference="au", answer="requires_more"), True),
        (authorized(), None, False),
    ],
)
def test_an_authorization_that_failed_is_news_while_it_is_not_known_what_became_of_it(
    session, operation, fails
):
    error = Failure("declined", "no funds", "declined")
    effect = Effect("authorize", eur("42.00"), "failed", "au", error=error)
    ledger, _ = notified(session, effect, operations=[operation] if operation else [])
    assert (ledger.row.error, events(ledger)) == ((error, ["session.error"]) if fails else (None, []))


# --- disputes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "status", "news"),
    [
        ("opened", "opened", False),
        ("opened", "under_review", True),
        ("under_review", "opened", False),
        ("under_review", "lost", True),
        ("lost", "under_review", False),
    ],
)
def test_single_reports_of_a_dispute_take_it_forward_only(known, status, news):
    chargeback = an_operation(
        Kind.CHARGEBACK,
        state=State.PENDING,
        origin="provider",
        reference="dp",
        dispute=Dispute(known),
    )
    effect = Effect("chargeback", eur("42.00"), "pending", "dp", dispute=Dispute(status))
    session = authorized(captured=4200, pending=1, disputes=1)
    ledger, _ = notified(session, effect, operations=[chargeback])
    assert (chargeback.id in ledger.written) is news
    # A lookup shows how it stands now, whatever it was before.
    shown = looked(session, Snapshot("authorized", effects=[effect]), chargeback)
    assert (chargeback.id in shown.written) is (status != known)


# --- lookups ------------------------------------------------------------------------------------------


def test_a_lookup_in_another_currency_is_a_conflict_until_one_in_ours():
    session = authorized(expires_at=NOW + timedelta(days=1))
    ledger = looked(session, Snapshot("authorized", authorized=Money("42.00", "USD")))
    assert (kinds(ledger), ledger.row.due_at) == (["currency"], session.expires_at)
    again = Ledger(ledger.session, LATER, (), ledger.opened)
    from_snapshot(again, Snapshot("authorized", authorized=eur("42.00")), CAN, room=0, asked_at=LATER)
    assert (again.row.conflict, dict(again.conflicts)) == (None, {})


@pytest.mark.parametrize(
    ("asked", "fresh"), [(timedelta(0), False), (timedelta(seconds=59), False), (timedelta(minutes=1), True)]
)
def test_a_lagging_lookup_releases_nothing_before_it_shows_the_last_change(asked, fresh):
    lagging = replace(CAN, lookup="lagging", lookup_lag=timedelta(minutes=1))
    for capabilities, released in [(lagging, fresh), (CAN, True)]:
        ledger = Ledger(authorized(), LATER)
        snapshot = Snapshot("authorized", authorized=eur("40.00"))
        from_snapshot(ledger, snapshot, capabilities, room=0, asked_at=NOW + asked)
        assert ledger.row.authorized == (4000 if released else 4200)


def test_only_a_refusal_that_carries_our_key_answers_a_request_that_may_be_in_flight():
    ledger, operation = begin(a_session(), Request(Kind.AUTHORIZE), CAN, NOW)
    ours = Effect("authorize", eur("42.00"), "failed", "au", operation.id)
    others = [
        Effect("authorize", eur("42.00"), "failed", "au", "another"),
        Effect("capture", eur("42.00"), "failed", "au", operation.id),
    ]
    for effect, state in [(ours, State.DECLINED), *((other, State.STARTED) for other in others)]:
        shown = looked(ledger.session, Snapshot("error", effects=[effect]), operation)
        assert shown.operation(operation.id).state is state
