"""Which operation may begin, for how much, and what is written down of it: the rules one by one."""

from datetime import timedelta

import pytest

from helpers import NOW, a_session, cents, eur
from paysession import (
    Capabilities,
    Declined,
    InvalidAmount,
    InvalidData,
    InvalidTransition,
    Kind,
    Money,
    NotSupported,
    State,
    Status,
)
from paysession._ledger.evidence import from_answer
from paysession._ledger.facts import Begun, CancelRequested, Found, Reversed
from paysession._ledger.ledger import Ledger
from paysession._ledger.rules import (
    Request,
    begin,
    follow_up,
    is_repetition,
    nothing_to_do,
    requested_cancel,
    standing,
    with_capture,
)
from paysession.values import replace
from recorded import an_operation

CAN = Capabilities(capture="multiple", refund="multiple", lookup="consistent", increment=True)


def authorized(minor=4200, **changes):
    return a_session(Status.AUTHORIZED, **{"granted": minor, "authorized": minor, "held": minor} | changes)


def canceled(**changes):
    return a_session(Status.CANCELED, **{"released": True} | changes)


def begun(session, kind, amount=None, *, capabilities=CAN, **request):
    """Return the operation that a request begins, and the session then."""
    ledger, operation = begin(session, Request(kind, amount, **request), capabilities, NOW)
    return operation, ledger.session


def found(*facts):
    """Return the operations of a session with these effects, found there one after the other."""
    ledger = Ledger(authorized(), NOW)
    for fact in facts:
        ledger.apply(fact)
    return ledger.operations


# --- what a call is known by --------------------------------------------------------------------------

REFUND = Request(Kind.REFUND, eur("5.00"), reason="damaged", capture_id="ps_1-2", extra="x", final=False)


@pytest.mark.parametrize(
    "other",
    [
        {"kind": Kind.CAPTURE},
        {"amount": None},
        {"amount": eur("5.01")},
        {"amount": Money("5.00", "USD")},
        {"reason": None},
        {"reason": "late"},
        {"capture_id": None},
        {"extra": ""},
        {"final": True},
    ],
)
def test_a_key_stands_for_one_call_with_all_that_it_asked_for(other):
    assert REFUND._replace(**other).fingerprint != REFUND.fingerprint
    assert REFUND._replace(by="somebody else", attempt=2).fingerprint == REFUND.fingerprint


def test_what_a_call_is_known_by_is_stored_and_stays_the_same_text():
    assert Request(Kind.AUTHORIZE).fingerprint == "authorize None False None None "
    capture = Request(Kind.CAPTURE, eur("5.00"), final=True, extra="x")
    assert capture.fingerprint == "capture 500 EUR True None None x"
    assert REFUND._replace(reason=None).fingerprint == "refund 500 EUR False None ps_1-2 x"


def test_with_a_callers_key_the_digest_is_the_calls_whatever_the_ledger_makes_of_it():
    keyed = REFUND._replace(idempotency_key="k")
    (capture,) = found(Found(Kind.CAPTURE, eur("20.00"), State.SUCCEEDED))
    assert keyed.digest("ps_1") == keyed._replace(capture=capture).digest("ps_1", eur("5.00"))
    assert keyed.digest("ps_1") != keyed._replace(idempotency_key="l").digest("ps_1")
    assert keyed.digest("ps_1") != keyed.digest("ps_2")


def test_without_a_callers_key_the_digest_is_the_effects():
    capture, another = found(
        Found(Kind.CAPTURE, eur("20.00"), State.SUCCEEDED, reference="a"),
        Found(Kind.CAPTURE, eur("20.00"), State.SUCCEEDED, reference="b"),
    )
    requests = [REFUND, REFUND._replace(capture=capture), REFUND._replace(capture=another)]
    digests = [
        request.digest("ps_1", amount) for request in requests for amount in (None, cents(1), cents(2))
    ]
    assert len(set(digests)) == 9


SETTLED = an_operation(Kind.REFUND, "5.00", capture_id="ps_1-2", final=False)


