"""What each source of knowledge proves: answers, lookups and notifications, one by one."""

from datetime import timedelta

import pytest

from helpers import NOW, a_session, cents, eur
from paysession import (
    Capabilities,
    ConfigurationError,
    Declined,
    Kind,
    Money,
    NotApplied,
    Outcome,
    OutcomeUnknown,
    State,
    Status,
)
from paysession._ledger.evidence import from_answer, from_effects, from_late_answer, from_snapshot, verify
from paysession._ledger.ledger import Ledger
from paysession._ledger.rules import Request, begin
from paysession.checkout import Payer
from paysession.errors import Mistaken
from paysession.operation import Dispute, Operation
from paysession.outcome import Effect, Snapshot
from paysession.provider import Redirect
from paysession.values import Failure, replace

LATER = NOW + timedelta(minutes=1)
CAN = Capabilities(capture="multiple", refund="multiple", lookup="consistent", increment=True)
TOLD = Capabilities(capture="multiple", refund="multiple")
"""A gateway that cannot be queried, but notifies."""


def at_gateway(status=Status.PENDING, **changes):
    return a_session(status, **{"reference": "pi_1"} | changes)


def authorized(**changes):
    return at_gateway(Status.AUTHORIZED, **{"granted": 4200, "authorized": 4200, "held": 4200} | changes)


def an_operation(kind, amount="42.00", state=State.SUCCEEDED, **changes):
    return Operation(
        id=f"ps_1-1-{kind}", session_id="ps_1", kind=kind, ordinal=1, amount=eur(amount), state=state,
        created_at=NOW, updated_at=NOW, session_status=Status.AUTHORIZED, **changes,
    )  # fmt: skip


def answered(
    session, kind, answer, amount=None, *, capabilities=CAN, meanwhile=None, others=(), note=None, **request
):
    """Return the ledger once a request was answered, and the operation.

    ``meanwhile`` is what changed of the session since it was sent, ``others`` what else was recorded.
    """
    ledger, operation = begin(session, Request(kind, amount, **request), capabilities, NOW)
    ledger = Ledger(replace(ledger.session, **meanwhile or {}), LATER, [operation, *others])
    from_answer(ledger, operation, answer, capabilities, note=note)
    return ledger, ledger.written[operation.id]


def notified(session, *effects, operations=(), patient=False, capabilities=TOLD):
    """Return the ledger once a notification was recorded, and whether all of it was."""
    ledger = Ledger(session, LATER, operations)
    recorded = from_effects(ledger, effects, capabilities, room=0, patient=patient)
    return ledger, recorded


def looked(session, snapshot, *operations, capabilities=CAN, room=0, asked_at=LATER, **options):
    ledger = Ledger(session, LATER, operations)
    from_snapshot(ledger, snapshot, capabilities, room=room, asked_at=asked_at, **options)
    return ledger


def events(ledger):
    return [type_ for type_, _, _ in ledger.events]


def kinds(ledger):
    return [conflict.kind for conflict in ledger.opened]


# --- answers ------------------------------------------------------------------------------------------

PARTLY = replace(CAN, partial_authorization=True)


@pytest.mark.parametrize("minor", [1, 4199, 4200])
def test_less_than_was_asked_may_be_authorized_where_that_is_declared(minor):
    verify(at_gateway(), an_operation(Kind.AUTHORIZE), Outcome.authorized(amount=cents(minor)), PARTLY)


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
        verify(at_gateway(), an_operation(kind), answer, capabilities)


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
    session = at_gateway(_data='{"a": 1}')
    row = answered(session, Kind.AUTHORIZE, Outcome.authorized(**given))[0].session
    assert getattr(row, field) == given[field]
    for other in {"expires_at", "payer", "reference", "next_action", "data"} - {field}:
        assert getattr(row, other) == getattr(session, other)


def test_a_refusal_with_a_reference_leaves_the_data():
    session = at_gateway(_data='{"a": 1}')
    row = answered(session, Kind.AUTHORIZE, Declined("no", "words", reference="pi_2"))[0].session
    assert (row.reference, row.data) == ("pi_2", {"a": 1})


def test_an_update_leaves_what_the_payer_must_do_unless_its_answer_says_more():
    before, after = (Redirect(f"https://gateway.example/{name}") for name in ("before", "after"))
    session = at_gateway(Status.REQUIRES_MORE, next_action=before)
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


NOT_INITIATED = a_session(initiated=False, ordinal=0)


