"""Stripe's list of events: what was never delivered, found all the same."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from paysession.provider import NotApplied, OutcomeUnknown
from paysession_stripe import Stripe

KEY = "sk_test_4eC39HqLyjWDarjtT1zdp7dc"
EVENTS = "https://api.stripe.com/v1/events"


@pytest.fixture
def stripe_():
    provider = Stripe(api_key=KEY, max_network_retries=0)
    yield provider
    provider.close()


def ago(**much):
    return datetime.now(UTC) - timedelta(**much)


def event(number, session="ps_1", kind="payment_intent.succeeded"):
    found = {"object": "payment_intent", "id": "pi_1", "metadata": {"paysession_session": session}}
    return {"object": "event", "id": f"evt_{number}", "type": kind, "data": {"object": found}}


def listed(*events, more=False):
    return {"object": "list", "data": list(events), "has_more": more, "url": "/v1/events"}


def test_a_refund_in_the_dashboard_whose_notification_was_lost_is_listed(stripe, begin_paid, payer):
    session = begin_paid()
    since = ago(minutes=1)
    payer.send("refunds", payment_intent=session.reference, amount="500")
    found = stripe.changes(since)
    kinds = [event.type for event in found.events]
    assert "refund.created" in kinds
    assert all(session.reference in event.references for event in found.events)
    assert ago(minutes=1) < found.until <= datetime.now(UTC)


def test_recovery_finds_what_no_notification_told(payments, begin_paid, payer, clock):
    session = begin_paid()
    payer.send("refunds", payment_intent=session.reference, amount="500")
    for _ in range(3):
        clock.advance(minutes=20)
        payments.recover()
    assert 500 == payments.get(session.id).refunded


@pytest.fixture
def begin_paid(payments, payer):
    """Return a function that begins a session that is paid and captured."""
    from paysession import Money

    def begin_paid():
        payments.recover()  # the list is read from here
        order = payments.create_collection(Money("42.00", "EUR"), reference="order-1001")
        session = payments.initiate(order.id, provider="stripe", capture="automatic")
        payer.confirm(session)
        session = payments.resume(session.id)
        assert 4200 == session.captured
        return session

    return begin_paid


def test_events_are_listed_from_the_earliest_and_what_is_not_ours_is_left_out(wire, stripe_):
    theirs = {"object": "event", "id": "evt_9", "type": "payment_intent.succeeded", "data": {"object": {}}}
    foreign = event(8)
    foreign["data"]["object"]["metadata"] = {}
    odd = {"object": "event", "id": 7, "type": "x", "data": None}
    wire.get(EVENTS, json=listed(event(3), event(2, kind="customer.created"), foreign, theirs, odd, event(1)))
    found = stripe_.changes(ago(hours=1))
    assert ["evt_1", "evt_3"] == [event.id for event in found.events]


def test_the_pages_of_a_list_are_read_to_its_end(wire, stripe_):
    wire.get(EVENTS, json=listed(event(3), event(2), more=True))
    wire.get(EVENTS, json=listed(event(1)))
    assert ["evt_1", "evt_2", "evt_3"] == [event.id for event in stripe_.changes(ago(hours=1)).events]
    assert ["evt_2"] == parse_qs(urlsplit(wire.calls[1].request.url).query)["starting_after"]


def test_of_too_many_events_the_earliest_are_listed_and_how_far_is_said(wire, stripe_):
    for number in range(3):
        wire.get(EVENTS, json=listed(event(90 + number), more=True))
    wire.get(EVENTS, json=listed(event(1)))
    since = ago(hours=64)
    found = stripe_.changes(since)
    assert ["evt_1"] == [event.id for event in found.events]
    assert timedelta(minutes=59) < found.until - since < timedelta(minutes=61)


def test_what_stripe_lists_no_more_is_not_asked_for(wire, stripe_):
    wire.get(EVENTS, json=listed())
    stripe_.changes(ago(days=400))
    first = int(parse_qs(urlsplit(wire.calls[0].request.url).query)["created[gte]"][0])
    assert ago(days=30).timestamp() < first


@pytest.mark.parametrize(
    ("status", "expected"),
    [(400, NotApplied), (403, NotApplied), (429, NotApplied), (500, OutcomeUnknown)],
)
def test_a_list_that_cannot_be_read_now_is_read_later(wire, stripe_, status, expected):
    wire.get(EVENTS, status=status, json={"error": {"type": "invalid_request_error", "message": "No."}})
    with pytest.raises(expected):
        stripe_.changes(ago(hours=1))


@pytest.mark.parametrize(("status", "asked"), [(403, 1), (404, 1), (429, 2)])
def test_a_key_that_may_not_list_events_is_not_tried_every_quarter_of_an_hour(wire, stripe_, status, asked):
    wire.get(EVENTS, status=status, json={"error": {"type": "invalid_request_error", "message": "No."}})
    for _ in range(2):
        with pytest.raises(NotApplied):
            stripe_.changes(ago(hours=1))
    assert asked == len(wire.calls)
