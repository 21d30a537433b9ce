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
from paysession._ledger.evidence import (
    from_answer,
    from_details,
    from_effects,
    from_late_answer,
    from_snapshot,
    verify,
    would_show,
)
from paysession._ledger.facts import Details
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


def test_what_a_part_is_answered_with_is_compared_with_the_part():
    part = an_operation(Kind.CAPTURE, "10.00")
    verify(at_gateway(), part, Outcome.captured(eur("10.00")), CAN)
    with pytest.raises(OutcomeUnknown, match=r"where 10\.00 EUR was asked"):
        verify(at_gateway(), part, Outcome.captured(eur("42.00")), CAN)


def test_what_is_answered_or_reported_needs_no_more_looking_into():
    for answer in (Outcome.captured(eur("10.00")), Declined("no", "words")):
        assert answered(authorized(), Kind.CAPTURE, answer, eur("10.00"))[0].row.due_at is None
    ledger, _ = notified(authorized(due_at=NOW), Effect("capture", eur("10.00"), reference="ch"))
    assert ledger.row.due_at is None


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


def test_an_answer_may_say_that_a_capture_released_the_rest():
    for released, left in [(True, 1000), (False, 4200)]:
        answer = Outcome.captured(eur("10.00"), released=released)
        assert answered(authorized(), Kind.CAPTURE, answer, eur("10.00"))[0].row.authorized == left


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
        (replace(capture, reference=capture.key), False),
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


def test_an_effect_that_has_no_name_is_recorded_at_once_with_all_that_is_reported_beside_it():
    early = Effect("refund", eur("1.00"), reference="re", capture="ch")
    for other, recorded in [({}, True), ({"key": "theirs"}, False), ({"reference": "r2"}, False)]:
        ledger, all_of_it = notified(
            authorized(captured=1000), early, Effect("refund", eur("2.00"), **other), patient=True
        )
        assert (all_of_it, ledger.row.refunded) == ((True, 300) if recorded else (False, 200))


def test_what_cannot_be_recorded_later_is_recorded_at_once():
    ledger = Ledger(authorized(captured=1000), LATER)
    refund = Effect("refund", eur("1.00"), reference="re", capture="ch")
    assert from_effects(ledger, [refund], TOLD, room=0)
    assert ledger.row.refunded == 100


def test_only_a_refund_or_a_chargeback_waits_for_its_capture():
    for kind, waits in [("refund", True), ("chargeback", True), ("capture", False)]:
        effect = Effect(kind, eur("1.00"), reference="x", capture="ch")
        assert notified(authorized(captured=1000), effect, patient=True)[1] is not waits


def test_that_a_session_was_initiated_or_updated_moves_no_money():
    for kind in (Kind.INITIATE, Kind.UPDATE):
        ledger, recorded = notified(authorized(), Effect(kind, eur("9.00"), reference="x"))
        assert (recorded, ledger.changed) == (True, False)


def test_a_capture_does_not_name_the_object():
    ledger, _ = notified(authorized(reference=None), Effect("capture", eur("1.00"), reference="ch"))
    assert ledger.row.reference is None


def test_a_notification_adds_its_data_to_the_sessions_and_one_without_any_leaves_them():
    for data, expected in [(None, {"a": 1}), ('{"b": 2}', {"a": 1, "b": 2})]:
        ledger = Ledger(at_gateway(reference=None, _data='{"a": 1}'), LATER)
        from_details(ledger, Details(data, "pi_1"))
        assert (ledger.session.data, ledger.row.reference) == (expected, "pi_1")


@pytest.mark.parametrize("state", ["succeeded", "reversed"])
def test_a_refund_says_nothing_of_an_authorization(state):
    ledger, _ = notified(at_gateway(), Effect("refund", eur("1.00"), state, "re"))
    assert (ledger.row.status, ledger.row.authorized) == (Status.PENDING, 0)
    reversed_ = ["session.reversed"] if state == "reversed" else ["session.conflict"]
    assert events(ledger) == ["session.refunded", *reversed_]