@pytest.mark.parametrize(
    ("session", "kind", "answer", "event"),
    [
        (NOT_INITIATED, Kind.INITIATE, Outcome.pending(reference="x"), "session.initiated"),
        (at_gateway(), Kind.UPDATE, Outcome.pending(reference="x"), "session.updated"),
        (authorized(), Kind.UPDATE, Outcome.authorized(reference="x"), "session.updated"),
        (at_gateway(), Kind.AUTHORIZE, Outcome.authorized(reference="x"), "session.authorized"),
        (at_gateway(), Kind.AUTHORIZE, Outcome.pending(reference="x"), "operation.pending"),
        (authorized(), Kind.CAPTURE, Outcome.pending(reference="x"), "operation.pending"),
        (authorized(), Kind.CANCEL, Outcome.canceled(reference="x"), "session.canceled"),
    ],
)
def test_an_answer_is_one_event_and_is_kept_with_its_reference_and_what_an_operator_said(
    session, kind, answer, event
):
    amount = eur("50.00") if kind is Kind.UPDATE else None
    ledger, operation = answered(session, kind, answer, amount, note="seen there", increment=True)
    assert (operation.reference, operation.note, events(ledger)) == ("x", "seen there", [event])


@pytest.mark.parametrize(
    ("refusal", "code", "category"),
    [
        (Declined("no_funds", "words", category="soft"), "no_funds", "soft"),
        (NotApplied("words"), "not_applied", "try_later"),
        (Mistaken(ConfigurationError("words")), "configuration", "configuration"),
    ],
)
def test_a_refusal_says_why_in_the_gateways_words(refusal, code, category):
    _, operation = answered(authorized(), Kind.CAPTURE, refusal, note="seen there")
    error = operation.error
    assert (error.code, error.message, error.category) == (code, "words", category)
    assert operation.note == "seen there"


def test_an_answer_without_data_leaves_what_a_notification_has_added():
    for answer, data in [
        (Outcome.authorized(), {"b": 2}),
        (Outcome.authorized(data={"a": 1}), {"a": 1, "b": 2}),
    ]:
        ledger, _ = answered(at_gateway(), Kind.AUTHORIZE, answer, meanwhile={"_data": '{"b": 2}'})
        assert ledger.session.data == data


def test_raising_what_is_authorized_asks_nothing_of_the_payer():
    answer = Outcome.authorized(next_action=Redirect("https://gateway.example"))
    ledger, _ = answered(authorized(), Kind.UPDATE, answer, eur("50.00"), increment=True)
    assert (ledger.row.next_action, ledger.row.authorized) == (None, 5000)


DECLINED = Failure("declined", "no funds", "declined")


def test_what_was_shown_since_an_update_was_sent_is_newer_than_its_answer():
    failed = {"status": Status.ERROR, "error": DECLINED}
    for before, meanwhile, expected in [
        (at_gateway(), {}, (Status.PENDING, None)),
        (at_gateway(), failed, (Status.ERROR, DECLINED)),
        (at_gateway(**failed), {}, (Status.PENDING, None)),
    ]:
        ledger, _ = answered(before, Kind.UPDATE, Outcome.pending(), eur("50.00"), meanwhile=meanwhile)
        assert (ledger.row.status, ledger.row.error) == expected


def test_a_session_that_ended_meanwhile_asks_nothing_of_the_payer():
    action = Redirect("https://gateway.example")
    for answer in (Outcome.requires_more(next_action=action), Outcome.pending(next_action=action)):
        ledger, _ = answered(
            at_gateway(), Kind.AUTHORIZE, answer, meanwhile={"status": Status.CANCELED, "released": True}
        )
        assert (ledger.row.status, ledger.row.next_action) == (Status.CANCELED, None)
        assert "session.requires_more" not in events(ledger)


def test_what_an_authorization_captured_at_once_is_a_capture_of_its_answer():
    ledger, _ = answered(at_gateway(), Kind.AUTHORIZE, Outcome.captured(eur("42.00")))
    (capture,) = (row for row in ledger.operations if row.kind is Kind.CAPTURE)
    assert (capture.answer, capture.amount, ledger.row.captured) == ("captured", eur("42.00"), 4200)


def test_the_reference_of_an_authorization_is_the_objects_and_names_no_effect_that_was_found():
    found = replace(
        an_operation(Kind.AUTHORIZE, origin="provider", reference="pi_1", answer="found"), id="ps_1-0found"
    )
    answer = Outcome.authorized(reference="pi_1")
    ledger, operation = answered(at_gateway(), Kind.AUTHORIZE, answer, others=[found])
    assert (ledger.row.authorized, operation.answer) == (4200, "authorized")
    assert found.id not in ledger.written