@pytest.mark.parametrize("state", [State.PENDING, State.SUCCEEDED])
@pytest.mark.parametrize("capture_id", [None, "ps_1-2"])
def test_a_call_without_a_key_repeats_what_was_in_doubt_and_was_done(state, capture_id):
    request = REFUND._replace(capture_id=capture_id, reason="in other words")
    assert is_repetition(request, replace(SETTLED, state=state))


@pytest.mark.parametrize("state", [State.STARTED, State.DECLINED, State.NOT_APPLIED])
def test_what_was_not_done_is_not_repeated(state):
    assert not is_repetition(REFUND, replace(SETTLED, state=state))
    assert not is_repetition(REFUND, None)


@pytest.mark.parametrize(
    "other",
    [
        {"idempotency_key": "k"},
        {"kind": Kind.CAPTURE},
        {"amount": eur("5.01")},
        {"final": True},
        {"capture_id": "ps_1-3"},
    ],
)
def test_a_call_with_a_key_or_for_something_else_is_another(other):
    assert not is_repetition(REFUND._replace(**other), SETTLED)


def test_only_money_is_not_moved_by_a_repetition():
    updated = an_operation(Kind.UPDATE, "5.00")
    assert not is_repetition(Request(Kind.UPDATE, eur("5.00")), updated)


# --- which capture a refund refers to -----------------------------------------------------------------


def capture_and(*facts):
    """Return a capture of 20 euros, and it with the effects that refer to it."""
    capture = Found(Kind.CAPTURE, eur("20.00"), State.SUCCEEDED, reference="ch")
    (operation,) = found(capture)
    return operation, found(capture, *(fact._replace(capture_id=operation.id) for fact in facts))


@pytest.mark.parametrize(
    ("kind", "state", "left"),
    [
        (Kind.REFUND, State.SUCCEEDED, 1500),
        (Kind.REFUND, State.PENDING, 1500),
        (Kind.REFUND, State.DECLINED, 2000),
        (Kind.CHARGEBACK, State.SUCCEEDED, 1500),
        (Kind.CHARGEBACK, State.PENDING, 2000),
        (Kind.CHARGEBACK, State.DECLINED, 2000),
    ],
)
def test_what_was_given_back_or_may_be_is_not_left_of_a_capture(kind, state, left):
    capture, operations = capture_and(Found(kind, eur("5.00"), state))
    assert standing(operations)[capture.id].left == left


def test_what_was_reversed_counts_neither_as_captured_nor_as_given_back():
    capture, operations = capture_and(Found(Kind.REFUND, eur("5.00"), State.SUCCEEDED))
    ledger = Ledger(authorized(captured=2000, refunded=500), NOW, operations)
    ledger.apply(Reversed(operations[1], eur("2.00")))
    ledger.apply(Reversed(capture, eur("4.00")))
    assert standing(ledger.operations) == {capture.id: (1600, 300, 0)}


def test_a_capture_that_is_pending_cannot_be_refunded():
    assert standing(found(Found(Kind.CAPTURE, eur("20.00"), State.PENDING))) == {}


def test_the_last_cent_of_a_capture_is_refunded_where_nothing_is_left_of_the_others():
    capture, spent = capture_and(Found(Kind.REFUND, eur("20.00"), State.SUCCEEDED))
    (cent,) = found(Found(Kind.CAPTURE, cents(1), State.SUCCEEDED, reference="cent"))
    request = with_capture(authorized(captured=2001), Request(Kind.REFUND), [*spent, cent])
    assert (request.capture, request.capture_left) == (cent, 1)
    request = with_capture(authorized(captured=2000), Request(Kind.REFUND), spent)
    assert (request.capture, request.capture_left) == (capture, 0)


def test_the_capture_that_is_named_is_refunded_and_no_other():
    captures = found(
        Found(Kind.CAPTURE, eur("20.00"), State.SUCCEEDED, reference="a"),
        Found(Kind.CAPTURE, eur("10.00"), State.SUCCEEDED, reference="b"),
    )
    session = authorized(captured=3000)
    for capture in captures:
        request = with_capture(session, Request(Kind.REFUND, capture_id=capture.id), captures)
        assert (request.capture, request.capture_left) == (capture, capture.amount.minor)
    with pytest.raises(NotSupported, match="name it with capture="):
        with_capture(session, Request(Kind.REFUND), captures)


