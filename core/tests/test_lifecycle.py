"""The rules as data, walked completely: every status x every operation x every answer."""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from paysession import (
    Capabilities,
    Declined,
    InvalidTransition,
    Kind,
    Money,
    NotApplied,
    Outcome,
    OutcomeUnknown,
    PaymentSession,
    State,
    Status,
    lifecycle,
)
from paysession.draft import Draft
from paysession.lifecycle import ALLOWED
from paysession.outcome import ANSWERS, Answer
from paysession.request import Request
from paysession.values import replace

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
CAN = Capabilities(capture="multiple", refund="multiple", lookup="consistent")
EUR42 = Money("42.00", "EUR")
CALLED = [kind for kind in Kind if kind is not Kind.INITIATE]


def a_session(status=Status.PENDING, **changes):
    session = PaymentSession(
        id="ps_1", collection_id="pc_1", collection_reference="r", provider="p", amount=EUR42,
        created_at=NOW, updated_at=NOW, status=status, initiated=True, ordinal=1,
    )  # fmt: skip
    if status is Status.AUTHORIZED:
        session = replace(session, authorized=4200, held=4200, captured=2000, refunded=500)
    return replace(session, **changes)


def begun(session, kind):
    amount = Money("10.00", "EUR") if kind in (Kind.UPDATE, Kind.CAPTURE, Kind.REFUND) else None
    draft, operation = lifecycle.begin(session, Request(kind, amount), CAN, NOW)
    return draft.session, operation


def applied(session, operation, told):
    draft = Draft(session, LATER)
    lifecycle.apply_outcome(draft, operation, told, CAN)
    return draft


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


@pytest.mark.parametrize(("status", "kind"), list(product(Status, CALLED)))
def test_an_operation_begins_only_where_the_rules_allow_it(status, kind):
    session = a_session(status)
    if status in ALLOWED[kind]:
        after, operation = begun(session, kind)
        assert (after.open, after.ordinal, after.version) == (operation.id, 2, session.version + 1)
        assert (operation.key, operation.state, operation.ordinal) == ("ps_1-2", "started", 2)
        assert after.due_at == operation.lease_until == NOW + CAN.call_limit + lifecycle.LEASE_MARGIN
        assert after.status == status
        assert after.held == (4200 if kind is Kind.AUTHORIZE else session.held)
    else:
        with pytest.raises(InvalidTransition):
            begun(session, kind)


@pytest.mark.parametrize(("status", "kind", "answer"), list(product(Status, CALLED, Answer)))
def test_every_answer_to_every_operation_from_every_status(status, kind, answer):
    if status not in ALLOWED[kind]:
        return
    before = a_session(status)
    session, operation = begun(before, kind)
    told = outcome(answer, operation)
    if answer not in ANSWERS[kind]:
        with pytest.raises(OutcomeUnknown):
            lifecycle.verify(session, operation, told)
        return
    lifecycle.verify(session, operation, told)
    draft = applied(session, operation, told)
    after, change = draft.session, draft.change()
    if kind is Kind.CANCEL:
        expected = before.status if answer is Answer.PENDING or before.captured else "canceled"
    else:
        expected = AFTER[kind, answer]
    assert after.status == expected
    assert after.open is None
    assert after.version == change.expected + 1 == session.version + 1
    closed = draft.operations[operation.id]
    pending = answer is Answer.PENDING and kind not in (Kind.UPDATE, Kind.INITIATE)
    assert closed.state == (State.PENDING if pending else State.SUCCEEDED)
    assert after.pending == pending
    assert (closed.lease_until, closed.payload) == (None, {})
    assert 0 <= after.refunded + after.refunding <= after.captured + after.capturing <= after.authorized or (
        after.status in ("pending", "requires_more")
    )
    assert change.hold == after.held - session.held
    assert len(change.events) >= 1


