"""What each source of knowledge proves: answers, and notifications of a gateway that cannot be queried."""

from datetime import timedelta

import pytest

from helpers import NOW, a_session, cents, eur
from paysession import (
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
    verify,
)
from paysession._ledger.facts import Details
from paysession._ledger.ledger import Ledger
from paysession._ledger.rules import Request, begin
from paysession.checkout import Payer
from paysession.errors import Mistaken
from paysession.outcome import Effect, Snapshot
from paysession.provider import Redirect
from paysession.values import Failure, replace
from recorded import (
    CAN,
    LATER,
    TOLD,
    an_operation,
    answered,
    at_gateway,
    authorized,
    events,
    kinds,
    looked,
    notified,
    reported,
)

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
    ledger = notified(authorized(due_at=NOW), Effect("capture", eur("10.00"), reference="ch"))
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
    ledger, recorded = reported(authorized(expires_at=NOW, due_at=NOW), *effects, patient=True)
    assert (recorded, kinds(ledger), ledger.row.captured) == (True, ["currency"], 0)
    assert (ledger.opened[0].expected, ledger.opened[0].found) == ("EUR", "1.00 USD")
    assert ledger.row.due_at is None


def test_a_refund_waits_for_its_capture_only_where_nothing_could_count_twice():
    refund = Effect("refund", eur("1.00"), reference="re", capture="ch")
    for other, waits in [({"reference": "c2"}, True), ({"key": "theirs"}, True), ({}, False)]:
        ledger, recorded = reported(
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
        assert reported(session, refund, operations=[known], patient=True)[1] is not waits
    recorded = an_operation(Kind.REFUND, "1.00", reference="re")
    assert reported(replace(session, refunded=100), refund, operations=[recorded], patient=True)[1]


def test_where_nothing_else_names_the_object_its_authorization_does():
    effects = [
        Effect("authorize", eur("42.00"), "failed", "failed"),
        Effect("authorize", eur("42.00"), reference="au"),
        Effect("capture", eur("42.00"), reference="ch"),
    ]
    assert notified(at_gateway(reference=None), *effects).row.reference == "au"
    assert notified(at_gateway(), *effects).row.reference == "pi_1"


@pytest.mark.parametrize(("state", "expected"), [("pending", State.PENDING), ("failed", State.DECLINED)])
def test_a_cancel_of_ours_is_accepted_or_refused(state, expected):
    ledger, operation = begin(authorized(), Request(Kind.CANCEL), TOLD, NOW)
    error = Failure("too_late", "it was captured", "try_later") if state == "failed" else None
    effect = Effect("cancel", eur("42.00"), state, key=operation.id, error=error)
    ledger = notified(ledger.session, effect, operations=[operation])
    closed = ledger.written[operation.id]
    assert (closed.state, closed.error) == (expected, error)
    assert ledger.row.status is Status.AUTHORIZED


def test_an_effect_that_failed_and_that_nobody_knew_is_recorded_if_it_can_be_named():
    error = Failure("blocked", "no", "declined")
    for reference, expected in [("ch", ["operation.failed"]), (None, [])]:
        effect = Effect("capture", eur("5.00"), "failed", reference, error=error)
        ledger = notified(authorized(), effect)
        assert events(ledger) == expected
        assert [row.error for row in ledger.operations] == [error] * len(expected)


def test_an_effect_that_has_no_name_is_recorded_at_once_with_all_that_is_reported_beside_it():
    early = Effect("refund", eur("1.00"), reference="re", capture="ch")
    for other, recorded in [({}, True), ({"key": "theirs"}, False), ({"reference": "r2"}, False)]:
        ledger, all_of_it = reported(
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
        assert reported(authorized(captured=1000), effect, patient=True)[1] is not waits


def test_that_a_session_was_initiated_or_updated_moves_no_money():
    for kind in (Kind.INITIATE, Kind.UPDATE):
        ledger, recorded = reported(authorized(), Effect(kind, eur("9.00"), reference="x"))
        assert (recorded, ledger.changed) == (True, False)


def test_a_capture_does_not_name_the_object():
    ledger = notified(authorized(reference=None), Effect("capture", eur("1.00"), reference="ch"))
    assert ledger.row.reference is None


def test_a_notification_adds_its_data_to_the_sessions_and_one_without_any_leaves_them():
    for data, expected in [(None, {"a": 1}), ('{"b": 2}', {"a": 1, "b": 2})]:
        ledger = Ledger(at_gateway(reference=None, _data='{"a": 1}'), LATER)
        from_details(ledger, Details(data, "pi_1"))
        assert (ledger.session.data, ledger.row.reference) == (expected, "pi_1")


@pytest.mark.parametrize("state", ["succeeded", "reversed"])
def test_a_refund_says_nothing_of_an_authorization(state):
    ledger = notified(at_gateway(), Effect("refund", eur("1.00"), state, "re"))
    assert (ledger.row.status, ledger.row.authorized) == (Status.PENDING, 0)
    reversed_ = ["session.reversed"] if state == "reversed" else ["session.conflict"]
    assert events(ledger) == ["session.refunded", *reversed_]


def test_an_effect_that_failed_keeps_the_capture_that_it_refers_to():
    capture = an_operation(Kind.CAPTURE, reference="ch")
    effect = Effect("refund", eur("1.00"), "failed", "re", capture="ch")
    ledger = notified(authorized(captured=4200), effect, operations=[capture])
    (refund,) = ledger.written.values()
    assert (refund.state, refund.capture_id) == (State.DECLINED, capture.id)


def test_a_refund_counts_against_the_capture_that_it_names_and_nothing_else_of_that_name():
    first = an_operation(Kind.AUTHORIZE, answer="authorized", reference="ch")
    unnamed = replace(an_operation(Kind.CAPTURE, "20.00"), id="ps_1-1-unnamed")
    named = an_operation(Kind.CAPTURE, "20.00", reference="ch")
    for capture, expected in [("ch", named.id), (None, None), ("another", None)]:
        effect = Effect("refund", eur("1.00"), reference="re", capture=capture)
        ledger = notified(authorized(captured=4000), effect, operations=[first, unnamed, named])
        (refund,) = ledger.written.values()
        assert refund.capture_id == expected


def test_of_two_captures_that_are_found_the_one_that_was_undone_is_undone():
    taken = Effect("capture", eur("10.00"), reference="c1")
    undone = Effect("capture", eur("20.00"), "reversed", "c2")
    granted = an_operation(Kind.AUTHORIZE, answer="authorized")
    ledger = notified(authorized(), taken, undone, operations=[granted])
    assert (ledger.row.captured, ledger.row.authorized) == (1000, 2200)


def test_an_authorization_that_is_undone_releases_what_was_not_captured():
    operation = an_operation(Kind.AUTHORIZE, answer="authorized", reference="au")
    undone = Effect("authorize", eur("42.00"), "reversed", "au")
    for captured, released in [(0, ["session.canceled"]), (1000, ["session.released"]), (4200, [])]:
        ledger = notified(authorized(captured=captured), undone, operations=[operation])
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
    ledger = notified(session, effect, operations=[operation] if operation else [])
    assert (ledger.row.error, events(ledger)) == ((error, ["session.error"]) if fails else (None, []))