@pytest.mark.parametrize("named", ["another", "", 7, ["ps_1-2"]])
def test_what_is_no_capture_cannot_be_refunded(named):
    captures = found(Found(Kind.CAPTURE, eur("20.00"), State.SUCCEEDED, reference="a"))
    with pytest.raises(InvalidData, match="is no capture of this session that succeeded"):
        with_capture(authorized(captured=2000), Request(Kind.REFUND, capture_id=named), captures)


# --- what is done already -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("session", "kind", "done"),
    [
        (a_session(initiated=False), Kind.INITIATE, False),
        (a_session(), Kind.INITIATE, True),
        (a_session(), Kind.AUTHORIZE, False),
        (authorized(), Kind.AUTHORIZE, True),
        (canceled(), Kind.AUTHORIZE, False),
        (authorized(), Kind.CANCEL, False),
        (canceled(), Kind.CANCEL, True),
        (canceled(released=False), Kind.CANCEL, False),
        (canceled(cancel_requested=True), Kind.CANCEL, False),
        (authorized(), Kind.CAPTURE, False),
        (authorized(captured=4200), Kind.CAPTURE, True),
        (authorized(captured=1, capturing=4199), Kind.CAPTURE, True),
        (authorized(captured=4199), Kind.CAPTURE, False),
        (authorized(captured=4200, capturing=0, authorized=4201), Kind.CAPTURE, False),
        (authorized(capturing=4200), Kind.CAPTURE, False),
        (canceled(captured=4200, authorized=4200), Kind.CAPTURE, False),
        (authorized(captured=1, refunded=1), Kind.REFUND, True),
        (authorized(captured=4200, refunded=1, refunding=4199), Kind.REFUND, True),
        (authorized(captured=4200, refunded=1, charged_back=4199), Kind.REFUND, True),
        (authorized(captured=4200, refunded=4199), Kind.REFUND, False),
        (authorized(captured=4200, charged_back=4200), Kind.REFUND, False),
        (authorized(), Kind.REFUND, False),
        (authorized(captured=1, refunded=1), Kind.UPDATE, False),
    ],
)
def test_what_is_done_already_calls_nobody(session, kind, done):
    assert nothing_to_do(session, Request(kind)) is done


@pytest.mark.parametrize("asked", [{"amount": eur("42.00")}, {"capture_id": "ps_1-2"}])
def test_what_names_an_amount_or_a_capture_is_never_done_already(asked):
    for kind in (Kind.CAPTURE, Kind.REFUND):
        assert not nothing_to_do(authorized(captured=4200, refunded=4200), Request(kind, **asked))


@pytest.mark.parametrize(
    ("session", "amount", "done"),
    [
        (authorized(), eur("42.00"), True),
        (authorized(), eur("42.01"), False),
        (authorized(4300), eur("42.00"), False),
        (authorized(4300), eur("43.00"), False),
        (canceled(authorized=4200), eur("42.00"), False),
        (a_session(), eur("42.00"), False),
    ],
)
def test_an_increment_is_done_where_all_of_it_is_asked_for_and_authorized(session, amount, done):
    assert nothing_to_do(session, Request(Kind.UPDATE, amount, increment=True)) is done


# --- from which session an operation may begin --------------------------------------------------------


@pytest.mark.parametrize("kind", [Kind.UPDATE, Kind.AUTHORIZE, Kind.CAPTURE, Kind.REFUND, Kind.CANCEL])
def test_nothing_begins_before_the_provider_has_accepted_the_session(kind):
    with pytest.raises(InvalidTransition, match="has not accepted this session yet"):
        begun(a_session(initiated=False), kind, eur("1.00"))


def test_a_canceled_session_that_was_never_accepted_is_said_to_be_canceled():
    with pytest.raises(InvalidTransition, match="a session that is canceled"):
        begun(canceled(initiated=False), Kind.AUTHORIZE)


