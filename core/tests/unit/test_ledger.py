"""The rules as data, walked completely: every status x every operation x every answer."""

import re
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from paysession import (
    Capabilities,
    Conflict,
    Declined,
    InvalidTransition,
    Kind,
    Money,
    NotApplied,
    Outcome,
    OutcomeUnknown,
    State,
    Status,
)
from paysession._ledger.evidence import from_answer, from_late_answer, still_in_doubt, verify
from paysession._ledger.facts import (
    CancelCleared,
    CancelRequested,
    Found,
    Noted,
    Postponed,
    Released,
    Reversed,
)
from paysession._ledger.ledger import Ledger
from paysession._ledger.rules import ALLOWED, LEASE_MARGIN, Request, begin, claim
from paysession._ledger.schedule import schedule
from paysession.operation import KEY_LENGTH
from paysession.outcome import ANSWERS, Answer
from paysession.provider import Redirect
from paysession.store import SessionRow
from paysession.values import Failure, replace

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
CAN = Capabilities(capture="multiple", refund="multiple", lookup="consistent", increment=True)
EUR42 = Money("42.00", "EUR")
CALLED = [kind for kind in ALLOWED if kind is not Kind.INITIATE]


def a_session(status=Status.PENDING, **changes):
    session = SessionRow(
        id="ps_1", collection_id="pc_1", collection_reference="r", provider="p", amount=EUR42,
        created_at=NOW, updated_at=NOW, status=status, initiated=True, ordinal=1,
    )  # fmt: skip
    if status is Status.AUTHORIZED:
        session = replace(session, granted=4200, authorized=4200, held=4200, captured=2000, refunded=500)
    if status is Status.CANCELED:
        session = replace(session, released=True)
    return replace(session, **changes)


def before(status, kind):
    """Return a session from which an operation may begin: what is raised has not been captured."""
    return a_session(status, captured=0, refunded=0) if kind is Kind.UPDATE else a_session(status)


def begun(session, kind=Kind.CAPTURE):
    amount = Money("10.00", "EUR") if kind in (Kind.UPDATE, Kind.CAPTURE, Kind.REFUND) else None
    raised = kind is Kind.UPDATE and session.status is Status.AUTHORIZED
    request = Request(kind, Money("50.00", "EUR"), increment=True) if raised else Request(kind, amount)
    ledger, operation = begin(session, request, CAN, NOW)
    return ledger.session, operation


def applied(session, operation, told):
    ledger = Ledger(session, LATER)
    from_answer(ledger, operation, told, CAN)
    return ledger


def outcome(answer, operation):
    return {
        Answer.PENDING: Outcome.pending(),
        Answer.REQUIRES_MORE: Outcome.requires_more(),
        Answer.AUTHORIZED: Outcome.authorized(),
        Answer.CAPTURED: Outcome.captured(operation.amount),
        Answer.REFUNDED: Outcome.refunded(operation.amount),
        Answer.CANCELED: Outcome.canceled(),
    }[answer]


AFTER = {
    (Kind.UPDATE, Answer.PENDING): "pending",
    (Kind.UPDATE, Answer.REQUIRES_MORE): "requires_more",
    (Kind.UPDATE, Answer.AUTHORIZED): "authorized",
    (Kind.AUTHORIZE, Answer.PENDING): "pending",
    (Kind.AUTHORIZE, Answer.REQUIRES_MORE): "requires_more",
    (Kind.AUTHORIZE, Answer.AUTHORIZED): "authorized",
    (Kind.AUTHORIZE, Answer.CAPTURED): "authorized",
    (Kind.AUTHORIZE, Answer.CANCELED): "canceled",
    (Kind.CAPTURE, Answer.PENDING): "authorized",
    (Kind.CAPTURE, Answer.CAPTURED): "authorized",
    (Kind.REFUND, Answer.PENDING): "authorized",
    (Kind.REFUND, Answer.REFUNDED): "authorized",
}


