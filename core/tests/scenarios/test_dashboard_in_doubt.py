"""What a gateway that shows no authorization says of an operation in doubt, and of a session at rest."""

import pytest

from helpers import eur
from paysession import (
    Declined,
    Failure,
    InvalidTransition,
    NotApplied,
    Outcome,
    OutcomeUnknown,
    Redirect,
)
from paysession.outcome import Effect, Snapshot

DOWN = OutcomeUnknown("down")
STOLEN = Failure("stolen_card", "The card was reported stolen.")
PAGE = Redirect("https://gateway.example/3ds")


def in_doubt(told, kind, *arguments):
    """Leave an operation on a session without authorization in doubt, nothing having arrived."""
    session = told.session("requires_more") if kind != "initiate" else None
    told.fake.answers[kind] = OutcomeUnknown("reset")
    told.fake.snapshot = DOWN
    with pytest.raises(OutcomeUnknown, match="reset") as caught:
        if session is None:
            told.session("requires_more")
        else:
            getattr(told.payments, kind)(session.id, *arguments)
    assert caught.value.operation_id == told.key(caught.value.session_id, 1 if session is None else 2)
    return caught.value.session_id


def shows(told, session_id, status, **snapshot):
    """Have the gateway show this; return the session, and what was told of it since."""
    earlier = len(told.events())
    told.fake.snapshot = Snapshot(status, session_id=session_id, **snapshot)
    if told.payments.get(session_id).in_doubt:
        told.clock.forward(minutes=2)
        told.payments.recover()
        session = told.payments.get(session_id)
    else:
        session = told.payments.sync(session_id)
    events = told.events()[earlier:]
    again = told.payments.sync(session_id)  # looking again changes nothing
    assert again.in_doubt if session.in_doubt else again == session
    assert events == told.events()[earlier:]
    return session, [(event.type, event.operation_id, event.detail) for event in events]


def sent(told, kind):
    return [name for name, _ in told.fake.calls].count(kind)


# --- initiate -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "snapshot"),
    [
        ("requires_more", {"next_action": PAGE, "reference": "pi_1", "data": {"intent": "pi_1"}}),
        ("pending", {"reference": "pi_1"}),
        ("error", {"error": STOLEN}),
    ],
)
def test_an_initiate_in_doubt_that_made_its_object_is_settled_by_it(told, status, snapshot):
    session_id = in_doubt(told, "initiate")
    session, events = shows(told, session_id, status, **snapshot)
    operation = told.payments.history(session_id)[0]
    assert (session.status, session.initiated, session.in_doubt) == (status, True, False)
    assert (session.next_action, session.error) == (snapshot.get("next_action"), snapshot.get("error"))
    assert session.reference == operation.reference == snapshot.get("reference")
    assert session.data == snapshot.get("data", {})
    assert (operation.state, operation.answer, operation.error) == ("succeeded", status, None)
    assert events == [("session.initiated", operation.id, None)]
    assert sent(told, "initiate") == 1
    told.fake.answers["authorize"] = Outcome.authorized()
    assert told.payments.authorize(session_id).status == "authorized"


def test_an_initiate_in_doubt_whose_object_is_authorized_is_settled_by_it(told):
    session_id = in_doubt(told, "initiate")
    session, events = shows(told, session_id, "authorized", authorized=eur("42.00"), reference="pi_1")
    operation = told.payments.history(session_id)[0]
    assert (session.status, session.initiated, session.open) == ("authorized", True, None)
    assert (operation.state, operation.answer, operation.error) == ("succeeded", "found", None)
    assert [event[0] for event in events] == ["session.initiated", "session.authorized"]
    assert events[0][1] == operation.id
    assert sent(told, "initiate") == 1


def test_a_replayed_update_does_not_take_a_payers_authorization_back(told):
    """The update happened, the payer confirmed it, and only then is its answer replayed."""
    session_id = in_doubt(told, "update", eur("40.00"))
    told.fake.answers["update"] = Outcome.requires_more(next_action=PAGE)
    session, events = shows(told, session_id, "authorized")
    told.clock.forward(minutes=1)
    told.payments.recover()
    session = told.payments.get(session_id)
    assert (session.status, session.in_doubt, session.authorized) == ("authorized", False, session.held)
    assert told.payments.collection(told.order.id).held == session.held
    assert told.told().count("session.authorized") == 1


def test_an_initiate_that_was_not_applied_and_whose_object_failed_may_be_tried_again(told):
    told.fake.fail_next("not_applied", kind="initiate")
    with pytest.raises(NotApplied) as caught:
        told.session("requires_more", idempotency_key="k")
    session, _ = shows(told, caught.value.session_id, "error", error=STOLEN)
    assert (session.status, session.error, session.initiated) == ("error", STOLEN, True)


