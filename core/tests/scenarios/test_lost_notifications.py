"""Lost notifications: a gateway's list of changes is read, and what is at rest elsewhere is queried in turn."""

from datetime import timedelta

import pytest
from attrs import evolve

from helpers import NOW, a_session, eur
from paysession import NotApplied, Payments, SessionBusy, hookimpl
from paysession._engine import rounds as runs
from paysession._engine import upkeep
from paysession._plugins.registry import Registry
from paysession.operation import Dispute
from paysession.outcome import Changes, WebhookEvent
from paysession_testing import FakeProvider


class Counting(FakeProvider):
    """Counts its lookups.

    Attributes:
        lookups: How many there were.
        down: Whether it cannot be reached.
        broken: The sessions that it can show nothing of.
    """

    def __init__(self, **options):
        super().__init__(**options)
        self.lookups, self.down, self.broken = 0, False, ()

    @hookimpl
    def retrieve(self, session):
        self.lookups += 1
        if self.down or session.id in self.broken:
            raise NotApplied("no connection")
        return super().retrieve(session)


class Listing(Counting):
    """Lists what changed.

    Attributes:
        listed: What it lists: times and events.
        asked: Since when it was asked.
        meanwhile: What happens while it is asked.
        page: How many it lists at a time.
    """

    page = 100
    meanwhile = staticmethod(bool)

    def __init__(self, clock=None, **options):
        super().__init__(**options)
        self.clock, self.listed, self.asked = clock, [], []

    @hookimpl
    def changes(self, since):
        self.asked.append(since)
        self.meanwhile()
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
        listing.payments.recover()
        asked = len(listing.fake.asked)
        listing.clock.forward(seconds=29)
        listing.payments.recover()
        assert len(listing.fake.asked) == asked  # half a minute lies between two pages
        listing.clock.forward(seconds=1)
    assert listing.payments.get(session.id).refunded == 500
    assert len(set(listing.fake.asked)) > 3


def test_a_list_that_cannot_be_read_is_read_from_the_same_place_later(listing, caplog):
    session = listing.session("captured")
    listing.payments.recover()
    listing.fake.down = True
    refund_unnoticed(listing, session)
    list_refund(listing, session)
    rounds(listing, hours=3)
    assert listing.payments.get(session.id).refunded == 0
    assert caplog.text == ""  # it is no fault of ours
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


def test_a_list_is_read_from_a_day_before_and_then_every_quarter_of_an_hour(listing):
    listing.session("captured")
    listing.payments.recover()
    assert listing.fake.asked == [listing.clock() - timedelta(days=1, minutes=10)]
    listing.clock.forward(minutes=15, seconds=-1)
    listing.payments.recover()
    assert len(listing.fake.asked) == 1
    listing.clock.forward(seconds=1)
    listing.payments.recover()
    assert listing.fake.asked[1:] == [listing.clock() - timedelta(minutes=25)]
    listing.payments.recover(now=True)
    assert listing.fake.asked[2:] == [listing.clock() - timedelta(minutes=10)]


def test_what_a_list_names_is_processed_in_the_same_run(listing):
    session = listing.session("captured")
    refund_unnoticed(listing, session)
    list_refund(listing, session)
    listing.payments.recover()
    assert listing.payments.get(session.id).refunded == 500


def test_what_a_list_names_when_the_time_of_a_run_is_over_is_processed_in_the_next(listing, monkeypatch):
    monkeypatch.setattr(runs, "PATIENCE", 0.0)
    listing.payments = Payments(listing.store, Registry({"fake": listing.fake, "other": FakeProvider()}))
    session = listing.session("captured")
    refund_unnoticed(listing, session)
    list_refund(listing, session)
    listing.payments.recover()
    assert (listing.fake.lookups, len(listing.store.due_notifications(listing.clock(), 10, "fake"))) == (0, 1)
    listing.payments.recover()
    assert listing.payments.get(session.id).refunded == 500


def test_a_list_is_not_read_by_another_worker_meanwhile(listing):
    listing.session("captured")
    listing.fake.meanwhile = listing.payments.recover
    listing.payments.recover()
    assert len(listing.fake.asked) == 1


