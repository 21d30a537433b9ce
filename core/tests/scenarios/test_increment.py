"""Raising what is authorized: `update` of an authorized session, at a provider that declares ``increment``."""

import pytest

from helpers import eur
from paysession import (
    Capabilities,
    Declined,
    InvalidAmount,
    InvalidTransition,
    NotApplied,
    Outcome,
    OutcomeUnknown,
    Payments,
)
from paysession.errors import ProviderLoadError, SessionBusy
from paysession.provider import Snapshot
from paysession_testing import FakeProvider
from paysession_testing.fake import FAULTS

SENT = ("lost_answer", "raises", "none", "wrong_type", "wrong_amount", "wrong_currency")


@pytest.fixture
def raising(make_told):
    """Return a shop whose session of 42 euros is authorized, and whose order has come to 50."""
    shop = make_told(increment=True)
    shop.id = shop.session().id
    shop.payments.update_collection(shop.order.id, eur("50.00"))
    return shop


def held(shop):
    return shop.payments.collection(shop.order.id).held


def stands(shop):
    """Return how the session stands: amount, what is authorized, and what is held, in minor units."""
    session = shop.payments.get(shop.id)
    assert held(shop) == session.held
    return session.amount.minor, session.authorized, session.held


def sent(shop, kind="update"):
    return [key for name, key in shop.fake.calls if name == kind]


def test_an_increment_raises_amount_authorization_and_hold_and_can_be_captured_whole(raising):
    session = raising.payments.update(raising.id, eur("50.00"), by="ann")
    assert (session.status, session.authorized_amount, session.capturable_amount) == (
        "authorized",
        eur("50.00"),
        eur("50.00"),
    )
    assert stands(raising) == (5000, 5000, 5000)
    event = raising.events()[-1]
    assert (event.type, event.amount, event.authorized, event.by) == (
        "session.updated",
        eur("50.00"),
        5000,
        "ann",
    )
    assert raising.payments.collection(raising.order.id).status == "authorized"
    assert raising.payments.capture(session.id).captured_amount == eur("50.00")
    assert raising.fake.total(raising.id, "capture") == 5000


def test_the_difference_is_held_from_the_beginning(raising):
    during = []
    raising.fake.meanwhile["update"] = lambda: during.append(held(raising))
    raising.payments.update(raising.id, eur("50.00"))
    assert during == [5000]


def test_an_increment_beyond_the_collection_or_what_others_hold_is_refused(raising):
    with pytest.raises(InvalidAmount, match="more than the collection's"):
        raising.payments.update(raising.id, eur("50.01"))
    other = raising.payments.initiate(raising.order.id, provider="fake", amount=eur("5.00"))
    raising.payments.authorize(other.id)
    with pytest.raises(InvalidAmount, match="no room for 50.00"):
        raising.payments.update(raising.id, eur("50.00"))
    assert not sent(raising)
    assert raising.payments.update(raising.id, eur("45.00")).authorized == 4500


def test_it_goes_upward_only(raising):
    for amount in ("10.00", "41.99"):
        with pytest.raises(InvalidAmount, match="can only be raised, to more than 42.00 EUR"):
            raising.payments.update(raising.id, eur(amount))
    assert not sent(raising)


def test_the_amount_that_is_authorized_already_asks_nobody(raising):
    session = raising.payments.update(raising.id, eur("50.00"))
    assert raising.payments.update(raising.id, eur("50.00")) == session
    assert len(sent(raising)) == 1


def test_nothing_is_raised_once_a_part_is_captured(raising):
    raising.payments.capture(raising.id, eur("1.00"))
    with pytest.raises(InvalidTransition, match="another session for the difference"):
        raising.payments.update(raising.id, eur("50.00"))
    assert not sent(raising)


def test_nothing_is_raised_while_anything_is_pending(raising):
    raising.fake.answers["cancel"] = Outcome.pending()
    raising.payments.cancel(raising.id)
    with pytest.raises(InvalidTransition, match="a cancel was asked for"):
        raising.payments.update(raising.id, eur("50.00"))
    assert not sent(raising)


def test_a_provider_that_does_not_declare_it_refuses_and_says_what_to_do(shop):
    session = shop.session()
    shop.payments.update_collection(shop.order.id, eur("50.00"))
    with pytest.raises(
        InvalidTransition, match="does not raise what is authorized; initiate another session"
    ):
        shop.payments.update(session.id, eur("50.00"))


def test_a_capture_of_more_than_is_authorized_is_refused_and_names_the_increment(raising):
    with pytest.raises(InvalidAmount, match=r"42\.00 EUR is authorized; raise that first, with update"):
        raising.payments.capture(raising.id, eur("50.00"))
    raising.payments.capture(raising.id, eur("1.00"))
    with pytest.raises(InvalidAmount, match="41.00 EUR is left to capture"):  # too late to raise it
        raising.payments.capture(raising.id, eur("50.00"))