EVENTS = {
    (Kind.UPDATE, Answer.PENDING): "session.updated",
    (Kind.UPDATE, Answer.REQUIRES_MORE): "session.updated",
    (Kind.UPDATE, Answer.AUTHORIZED): "session.updated",
    (Kind.AUTHORIZE, Answer.REQUIRES_MORE): "session.requires_more",
    (Kind.AUTHORIZE, Answer.AUTHORIZED): "session.authorized",
    (Kind.AUTHORIZE, Answer.CAPTURED): "session.authorized",
    (Kind.AUTHORIZE, Answer.CANCELED): "session.canceled",
    (Kind.CAPTURE, Answer.CAPTURED): "session.captured",
    (Kind.REFUND, Answer.REFUNDED): "session.refunded",
    (Kind.CANCEL, Answer.CANCELED): "session.canceled",
}


@pytest.mark.parametrize(("status", "kind"), list(product(Status, CALLED)))
def test_an_operation_begins_only_where_the_rules_allow_it(status, kind):
    session = before(status, kind)
    if status in ALLOWED[kind]:
        after, operation = begun(session, kind)
        assert (after.open, after.ordinal, after.version) == (operation.id, 2, session.version + 1)
        assert (operation.key, operation.state, operation.ordinal) == (operation.id, "started", 2)
        assert operation.id.startswith("ps_1-2-")
        assert after.due_at == operation.lease_until == NOW + CAN.call_limit + LEASE_MARGIN
        assert after.status == status
        raised = kind is Kind.UPDATE and status is Status.AUTHORIZED
        assert after.held == (4200 if kind is Kind.AUTHORIZE else 5000 if raised else session.held)
    else:
        with pytest.raises(InvalidTransition):
            begun(session, kind)


@pytest.mark.parametrize(("status", "kind", "answer"), list(product(Status, CALLED, Answer)))
def test_every_answer_to_every_operation_from_every_status(status, kind, answer):
    if status not in ALLOWED[kind]:
        return
    old = before(status, kind)
    session, operation = begun(old, kind)
    told = outcome(answer, operation)
    raised = kind is Kind.UPDATE and status is Status.AUTHORIZED
    if answer not in ANSWERS[kind] or (kind is Kind.UPDATE and raised is not (answer is Answer.AUTHORIZED)):
        with pytest.raises(OutcomeUnknown):
            verify(session, operation, told, CAN)
        return
    verify(session, operation, told, CAN)
    ledger = applied(session, operation, told)
    after, change = ledger.session, ledger.change()
    if kind is Kind.CANCEL:
        expected = old.status if answer is Answer.PENDING or old.captured else "canceled"
    else:
        expected = AFTER[kind, answer]
    assert after.status == expected
    assert after.open is None
    assert after.version == change.expected + 1 == session.version + 1
    closed = ledger.written[operation.id]
    pending = answer is Answer.PENDING and kind not in (Kind.UPDATE, Kind.INITIATE)
    assert closed.state == (State.PENDING if pending else State.SUCCEEDED)
    assert after.pending == pending
    assert (closed.lease_until, closed.payload) == (None, {})
    assert 0 <= after.refunded + after.refunding <= after.captured + after.capturing <= after.authorized or (
        after.status in ("pending", "requires_more")
    )
    assert change.hold == after.held - session.held
    told_of = "operation.pending" if pending else EVENTS[kind, answer]
    if kind is Kind.CANCEL and old.captured and not pending:
        told_of = "session.released"
    assert (change.events[0].type, change.events[0].operation_id) == (told_of, operation.id)
    assert len({event.id for event in change.events}) == len(change.events)


