"""Lost notifications: a gateway's list of changes is read, and what is at rest elsewhere is queried in turn."""

from datetime import timedelta

import pytest

from helpers import eur
from paysession import NotApplied, hookimpl
from paysession._engine import upkeep
from paysession.outcome import Changes, WebhookEvent
from paysession_testing import FakeProvider


class Counting(FakeProvider):
    """Counts its lookups.

    Attributes:
        lookups: How many there were.
        down: Whether it cannot be reached.
        broken: The session that it can show nothing of.
    """

    def __init__(self, **options):
        super().__init__(**options)
        self.lookups, self.down, self.broken = 0, False, None

    @hookimpl
    def retrieve(self, session):
        self.lookups += 1
        if self.down or session.id == self.broken:
            raise NotApplied("no connection")
        return super().retrieve(session)


class Listing(Counting):
    """Lists what changed.

    Attributes:
        listed: What it lists: times and events.
        asked: Since when it was asked.
        page: How many it lists at a time.
    """

    page = 100

    def __init__(self, clock=None, **options):
        super().__init__(**options)
        self.clock, self.listed, self.asked = clock, [], []

    @hookimpl
    def changes(self, since):
        self.asked.append(since)
        if self.down:
            raise NotApplied("no connection")
        found = [(at, event) for at, event in self.listed if at >= since][: self.page]
        until = found[-1][0] if len(found) == self.page else self.clock()
        return Changes([event for _, event in found], until)


@pytest.fixture
def listing(make_shop):
    shop = make_shop(Listing())
    shop.fake.clock = shop.clock
    return shop


@pytest.fixture
def shop(make_shop):
    return make_shop(Counting())


def refund_unnoticed(shop, session, amount="5.00"):
    """Refund in the dashboard; the notification is lost."""
    shop.fake.refund_in_dashboard(session.id, eur(amount))


def more(shop, count):
    """Capture so many payments."""
    sessions = []
    for number in range(count):
        order = shop.payments.create_collection(eur("42.00"), reference=f"more-{number}")
        session = shop.payments.authorize(shop.payments.initiate(order.id, provider="fake").id)
        sessions.append(shop.payments.capture(session.id))
    return sessions


def list_refund(shop, session, number=1):
    shop.fake.listed.append((shop.clock(), WebhookEvent(f"evt_{number}", "refund", session_id=session.id)))


def rounds(shop, **duration):
    """Let time pass, with a run of recovery every ten minutes."""
    left = timedelta(**duration)
    while left > timedelta(0):
        shop.clock.forward(minutes=10)
        shop.payments.recover()
        left -= timedelta(minutes=10)


def test_a_refund_whose_notification_was_lost_is_found_by_the_list_of_changes(listing):
    session = listing.session("captured")
    listing.payments.recover()
    refund_unnoticed(listing, session)
    list_refund(listing, session)
    rounds(listing, minutes=30)
    assert listing.payments.get(session.id).refunded == 500
    assert listing.told().count("session.refunded") == 1


def test_a_change_whose_notification_was_received_is_not_processed_again(listing):
    session = listing.session("captured")
    listing.payments.recover()
    list_refund(listing, session)
    rounds(listing, minutes=30)
    looked = listing.fake.lookups
    rounds(listing, hours=2)
    assert listing.fake.lookups == looked


def test_a_list_that_goes_on_is_read_to_its_end(listing):
    listing.fake.page = 2
    session = listing.session("captured")
    listing.payments.recover()
    for number in range(5):
        listing.clock.forward(minutes=20)
        list_refund(listing, session, number)
    refund_unnoticed(listing, session)
    listing.clock.forward(hours=1)
    for _ in range(8):
        listing.clock.forward(seconds=31)
        listing.payments.recover()
    assert listing.payments.get(session.id).refunded == 500
    assert len(set(listing.fake.asked)) > 3


def test_a_list_that_cannot_be_read_is_read_from_the_same_place_later(listing):
    session = listing.session("captured")
    listing.payments.recover()
    listing.fake.down = True
    refund_unnoticed(listing, session)
    list_refund(listing, session)
    rounds(listing, hours=3)
    assert listing.payments.get(session.id).refunded == 0
    listing.fake.down = False
    rounds(listing, hours=1)
    assert listing.payments.get(session.id).refunded == 500


def test_what_is_no_list_of_changes_is_read_again_later(listing):
    session = listing.session("captured")
    listing.fake.clock = str  # no time
    refund_unnoticed(listing, session)
    list_refund(listing, session)
    listing.payments.recover()
    assert listing.payments.get(session.id).refunded == 0
    listing.fake.clock = listing.clock
    rounds(listing, hours=1)
    assert listing.payments.get(session.id).refunded == 500