def test_while_an_authorization_is_pending_only_a_cancel_begins():
    session = a_session(authorizing="ps_1-1-abcdefgh", pending=1, held=4200)
    for kind in (Kind.AUTHORIZE, Kind.UPDATE):
        with pytest.raises(InvalidTransition, match="an authorization is pending"):
            begun(session, kind, eur("1.00"))
    assert begun(session, Kind.CANCEL)[0].amount == eur("42.00")


def test_while_a_cancel_is_requested_nothing_is_authorized_or_raised():
    with pytest.raises(InvalidTransition, match="a cancel of this session was asked for"):
        begun(a_session(cancel_requested=True), Kind.AUTHORIZE)
    with pytest.raises(InvalidTransition, match="a cancel was asked for"):
        begun(authorized(cancel_requested=True), Kind.UPDATE, eur("50.00"), increment=True)
    assert begun(a_session(cancel_requested=True), Kind.UPDATE, eur("50.00"))[0].amount == eur("50.00")
    assert begun(authorized(cancel_requested=True), Kind.CAPTURE)[0].amount == eur("42.00")
    assert begun(authorized(cancel_requested=True), Kind.CANCEL)[0].amount == eur("42.00")


@pytest.mark.parametrize(
    "session",
    [
        authorized(captured=4200),
        authorized(capturing=4200),
        authorized(captured=4199, capturing=1),
        authorized(0),
        canceled(released=False, captured=4200, authorized=4200),
        canceled(cancel_requested=True, capturing=4200, authorized=4200),
    ],
)
def test_what_is_captured_or_being_captured_is_not_canceled(session):
    with pytest.raises(InvalidTransition, match="everything that was authorized is captured"):
        begun(session, Kind.CANCEL)


@pytest.mark.parametrize(
    ("session", "minor"),
    [
        (authorized(captured=4199), 1),
        (authorized(captured=1000, capturing=1000), 2200),
        (a_session(), 4200),
        (canceled(released=False), 4200),
        (canceled(cancel_requested=True), 4200),
        (canceled(released=False, authorized=3000, captured=1000, capturing=500), 1500),
    ],
)
def test_a_cancel_is_of_what_is_left_or_of_all_that_was_asked_for(session, minor):
    assert begun(session, Kind.CANCEL)[0].amount == cents(minor)


def test_of_a_canceled_session_what_was_captured_can_be_refunded_and_nothing_else_begins():
    session = canceled(captured=1, authorized=1)
    assert begun(session, Kind.REFUND)[0].amount == cents(1)
    for kind in (Kind.CAPTURE, Kind.CANCEL, Kind.AUTHORIZE, Kind.UPDATE):
        with pytest.raises(InvalidTransition, match="a session that is canceled"):
            begun(session, kind, eur("1.00") if kind is Kind.UPDATE else None)
    for kind in (Kind.REFUND, Kind.CANCEL):
        with pytest.raises(InvalidTransition, match="a session that is canceled"):
            begun(canceled(), kind)


def test_a_session_that_is_not_authorized_has_nothing_to_capture_or_refund():
    for kind in (Kind.CAPTURE, Kind.REFUND):
        with pytest.raises(InvalidTransition, match="a session that is pending"):
            begun(a_session(captured=1, released=False, cancel_requested=True), kind)


# --- increments ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes", [{"captured": 1}, {"capturing": 1}, {"pending": 1}, {"cancel_requested": True}]
)
def test_what_is_captured_pending_or_to_be_canceled_is_not_raised(changes):
    with pytest.raises(InvalidTransition, match="initiate another session for the difference"):
        begun(authorized(**changes), Kind.UPDATE, eur("50.00"), increment=True)


def test_only_a_caller_who_may_raise_it_raises_what_is_authorized_and_where_the_provider_can():
    for increment, capabilities in [(False, CAN), (True, Capabilities())]:
        with pytest.raises(InvalidTransition, match="; initiate another session for the difference, or"):
            begun(authorized(), Kind.UPDATE, eur("50.00"), capabilities=capabilities, increment=increment)