def test_an_effect_that_failed_keeps_the_capture_that_it_refers_to():
    capture = an_operation(Kind.CAPTURE, reference="ch")
    effect = Effect("refund", eur("1.00"), "failed", "re", capture="ch")
    ledger, _ = notified(authorized(captured=4200), effect, operations=[capture])
    (refund,) = ledger.written.values()
    assert (refund.state, refund.capture_id) == (State.DECLINED, capture.id)


def test_a_refund_counts_against_the_capture_that_it_names_and_nothing_else_of_that_name():
    first = an_operation(Kind.AUTHORIZE, answer="authorized", reference="ch")
    unnamed = replace(an_operation(Kind.CAPTURE, "20.00"), id="ps_1-1-unnamed")
    named = an_operation(Kind.CAPTURE, "20.00", reference="ch")
    for capture, expected in [("ch", named.id), (None, None), ("another", None)]:
        effect = Effect("refund", eur("1.00"), reference="re", capture=capture)
        ledger, _ = notified(authorized(captured=4000), effect, operations=[first, unnamed, named])
        (refund,) = ledger.written.values()
        assert refund.capture_id == expected


def test_of_two_captures_that_are_found_the_one_that_was_undone_is_undone():
    taken = Effect("capture", eur("10.00"), reference="c1")
    undone = Effect("capture", eur("20.00"), "reversed", "c2")
    granted = an_operation(Kind.AUTHORIZE, answer="authorized")
    ledger, _ = notified(authorized(), taken, undone, operations=[granted])
    assert (ledger.row.captured, ledger.row.authorized) == (1000, 2200)


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


# --- which operation an effect belongs to ---------------------------------------------------------------

GRANTED = replace(an_operation(Kind.AUTHORIZE, answer="authorized"), id="ps_1-0-authorize", ordinal=0)


def a_capture(state=State.STARTED, amount="10.00", **changes):
    return an_operation(Kind.CAPTURE, amount, state, **changes)


def reported(operation, *, session=None, capabilities=TOLD, amount="10.00", state="succeeded", **effect):
    """Return the ledger once a capture was reported, with an operation in the ledger, and that one."""
    session = session or authorized(open=operation.id if operation.state is State.STARTED else None)
    ledger, _ = notified(
        session,
        Effect("capture", eur(amount), state, **effect),
        operations=[GRANTED, operation],
        capabilities=capabilities,
    )
    return ledger, ledger.operation(operation.id)


@pytest.mark.parametrize(
    ("before", "ours"),
    [
        (timedelta(0), True),
        (timedelta(minutes=5), True),
        (timedelta(minutes=5, microseconds=1), False),
    ],
)
def test_a_capture_that_is_older_than_ours_by_more_than_clocks_differ_is_another(before, ours):
    ledger, operation = reported(a_capture(), reference="ch", created_at=NOW - before)
    assert operation.state is (State.SUCCEEDED if ours else State.STARTED)
    assert ledger.row.captured == 1000


def test_a_capture_without_our_key_is_not_ours_where_all_of_ours_carry_it():
    keyed = replace(TOLD, keyed_effects=True)
    _, operation = reported(a_capture(), reference="ch", capabilities=keyed)
    assert operation.state is State.STARTED


def test_a_capture_of_the_rest_is_not_ours_if_we_asked_for_less():
    ledger, operation = reported(a_capture(), reference="ch", amount="42.00")
    assert (operation.state, ledger.row.captured) == (State.STARTED, 4200)


def test_what_a_total_showed_gets_its_name_from_the_effect_and_is_no_second_one():
    found = a_capture(State.SUCCEEDED, answer="found", origin="provider")
    for keyed in (False, True):
        capabilities = replace(TOLD, keyed_effects=keyed)
        ledger, operation = reported(
            found, session=authorized(captured=1000), reference="ch", capabilities=capabilities
        )
        assert (operation.reference, operation.sure, ledger.row.captured) == ("ch", True, 1000)


def test_what_was_shown_by_a_foreign_key_alone_is_known_by_its_reference_once_that_is_shown_too():
    found = a_capture(State.SUCCEEDED, answer="found", origin="provider", reference="theirs")
    session = authorized(captured=1000)
    ledger, operation = reported(found, session=session, reference="ch", key="theirs")
    assert (operation.reference, ledger.row.captured) == ("ch", 1000)
    ledger, _ = reported(operation, session=ledger.session, reference="ch")
    assert ledger.row.captured == 1000


