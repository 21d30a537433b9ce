"""A cancel that is wanted, because nobody else can end what is open: when it runs, and when it stops."""

from datetime import timedelta

import pytest

from helpers import eur
from paysession import (
    Declined,
    InvalidTransition,
    NotApplied,
    Outcome,
    OutcomeUnknown,
    SessionBusy,
    hookimpl,
)
from paysession._ledger.ledger import CANCEL_ATTEMPTS as CANCEL_TRIES
from paysession.outcome import Effect, Snapshot
from paysession_testing import FakeProvider


def beyond_the_limit(told):
    """Return a session that a browser authorized while another one holds the order's amount."""
    session = told.session("requires_more")
    told.session()
    told.fake.authorize_in_browser(session.id)
    return session.id


def cancels(told):
    return [kind for kind, _ in told.fake.calls].count("cancel")


REFUSALS = [NotApplied("down"), Declined("no", "not now"), OutcomeUnknown("reset")]


@pytest.mark.parametrize("refusal", REFUSALS, ids=["not applied", "declined", "unknown"])
def test_a_wanted_cancel_that_fails_is_tried_once_and_then_at_growing_intervals(told, refusal):
    session_id = beyond_the_limit(told)
    told.fake.answers["cancel"] = refusal
    session = told.payments.sync(session_id)
    assert (session.status, session.conflict, session.cancel_requested) == ("authorized", "over_limit", True)
    assert cancels(told) == 1
    waits = []
    for tries in range(2, 7):
        waits.append((session.due_at - told.clock.now).total_seconds())
        told.clock.now = session.due_at
        assert told.payments.recover().waiting == (session_id,)
        session = told.payments.get(session_id)
        assert cancels(told) == tries
    assert waits == [5, 10, 20, 40, 80]
    del told.fake.answers["cancel"]
    told.settle()
    session = told.payments.get(session_id)
    assert (session.status, session.authorized, session.due_at) == ("canceled", 0, None)
    assert told.payments.collection(told.order.id).held == 4200  # the other session's


def tried_until_nothing_is_due(told, session_id, most):
    session = told.payments.get(session_id)
    while session.due_at is not None and cancels(told) < most:
        told.clock.now = session.due_at
        told.payments.recover()
        session = told.payments.get(session_id)
    return session


def test_a_wanted_cancel_that_the_gateway_declines_for_a_day_is_a_persons_business(told):
    session_id = beyond_the_limit(told)
    told.fake.answers["cancel"] = Declined("not_voidable", "not this one")
    begun = told.clock.now
    told.payments.sync(session_id)
    session = tried_until_nothing_is_due(told, session_id, 100)
    assert (session.status, session.conflict, session.cancel_requested) == (
        "authorized",
        "cancel_refused",
        False,
    )
    assert (cancels(told), session.checks) == (CANCEL_TRIES, 0)
    assert timedelta(hours=20) < told.clock.now - begun < timedelta(hours=28)
    assert told.told(session_id)[-2:] == ["operation.failed", "session.conflict"]
    conflict = told.payments.events()[-1]
    assert conflict.detail == "cancel_refused: expected canceled, found not_voidable"
    del told.fake.answers["cancel"]
    assert told.payments.cancel(session_id).status == "canceled"


def test_a_wanted_cancel_is_not_given_up_while_the_gateway_is_down(told):
    session_id = beyond_the_limit(told)
    told.fake.answers["cancel"] = NotApplied("down")
    told.payments.sync(session_id)
    session = tried_until_nothing_is_due(told, session_id, CANCEL_TRIES + 5)
    assert (session.conflict, session.cancel_requested, cancels(told)) == (
        "over_limit",
        True,
        CANCEL_TRIES + 5,
    )
    del told.fake.answers["cancel"]
    assert tried_until_nothing_is_due(told, session_id, 100).status == "canceled"


def test_a_wanted_cancel_with_nothing_left_to_cancel_is_forgotten(told):
    session_id = beyond_the_limit(told)
    told.fake.answers["cancel"] = NotApplied("down")
    told.payments.sync(session_id)
    told.fake.snapshot = Snapshot("authorized", authorized=eur("42.00"), captured=eur("42.00"))
    told.clock.forward(minutes=1)
    told.payments.sync(session_id)  # somebody captures it meanwhile
    told.payments.recover()
    session = told.payments.get(session_id)
    assert (session.status, session.captured, session.cancel_requested) == ("authorized", 4200, False)
    assert session.due_at is None
    assert cancels(told) == 1


def test_a_wanted_cancel_that_the_gateway_shows_as_failed_is_tried_once(make_shop):
    class Fails(FakeProvider):
        """Nobody hears its answer, and then it shows that the cancel failed."""

        tries = ()

        @hookimpl
        def cancel(self, session, operation):
            self.tries += (Effect("cancel", operation.amount, "failed", key=operation.key),)
            raise OutcomeUnknown("reset")

        @hookimpl
        def retrieve(self, session):
            return Snapshot("authorized", authorized=session.amount, effects=self.tries)

    shop = make_shop(Fails())
    session_id = beyond_the_limit(shop)
    session = shop.payments.sync(session_id)
    assert (session.cancel_requested, len(shop.fake.tries)) == (True, 1)
    shop.clock.now = session.due_at
    assert shop.payments.recover().waiting == (session_id,)
    assert len(shop.fake.tries) == 2
    assert shop.payments.get(session_id).due_at > shop.clock.now