@pytest.mark.parametrize("session", [authorized(), authorized(4100), authorized(4200, amount=eur("41.00"))])
def test_what_is_authorized_is_raised_to_more_than_that_and_more_than_was_asked_for(session):
    with pytest.raises(InvalidAmount, match=r"can only be raised, to more than 42\.00 EUR"):
        begun(session, Kind.UPDATE, eur("41.50"), increment=True)
    operation, after = begun(session, Kind.UPDATE, eur("42.01"), increment=True)
    assert operation.hold == after.held - session.held == 4201 - session.held


def test_what_was_found_to_be_authorized_may_be_asked_for_again():
    found = authorized(5000)
    operation, _ = begun(found, Kind.UPDATE, eur("50.00"), increment=True)
    assert operation.hold == 0
    for minor in (4200, 4999):
        with pytest.raises(InvalidAmount, match="can only be raised"):
            begun(found, Kind.UPDATE, cents(minor), increment=True)
    with pytest.raises(InvalidAmount, match="can only be raised"):
        begun(authorized(), Kind.UPDATE, eur("42.00"), increment=True)


# --- amounts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("session", [a_session(), authorized()])
def test_an_update_needs_an_amount_in_the_sessions_currency(session):
    with pytest.raises(InvalidAmount, match="an update needs the new amount"):
        begun(session, Kind.UPDATE, increment=True)
    with pytest.raises(InvalidAmount, match="is not in the session's currency EUR"):
        begun(session, Kind.UPDATE, Money("50.00", "USD"), increment=True)


@pytest.mark.parametrize("kind", [Kind.UPDATE, Kind.CAPTURE, Kind.REFUND])
def test_nothing_is_no_amount(kind):
    session = a_session() if kind is Kind.UPDATE else authorized(captured=1000)
    with pytest.raises(InvalidAmount, match=f"cannot {kind} nothing"):
        begun(session, kind, eur("0.00"))


@pytest.mark.parametrize(
    ("session", "kind", "minor"),
    [
        (authorized(captured=1000, capturing=500), Kind.CAPTURE, 2700),
        (authorized(captured=4000, refunded=1000, refunding=500, charged_back=200), Kind.REFUND, 2300),
        (authorized(captured=4199), Kind.CAPTURE, 1),
    ],
)
def test_all_that_is_left_is_taken_or_given_back_and_no_more(session, kind, minor):
    assert begun(session, kind)[0].amount == cents(minor)
    assert begun(session, kind, cents(1))[0].amount == cents(1)
    with pytest.raises(InvalidAmount, match="is left to"):
        begun(session, kind, cents(minor + 1))


def test_who_captures_more_than_is_authorized_is_told_to_raise_it_where_that_can_be():
    with pytest.raises(InvalidAmount, match=r"42\.00 EUR is authorized; raise that first"):
        begun(authorized(), Kind.CAPTURE, cents(4201))
    for session, capabilities in [
        (authorized(), Capabilities(capture="multiple")),
        (authorized(captured=1), CAN),
    ]:
        with pytest.raises(InvalidAmount, match="is left to capture"):
            begun(session, Kind.CAPTURE, cents(4201), capabilities=capabilities)


@pytest.mark.parametrize("before", [{"captured": 1}, {"capturing": 1}, {"captured": 1, "capturing": 1}])
def test_a_gateway_that_captures_once_is_asked_once(before):
    once = Capabilities(capture="once")
    assert begun(authorized(), Kind.CAPTURE, cents(1), capabilities=once)[0].amount == cents(1)
    with pytest.raises(NotSupported, match="captures once, and this session was captured already"):
        begun(authorized(**before), Kind.CAPTURE, cents(1), capabilities=once)


@pytest.mark.parametrize("over", [{"captured": 4200}, {"captured": 4000, "capturing": 201}])
def test_where_nothing_is_left_that_is_said(over):
    with pytest.raises(InvalidAmount, match="nothing is left to capture"):
        begun(authorized(**over), Kind.CAPTURE)