def test_a_decline_leaves_what_was_authorized(raising):
    before = raising.payments.get(raising.id)
    raising.fake.fail_next("declined", kind="update")
    with pytest.raises(Declined) as caught:
        raising.payments.update(raising.id, eur("50.00"), idempotency_key="k")
    assert caught.value.session_id == raising.id
    assert stands(raising) == (4200, 4200, 4200)
    assert raising.payments.get(raising.id).error is before.error is None
    assert raising.told()[-1] == "operation.failed"
    with pytest.raises(Declined):  # the same call again
        raising.payments.update(raising.id, eur("50.00"), idempotency_key="k")
    assert len(sent(raising)) == 1
    assert raising.payments.capture(raising.id).captured == 4200


def test_after_a_decline_the_gateway_is_queried(raising):
    raising.fake.authorize_in_browser(raising.id, eur("45.00"))
    raising.fake.fail_next("declined", kind="update")
    with pytest.raises(Declined):
        raising.payments.update(raising.id, eur("50.00"))
    assert raising.books(raising.id) == ("authorized", 4500, 0, 0, "amount")


@pytest.mark.parametrize("fault", [*SENT, "timeout", "not_applied"])
def test_whatever_is_lost_it_is_raised_once(raising, fault):
    raising.fake.fail_next(fault, kind="update")
    try:
        raising.payments.update(raising.id, eur("50.00"), idempotency_key="k")
    except NotApplied:
        assert stands(raising) == (4200, 4200, 4200)
    except OutcomeUnknown:
        assert stands(raising) == (4200, 4200, 5000)
        raising.clock.forward(minutes=2)
        raising.payments.recover()
    raising.payments.update(raising.id, eur("50.00"), idempotency_key="k")
    assert stands(raising) == (5000, 5000, 5000)
    assert raising.fake.total(raising.id, "update") == 800
    assert not raising.payments.conflicts()


def in_doubt(shop, **options):
    """Let an increment to 50 euros be lost, at a gateway that does not repeat."""
    shop.fake.answers["update"] = OutcomeUnknown("reset")
    with pytest.raises(OutcomeUnknown):
        shop.payments.update(shop.id, eur("50.00"), **options)
    assert stands(shop) == (4200, 4200, 5000)


def test_in_doubt_it_blocks_a_second_one_and_what_would_need_its_room(raising):
    in_doubt(raising)
    with pytest.raises(SessionBusy):
        raising.payments.capture(raising.id)
    with pytest.raises(InvalidAmount):
        raising.payments.initiate(raising.order.id, provider="fake")


def test_what_never_arrived_is_settled_as_not_applied_once_no_request_can(raising):
    in_doubt(raising)
    raising.settle()
    assert raising.rows(raising.id)[-1] == ("update", "host", "not_applied", None, 5000)
    assert stands(raising) == (4200, 4200, 4200)
    assert raising.payments.capture(raising.id).captured == 4200


@pytest.mark.parametrize("status", ["authorized", "canceled"])
def test_a_lookup_that_shows_the_new_amount_settles_it(raising, status):
    in_doubt(raising)
    total = eur("50.00") if status == "authorized" else eur("0")
    raising.fake.snapshot = Snapshot(status, amount=eur("50.00"), authorized=total, captured=eur("0"))
    raising.payments.sync(raising.id)
    assert raising.rows(raising.id)[2] == ("update", "host", "succeeded", "found", 5000)
    assert stands(raising) == (5000, total.minor, total.minor)


def test_what_others_raised_to_more_is_enough_and_reported(raising):
    in_doubt(raising)
    raising.fake.snapshot = Snapshot("authorized", amount=eur("60.00"), authorized=eur("60.00"))
    raising.payments.sync(raising.id)
    assert raising.books(raising.id) == ("authorized", 6000, 0, 0, "amount")
    assert raising.rows(raising.id)[2][2:4] == ("succeeded", "found")


@pytest.mark.parametrize("captured", ["45.00", "50.00"])
def test_what_others_raised_and_captured_before_anybody_looked_is_reported(raising, captured):
    taken = eur(captured)
    raising.fake.snapshot = Snapshot("authorized", amount=eur("50.00"), authorized=taken, captured=taken)
    raising.payments.sync(raising.id)
    assert raising.books(raising.id) == ("authorized", taken.minor, taken.minor, 0, "amount")
    (conflict,) = raising.payments.conflicts()
    assert (conflict.expected, conflict.found) == ("42.00 EUR", f"{taken}")
    raising.payments.acknowledge(conflict.id, by="ann", note="the guest stayed another night")
    raising.payments.sync(raising.id)
    assert not raising.payments.conflicts()