@pytest.mark.parametrize(("status", "kind"), list(product(Status, CALLED)))
@pytest.mark.parametrize("refusal", [Declined("no", "words"), NotApplied("words")])
def test_every_refusal_of_every_operation_from_every_status(status, kind, refusal):
    if status not in ALLOWED[kind]:
        return
    old = before(status, kind)
    session, operation = begun(old, kind)
    ledger = Ledger(session, LATER)
    from_answer(ledger, operation, refusal, CAN)
    after = ledger.session
    declined = isinstance(refusal, Declined)
    assert ledger.written[operation.id].state == ("declined" if declined else "not_applied")
    assert after.status == ("error" if declined and kind is Kind.AUTHORIZE else old.status)
    assert after.held == (0 if declined and kind is Kind.AUTHORIZE else old.held)
    for name in ("amount", "authorized", "captured", "refunded", "pending", "open"):
        assert getattr(after, name) == getattr(old, name)


@pytest.mark.parametrize(("status", "kind"), list(product(Status, CALLED)))
def test_doubt_changes_nothing_but_that_it_is_reported_once_and_looked_into(status, kind):
    if status not in ALLOWED[kind]:
        return
    session, operation = begun(before(status, kind), kind)
    ledger = Ledger(session, LATER)
    from_answer(ledger, operation, OutcomeUnknown("reset"), CAN)
    after, doubted = ledger.session, ledger.written[operation.id]
    assert (after.open, after.held, after.status) == (operation.id, session.held, session.status)
    assert (doubted.state, doubted.lease_until, doubted.doubted_at) == ("started", None, LATER)
    assert after.due_at > LATER
    (event,) = ledger.change().events
    assert (event.type, event.operation_id, event.detail) == ("operation.in_doubt", operation.id, "reset")
    ledger = Ledger(after, LATER)
    from_answer(ledger, doubted, OutcomeUnknown("again"), CAN)
    assert not ledger.events
    from_answer(ledger, ledger.written[operation.id], NotApplied("it is not there"), CAN)
    first = ledger.change().events[0]
    assert (first.type, first.operation_id, first.detail) == (
        "operation.settled",
        operation.id,
        "not_applied",
    )


@pytest.mark.parametrize(("rest", "due"), [({}, None), ({"pending": 1}, LATER), ({"expires_at": NOW}, LATER)])
def test_a_cancel_that_is_forgotten_leaves_what_else_there_is_to_look_at(rest, due):
    ledger = Ledger(a_session(Status.AUTHORIZED, cancel_requested=True, due_at=NOW, **rest), LATER)
    ledger.apply(CancelCleared())
    assert (ledger.session.cancel_requested, ledger.session.due_at) == (False, due)


def test_released_lets_go_of_the_rest():
    session, operation = begun(a_session(Status.AUTHORIZED), Kind.CAPTURE)
    told = Outcome.captured(operation.amount, released=True)
    after = applied(session, operation, told).session
    assert (after.captured, after.authorized, after.held) == (3000, 3000, 3000)


def test_a_pending_capture_reserves_its_amount():
    session, operation = begun(a_session(Status.AUTHORIZED), Kind.CAPTURE)
    ledger = applied(session, operation, Outcome.pending())
    after = ledger.session
    assert (after.captured, after.capturing) == (2000, 1000)
    with pytest.raises(Exception, match=r"12\.00 EUR is left"):
        begin(after, Request(Kind.CAPTURE, Money("12.01", "EUR")), CAN, LATER)
    cancel, operation = begin(after, Request(Kind.CANCEL), CAN, LATER)
    ledger = applied(cancel.session, operation, Outcome.canceled())
    assert (ledger.session.status, ledger.session.authorized) == ("authorized", 3000)


def test_an_answer_replaces_data_and_names_references():
    session, operation = begun(a_session(), Kind.AUTHORIZE)
    told = Outcome.authorized(data={"a": 1}, reference="pi", expires_at=LATER)
    ledger = applied(session, operation, told)
    assert (ledger.session.data, ledger.session.reference) == ({"a": 1}, "pi")
    assert ledger.session.expires_at == LATER
    session, operation = begun(ledger.session, Kind.CAPTURE)
    told = Outcome.captured(operation.amount, reference="ch")
    ledger = applied(session, operation, told)
    assert (ledger.session.data, ledger.session.reference) == ({"a": 1}, "pi")
    assert ledger.written[operation.id].reference == "ch"