def test_an_initiate_that_was_not_applied_and_made_its_object_all_the_same_goes_on(told):
    """The provider was sure, and wrong: the session is not left between all calls."""
    told.fake.fail_next("not_applied", kind="initiate")
    with pytest.raises(NotApplied) as caught:
        told.session("requires_more", idempotency_key="k")
    session_id = caught.value.session_id
    session, events = shows(told, session_id, "requires_more", next_action=PAGE, reference="pi_1")
    assert (session.status, session.initiated, session.next_action) == ("requires_more", True, PAGE)
    assert events == [("session.initiated", None, None)]
    again = told.session("requires_more", idempotency_key="k")
    assert again == session
    assert sent(told, "initiate") == 0
    told.fake.answers["cancel"] = Outcome.canceled()
    assert told.payments.cancel(session_id).status == "canceled"


# --- update ---------------------------------------------------------------------------------------


def test_an_update_in_doubt_is_settled_by_the_amount_of_the_object(told):
    session_id = in_doubt(told, "update", eur("40.00"))
    session, events = shows(told, session_id, "error", amount=eur("40.00"), error=STOLEN)
    operation = told.payments.history(session_id)[-1]
    assert (session.amount, session.status, session.held) == (eur("40.00"), "error", 0)
    assert (session.open, session.error) == (None, STOLEN)
    assert (operation.state, operation.answer, operation.error) == ("succeeded", "found", None)
    assert events == [("session.updated", operation.id, None)]
    assert sent(told, "update") == 1


@pytest.mark.parametrize("snapshot", [{}, {"amount": eur("42.00")}], ids=["not told", "as before"])
def test_an_update_in_doubt_stays_open_while_the_object_does_not_show_it(told, snapshot):
    session_id = in_doubt(told, "update", eur("40.00"))
    session, events = shows(told, session_id, "requires_more", **snapshot)
    assert (session.amount, session.in_doubt, events) == (eur("42.00"), True, [])
    del told.fake.answers["update"]
    told.fake.snapshot = None
    told.settle()
    assert told.payments.get(session_id).amount == eur("40.00")


def test_an_update_of_what_is_held_moves_what_is_held(told):
    """The payer was asked for more, so the amount is held already while it changes."""
    told.fake.answers["authorize"] = Outcome.requires_more(next_action=PAGE)
    session = told.session()
    assert session.held == 4200
    told.fake.answers["update"] = OutcomeUnknown("reset")
    told.fake.snapshot = DOWN
    with pytest.raises(OutcomeUnknown):
        told.payments.update(session.id, eur("30.00"))
    session, _ = shows(told, session.id, "requires_more", amount=eur("30.00"))
    assert (session.amount, session.held) == (eur("30.00"), 3000)
    assert told.payments.collection(told.order.id).held == 3000


@pytest.mark.parametrize(
    ("snapshot", "amount", "row"),
    [
        ({"authorized": eur("40.00")}, "40.00", ("update", "host", "succeeded", "found", 4000)),
        ({"amount": eur("40.00")}, "40.00", ("update", "host", "succeeded", "found", 4000)),
        ({"authorized": eur("42.00")}, "42.00", ("update", "host", "declined", None, 4000)),
        ({"amount": eur("42.00")}, "42.00", ("update", "host", "declined", None, 4000)),
    ],
)
def test_a_payer_who_confirmed_while_an_update_was_in_doubt_decides_it(told, snapshot, amount, row):
    session_id = in_doubt(told, "update", eur("40.00"))
    session, events = shows(told, session_id, "authorized", **snapshot)
    assert told.rows(session_id)[1] == row
    assert told.rows(session_id)[2][:4] == ("authorize", "provider", "succeeded", "found")
    assert session.amount == session.authorized_amount == eur(amount)
    assert (session.held, session.conflict, session.in_doubt) == (session.authorized, None, False)
    update, authorization = told.payments.history(session_id)[1:]
    assert authorization.amount == eur(amount)
    if update.state == "succeeded":
        assert (update.error, events[0]) == (None, ("session.updated", update.id, None))
    else:
        assert update.error.code == "authorized"
        assert events[0] == ("operation.failed", update.id, "authorized")
    assert events[1:] == [("session.authorized", authorization.id, None)]


@pytest.mark.parametrize("became", ["40.00", "42.00"])
def test_an_update_in_doubt_outlasts_an_amount_that_is_neither(told, became):
    """The gateway answered with a wrong amount once."""
    session_id = in_doubt(told, "update", eur("40.00"))
    session, _ = shows(told, session_id, "authorized", authorized=eur("40.01"))
    assert (session.authorized, session.conflict, session.in_doubt) == (4001, "amount", True)
    session, _ = shows(told, session_id, "authorized", authorized=eur(became))
    assert (session.amount, session.authorized_amount, session.held) == (
        eur(became),
        eur(became),
        session.authorized,
    )
    assert not session.in_doubt
    assert told.rows(session_id)[1][2] == ("succeeded" if became == "40.00" else "declined")