def test_an_increment_is_to_the_whole_whatever_others_authorized_before(raising):
    in_doubt(raising)
    raising.fake.snapshot = Snapshot("authorized", amount=eur("42.00"), authorized=eur("45.00"))
    raising.payments.sync(raising.id)
    assert stands(raising)[:2] == (4200, 4500)
    raising.fake.answers["update"] = Outcome.authorized(amount=eur("50.00"))
    raising.clock.forward(minutes=2)
    raising.payments.recover()
    assert stands(raising) == (5000, 5000, 5000)


def test_a_capture_of_others_keeps_the_room_of_an_increment_in_doubt(raising):
    in_doubt(raising)
    shown = Snapshot("authorized", amount=eur("42.00"), authorized=eur("42.00"), captured=eur("10.00"))
    raising.fake.snapshot = shown
    raising.payments.sync(raising.id)
    assert stands(raising) == (4200, 4200, 5000)


def test_a_session_that_ends_meanwhile_frees_the_room(raising):
    in_doubt(raising)
    raising.fake.cancel_in_dashboard(raising.id)
    raising.payments.sync(raising.id)
    assert (raising.payments.get(raising.id).status, held(raising)) == ("canceled", 0)
    assert raising.rows(raising.id)[2][:3] == ("update", "host", "declined")


def test_a_cancel_waits_for_it_and_releases_all(raising):
    raising.fake.fail_next("lost_answer", kind="update")
    raising.fake.snapshot = OutcomeUnknown("down")
    with pytest.raises(OutcomeUnknown):
        raising.payments.update(raising.id, eur("50.00"))
    with pytest.raises(OutcomeUnknown, match="the cancel is remembered"):
        raising.payments.cancel(raising.id)
    raising.fake.snapshot = None
    raising.settle()
    assert raising.books(raising.id) == ("canceled", 0, 0, 0, None)
    assert raising.rows(raising.id)[-1] == ("cancel", "host", "succeeded", "canceled", 5000)


def test_an_operator_settles_it(raising):
    in_doubt(raising)
    (doubt,) = raising.payments.in_doubt()
    raising.payments.resolve(doubt.operation.id, "succeeded", note="the dashboard shows 50.00")
    assert stands(raising) == (5000, 5000, 5000)


@pytest.mark.parametrize("answer", [Outcome.pending(), Outcome.requires_more()])
def test_an_increment_is_answered_authorized_and_nothing_else(raising, answer):
    raising.fake.answers["update"] = answer
    with pytest.raises(OutcomeUnknown, match=f"answered {answer.answer} to update"):
        raising.payments.update(raising.id, eur("50.00"))
    assert stands(raising) == (4200, 4200, 5000)


def test_an_update_before_authorization_is_not_answered_authorized(told):
    session = told.session("requires_more")
    told.fake.answers["update"] = Outcome.authorized()
    with pytest.raises(OutcomeUnknown, match="answered authorized to update"):
        told.payments.update(session.id, eur("40.00"))


def test_pay_raises_nothing_that_the_payer_authorized_meanwhile(make_told):
    shop = make_told(increment=True)
    session = shop.payments.pay(shop.order.id, provider="fake")
    shop.payments.update_collection(shop.order.id, eur("50.00"))
    shop.fake.paused = lambda: None
    resume = shop.payments.resume

    def paid_meanwhile(session_id, **options):
        found = resume(session_id, **options)
        shop.fake.paused = staticmethod(bool)
        shop.payments.authorize(session_id)
        return found

    shop.payments.resume = paid_meanwhile
    other = shop.payments.pay(shop.order.id, provider="fake")
    assert (other.amount, other.id != session.id) == (eur("8.00"), True)
    assert not sent(shop)


def test_a_provider_that_cannot_be_queried_may_not_declare_it():
    with pytest.raises(ProviderLoadError, match="cannot be queried"):
        Payments.open("memory:", providers={"fake": FakeProvider(increment=True, lookup="none")})


def test_a_provider_without_update_may_not_declare_it():
    class Fixed(FakeProvider):
        update = None

    fixed = Fixed()
    fixed.capabilities = Capabilities(increment=True, lookup="consistent")
    with pytest.raises(ProviderLoadError, match="does not implement the hook 'update'"):
        Payments.open("memory:", providers={"fake": fixed})


def test_every_fault_of_the_fake_is_tried():
    assert {*SENT, "timeout", "not_applied", "declined"} == set(FAULTS)