def test_keys_are_derived_and_short():
    _, operation = begun(a_session(id="ps_" + "f" * 28, ordinal=9998), Kind.AUTHORIZE)
    assert re.fullmatch("ps_f{28}-9999-[a-z2-7]{8}", operation.key)
    assert len(operation.key) <= KEY_LENGTH
    assert len(operation.subkey("x" * 12)) == len(operation.key) + 13
    assert operation.subkey("customer") == operation.subkey("customer") != operation.subkey("intent")
    for label in ("", "x" * 13, "A", "a-b", "é"):
        with pytest.raises(ValueError):
            operation.subkey(label)


# --- the changes that are no answer of a provider's, field by field -----------------------------------


def authorized(status=Status.AUTHORIZED, **changes):
    """Return a session of which all is authorized, and nothing captured."""
    given = {"authorized": 4200, "held": 4200, "captured": 0, "refunded": 0} | changes
    return a_session(status, **{"granted": given["authorized"]} | given)


def after_fact(session, fact):
    ledger = Ledger(session, LATER)
    ledger.apply(fact)
    return ledger.session


def test_to_want_a_cancel_is_a_change_of_now():
    after = after_fact(authorized(), CancelRequested())
    assert (after.cancel_requested, after.updated_at, after.version) == (True, LATER, 2)


def test_to_forget_a_cancel_is_a_change_of_now():
    after = after_fact(authorized(cancel_requested=True), CancelCleared())
    assert (after.cancel_requested, after.updated_at) == (False, LATER)


def test_an_abandoned_session_holds_nothing_wants_nothing_and_is_never_due():
    session = authorized(Status.PENDING, initiated=False, cancel_requested=True, due_at=NOW)
    ledger = Ledger(session, LATER)
    ledger.apply(Released())
    schedule(ledger, CAN)
    after = ledger.session
    assert (after.status, after.held, after.cancel_requested, after.due_at) == ("canceled", 0, False, None)
    assert ledger.change().hold == -4200


@pytest.mark.parametrize(
    ("due", "expected"), [(None, LATER), (NOW, NOW), (LATER + timedelta(minutes=1), LATER)]
)
def test_a_late_answer_is_looked_into_now_unless_a_look_is_due_before(due, expected):
    session, operation = begun(authorized())
    ledger = Ledger(replace(session, due_at=due), LATER)
    ledger.apply(Noted(operation, "late"))
    assert (ledger.session.due_at, ledger.session.updated_at) == (expected, LATER)
    assert ledger.written[operation.id].note == "late"


def test_a_look_that_settled_nothing_is_followed_by_a_later_one():
    waiting = authorized(Status.REQUIRES_MORE, authorized=0, held=0, checks=2)
    ledger = Ledger(waiting, LATER)
    ledger.apply(Postponed())
    schedule(ledger, CAN)
    assert (ledger.session.checks, ledger.session.due_at) == (3, LATER + timedelta(minutes=80))
    assert ledger.session.updated_at == NOW  # nothing of the payment changed


def test_without_its_provider_a_session_is_looked_at_again_all_the_same():
    ledger = Ledger(authorized(checks=1), LATER)
    schedule(ledger, None)
    assert (ledger.session.checks, ledger.session.due_at) == (2, LATER + timedelta(seconds=10))


def test_an_authorization_under_way_asks_the_payer_for_nothing_more():
    session, operation = begun(authorized(Status.REQUIRES_MORE, next_action="redirect"), Kind.AUTHORIZE)
    ledger = Ledger(session, LATER)
    from_answer(ledger, operation, Outcome.pending(), CAN)
    assert (ledger.session.next_action, ledger.session.authorizing) == (None, operation.id)