# --- authorize ------------------------------------------------------------------------------------


def test_an_authorize_in_doubt_that_happened_is_settled(told):
    session_id = in_doubt(told, "authorize")
    session, events = shows(told, session_id, "authorized")
    operation = told.payments.history(session_id)[-1]
    assert (session.authorized, session.held, session.next_action) == (4200, 4200, None)
    assert (operation.state, operation.answer, operation.error) == ("succeeded", "authorized", None)
    assert events == [("session.authorized", operation.id, None)]


def test_what_a_browser_authorized_and_captured_in_part_is_authorized_as_a_whole(told):
    session = told.session("requires_more")
    taken = Effect("capture", eur("20.00"), reference="ch_1")
    session, _ = shows(told, session.id, "authorized", effects=[taken])
    assert told.books(session.id) == ("authorized", 4200, 2000, 0, None)


def test_an_authorize_in_doubt_that_the_gateway_works_on_is_pending(told):
    session_id = in_doubt(told, "authorize")
    under_way = Effect("authorize", eur("42.00"), "pending")
    session, events = shows(told, session_id, "pending", effects=[under_way])
    operation = told.payments.history(session_id)[-1]
    assert (session.status, session.pending, session.authorizing) == ("pending", 1, operation.id)
    assert (session.held, session.next_action, session.open) == (4200, None, None)
    assert (operation.state, operation.answer, operation.error) == ("pending", "pending", None)
    assert events == [("operation.pending", operation.id, None)]
    assert (session.due_at - told.clock.now).total_seconds() == 300
    session, events = shows(told, session_id, "authorized", authorized=eur("42.00"))
    assert (session.status, session.authorized, session.pending) == ("authorized", 4200, 0)
    assert events == [("session.authorized", operation.id, None)]
    assert len(told.payments.history(session_id)) == 2


def test_other_effects_say_nothing_of_an_authorize_in_doubt(told):
    session_id = in_doubt(told, "authorize")
    effects = [Effect("authorize", eur("42.00"), "failed"), Effect("cancel", eur("1.00"), "pending")]
    session, events = shows(told, session_id, "pending", effects=effects)
    assert (session.in_doubt, session.pending, events) == (True, 0, [])


def test_an_authorize_in_doubt_after_which_the_payer_must_act_is_settled(told):
    told.fake.answers["initiate"] = Outcome.pending()
    session_id = in_doubt(told, "authorize")
    session, events = shows(told, session_id, "requires_more", next_action=PAGE)
    operation = told.payments.history(session_id)[-1]
    assert (session.status, session.next_action, session.open) == ("requires_more", PAGE, None)
    assert (session.held, session.error) == (4200, None)
    assert (operation.state, operation.answer, operation.error) == ("succeeded", "requires_more", None)
    assert events == [("session.requires_more", operation.id, None)]


def test_an_authorize_in_doubt_of_a_payer_who_had_to_act_before_stays_open(told):
    """The object looks as it did before the call: that does not tell whether the call arrived."""
    session_id = in_doubt(told, "authorize")
    session, events = shows(told, session_id, "requires_more", next_action=PAGE)
    assert (session.in_doubt, events) == (True, [])


@pytest.mark.parametrize("error", [STOLEN, None])
def test_an_authorize_in_doubt_that_was_refused_ends_in_error_and_lets_go_of_the_amount(told, error):
    session_id = in_doubt(told, "authorize")
    session, events = shows(told, session_id, "error", error=error)
    operation = told.payments.history(session_id)[-1]
    assert (session.status, session.open, session.held, session.next_action) == ("error", None, 0, None)
    assert session.error == operation.error
    assert session.error.code == (error.code if error else "failed")
    assert session.error.message == (error.message if error else "the provider reports that it failed")
    assert events == [("session.error", operation.id, session.error.code)]
    assert told.payments.collection(told.order.id).held == 0


def test_an_authorize_in_doubt_after_an_error_stays_open_while_the_gateway_shows_that_error(told):
    told.fake.answers["authorize"] = Declined("stolen_card", STOLEN.message)
    session = told.session()
    assert session.error == STOLEN
    told.fake.answers["authorize"] = OutcomeUnknown("reset")
    told.fake.snapshot = DOWN
    with pytest.raises(OutcomeUnknown):
        told.payments.authorize(session.id)
    session, events = shows(told, session.id, "error", error=STOLEN)
    assert (session.in_doubt, events) == (True, [])


def test_a_pending_authorization_after_which_the_payer_must_act_is_settled(told):
    told.fake.answers["authorize"] = Outcome.pending()
    session = told.session()
    session, events = shows(told, session.id, "requires_more", next_action=PAGE)
    operation = told.payments.history(session.id)[-1]
    assert (session.status, session.next_action, session.pending) == ("requires_more", PAGE, 0)
    assert session.authorizing is None
    assert (operation.state, operation.answer) == ("succeeded", "requires_more")
    assert events == [("session.changed", None, None)]