def test_a_cancel_needs_no_decimals_of_the_gateway():
    capabilities = Capabilities(capture="multiple", currency_exponents={"HUF": 0})
    session = authorized(1050, amount=Money("10.50", "HUF"))
    with pytest.raises(InvalidAmount, match="^p: "):
        begun(session, Kind.CAPTURE, capabilities=capabilities)
    assert begun(session, Kind.CANCEL, capabilities=capabilities)[0].amount == Money("10.50", "HUF")


# --- what is written down -----------------------------------------------------------------------------


@pytest.mark.parametrize(("held", "hold"), [(0, 4200), (4000, 200), (4200, 0), (5000, 0)])
def test_an_authorization_holds_what_is_not_held_yet(held, hold):
    operation, after = begun(a_session(held=held), Kind.AUTHORIZE)
    assert (operation.hold, after.held) == (hold, held + hold)


def test_an_update_holds_more_only_where_something_is_held():
    assert begun(a_session(), Kind.UPDATE, eur("50.00"))[0].hold == 0
    assert begun(a_session(held=4200), Kind.UPDATE, eur("50.00"))[0].hold == 800


def test_with_a_callers_key_the_number_is_that_of_the_attempt_and_the_call_is_recognized():
    operation, after = begun(a_session(ordinal=6), Kind.AUTHORIZE, idempotency_key="k", attempt=3)
    request = Request(Kind.AUTHORIZE, idempotency_key="k")
    assert operation.id == f"ps_1-3-{request.digest('ps_1')}"
    assert (operation.ordinal, after.ordinal, operation.fingerprint) == (7, 7, request.fingerprint)


def test_a_request_is_the_first_attempt_and_raises_nothing_unless_it_says_so():
    assert begun(a_session(), Kind.AUTHORIZE, idempotency_key="k")[0].id.startswith("ps_1-1-")
    with pytest.raises(InvalidTransition, match="does not raise what is authorized"):
        begun(authorized(), Kind.UPDATE, eur("50.00"))


def test_without_a_callers_key_the_number_is_the_ordinal_and_nothing_recognizes_it():
    operation, _ = begun(a_session(ordinal=6), Kind.AUTHORIZE)
    assert operation.id == f"ps_1-7-{Request(Kind.AUTHORIZE).digest('ps_1', eur('42.00'))}"
    assert (operation.fingerprint, operation.attempt, operation.sure) == (None, 1, True)


def test_a_refund_is_written_down_with_its_capture():
    capture, _ = capture_and()
    session = authorized(captured=2000)
    operation, _ = begun(session, Kind.REFUND, capture=capture, capture_left=2000)
    assert (operation.capture_id, begun(session, Kind.REFUND)[0].capture_id) == (capture.id, None)


# --- what follows -------------------------------------------------------------------------------------


def test_a_requested_cancel_is_sent_once_nothing_is_in_doubt_and_says_who_asked():
    session = authorized(cancel_requested=True, cancel_by="ann")
    assert requested_cancel(session) == Request(Kind.CANCEL, by="ann")
    assert requested_cancel(replace(session, open="ps_1-2-abcdefgh")) is None
    assert requested_cancel(replace(session, cancel_requested=False)) is None


@pytest.mark.parametrize(("kind", "follows"), [(Kind.CAPTURE, True), (Kind.CANCEL, False)])
def test_a_requested_cancel_follows_a_refusal_at_once_unless_it_was_refused_itself(kind, follows):
    operation, session = begun(authorized(), kind)
    ledger = Ledger(session, NOW + timedelta(seconds=1))
    ledger.apply(CancelRequested())
    from_answer(ledger, operation, Declined("no", "words"), CAN)
    assert (follow_up(ledger) is not None) is follows


def test_a_requested_cancel_follows_at_once_what_others_released_of_it():
    ledger = Ledger(authorized(cancel_requested=True), NOW)
    ledger.apply(Found(Kind.CANCEL, eur("1.00"), State.SUCCEEDED))
    assert follow_up(ledger) == Request(Kind.CANCEL)


def test_nothing_follows_where_no_cancel_is_requested():
    ledger = Ledger(authorized(), NOW)
    ledger.apply(Begun(begun(authorized(), Kind.CAPTURE)[0]))
    assert follow_up(ledger) is None