def test_captures_with_the_key_of_an_authorization_are_two_if_their_references_are():
    known = a_capture(State.SUCCEEDED, answer="captured", origin="provider", reference="c1")
    session = authorized(captured=1000)
    for reference, captured in [("c1", 1000), ("c2", 2000), (None, 1000)]:
        ledger, operation = reported(known, session=session, reference=reference, key=GRANTED.id)
        assert (operation.reference, ledger.row.captured) == ("c1", captured)


def test_captures_are_two_though_the_first_has_the_objects_name():
    known = a_capture(State.SUCCEEDED, answer="captured", reference="pi_1")
    ledger, operation = reported(known, session=authorized(captured=1000), reference="c2")
    assert (operation.reference, ledger.row.captured) == ("pi_1", 2000)


def test_a_capture_without_a_name_is_none_that_was_refused():
    refused = a_capture(State.DECLINED)
    ledger, operation = reported(refused, reference="ch")
    assert (operation.state, ledger.row.captured, kinds(ledger)) == (State.DECLINED, 1000, [])


def test_captures_with_the_keys_of_two_authorizations_are_two():
    second = replace(GRANTED, id="ps_1-1-authorize")
    known = a_capture(State.SUCCEEDED, answer="found", origin="provider", reference=second.id)
    effect = Effect("capture", eur("10.00"), reference="ch", key=GRANTED.id)
    session = authorized(captured=1000)
    ledger, _ = notified(session, effect, operations=[GRANTED, second, known])
    assert ledger.row.captured == 2000


@pytest.mark.parametrize("name", [{}, {"reference": "", "key": ""}])
def test_two_captures_without_a_name_are_two_and_the_next_report_shows_the_same_two(name):
    captures = [Effect("capture", eur("10.00"), **name)] * 2
    ledger, _ = notified(authorized(), *captures, operations=[GRANTED])
    assert ledger.row.captured == 2000
    if not name:
        ledger, _ = notified(ledger.session, *captures, operations=ledger.operations)
        assert (ledger.row.captured, ledger.changed) == (2000, False)


def test_of_two_captures_alike_one_is_ours():
    ours = a_capture()
    captures = [Effect("capture", eur("10.00"))] * 2
    ledger, _ = notified(authorized(open=ours.id), *captures, operations=[GRANTED, ours])
    assert (ledger.operation(ours.id).state, ledger.row.captured) == (State.SUCCEEDED, 2000)


@pytest.mark.parametrize("open_", [None, "ps_1-1-cancel"])
def test_a_report_of_an_authorization_settles_the_one_that_is_pending_and_nothing_else(open_):
    pending = replace(GRANTED, state=State.PENDING, answer="pending")
    cancel = an_operation(Kind.CANCEL, state=State.STARTED if open_ else State.NOT_APPLIED)
    session = at_gateway(open=open_, authorizing=pending.id, pending=1, held=4200)
    effect = Effect("authorize", eur("42.00"), reference="au")
    ledger, _ = notified(session, effect, operations=[pending, cancel])
    assert ledger.operation(pending.id).state is State.SUCCEEDED
    assert (ledger.row.authorized, len(ledger.operations)) == (4200, 2)


def test_a_capture_that_is_reported_alone_was_authorized():
    ledger, _ = notified(at_gateway(), Effect("capture", eur("10.00"), reference="ch"))
    assert events(ledger) == ["session.authorized", "session.captured", "session.conflict"]
    assert (ledger.row.status, ledger.row.authorized) == (Status.AUTHORIZED, 1000)


def test_what_was_undone_is_undone_once():
    undone = Effect("capture", eur("10.00"), "reversed", "ch")
    ledger, _ = notified(authorized(), undone, operations=[GRANTED])
    ledger, _ = notified(ledger.session, undone, operations=ledger.operations)
    assert (ledger.row.captured, ledger.changed) == (0, False)