@pytest.mark.parametrize(("status", "kind"), list(product(Status, CALLED)))
@pytest.mark.parametrize("refusal", [Declined("no", "words"), NotApplied("words")])
def test_every_refusal_of_every_operation_from_every_status(status, kind, refusal):
    if status not in ALLOWED[kind]:
        return
    before = a_session(status)
    session, operation = begun(before, kind)
    draft = Draft(session, LATER)
    lifecycle.apply_refusal(draft, operation, refusal, CAN)
    after = draft.session
    declined = isinstance(refusal, Declined)
    assert draft.operations[operation.id].state == ("declined" if declined else "not_applied")
    assert after.status == ("error" if declined and kind is Kind.AUTHORIZE else before.status)
    assert after.held == (0 if declined and kind is Kind.AUTHORIZE else before.held)
    for name in ("amount", "authorized", "captured", "refunded", "pending", "open"):
        assert getattr(after, name) == getattr(before, name)


@pytest.mark.parametrize(("status", "kind"), list(product(Status, CALLED)))
def test_doubt_changes_nothing_but_that_it_is_looked_into(status, kind):
    if status not in ALLOWED[kind]:
        return
    session, operation = begun(a_session(status), kind)
    draft = Draft(session, LATER)
    lifecycle.doubt(draft, operation, OutcomeUnknown("reset"))
    after, doubted = draft.session, draft.operations[operation.id]
    assert (after.open, after.held, after.status) == (operation.id, session.held, session.status)
    assert (doubted.state, doubted.lease_until, doubted.doubted_at) == ("started", None, LATER)
    assert after.due_at > LATER
    assert not draft.change().events


@pytest.mark.parametrize(("rest", "due"), [({}, None), ({"pending": 1}, LATER), ({"expires_at": NOW}, LATER)])
def test_a_cancel_that_is_forgotten_leaves_what_else_there_is_to_look_at(rest, due):
    session = a_session(Status.AUTHORIZED, cancel_wanted=True, due_at=NOW, **rest)
    after = lifecycle.forget_cancel(session, now=LATER).session
    assert (after.cancel_wanted, after.due_at) == (False, due)


def test_released_lets_go_of_the_rest():
    session, operation = begun(a_session(Status.AUTHORIZED), Kind.CAPTURE)
    told = Outcome.captured(operation.amount, released=True)
    after = applied(session, operation, told).session
    assert (after.captured, after.authorized, after.held) == (3000, 3000, 3000)


def test_a_pending_capture_reserves_its_amount():
    session, operation = begun(a_session(Status.AUTHORIZED), Kind.CAPTURE)
    draft = applied(session, operation, Outcome.pending())
    after = draft.session
    assert (after.captured, after.capturing) == (2000, 1000)
    with pytest.raises(Exception, match=r"12\.00 EUR is left"):
        lifecycle.begin(after, Request(Kind.CAPTURE, Money("12.01", "EUR")), CAN, LATER)
    cancel, operation = lifecycle.begin(after, Request(Kind.CANCEL), CAN, LATER)
    draft = applied(cancel.session, operation, Outcome.canceled())
    assert (draft.session.status, draft.session.authorized) == ("authorized", 3000)


def test_an_answer_replaces_data_and_names_references():
    session, operation = begun(a_session(), Kind.AUTHORIZE)
    told = Outcome.authorized(data={"a": 1}, reference="pi", expires_at=LATER)
    draft = applied(session, operation, told)
    assert (draft.session.data, draft.session.reference) == ({"a": 1}, "pi")
    assert draft.session.expires_at == LATER
    session, operation = begun(draft.session, Kind.CAPTURE)
    told = Outcome.captured(operation.amount, reference="ch")
    draft = applied(session, operation, told)
    assert (draft.session.data, draft.session.reference) == ({"a": 1}, "pi")
    assert draft.operations[operation.id].reference == "ch"


def test_keys_are_derived_and_short():
    _, operation = begun(a_session(id="ps_" + "f" * 28, ordinal=9998), Kind.AUTHORIZE)
    assert operation.key == "ps_" + "f" * 28 + "-9999"
    assert len(operation.subkey("x" * 12)) <= 50
    assert operation.subkey("customer") == operation.subkey("customer") != operation.subkey("intent")
    for label in ("", "x" * 13, "A", "a-b", "é"):
        with pytest.raises(ValueError):
            operation.subkey(label)