def test_a_change_without_an_id_is_refused():
    with pytest.raises(TypeError, match="with the id"):
        Changes([WebhookEvent(None, "x")], None)


def test_without_a_list_a_lost_refund_is_in_the_ledger_within_a_day(shop):
    session = shop.session("captured")
    rounds(shop, days=5)
    refund_unnoticed(shop, session)
    rounds(shop, days=1)
    assert shop.payments.get(session.id).refunded == 500
    assert shop.payments.get(session.id).due_at is None


def test_what_is_at_rest_is_queried_the_more_seldom_the_longer_nothing_changes(shop):
    session = shop.session("captured")

    def looks(days):
        before = shop.fake.lookups
        rounds(shop, days=days)
        return shop.fake.lookups - before

    assert 3 <= looks(1) <= 5
    assert 4 <= looks(5) <= 7
    shop.clock.forward(days=30)
    assert 1 <= looks(14) <= 3
    shop.clock.forward(days=180)
    assert looks(7) == 0
    assert shop.payments.get(session.id).status == "authorized"


def test_what_cannot_move_any_more_is_not_queried(shop):
    session = shop.session("captured")
    shop.payments.refund(session.id)
    before = shop.fake.lookups
    rounds(shop, days=2)
    assert shop.fake.lookups == before


def test_a_sweep_keeps_to_its_budget_and_goes_on_where_it_stopped(shop, monkeypatch):
    monkeypatch.setattr(upkeep, "BUDGET", 12)
    more(shop, 7)
    shop.payments.recover()
    shop.clock.forward(hours=5)
    looked = []
    for _ in range(6):
        before = shop.fake.lookups
        shop.payments.recover(now=True)
        looked.append(shop.fake.lookups - before)
        shop.clock.forward(minutes=10)
    assert looked == [2, 2, 2, 1, 0, 0]


def test_a_gateway_that_is_down_is_asked_a_few_times_and_the_sweep_goes_on_later(shop):
    more(shop, 6)
    shop.payments.recover()
    last = shop.payments.sessions()[-1]
    refund_unnoticed(shop, last)
    shop.clock.forward(hours=5)
    shop.fake.down = True
    before = shop.fake.lookups
    shop.payments.recover()
    assert shop.fake.lookups - before == upkeep.MOST_UNANSWERED
    shop.fake.down = False
    rounds(shop, minutes=20)
    assert shop.payments.get(last.id).refunded == 500


def test_a_session_that_cannot_be_queried_keeps_no_other_one_from_it(shop):
    first, second = more(shop, 2)
    shop.payments.recover()
    refund_unnoticed(shop, second)
    shop.fake.broken = first.id
    rounds(shop, hours=6)
    assert shop.payments.get(second.id).refunded == 500


def test_a_step_looks_at_so_many_sessions_and_no_more(shop, monkeypatch):
    monkeypatch.setattr(upkeep, "MOST_READ", 2)
    monkeypatch.setattr(upkeep, "_PAGE", 2)
    sessions = more(shop, 5)
    shop.payments.recover()
    for session in sessions:
        refund_unnoticed(shop, session)
    shop.clock.forward(hours=5)
    found = []
    for _ in range(3):
        shop.payments.recover()
        found.append(sum(shop.payments.get(row.id).refunded > 0 for row in sessions))
        shop.clock.forward(minutes=10)
    assert found == [2, 4, 5]


def test_a_provider_without_a_lookup_or_without_sessions_is_left_alone(make_shop):
    shop = make_shop(FakeProvider(lookup="none"))
    shop.payments.recover()
    shop.session("captured")
    shop.payments.recover()
    assert shop.store.due_notifications(shop.clock() + timedelta(days=9), 10, "fake") == []


def test_a_provider_that_is_gone_is_no_lag_of_recovery(listing):
    listing.session("captured")
    listing.payments.recover()
    listing.payments._registry._loaded.clear()
    listing.payments._registry._selected.clear()
    rounds(listing, hours=3)
    assert listing.payments.health().problems == ()


def test_two_workers_share_one_list(listing):
    session = listing.session("captured")
    list_refund(listing, session)
    listing.payments.recover()
    asked = len(listing.fake.asked)
    listing.payments.recover()
    assert len(listing.fake.asked) == asked == 1


def test_a_provider_that_lists_changes_since_is_not_swept(make_shop):
    shop = make_shop()
    shop.session("captured")
    shop.payments.recover()
    later = make_shop(Listing(), store=lambda clock: shop.store)
    later.clock, later.fake.clock = shop.clock, shop.clock
    shop.clock.forward(hours=6)
    later.payments.recover()
    rows = shop.store.due_notifications(shop.clock() + timedelta(days=9), 10, "fake")
    assert [row.type for row in rows] == ["paysession.changes"]