GUESSED = a_capture(State.SUCCEEDED, answer="found", reference="a", sure=False)


@pytest.mark.parametrize(
    ("ours", "effect", "reference", "figures"),
    [
        ({}, {}, "b", (2000, 0)),
        ({}, {"state": "reversed"}, "b", (1000, 0)),
        ({}, {"state": "pending"}, "a", (1000, 1000)),
        ({}, {"state": "failed"}, "a", (1000, 0)),
        ({}, {"amount": "8.00"}, "a", (1800, 0)),
        ({"sure": True}, {}, "a", (2000, 0)),
        ({"state": State.DECLINED, "answer": "failed"}, {}, "a", (2000, 0)),
        ({"state": State.PENDING}, {}, "b", (2000, 1000)),
        ({"state": State.PENDING}, {"state": "pending"}, "b", (1000, 2000)),
    ],
)
def test_a_guess_is_taken_back_where_the_key_says_so_and_no_total_moves_by_that(
    ours, effect, reference, figures
):
    operation = replace(GUESSED, **ours)
    pending = operation.state is State.PENDING
    session = authorized(captured=1000, capturing=1000 * pending, pending=int(pending))
    ledger, operation = reported(operation, session=session, reference="b", key=operation.id, **effect)
    assert operation.reference == reference
    assert (ledger.row.captured, ledger.row.capturing) == figures


def test_a_guess_of_which_a_part_was_undone_is_not_taken_back():
    undone = replace(a_capture(State.SUCCEEDED, "4.00"), id="ps_1-0undone", reverses=GUESSED.id)
    effect = Effect("capture", eur("10.00"), reference="b", key=GUESSED.id)
    ledger, _ = notified(authorized(captured=600), effect, operations=[GRANTED, GUESSED, undone])
    assert (ledger.operation(GUESSED.id).reference, ledger.row.captured) == ("a", 1600)


@pytest.mark.parametrize("capture", ["once", "multiple"])
def test_a_capture_that_is_reported_releases_the_rest_where_the_gateway_does(capture):
    capabilities = replace(TOLD, capture=capture, final_capture_releases=True)
    for final in (False, True):
        ours = a_capture(final=final)
        for state in ("succeeded", "pending"):
            released = state == "succeeded" and (final or capture == "once")
            ledger, _ = reported(ours, capabilities=capabilities, key=ours.id, state=state)
            assert ledger.row.authorized == (1000 if released else 4200)


# --- effects of what was settled as refused -------------------------------------------------------------


@pytest.mark.parametrize("reference", [None, "ch"])
@pytest.mark.parametrize("known", [None, "ch"])
def test_what_was_refused_here_and_undone_there_leaves_no_money(known, reference):
    refused = a_capture(State.NOT_APPLIED, reference=known)
    ledger, _ = reported(refused, state="reversed", reference=reference, key=refused.id)
    assert (ledger.row.captured, kinds(ledger)) == (0, ["effect_after_refusal"])
    assert events(ledger)[-2:] == ["session.captured", "session.reversed"]


@pytest.mark.parametrize(
    ("single", "refused", "news"),
    [
        (True, {"state": State.DECLINED}, False),
        (False, {"state": State.DECLINED}, True),
        (True, {"state": State.NOT_APPLIED}, True),
        (True, {"state": State.NOT_APPLIED, "answer": "pending"}, False),
        (False, {"state": State.DECLINED, "answer": "pending"}, False),
        (False, {"state": State.DECLINED, "answer": "failed"}, False),
    ],
)
def test_what_is_shown_as_pending_may_be_from_before_it_was_refused(single, refused, news):
    operation = replace(a_capture(reference="ch"), **refused)
    effect = Effect("capture", eur("10.00"), "pending", "ch", operation.id)
    if single:
        ledger, _ = notified(authorized(), effect, operations=[GRANTED, operation])
    else:
        ledger = looked(authorized(), Snapshot("authorized", effects=[effect]), GRANTED, operation)
    assert (ledger.row.capturing, kinds(ledger)) == ((1000, ["effect_after_refusal"]) if news else (0, []))


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