def test_a_capture_that_took_more_than_was_known_to_be_authorized_is_a_conflict_at_once():
    ledger, _ = answered(
        authorized(), Kind.CAPTURE, Outcome.captured(eur("42.00")), meanwhile={"captured": 1}
    )
    (conflict,) = ledger.opened
    assert (conflict.kind, conflict.expected, conflict.found) == ("amount", "42.00 EUR", "42.01 EUR")


def test_more_that_was_captured_is_no_conflict_once_all_of_it_was_given_back():
    for refunded, opened in [("52.00", []), ("51.99", ["amount"])]:
        snapshot = Snapshot("authorized", captured=eur("52.00"), refunded=eur(refunded))
        assert kinds(looked(authorized(), snapshot, room=1000)) == opened


def recognized(found_state, answer, *, capabilities=CAN, ours=None, **request):
    """Return the ledger once an answer named a capture of 10 euros that was found before, and ours."""
    found = an_operation(Kind.CAPTURE, "10.00", found_state, origin="provider", reference="ch")
    found = replace(found, id="ps_1-0found", answer="found")
    ledger, operation = begin(authorized(), Request(Kind.CAPTURE, eur("10.00"), **request), capabilities, NOW)
    is_over = found_state is State.SUCCEEDED
    figures = {"captured": 1000} if is_over else {"capturing": 1000, "pending": 1}
    operation = replace(operation, **ours or {})
    ledger = Ledger(replace(ledger.session, **figures), LATER, [operation, found])
    from_answer(ledger, operation, answer, capabilities, note="seen there")
    return ledger, ledger.written[operation.id]


TAKEN = Outcome.captured(eur("10.00"), reference="ch")
RELEASED = replace(TAKEN, released=True)


@pytest.mark.parametrize(
    ("answer", "final", "releases", "released"),
    [
        (TAKEN, False, True, False),
        (TAKEN, True, False, False),
        (TAKEN, True, True, True),
        (RELEASED, False, False, True),
        (Outcome.pending(reference="ch", released=True), False, False, True),
        (Outcome.pending(reference="ch"), True, True, False),
    ],
)
def test_a_capture_that_was_found_before_its_answer_releases_the_rest_like_any_other(
    answer, final, releases, released
):
    state = State.SUCCEEDED if answer.amount else State.PENDING
    capabilities = replace(CAN, final_capture_releases=releases)
    ledger, operation = recognized(state, answer, capabilities=capabilities, final=final)
    assert ledger.row.authorized == (1000 if released else 4200)
    assert (ledger.row.captured, ledger.row.capturing) == ((1000, 0) if answer.amount else (0, 1000))
    assert (operation.state, operation.note, events(ledger)) == (state, "seen there", [])


def test_a_capture_that_was_found_pending_succeeds_with_its_answer():
    ledger, operation = recognized(State.PENDING, TAKEN)
    assert (ledger.row.captured, ledger.row.capturing, ledger.row.pending) == (1000, 0, 0)
    assert (operation.state, operation.answer, operation.reference) == (State.SUCCEEDED, "captured", "ch")


def test_a_capture_that_is_known_as_another_effect_is_not_the_one_that_was_found():
    ledger, operation = recognized(State.SUCCEEDED, TAKEN, ours={"reference": "another"})
    assert (ledger.row.captured, operation.state) == (2000, State.SUCCEEDED)
    assert "ps_1-0found" not in ledger.written


# --- answers that come late -----------------------------------------------------------------------------


def late(session, answer):
    """Return the row once an answer came whose authorization was settled before."""
    ledger = Ledger(session, LATER)
    from_late_answer(ledger, an_operation(Kind.AUTHORIZE, answer="found"), answer, CAN)
    return ledger.session


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"expires_at": LATER}, "expires_at"),
        ({"payer": Payer(email="ann@example.org")}, "payer"),
        ({"reference": "pi_1"}, "reference"),
    ],
)
def test_a_late_answer_adds_what_is_not_known_yet(given, field):
    row = late(authorized(reference=None), Outcome.authorized(**given))
    assert getattr(row, field) == given[field]
    for other in {"expires_at", "payer", "reference", "next_action"} - {field}:
        assert getattr(row, other) is None