def test_a_release_starts_the_looks_anew():
    session, operation = begun(authorized(checks=7))
    ledger = Ledger(replace(session, checks=7), LATER)
    ledger.apply(Released(operation))
    assert ledger.session.checks == 0


@pytest.mark.parametrize(("refunded", "conflict"), [(3200, None), (3100, "authorized_after_cancel")])
def test_giving_all_back_ends_the_conflict_of_money_for_a_canceled_session(refunded, conflict):
    session = authorized(
        Status.CANCELED, captured=4200, refunded=refunded, conflict="authorized_after_cancel"
    )
    begun_, operation = begin(session, Request(Kind.REFUND, Money("10.00", "EUR")), CAN, NOW)
    opened = Conflict(
        id="cf_1", session_id="ps_1", kind="authorized_after_cancel",
        expected="nothing", found="42.00 EUR", opened_at=NOW,
    )  # fmt: skip
    ledger = Ledger(begun_.session, LATER, conflicts=[opened])
    from_answer(ledger, operation, Outcome.refunded(Money("10.00", "EUR")), CAN)
    assert (ledger.session.refunded, ledger.session.conflict) == (refunded + 1000, conflict)
    closed = ledger.change().conflicts
    assert [(row.id, row.closed_at, row.closed_by) for row in closed] == (
        [] if conflict else [("cf_1", LATER, None)]
    )


@pytest.mark.parametrize(("kind", "reference"), [(Kind.CAPTURE, None), (Kind.AUTHORIZE, "gw_1")])
def test_the_reference_of_a_capture_is_not_filled_in_as_the_sessions(kind, reference):
    status = Status.AUTHORIZED if kind is Kind.CAPTURE else Status.REQUIRES_MORE
    session, operation = begun(authorized(status), kind)
    answer = Outcome(answer=Answer.PENDING, reference="gw_1")
    ledger = Ledger(session, LATER)
    from_late_answer(ledger, operation, answer, CAN)
    assert ledger.session.reference == reference


def test_a_reference_that_is_known_is_not_written_over():
    session, operation = begun(authorized(Status.REQUIRES_MORE, reference="gw_0"), Kind.AUTHORIZE)
    answer = Outcome(answer=Answer.PENDING, reference="gw_1")
    ledger = Ledger(session, LATER)
    from_late_answer(ledger, operation, answer, CAN)
    assert ledger.session.reference == "gw_0"


@pytest.mark.parametrize(
    ("lease", "doubted", "lost"), [(None, NOW, NOW), (LATER, None, LATER), (LATER, NOW, LATER)]
)
def test_who_takes_an_operation_over_has_it_for_a_while_and_knows_since_when_it_is_lost(lease, doubted, lost):
    session, operation = begun(authorized())
    operation = replace(operation, lease_until=lease, doubted_at=doubted, attempt=3)
    now = LATER + timedelta(hours=1)
    ledger, claimed = claim(session, operation, now=now, capabilities=CAN)
    until = now + CAN.call_limit + LEASE_MARGIN
    assert (claimed.attempt, claimed.lease_until, claimed.doubted_at) == (4, until, lost)
    assert (claimed.updated_at, claimed.state) == (now, "started")
    assert ledger.written == {claimed.id: claimed}
    assert (ledger.session.due_at, ledger.session.updated_at) == (until, session.updated_at)


def test_doubt_says_why_and_since_when():
    session, operation = begun(authorized())
    ledger = Ledger(session, LATER)
    from_answer(ledger, operation, OutcomeUnknown("reset"), CAN)
    doubted = ledger.written[operation.id]
    assert (doubted.error.code, doubted.error.message, doubted.doubted_at) == ("unknown", "reset", LATER)
    still_in_doubt(ledger, doubted, OutcomeUnknown("down"), CAN, lost_at=NOW)
    assert ledger.written[operation.id].doubted_at == NOW