@pytest.mark.parametrize(
    ("known", "shown", "undone", "news"),
    [
        (None, Dispute("opened"), False, True),
        (Dispute("opened"), Dispute("opened", reason="fraudulent"), False, True),
        (Dispute("lost"), Dispute("opened"), True, False),
        (Dispute("lost"), Dispute("won"), True, True),
        (Dispute("opened"), Dispute("lost"), True, True),
        (Dispute("opened"), Dispute("under_review"), True, False),
    ],
)
def test_how_a_dispute_ended_is_news_and_how_it_stood_before_its_money_came_back_is_not(
    known, shown, undone, news
):
    chargeback = an_operation(Kind.CHARGEBACK, origin="provider", reference="dp", dispute=known)
    back = [replace(chargeback, id="ps_1-0back", reverses=chargeback.id, reference=None)] * undone
    effect = Effect("chargeback", eur("42.00"), reference="dp", dispute=shown)
    session = authorized(captured=4200, charged_back=4200 * (not undone))
    ledger, _ = notified(session, effect, operations=[chargeback, *back])
    assert ledger.operation(chargeback.id).dispute == (shown if news else known)


def test_an_inquiry_about_no_money_goes_on_like_a_dispute():
    inquiry = an_operation(
        Kind.CHARGEBACK, "0.00", State.PENDING, origin="provider", reference="dp", dispute=Dispute("opened")
    )
    effect = Effect("chargeback", eur("0.00"), "pending", "dp", dispute=Dispute("under_review"))
    ledger, _ = notified(authorized(captured=4200, disputes=1), effect, operations=[inquiry])
    assert ledger.operation(inquiry.id).dispute == Dispute("under_review")


def test_a_stale_lookup_takes_a_dispute_forward_only():
    lagging = replace(CAN, lookup="lagging", lookup_lag=timedelta(hours=1))
    chargeback = an_operation(
        Kind.CHARGEBACK, origin="provider", reference="dp", dispute=Dispute("under_review")
    )
    session = authorized(captured=4200, charged_back=4200, disputes=1)
    for status, news in [("opened", False), ("lost", True)]:
        effect = Effect("chargeback", eur("42.00"), reference="dp", dispute=Dispute(status))
        snapshot = Snapshot("authorized", effects=[effect])
        ledger = looked(session, snapshot, chargeback, capabilities=lagging)
        assert (chargeback.id in ledger.written) is news


# --- lookups ------------------------------------------------------------------------------------------


def test_a_lookup_in_another_currency_is_a_conflict_until_one_in_ours():
    session = authorized(expires_at=NOW + timedelta(days=1))
    other = Snapshot("authorized", authorized=Money("40.00", "USD"), reference="other")
    ledger = looked(session, other)
    assert (kinds(ledger), ledger.row.due_at) == (["currency"], session.expires_at)
    assert (ledger.row.authorized, ledger.row.reference) == (4200, "pi_1")
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


@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("named", ["pi_1", "v1", None])
def test_a_cancel_is_settled_by_its_release_though_its_answer_named_the_object(named, keyed):
    session = authorized(captured=1200)
    ledger, cancel = answered(session, Kind.CANCEL, Outcome.pending(reference=named))
    effect = Effect("cancel", eur("30.00"), reference="v1", key=cancel.id if keyed else None)
    snapshot = Snapshot("authorized", effects=[effect])
    ledger = looked(replace(ledger.session, reference="pi_1"), snapshot, cancel)
    for _ in range(2):  # the next lookup shows it again
        (cancel,) = ledger.operations
        assert (cancel.state, cancel.reference, cancel.answer) == (State.SUCCEEDED, "v1", "found")
        assert (ledger.row.authorized, ledger.row.pending) == (1200, 0)
        ledger = looked(ledger.session, snapshot, cancel)


