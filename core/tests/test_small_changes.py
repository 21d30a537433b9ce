"""The changes of the books that are no answer of a provider's: each by itself, field by field."""

from datetime import UTC, datetime, timedelta

import pytest

from paysession import (
    Capabilities,
    Declined,
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
from paysession.outcome import Answer
from paysession.request import Request
from paysession.values import replace

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
CAN = Capabilities(capture="multiple", refund="multiple", lookup="consistent")
EUR42 = Money("42.00", "EUR")


def a_session(status=Status.AUTHORIZED, **changes):
    session = PaymentSession(
        id="ps_1", collection_id="pc_1", collection_reference="r", provider="p", amount=EUR42,
        created_at=NOW, updated_at=NOW, status=status, initiated=True, ordinal=1, authorized=4200, held=4200,
    )  # fmt: skip
    return replace(session, **changes)


def begun(session, kind=Kind.CAPTURE):
    draft, operation = lifecycle.begin(session, Request(kind, Money("10.00", "EUR")), CAN, NOW)
    return draft.session, operation


def test_to_want_a_cancel_is_a_change_of_now():
    after = lifecycle.want_cancel(a_session(), now=LATER).session
    assert (after.cancel_wanted, after.updated_at, after.version) == (True, LATER, 2)


def test_to_forget_a_cancel_is_a_change_of_now():
    after = lifecycle.forget_cancel(a_session(cancel_wanted=True), now=LATER).session
    assert (after.cancel_wanted, after.updated_at) == (False, LATER)


def test_an_abandoned_session_holds_nothing_wants_nothing_and_is_never_due():
    session = a_session(Status.PENDING, initiated=False, cancel_wanted=True, due_at=NOW)
    draft = lifecycle.abandon(session, now=LATER)
    after = draft.session
    assert (after.status, after.held, after.cancel_wanted, after.due_at) == ("canceled", 0, False, None)
    assert draft.change().hold == -4200


@pytest.mark.parametrize(
    ("due", "expected"), [(None, LATER), (NOW, NOW), (LATER + timedelta(minutes=1), LATER)]
)
def test_a_late_answer_is_looked_into_now_unless_a_look_is_due_before(due, expected):
    session, operation = begun(a_session())
    draft = lifecycle.note(replace(session, due_at=due), operation, "late", now=LATER)
    assert (draft.session.due_at, draft.session.updated_at) == (expected, LATER)
    assert draft.operations[operation.id].note == "late"


def test_a_look_that_settled_nothing_is_followed_by_a_later_one():
    waiting = a_session(Status.REQUIRES_MORE, authorized=0, held=0, checks=2)
    draft = lifecycle.postpone(waiting, now=LATER, capabilities=CAN)
    assert (draft.session.checks, draft.session.due_at) == (3, LATER + timedelta(minutes=80))
    assert draft.session.updated_at == NOW  # nothing of the payment changed


def test_without_its_provider_a_session_is_looked_at_again_all_the_same():
    draft = lifecycle.postpone(a_session(checks=1), now=LATER, capabilities=None)
    assert (draft.session.checks, draft.session.due_at) == (2, LATER + timedelta(seconds=10))


def test_an_authorization_under_way_asks_the_payer_for_nothing_more():
    session, operation = begun(a_session(Status.REQUIRES_MORE, next_action="redirect"), Kind.AUTHORIZE)
    draft = Draft(session, LATER)
    lifecycle.apply_outcome(draft, operation, Outcome.pending(), CAN)
    assert (draft.session.next_action, draft.session.authorizing) == (None, operation.id)


def test_a_release_starts_the_looks_anew():
    session, operation = begun(a_session(checks=7))
    draft = Draft(replace(session, checks=7), LATER)
    draft.release(operation)
    assert draft.session.checks == 0


@pytest.mark.parametrize(("status", "conflict"), [("authorized", "amount"), ("canceled", None)])
def test_giving_all_back_ends_the_conflict_of_a_canceled_session_only(status, conflict):
    session, operation = begun(
        a_session(Status(status), captured=4200, refunded=3200, conflict="amount"), Kind.REFUND
    )
    draft = Draft(session, LATER)
    draft.refund(operation)
    assert (draft.session.refunded, draft.session.conflict) == (4200, conflict)


def test_some_of_it_given_back_leaves_the_conflict_of_a_canceled_session():
    session, operation = begun(a_session(Status.CANCELED, captured=4200, conflict="amount"), Kind.REFUND)
    draft = Draft(session, LATER)
    draft.refund(operation)
    assert draft.session.conflict == "amount"


@pytest.mark.parametrize(("kind", "reference"), [(Kind.CAPTURE, None), (Kind.AUTHORIZE, "gw_1")])
def test_the_reference_of_a_capture_is_not_filled_in_as_the_sessions(kind, reference):
    status = Status.AUTHORIZED if kind is Kind.CAPTURE else Status.REQUIRES_MORE
    session, operation = begun(a_session(status), kind)
    answer = Outcome(answer=Answer.PENDING, reference="gw_1")
    assert lifecycle.fill_in(session, operation, answer, CAN, LATER).session.reference == reference


def test_a_reference_that_is_known_is_not_written_over():
    session, operation = begun(a_session(Status.REQUIRES_MORE, reference="gw_0"), Kind.AUTHORIZE)
    answer = Outcome(answer=Answer.PENDING, reference="gw_1")
    assert lifecycle.fill_in(session, operation, answer, CAN, LATER).session.reference == "gw_0"


@pytest.mark.parametrize(
    ("lease", "doubted", "lost"), [(None, NOW, NOW), (LATER, None, LATER), (LATER, NOW, LATER)]
)
def test_who_takes_an_operation_over_has_it_for_a_while_and_knows_since_when_it_is_lost(lease, doubted, lost):
    session, operation = begun(a_session())
    operation = replace(operation, lease_until=lease, doubted_at=doubted, attempt=3)
    now = LATER + timedelta(hours=1)
    draft, claimed = lifecycle.claim(session, operation, now=now, capabilities=CAN)
    until = now + CAN.call_limit + lifecycle.LEASE_MARGIN
    assert (claimed.attempt, claimed.lease_until, claimed.doubted_at) == (4, until, lost)
    assert (claimed.updated_at, claimed.state) == (now, "started")
    assert draft.operations == {claimed.id: claimed}
    assert (draft.session.due_at, draft.session.updated_at) == (until, session.updated_at)


def test_doubt_says_why_and_since_when():
    session, operation = begun(a_session())
    draft = Draft(session, LATER)
    lifecycle.doubt(draft, operation, OutcomeUnknown("reset"))
    doubted = draft.operations[operation.id]
    assert (doubted.error.code, doubted.error.message, doubted.doubted_at) == ("unknown", "reset", LATER)
    lifecycle.doubt(draft, doubted, OutcomeUnknown("down"), lost_at=NOW)
    assert draft.operations[operation.id].doubted_at == NOW


def test_what_is_found_at_the_gateway_is_the_sessions_next_operation():
    draft = Draft(a_session(), LATER)
    found = draft.add_found(Kind.CAPTURE, EUR42, State.SUCCEEDED, answer="found")
    assert (found.id, found.ordinal, found.session_id, found.origin) == ("ps_1-2", 2, "ps_1", "provider")
    assert (found.created_at, found.updated_at, found.session_status) == (LATER, LATER, "authorized")
    assert draft.session.ordinal == 2


def test_a_refused_initiation_is_told_with_its_operation_and_the_reason():
    session = a_session(Status.PENDING, initiated=False, authorized=0, held=0, ordinal=0)
    draft, operation = lifecycle.begin(session, Request(Kind.INITIATE), CAN, NOW)
    draft = Draft(draft.session, LATER)
    lifecycle.apply_refusal(draft, operation, Declined("no", "words"), CAN)
    (event,) = draft.change().events
    assert (event.type, event.operation_id, event.detail) == ("session.canceled", operation.id, "no")


def test_what_a_refusal_tells_besides_is_kept():
    session, operation = begun(a_session())
    draft = Draft(session, LATER)
    lifecycle.apply_refusal(draft, operation, NotApplied("down", data={"a": 1}, reference="gw_1"), CAN)
    assert (draft.session.data, draft.session.reference) == ({"a": 1}, "gw_1")


@pytest.mark.parametrize(("kind", "checks"), [(Kind.CAPTURE, 0), (Kind.CANCEL, 4)])
def test_only_a_cancel_that_is_refused_is_a_try_of_the_cancel_that_is_wanted(kind, checks):
    session = a_session(cancel_wanted=True, checks=3)
    amount = None if kind is Kind.CANCEL else Money("10.00", "EUR")
    draft, operation = lifecycle.begin(session, Request(kind, amount), CAN, NOW)
    draft = Draft(draft.session, LATER)
    lifecycle.refuse(draft, operation, Declined("no", "words"))
    assert (draft.session.checks, draft.session.cancel_wanted) == (checks, True)