def found_in(session, *facts):
    ledger = Ledger(session, LATER)
    for fact in facts:
        ledger.apply(fact)
    return ledger, list(ledger.written.values())


def test_what_is_found_at_the_gateway_follows_the_sessions_last_operation():
    ledger, (first, second) = found_in(authorized(), *[Found(Kind.CAPTURE, EUR42, State.SUCCEEDED)] * 2)
    assert (first.ordinal, first.session_id, first.origin) == (1, "ps_1", "provider")
    assert re.fullmatch("ps_1-0[a-z2-7]{8}", first.id)
    assert (first.created_at, first.updated_at, first.session_status) == (LATER, LATER, "authorized")
    assert first.place < second.place
    assert ledger.session.ordinal == 1


def test_which_effects_were_found_changes_no_key_of_a_later_request():
    ledger, _ = found_in(authorized(), Found(Kind.CAPTURE, EUR42, State.SUCCEEDED))
    later = [
        begin(session, Request(Kind.REFUND, Money("1.00", "EUR")), CAN, LATER)[1]
        for session in (authorized(captured=4200), replace(ledger.session, released=False))
    ]
    assert later[0].key == later[1].key


def test_the_id_of_what_is_found_derives_from_the_gateways():
    capture = Found(Kind.CAPTURE, EUR42, State.SUCCEEDED, reference="ch_1")
    (_, (first,)), (_, (again,)) = found_in(authorized(), capture), found_in(authorized(version=7), capture)
    assert first.id == again.id
    others = [capture._replace(reference="ch_2"), capture._replace(kind=Kind.REFUND), capture]
    _, rows = found_in(authorized(), capture, *others, Reversed(first, EUR42), Reversed(first, EUR42))
    assert len({row.id for row in rows}) == 6


def test_a_refused_initiation_is_told_with_its_operation_and_the_reason():
    session = authorized(Status.PENDING, initiated=False, authorized=0, held=0, ordinal=0)
    ledger, operation = begin(session, Request(Kind.INITIATE), CAN, NOW)
    ledger = Ledger(ledger.session, LATER)
    from_answer(ledger, operation, Declined("no", "words"), CAN)
    (event,) = ledger.change().events
    assert (event.type, event.operation_id, event.detail) == ("session.canceled", operation.id, "no")


def test_what_a_refusal_tells_besides_is_kept():
    session, operation = begun(authorized())
    ledger = Ledger(session, LATER)
    from_answer(ledger, operation, NotApplied("down", data={"a": 1}, reference="gw_1"), CAN)
    assert (ledger.session.data, ledger.session.reference) == ({"a": 1}, "gw_1")


@pytest.mark.parametrize(("kind", "checks"), [(Kind.CAPTURE, 0), (Kind.CANCEL, 4)])
def test_only_a_cancel_that_is_refused_is_a_try_of_the_cancel_that_is_wanted(kind, checks):
    session = authorized(cancel_requested=True, checks=3)
    amount = None if kind is Kind.CANCEL else Money("10.00", "EUR")
    ledger, operation = begin(session, Request(kind, amount), CAN, NOW)
    ledger = Ledger(ledger.session, LATER)
    from_answer(ledger, operation, Declined("no", "words"), CAN)
    assert (ledger.session.checks, ledger.session.cancel_requested) == (checks, True)


PAGE, OLD = Redirect("https://pay.example/1"), Redirect("https://pay.example/0")


@pytest.mark.parametrize(
    ("kind", "answer", "expected"),
    [
        (Kind.UPDATE, Outcome.requires_more(next_action=PAGE), PAGE),
        (Kind.UPDATE, Outcome.requires_more(), OLD),
        (Kind.AUTHORIZE, Outcome.requires_more(next_action=PAGE), PAGE),
        (Kind.AUTHORIZE, Outcome.requires_more(), None),
        (Kind.AUTHORIZE, Outcome.authorized(), None),
        (Kind.AUTHORIZE, Outcome.pending(), None),
    ],
)
def test_what_the_payer_is_to_do_is_what_was_answered_last(kind, answer, expected):
    session, operation = begun(a_session(Status.REQUIRES_MORE, next_action=OLD), kind)
    assert applied(session, operation, answer).session.next_action == expected