@pytest.mark.parametrize(
    ("named", "known"),
    [
        ({"reference": "v1", "key": "theirs"}, "v1"),
        ({"reference": "v1"}, "v1"),
        ({"key": "theirs"}, "theirs"),
    ],
)
def test_a_release_that_nobody_asked_for_is_known_by_its_name_and_counts_once(named, known):
    snapshot = Snapshot("authorized", effects=[Effect("cancel", eur("12.00"), **named)])
    ledger = looked(authorized(), snapshot)
    assert [row.reference for row in ledger.operations] == [known]
    ledger = looked(ledger.session, snapshot, *ledger.operations)
    assert (ledger.row.authorized, len(ledger.operations)) == (3000, 1)


@pytest.mark.parametrize("state", ["pending", "failed"])
def test_a_cancel_of_others_that_has_not_succeeded_releases_nothing(state):
    snapshot = Snapshot("authorized", effects=[Effect("cancel", eur("42.00"), state, "v1")])
    ledger = looked(authorized(), snapshot)
    assert (ledger.row.authorized, ledger.operations) == (4200, [])


def test_that_a_cancel_is_pending_is_said_once():
    ledger, cancel = answered(authorized(), Kind.CANCEL, Outcome.pending())
    effect = Effect("cancel", eur("42.00"), "pending", key=cancel.id)
    shown = looked(ledger.session, Snapshot("authorized", effects=[effect]), cancel)
    assert (events(shown), shown.row.pending) == ([], 1)


@pytest.mark.parametrize(
    ("changes", "effect", "ours", "left"),
    [
        ({}, {}, True, 1200),
        ({}, {"amount": eur("0.00")}, True, 1200),
        ({}, {"amount": eur("0.01")}, False, 4199),
        ({}, {"reference": None}, False, 1200),
        ({"origin": "provider"}, {}, False, 1200),
        ({"state": State.SUCCEEDED}, {}, False, 1200),
        ({"kind": Kind.CAPTURE, "amount": eur("40.00")}, {"kind": Kind.CAPTURE}, False, 4200),
    ],
)
def test_a_release_of_less_is_our_cancels_only_if_that_is_open_and_nothing_else_is_left(
    changes, effect, ours, left
):
    cancel = replace(an_operation(Kind.CANCEL, state=State.PENDING), **changes)
    released = replace(Effect("cancel", eur("30.00"), reference="v1"), **effect)
    ledger = looked(authorized(captured=1200, pending=1), Snapshot("authorized", effects=[released]), cancel)
    assert (ledger.operation(cancel.id).reference == "v1") is ours
    assert ledger.row.authorized == left


def test_a_release_is_no_cancel_of_ours_that_is_known_as_another():
    session = authorized(captured=1200)
    ledger, cancel = answered(session, Kind.CANCEL, Outcome.pending(reference="v0"))
    snapshot = Snapshot("authorized", effects=[Effect("cancel", eur("30.00"), reference="v1")])
    ledger = looked(replace(ledger.session, reference="pi_1"), snapshot, cancel)
    assert ledger.operation(cancel.id).state is State.PENDING


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


def test_a_lookup_says_when_to_look_again():
    expires_at = NOW + timedelta(days=7)
    ledger = looked(authorized(due_at=NOW), Snapshot("authorized", expires_at=expires_at))
    assert ledger.row.due_at == expires_at


def test_a_lookup_that_does_not_lag_is_believed_whatever_the_clocks_say():
    snapshot = Snapshot("authorized", authorized=eur("40.00"))
    ledger = looked(authorized(), snapshot, asked_at=NOW - timedelta(hours=1))
    assert ledger.row.authorized == 4000


def test_a_lookup_says_who_pays():
    payer = Payer(email="ann@example.org")
    assert looked(authorized(), Snapshot("authorized", payer=payer)).row.payer == payer


def test_that_an_authorization_is_not_shown_is_one_conflict_until_it_is_shown():
    ledger = looked(authorized(), Snapshot("pending"))
    (conflict,) = ledger.opened
    assert (conflict.kind, conflict.expected, conflict.found) == ("status", "authorized", "pending")
    for status, kind in [("requires_more", "status"), ("authorized", None), ("canceled", None)]:
        again = Ledger(ledger.session, LATER, (), [conflict])
        from_snapshot(again, Snapshot(status), CAN, room=0, asked_at=LATER)
        assert (again.row.conflict, again.opened) == (kind, ())