@pytest.mark.parametrize(("limit", "wait"), [(1, 5), (10, 20)])
def test_a_list_that_could_not_be_read_is_read_again_once_the_call_must_be_over(listing, limit, wait):
    """After five minutes; where a call may take longer, after two calls."""
    listing.fake.capabilities = evolve(listing.fake.capabilities, call_limit=timedelta(minutes=limit))
    listing.payments = Payments(listing.store, Registry({"fake": listing.fake}))
    listing.session("captured")
    listing.fake.down = True
    listing.payments.recover()
    listing.clock.forward(minutes=wait, seconds=-1)
    listing.payments.recover()
    assert len(listing.fake.asked) == 1
    listing.clock.forward(seconds=1)
    listing.payments.recover()
    assert len(listing.fake.asked) == 2


def test_a_provider_that_cannot_be_loaded_here_keeps_no_other_one_from_it(shop):
    shop.session("requires_more")
    here = Payments(shop.store, Registry({"fake": object(), "other": Counting()}))
    order = here.create_collection(eur("42.00"), reference="order-2")
    here.initiate(order.id, provider="other")
    here.recover()
    later = shop.clock() + timedelta(days=9)
    assert shop.store.due_notifications(later, 10, "fake") == []
    assert [row.type for row in shop.store.due_notifications(later, 10, "other")] == ["paysession.sweep"]


def test_nothing_is_begun_for_a_provider_without_sessions_beside_one_that_has_some(shop):
    shop.payments = Payments(shop.store, Registry({"fake": shop.fake, "other": Counting()}))
    shop.session("captured")
    shop.payments.recover()
    assert shop.store.due_notifications(shop.clock() + timedelta(days=9), 10, "other") == []


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
        for _ in range(2):  # its budget is for a time
            shop.payments.recover(now=True)
        looked.append(shop.fake.lookups - before)
        shop.clock.forward(minutes=10)
    assert looked == [2, 2, 2, 1, 0, 0]


def test_a_sweep_queries_all_that_its_budget_allows_in_one_step(shop):
    more(shop, 5)
    shop.payments.recover()
    shop.clock.forward(hours=5, seconds=-1)
    shop.payments.recover()
    assert shop.fake.lookups == 0
    shop.clock.forward(seconds=1)
    shop.payments.recover()
    assert shop.fake.lookups == 5


def test_each_of_two_providers_is_asked_about_its_own_sessions(shop):
    other = Counting()
    shop.payments = Payments(shop.store, Registry({"fake": shop.fake, "other": other}))
    for name in ("fake", "other"):
        order = shop.payments.create_collection(eur("42.00"), reference=name)
        shop.payments.authorize(shop.payments.initiate(order.id, provider=name).id)
    shop.payments.recover()
    shop.clock.forward(hours=5)
    shop.payments.recover()
    assert (shop.fake.lookups, other.lookups) == (1, 1)


def test_a_sweep_queries_nothing_once_the_time_of_the_run_is_over(shop, monkeypatch):
    shop.payments = Payments(shop.store, Registry({"fake": shop.fake, "other": FakeProvider()}))
    shop.session("captured")
    shop.payments.recover()
    shop.clock.forward(hours=5)
    with monkeypatch.context() as patch:
        patch.setattr(runs, "PATIENCE", 0.0)
        shop.payments.recover()
    assert shop.fake.lookups == 0
    shop.clock.forward(minutes=10)
    shop.payments.recover()
    assert shop.fake.lookups == 1


def test_an_answer_in_between_shows_a_sweep_that_the_gateway_is_there(shop):
    more(shop, 6)
    shop.payments.recover()
    sessions = shop.payments.sessions()
    shop.fake.broken = [sessions[place].id for place in (0, 1, 3, 4)]
    shop.clock.forward(hours=5)
    shop.payments.recover()
    assert shop.fake.lookups == 6


def test_sessions_that_calls_change_at_the_moment_are_no_failures_of_the_gateway(shop, monkeypatch):
    more(shop, 5)
    shop.payments.recover()
    busy, sync = [session.id for session in shop.payments.sessions()[:4]], shop.payments._recovery.sync

    def synced(session_id):
        if session_id in busy:
            raise SessionBusy("a call changes it", session_id=session_id)
        return sync(session_id)

    monkeypatch.setattr(shop.payments._recovery, "sync", synced)
    shop.clock.forward(hours=5)
    shop.payments.recover()
    assert shop.fake.lookups == 1