def test_a_cancel_is_remembered_once(told):
    session = told.session("requires_more")
    told.fake.answers["authorize"] = told.fake.snapshot = OutcomeUnknown("down")
    with pytest.raises(OutcomeUnknown):
        told.payments.authorize(session.id)
    told.clock.forward(minutes=1)
    for _ in range(2):
        with pytest.raises(OutcomeUnknown, match="remembered") as caught:
            told.payments.cancel(session.id)
        assert (caught.value.session_id, caught.value.operation_id) == (session.id, told.key(session.id, 2))
    session = told.payments.get(session.id)
    assert (session.cancel_requested, session.updated_at) == (True, told.clock.now)
    assert cancels(told) == 0
    told.fake.answers.clear()
    told.fake.snapshot = None
    told.settle()
    assert told.books(session.id) == ("canceled", 0, 0, 0, None)
    assert cancels(told) == 1


def test_a_wanted_cancel_that_the_gateway_accepts_is_not_asked_for_again(told):
    session_id = beyond_the_limit(told)
    told.fake.answers["cancel"] = Outcome.pending()
    session = told.payments.sync(session_id)
    assert (session.pending, session.cancel_requested) == (1, False)
    told.settle()
    assert cancels(told) == 1
    told.fake.snapshot = Snapshot("canceled")
    told.settle()
    assert told.books(session_id) == ("canceled", 0, 0, 0, None)


def canceled_in_doubt(told):
    """Ask for the cancel of a session whose initiation is in doubt, and return its id."""
    told.fake.fail_next("timeout", kind="initiate")
    told.fake.snapshot = OutcomeUnknown("down")
    with pytest.raises(OutcomeUnknown) as doubt:
        told.session("requires_more", idempotency_key="k")
    session_id = doubt.value.session_id
    with pytest.raises(OutcomeUnknown, match="remembered"):
        told.payments.cancel(session_id)
    return session_id


def test_a_wanted_cancel_ends_with_a_session_that_the_gateway_never_accepted(told):
    session_id = canceled_in_doubt(told)
    told.fake.snapshot = None
    told.fake.answers["initiate"] = Declined("no", "not here")
    told.clock.forward(minutes=5)
    told.payments.recover()
    session = told.payments.get(session_id)
    assert (session.status, session.cancel_requested, session.due_at) == ("canceled", False, None)


def final_capture(told, **answer):
    session = told.session()
    told.fake.answers["capture"] = Outcome.captured(eur("10.00"), **answer)
    return told.payments.capture(session.id, eur("10.00"), final=True)


def test_the_rest_of_a_final_capture_is_cancelled_where_the_provider_keeps_it(told):
    session = final_capture(told)
    assert (session.status, session.authorized, session.captured) == ("authorized", 1000, 1000)
    assert (cancels(told), session.cancel_requested, session.held) == (1, False, 1000)


def test_a_final_capture_of_all_leaves_nothing_to_cancel(told):
    version = told.session().version
    (session,) = told.payments.sessions()
    session = told.payments.capture(session.id, eur("42.00"), final=True)
    assert (session.authorized, session.cancel_requested, session.due_at) == (4200, False, None)
    assert (cancels(told), session.version) == (0, version + 2)  # begun, and done: none was requested either


def test_the_rest_of_a_final_capture_is_left_to_a_provider_that_lets_go_of_it(told):
    session = final_capture(told, released=True)
    assert (session.authorized, cancels(told), session.cancel_requested) == (1000, 0, False)


def test_the_rest_of_a_final_capture_that_was_found_out_is_cancelled(told):
    session = told.session()
    told.fake.fail_next("lost_answer", kind="capture")
    told.fake.snapshot = Snapshot(
        "authorized", authorized=eur("42.00"), captured=eur("10.00"), session_id=session.id
    )
    session = told.payments.capture(session.id, eur("10.00"), final=True)
    assert (session.authorized, session.captured, cancels(told)) == (1000, 1000, 1)


def test_the_rest_of_a_final_capture_is_cancelled_later_if_that_fails_at_first(told):
    told.fake.answers["cancel"] = NotApplied("down")
    session = final_capture(told)
    assert (session.authorized, session.captured, session.cancel_requested) == (4200, 1000, True)
    del told.fake.answers["cancel"]
    told.fake.snapshot = Snapshot(
        "authorized", authorized=eur("42.00"), captured=eur("10.00"), session_id=session.id
    )
    assert told.payments.recover(now=True).settled == (session.id,)
    session = told.payments.get(session.id)
    assert (session.authorized, session.cancel_requested, session.due_at) == (1000, False, None)