@pytest.mark.parametrize(
    ("session", "authorized_then", "shown"),
    [
        (authorized(), None, True),
        (authorized(), eur("42.00"), False),
        (at_gateway(), None, False),
    ],
)
def test_what_was_captured_and_undone_before_anybody_looked_says_what_is_authorized_if_nothing_else_does(
    session, authorized_then, shown
):
    undone = Effect("capture", eur("10.00"), "reversed", "ch")
    status = Status.AUTHORIZED if session.authorized else Status.PENDING
    ledger = looked(session, Snapshot(status, authorized=authorized_then, effects=[undone]))
    assert events(ledger) == (["session.captured", "session.reversed"] if shown else [])
    assert ledger.row.authorized == (3200 if shown else session.authorized)


@pytest.mark.parametrize(
    ("session", "snapshot", "kind", "shows"),
    [
        (authorized(), Snapshot("authorized"), Kind.CANCEL, True),
        (authorized(captured=1000), Snapshot("authorized"), Kind.CANCEL, False),
        (authorized(capturing=1000), Snapshot("authorized"), Kind.CANCEL, False),
        (authorized(captured=1000, capturing=1000), Snapshot("authorized"), Kind.CANCEL, False),
        (authorized(captured=1000), Snapshot("authorized", authorized=eur("42.00")), Kind.CANCEL, True),
        (authorized(captured=1000), Snapshot("authorized"), Kind.REFUND, False),
        (authorized(captured=1000), Snapshot("authorized", refunded=eur("0.00")), Kind.REFUND, True),
        (authorized(), Snapshot("authorized", captured=Money("0.00", "USD")), Kind.CAPTURE, False),
    ],
)
def test_an_effect_that_a_lookup_cannot_show_is_not_missing_there(session, snapshot, kind, shows):
    assert would_show(session, snapshot, kind) is shows


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
    earlier = replace(found, id="ps_1-0earlier", ordinal=0)
    for rows, lost in [
        ([found], False),
        ([earlier], True),
        ([earlier, found], False),
        ([replace(found, kind=Kind.REFUND)], True),
    ]:
        captured = 1000 * sum(row.kind is Kind.CAPTURE for row in rows)
        session = authorized(captured=captured, refunded=1000)
        snapshot = Snapshot("authorized", captured=cents(captured + 1000))
        assert ("effect_after_refusal" in kinds(looked(session, snapshot, sent, *rows))) is lost


@pytest.mark.parametrize(("kind", "captured"), [(Kind.CAPTURE, 0), (Kind.REFUND, 1000)])
def test_a_stale_total_may_be_from_before_something_of_its_kind_was_undone(kind, captured):
    lagging = replace(CAN, lookup="lagging", lookup_lag=timedelta(hours=1))
    done = an_operation(kind, "10.00", answer="found")
    undone = replace(done, id="ps_1-0undone", reverses=done.id)
    ledger = Ledger(authorized(), LATER, [done, undone])
    snapshot = Snapshot("authorized", captured=eur("10.00"))
    from_snapshot(ledger, snapshot, lagging, room=0, asked_at=LATER)
    assert ledger.row.captured == captured


def test_a_stale_total_that_is_more_than_was_ever_known_shows_something_new():
    lagging = replace(CAN, lookup="lagging", lookup_lag=timedelta(hours=1))
    done = an_operation(Kind.CAPTURE, "10.00", answer="captured")
    snapshot = Snapshot("authorized", captured=eur("15.00"))
    ledger = looked(authorized(captured=1000), snapshot, done, capabilities=lagging)
    assert ledger.row.captured == 1500


def test_an_inquiry_about_no_money_is_settled_by_no_total():
    inquiry = an_operation(
        Kind.CHARGEBACK, "0.00", State.PENDING, origin="provider", reference="dp", dispute=Dispute("opened")
    )
    snapshot = Snapshot("authorized", captured=eur("42.00"), charged_back=eur("0.00"))
    ledger = looked(authorized(captured=4200, disputes=1), snapshot, inquiry)
    assert (ledger.operation(inquiry.id).state, events(ledger)) == (State.PENDING, [])


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