def test_a_late_answer_that_says_when_the_authorization_expires_has_it_queried_then():
    expires_at = NOW + timedelta(days=7)
    assert late(authorized(), Outcome.authorized(expires_at=expires_at)).due_at == expires_at


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
    assert notified(at_gateway(reference=None), *effects)[0].row.reference == "au"
    assert notified(at_gateway(), *effects)[0].row.reference == "pi_1"


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
        (at_gateway(), None, True),
        (at_gateway(), an_operation(Kind.AUTHORIZE, state=State.DECLINED, reference="au"), False),
        (at_gateway(), an_operation(Kind.AUTHORIZE, reference="au", answer="authorized"), False),
        (at_gateway(), an_operation(Kind.AUTHORIZE, reference="au", answer="requires_more"), True),
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
    ledger, operation = begin(at_gateway(), Request(Kind.AUTHORIZE), CAN, NOW)
    ours = Effect("authorize", eur("42.00"), "failed", "au", operation.id)
    others = [
        Effect("authorize", eur("42.00"), "failed", "au", "another"),
        Effect("capture", eur("42.00"), "failed", "au", operation.id),
    ]
    for effect, state in [(ours, State.DECLINED), *((other, State.STARTED) for other in others)]:
        shown = looked(ledger.session, Snapshot("error", effects=[effect]), operation)
        assert shown.operation(operation.id).state is state


PARTS = Snapshot("authorized", effects=[Effect("capture", eur("12.00"), reference="c1")])


@pytest.mark.parametrize(
    ("released", "reference", "ours"),
    [("30.00", "v1", True), ("20.00", "v1", False), ("30.00", None, False), ("42.00", None, True)],
)
def test_a_release_is_our_cancels_if_it_is_of_all_that_was_left(released, reference, ours):
    ledger, cancel = begin(authorized(), Request(Kind.CANCEL), CAN, NOW)
    effects = [*PARTS.effects, Effect("cancel", eur(released), reference=reference)]
    shown = looked(ledger.session, Snapshot("authorized", effects=effects), cancel)
    assert shown.operation(cancel.id).state is (State.SUCCEEDED if ours else State.STARTED)
    assert len([row for row in shown.operations if row.kind is Kind.CANCEL]) == (1 if ours else 2)
    assert shown.row.captured == 1200


def test_a_release_that_a_total_covers_is_no_evidence_of_its_own():
    ledger, cancel = begin(authorized(), Request(Kind.CANCEL), CAN, NOW)
    effects = [Effect("cancel", eur("42.00"), key=cancel.id)]
    snapshot = Snapshot("authorized", authorized=eur("42.00"), effects=effects)
    assert looked(ledger.session, snapshot, cancel).operation(cancel.id).state is State.STARTED


@pytest.mark.parametrize(
    ("state", "expected"),
    [("pending", State.PENDING), ("failed", State.DECLINED), ("succeeded", State.STARTED)],
)
def test_a_lookup_shows_that_our_cancel_is_pending_or_failed(state, expected):
    ledger, cancel = begin(authorized(), Request(Kind.CANCEL), CAN, NOW)
    effects = [Effect("cancel", eur("42.00"), state, key=cancel.id)]
    snapshot = Snapshot("authorized", authorized=eur("42.00"), effects=effects)
    assert looked(ledger.session, snapshot, cancel).operation(cancel.id).state is expected


# --- totals -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "settled"), [(Kind.CAPTURE, True), (Kind.REFUND, False)])
def test_a_total_settles_what_is_in_doubt_of_its_kind(kind, settled):
    ledger, operation = begin(authorized(captured=2000), Request(kind, eur("10.00")), CAN, NOW)
    first = an_operation(Kind.CAPTURE, "20.00", answer="captured")
    snapshot = Snapshot("authorized", captured=eur("30.00"))
    shown = looked(ledger.session, snapshot, first, operation)
    assert shown.operation(operation.id).state is (State.SUCCEEDED if settled else State.STARTED)
    assert (shown.row.captured, len(shown.operations)) == (3000, 2 if settled else 3)


@pytest.mark.parametrize(
    ("changes", "lost"),
    [
        ({}, True),
        ({"attempt": 1}, False),
        ({"state": State.DECLINED}, False),
        ({"amount": eur("9.00")}, False),
        ({"kind": Kind.REFUND}, False),
    ],
)
def test_what_a_total_shows_is_what_was_sent_again_and_taken_for_not_applied(changes, lost):
    sent = replace(an_operation(Kind.CAPTURE, "10.00", State.NOT_APPLIED, attempt=2), **changes)
    ledger = looked(authorized(), Snapshot("authorized", captured=eur("10.00")), sent)
    assert (kinds(ledger), ledger.row.captured) == (["effect_after_refusal"] if lost else [], 1000)