@pytest.mark.parametrize("way", ["webhook", "resume"])
def test_a_wanted_cancel_is_not_overtaken_by_ready(make_told, way, caplog):
    told = make_told(approve=False)
    session = told.session("requires_more", capture="automatic")
    told.fake.answers["authorize"] = told.fake.snapshot = OutcomeUnknown("down")
    with pytest.raises(OutcomeUnknown):
        told.payments.authorize(session.id)
    with pytest.raises(OutcomeUnknown, match="remembered"):
        told.payments.cancel(session.id)
    told.fake.answers = {"cancel": NotApplied("down")}
    told.fake.snapshot = None
    told.clock.forward(minutes=10)
    told.payments.recover()
    s = told.payments.get(session.id)
    assert (s.open, s.cancel_requested, s.status) == (None, True, "requires_more")
    told.fake.payer_approves(session.id)
    if way == "webhook":
        headers, body = told.fake.webhook(session.id)
        told.payments.handle_webhook("fake", headers=headers, body=body)
    else:
        told.payments.resume(session.id)
    assert told.fake.total(session.id, "capture") == 0, told.books(session.id)
    assert "cannot be authorized" not in caplog.text  # nobody has to know of it
    del told.fake.answers["cancel"]
    told.settle()
    assert told.books(session.id) == ("canceled", 0, 0, 0, None)


def test_the_rest_is_cancelled_after_what_was_captured_after_the_cancel_is_refunded(told):
    session = told.session("requires_more")
    told.payments.cancel(session.id)
    told.fake.authorize_in_browser(session.id)
    told.fake.answers["cancel"] = NotApplied("down")
    s = told.payments.sync(session.id)
    assert (s.conflict, s.cancel_requested) == ("authorized_after_cancel", True)
    told.fake.capture_in_dashboard(session.id, eur("20.00"))
    told.payments.sync(session.id)
    told.payments.refund(session.id)
    del told.fake.answers["cancel"]
    told.settle()
    s = told.payments.get(session.id)
    assert told.fake._accounts[session.id].authorized == 2000, (
        told.books(session.id),
        s.cancel_requested,
        s.due_at,
    )
    assert told.books(session.id) == ("canceled", 2000, 2000, 2000, None)


def test_nothing_is_cancelled_any_more_once_all_was_captured_after_the_cancel(told):
    session = told.session("requires_more")
    told.payments.cancel(session.id)
    told.fake.authorize_in_browser(session.id)
    told.fake.answers["cancel"] = NotApplied("down")
    assert told.payments.sync(session.id).cancel_requested
    told.fake.capture_in_dashboard(session.id, eur("42.00"))
    told.payments.sync(session.id)
    tries = len(told.payments.history(session.id))
    told.settle()
    session = told.payments.get(session.id)
    assert told.books(session.id) == ("canceled", 4200, 4200, 0, "authorized_after_cancel")
    assert (session.cancel_requested, session.due_at) == (False, None)
    assert len(told.payments.history(session.id)) == tries
    with pytest.raises(InvalidTransition, match="refund it instead"):
        told.payments.cancel(session.id)
    assert told.payments.refund(session.id).conflict is None


def test_the_looks_for_a_payer_are_no_tries_of_the_cancel(told):
    session = told.session("requires_more")
    told.fake.payer_declines(session.id)
    told.fake.snapshot = Snapshot("requires_more", session_id=session.id)
    for _ in range(40):
        told.clock.now = told.payments.get(session.id).due_at
        told.payments.recover()
    told.fake.snapshot = None
    told.session()
    told.fake.authorize_in_browser(session.id)
    told.fake.answers["cancel"] = Declined("try_later", "being processed")
    s = told.payments.sync(session.id)
    assert (cancels(told), s.conflict, s.cancel_requested) == (1, "over_limit", True)


def test_a_look_after_the_cancel_was_given_up_does_not_start_over(told):
    session = told.session("requires_more")
    told.payments.cancel(session.id)
    told.fake.answers["cancel"] = Declined("no", "no")
    told.fake.snapshot = Snapshot("requires_more", session_id=session.id)
    told.payments.sync(session.id)
    for _ in range(60):
        told.clock.forward(hours=1)
        told.payments.recover()
    s = told.payments.get(session.id)
    assert (s.conflict, s.cancel_requested) == ("cancel_refused", False)
    n = cancels(told)
    told.payments.sync(session.id)
    s = told.payments.get(session.id)
    assert (s.conflict, s.cancel_requested, cancels(told)) == ("cancel_refused", False, n)


def test_a_remembered_cancel_ends_a_session_whose_initiation_did_not_happen(told):
    session_id = canceled_in_doubt(told)
    told.fake.snapshot = Snapshot.absent()
    told.fake.answers["initiate"] = NotApplied("no")
    for _ in range(30):
        told.clock.forward(hours=2)
        told.payments.recover()
    s = told.payments.get(session_id)
    assert (s.open, s.status) == (None, "canceled")


def test_a_session_whose_cancel_is_not_finished_is_not_replaced(told):
    session = told.session("requires_more")
    told.fake.answers["cancel"] = Outcome.pending()
    with pytest.raises(SessionBusy) as caught:
        told.payments.initiate(told.order.id, provider="fake", replaces=session.id)
    assert caught.value.session_id == session.id
    assert len(told.payments.sessions()) == 1