def test_a_pending_authorization_stays_so_while_the_gateway_says_so(told):
    told.fake.answers["authorize"] = Outcome.pending()
    session = told.session()
    session, events = shows(told, session.id, "pending")
    assert (session.pending, session.held, events) == (1, 4200, [])


def test_a_pending_authorization_that_failed_keeps_the_gateways_reason(told):
    told.fake.answers["authorize"] = Outcome.pending()
    session = told.session()
    session, events = shows(told, session.id, "error", error=STOLEN)
    operation = told.payments.history(session.id)[-1]
    assert session.error == operation.error == STOLEN
    assert events == [("session.error", operation.id, "stolen_card")]


# --- at rest --------------------------------------------------------------------------------------


def test_a_refusal_learnt_by_looking_lets_go_of_the_amount(told):
    told.fake.answers["authorize"] = Outcome.requires_more(next_action=PAGE)
    session = told.session()
    session, events = shows(told, session.id, "error", error=STOLEN)
    assert (session.status, session.error, session.held) == ("error", STOLEN, 0)
    assert events == [("session.error", None, None)]
    assert told.payments.collection(told.order.id).held == 0
    other = Failure("expired_card", "The card has expired.")
    session, events = shows(told, session.id, "error", error=other)  # the payer tried another card
    assert (session.error, events) == (other, [("session.error", None, None)])
    session, events = shows(told, session.id, "requires_more", next_action=Redirect("https://again"))
    assert (session.status, session.error) == ("requires_more", None)
    assert session.next_action == Redirect("https://again")
    assert events == [("session.changed", None, None)]


def test_an_error_of_an_earlier_try_is_not_told_while_the_payer_may_try_again(told):
    session = told.session("requires_more")
    session, events = shows(told, session.id, "requires_more", error=STOLEN)
    assert (session.error, events) == (None, [])


def test_what_the_payer_must_do_follows_the_gateway_and_is_not_forgotten(told):
    session = told.session("requires_more")
    before = session.next_action
    session, _ = shows(told, session.id, "requires_more")
    assert session.next_action == before
    session, events = shows(told, session.id, "requires_more", next_action=PAGE)
    assert (session.next_action, events) == (PAGE, [])


@pytest.mark.parametrize("status", ["pending", "requires_more", "error"])
def test_an_authorization_that_the_gateway_does_not_show_any_more_is_reported_once(told, status):
    session = told.session()
    session, events = shows(told, session.id, status)
    assert told.books(session.id) == ("authorized", 4200, 0, 0, "status")
    assert events == [("session.conflict", None, f"status: expected authorized, found {status}")]


@pytest.mark.parametrize("status", ["pending", "requires_more"])
def test_an_object_still_open_after_the_cancel_is_reported_and_cancelled(told, status):
    session = told.session("requires_more")
    told.fake.answers["cancel"] = Outcome.canceled()
    told.payments.cancel(session.id)
    told.fake.answers["cancel"] = NotApplied("down")
    told.fake.snapshot = Snapshot(status)
    session = told.payments.sync(session.id)
    assert (session.conflict, session.cancel_requested) == ("open_after_cancel", True)
    assert told.events()[-2].detail == f"open_after_cancel: expected canceled, found {status}"
    assert sent(told, "cancel") == 2
    told.payments.sync(session.id)
    assert told.told().count("session.conflict") == 1
    told.fake.answers["cancel"] = Outcome.canceled()
    told.clock.forward(minutes=1)
    told.payments.recover()
    session = told.payments.get(session.id)
    assert (session.conflict, session.cancel_requested, session.due_at) == (None, False, None)
    assert told.books(session.id) == ("canceled", 0, 0, 0, None)


def test_an_object_in_error_after_the_cancel_is_left_alone(told):
    session = told.session("requires_more")
    told.payments.cancel(session.id)
    calls = list(told.fake.calls)
    session, events = shows(told, session.id, "error", error=STOLEN)
    assert (session.conflict, session.error, events) == (None, None, [])
    assert calls == told.fake.calls


def test_a_capture_in_doubt_is_not_settled_by_an_object_without_authorization(told):
    session = told.session()
    told.fake.answers["capture"] = OutcomeUnknown("reset")
    told.fake.snapshot = Snapshot("requires_more")
    with pytest.raises(OutcomeUnknown):
        told.payments.capture(session.id)
    assert told.payments.get(session.id).in_doubt
    with pytest.raises(Exception, match="in doubt") as caught:
        told.payments.capture(session.id)
    assert caught.value.operation_id == told.key(session.id, 3)
    assert not isinstance(caught.value, InvalidTransition)