def test_what_was_found_since_explains_a_total_no_more():
    sent = an_operation(Kind.CAPTURE, "10.00", State.NOT_APPLIED, attempt=2)
    found = replace(sent, id="ps_1-0found", state=State.SUCCEEDED, answer="found", ordinal=2)
    for row, lost in [
        (found, False),
        (replace(found, ordinal=0), True),
        (replace(found, kind=Kind.REFUND), True),
    ]:
        captured = 1000 if row.kind is Kind.CAPTURE else 0
        session = authorized(captured=captured, refunded=1000 - captured)
        snapshot = Snapshot("authorized", captured=cents(captured + 1000))
        assert ("effect_after_refusal" in kinds(looked(session, snapshot, sent, row))) is lost


@pytest.mark.parametrize(("kind", "captured"), [(Kind.CAPTURE, 0), (Kind.REFUND, 1000)])
def test_a_stale_total_may_be_from_before_something_of_its_kind_was_undone(kind, captured):
    lagging = replace(CAN, lookup="lagging", lookup_lag=timedelta(hours=1))
    done = an_operation(kind, "10.00", answer="found")
    undone = replace(done, id="ps_1-0undone", reverses=done.id)
    ledger = Ledger(authorized(), LATER, [done, undone])
    snapshot = Snapshot("authorized", captured=eur("10.00"))
    from_snapshot(ledger, snapshot, lagging, room=0, asked_at=LATER)
    assert ledger.row.captured == captured


@pytest.mark.parametrize("kind", [Kind.CAPTURE, Kind.REFUND, Kind.CHARGEBACK])
def test_a_total_that_is_less_undoes_the_newest_of_that_amount_first(kind):
    rows = [
        replace(an_operation(kind, amount, answer="found"), id=f"ps_1-{place}-{kind}", ordinal=place)
        for place, amount in enumerate(["10.00", "5.00", "10.00"], 1)
    ]
    names = {Kind.CAPTURE: "captured", Kind.REFUND: "refunded", Kind.CHARGEBACK: "charged_back"}
    others = [replace(rows[2], id="ps_1-9-failed", state=State.DECLINED, ordinal=9)]
    session = authorized(**{"captured": 2500, names[kind]: 2500})
    for total, undone in [("15.00", [(3, 1000)]), ("20.00", [(2, 500)]), ("18.00", [(3, 700)])]:
        snapshot = Snapshot("authorized", **{names[kind]: eur(total)})
        ledger = looked(session, snapshot, *rows, *others)
        reversals = [row for row in ledger.written.values() if row.reverses is not None]
        assert [(row.reverses, row.amount.minor) for row in reversals] == [
            (f"ps_1-{place}-{kind}", minor) for place, minor in undone
        ]


# --- what follows -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("final", "releases", "amount", "requested"),
    [
        (True, False, "10.00", True),
        (False, False, "10.00", False),
        (True, True, "10.00", False),
        (True, False, "42.00", False),
    ],
)
def test_the_rest_of_a_final_capture_is_canceled_where_the_gateway_keeps_it(
    final, releases, amount, requested
):
    capabilities = replace(CAN, final_capture_releases=releases)
    answer = Outcome.captured(eur(amount))
    ledger, _ = answered(
        authorized(), Kind.CAPTURE, answer, eur(amount), capabilities=capabilities, final=final
    )
    assert ledger.row.cancel_requested is requested
    assert ledger.row.authorized == (1000 if releases else 4200)


@pytest.mark.parametrize(
    ("refunded", "charged_back", "conflict"),
    [(3000, 1200, False), (3000, 1201, True), (0, 4201, True), (4200, 0, False)],
)
def test_more_that_went_back_than_was_captured_is_a_conflict(refunded, charged_back, conflict):
    operations = [an_operation(Kind.CAPTURE, answer="captured")]
    snapshot = Snapshot(
        "authorized", captured=eur("42.00"), refunded=cents(refunded), charged_back=cents(charged_back)
    )
    ledger = looked(authorized(captured=4200), snapshot, *operations)
    assert ("over_captured" in kinds(ledger)) is conflict


@pytest.mark.parametrize(("refunded", "expected"), [(0, "10.00 EUR"), (400, "6.00 EUR"), (1000, None)])
def test_what_a_canceled_session_keeps_is_a_conflict_of_that_amount(refunded, expected):
    capture = an_operation(Kind.CAPTURE, "10.00", answer="found")
    session = at_gateway(
        Status.CANCELED, released=True, captured=1000, refunded=1000, authorized=1000, held=1000
    )
    refund = an_operation(Kind.REFUND, "10.00", answer="found")
    snapshot = Snapshot("canceled", captured=eur("10.00"), refunded=cents(refunded))
    (*opened,) = looked(session, snapshot, capture, refund).opened
    assert [conflict.found for conflict in opened] == ([expected] if expected else [])