def test_an_authorization_that_ran_out_is_asked_about_later_and_not_at_once():
    session, operation = begun(a_session(Status.AUTHORIZED, expires_at=NOW - timedelta(days=1)))
    assert applied(session, operation, Outcome.captured(operation.amount)).session.due_at > LATER


def test_a_pending_authorization_that_is_found_holds_its_amount():
    ledger, _ = found_in(a_session(Status.REQUIRES_MORE), Found(Kind.AUTHORIZE, EUR42, State.PENDING))
    assert (ledger.session.held, ledger.change().hold) == (4200, 4200)


@pytest.mark.parametrize(("error", "detail"), [(Failure("no", "words"), "no"), (None, None)])
def test_an_effect_that_had_failed_before_it_was_known_is_reported_with_the_reason(error, detail):
    ledger, (row,) = found_in(
        authorized(), Found(Kind.REFUND, EUR42, State.DECLINED, reference="r", error=error)
    )
    (event,) = ledger.change().events
    assert (event.type, event.operation_id, event.detail) == ("operation.failed", row.id, detail)
    assert (row.state, row.answer, row.error) == ("declined", "failed", error)


@pytest.mark.parametrize(
    ("kind", "wanted", "checks"), [(Kind.CAPTURE, False, 0), (Kind.CANCEL, False, 0), (Kind.CANCEL, True, 7)]
)
def test_only_an_attempt_of_the_requested_cancel_goes_on_counting_the_attempts(kind, wanted, checks):
    session, _ = begun(authorized(checks=7, cancel_requested=wanted), kind)
    assert session.checks == checks


@pytest.mark.parametrize(("status", "type_"), [(None, "session.released"), ("canceled", "session.canceled")])
def test_a_capture_that_fails_after_a_release_reports_what_that_leaves(status, type_):
    session = authorized(capturing=1000, captured=0 if status else 2000, pending=1, released=True)
    kept = session.captured + session.capturing
    session = replace(session, authorized=kept, held=kept)
    pending = replace(begun(authorized())[1], state=State.PENDING, amount=Money("10.00", "EUR"))
    ledger = Ledger(session, LATER)
    from_answer(ledger, pending, Declined("no", "words"), CAN)
    assert [event.type for event in ledger.change().events] == ["operation.failed", type_]
    assert ledger.session.authorized == (0 if status else 2000)


@pytest.mark.parametrize("by_us", [False, True])
def test_a_release_within_a_commit_that_goes_on_is_no_end(by_us):
    cancel = begun(authorized(captured=0), Kind.CANCEL)[1] if by_us else None
    ledger, _ = found_in(
        authorized(captured=0), Released(cancel), Found(Kind.AUTHORIZE, EUR42, State.SUCCEEDED)
    )
    assert ledger.session.status == "authorized"
    assert [event.type for event in ledger.change().events] == ["session.released", "session.changed"]


def test_a_refusal_of_what_was_accepted_keeps_that_it_was_pending():
    pending = replace(begun(authorized())[1], state=State.PENDING, answer="pending")
    ledger = applied(authorized(capturing=1000, pending=1), pending, Declined("no", "words"))
    assert ledger.written[pending.id].answer == "pending"


@pytest.mark.parametrize(("data", "reference"), [({"a": 1}, None), (None, "gw_1")])
def test_what_a_refusal_says_besides_is_kept_one_without_the_other(data, reference):
    session, operation = begun(authorized())
    after = applied(session, operation, NotApplied("down", data=data, reference=reference)).session
    assert (after.data, after.reference) == (data or {}, reference)