def test_what_was_partly_refunded_and_for_the_rest_charged_back_is_not_queried(shop):
    session = shop.session("captured")
    shop.payments.refund(session.id, eur("20.00"))
    shop.fake.dispute(session.id, eur("22.00"), Dispute("lost"))
    assert shop.payments.sync(session.id).charged_back == 2200
    before = shop.fake.lookups
    rounds(shop, days=2)
    assert shop.fake.lookups == before


@pytest.mark.parametrize(("days", "queried"), [(269, True), (270, False)])
def test_a_session_is_queried_for_nine_months_if_something_changed_lately(shop, days, queried):
    session = shop.session("captured")
    shop.clock.forward(days=days)
    shop.payments.refund(session.id, eur("1.00"))
    before = shop.fake.lookups
    rounds(shop, hours=6)
    assert (shop.fake.lookups > before) is queried


@pytest.mark.parametrize(
    ("age", "every"),
    [
        (timedelta(days=1, microseconds=-1), 1),
        (timedelta(days=1), 4),
        (timedelta(days=30, microseconds=-1), 4),
        (timedelta(days=30), 32),
        (timedelta(days=180, microseconds=-1), 32),
        (timedelta(days=180), 0),
    ],
)
def test_the_longer_nothing_changed_the_fewer_sweeps_query_it(age, every):
    session = a_session("authorized", authorized=4200, updated_at=NOW - age)
    due = [upkeep.is_due(session, NOW, sweep) for sweep in range(1024)]
    assert sum(due) == (1024 // every if every else 0)


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
    shop.fake.broken = [first.id]
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


@pytest.mark.parametrize("options", [{"lookup": "none"}, {"local": True}], ids=["no lookup", "local"])
def test_a_provider_without_a_lookup_or_without_sessions_is_left_alone(make_shop, options):
    fake = FakeProvider()
    fake.capabilities = evolve(fake.capabilities, **options)
    shop = make_shop(fake)
    shop.payments.recover()
    shop.session("captured")
    shop.payments.recover()
    assert shop.store.due_notifications(shop.clock() + timedelta(days=9), 10, "fake") == []


def test_a_provider_that_is_gone_is_no_lag_of_recovery(listing, caplog):
    listing.session("captured")
    listing.payments.recover()
    listing.payments._registry._loaded.clear()
    listing.payments._registry._selected.clear()
    caplog.clear()
    listing.payments.recover(now=True)
    (row,) = listing.store.due_notifications(listing.clock() + timedelta(days=9), 10, "fake")
    assert row.due_at == listing.clock() + timedelta(hours=1)
    rounds(listing, hours=3)
    assert listing.payments.health().problems == ()
    assert "upkeep" not in caplog.text


def test_two_workers_share_one_list(listing):
    session = listing.session("captured")
    list_refund(listing, session)
    listing.payments.recover()
    asked = len(listing.fake.asked)
    listing.payments.recover()
    assert len(listing.fake.asked) == asked == 1


def test_two_workers_that_begin_at_once_begin_one(shop):
    session = shop.session("captured")
    shop.payments.recover()
    second = Payments(shop.store, Registry({"fake": shop.fake}))
    known = shop.store.notification

    def overtaken(_):
        shop.store.notification = known  # it was read before the other one wrote it

    shop.store.notification = overtaken
    assert second.recover(now=True).looked == 0
    assert shop.store.notification == known
    shop.clock.forward(hours=5)
    second.recover()
    assert (shop.fake.lookups, shop.payments.get(session.id).status) == (1, "authorized")


def test_a_worker_leaves_alone_what_another_one_has_done_meanwhile(listing, caplog):
    listing.session("captured")
    due = listing.store.due_notifications
    seen = []

    def overtaken(*asked):
        found = due(*asked)
        if found and not seen:
            seen.extend(found)
            listing.payments.recover()
        return found

    listing.store.due_notifications = overtaken
    listing.payments.recover()
    assert (len(seen), len(listing.fake.asked), caplog.text) == (1, 1, "")


def test_a_fault_in_a_sweep_keeps_recovery_from_nothing_else(shop, monkeypatch, caplog):
    shop.session("captured")
    shop.payments.recover()
    order = shop.payments.create_collection(eur("42.00"), reference="order-2")
    waiting = shop.payments.initiate(order.id, provider="fake")
    monkeypatch.setattr(upkeep, "is_due", lambda *_: 1 / 0)
    shop.clock.forward(hours=5)
    shop.payments.recover()
    assert shop.payments.get(waiting.id).status == "authorized"
    assert "the upkeep of fake failed" in caplog.text


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
