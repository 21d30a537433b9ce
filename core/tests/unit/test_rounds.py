"""One run of recovery over several providers: side by side, in fair shares, and nothing of it twice."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from helpers import Willing
from paysession import (
    InvalidData,
    MemoryStore,
    Money,
    NotApplied,
    OutcomeUnknown,
    Payments,
    ProviderNotFound,
    StoreError,
    hookimpl,
)
from paysession._engine import rounds
from paysession._engine.recovery import Recoverer
from paysession._engine.rounds import _shares
from paysession._plugins.registry import Registry
from paysession.outcome import Snapshot, WebhookEvent


class Gateway(Willing):
    """A gateway whose payers never come.

    Attributes:
        looked: What happens at every lookup.
        authorizing: What happens when it is to authorize.
        status: What it shows.
    """

    status = "pending"

    def __init__(self):
        self.asked, self.threads = [], []
        self.looked = self.authorizing = bool

    @hookimpl
    def authorize(self):
        self.authorizing()
        return super().authorize()

    @hookimpl
    def retrieve(self, session):
        self.asked.append(session.id)
        self.threads.append(threading.current_thread())
        self.looked()
        return Snapshot(self.status, authorized=Money.from_minor(0, "EUR"), session_id=session.id)

    @hookimpl
    def parse_webhook(self, body):
        return [WebhookEvent(None, "t", session_id=body.decode())]


class Shop:
    def __init__(self, *names):
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.gateways = {name: Gateway() for name in names}
        self.store = MemoryStore(clock=lambda: self.now)
        self.payments = Payments(self.store, Registry(self.gateways))

    def waiting(self, name, count=1):
        """Have payers wait at a provider; return their sessions' ids."""
        ids = []
        for number in range(count):
            order = self.payments.create_collection(Money("1.00", "EUR"), reference=f"{name} {number}")
            ids.append(self.payments.initiate(order.id, provider=name).id)
            self.now += timedelta(seconds=1)
        return ids

    def asked(self):
        return {name: len(gateway.asked) for name, gateway in self.gateways.items()}


@pytest.fixture
def shop():
    return Shop("a", "b", "c")


def test_a_gateway_that_hangs_does_not_hold_up_another(shop):
    slow, quick = shop.waiting("a", 3), shop.waiting("b", 3)
    shop.now += timedelta(hours=1)
    hung, go = threading.Event(), threading.Event()

    def hang():
        hung.set()
        assert go.wait(10)

    done = threading.Event()
    shop.gateways["a"].looked = hang
    shop.gateways["b"].looked = lambda: len(shop.gateways["b"].asked) == 3 and done.set()
    run = threading.Thread(target=shop.payments.recover)
    run.start()
    assert hung.wait(10)
    assert done.wait(10)
    assert len(shop.gateways["a"].asked) == 1
    go.set()
    run.join(10)
    assert sorted(shop.gateways["b"].asked) == sorted(quick)
    assert sorted(shop.gateways["a"].asked) == sorted(slow)


def test_the_result_is_in_the_order_of_ids(shop):
    ids = shop.waiting("c", 2) + shop.waiting("a", 3) + shop.waiting("b", 1)
    shop.now += timedelta(hours=1)
    done = shop.payments.recover()
    assert (done.looked, done.settled, done.waiting) == (6, (), tuple(sorted(ids)))


def test_with_one_provider_due_no_thread_is_started(shop):
    shop.waiting("a", 3)
    shop.now += timedelta(hours=1)
    shop.payments.recover()
    assert {*shop.gateways["a"].threads} == {threading.current_thread()}


def test_threads_end_with_the_call(shop):
    for name in shop.gateways:
        shop.waiting(name, 2)
    shop.now += timedelta(hours=1)
    before = threading.active_count()
    shop.payments.recover()
    assert shop.asked() == {"a": 2, "b": 2, "c": 2}
    assert threading.active_count() == before
    others = {thread for gateway in shop.gateways.values() for thread in gateway.threads}
    assert all(thread.daemon for thread in others - {threading.current_thread()})  # none keeps the process


def test_no_more_threads_than_workers(monkeypatch):
    monkeypatch.setattr(rounds, "WORKERS", 2)
    shop = Shop(*"abcdef")
    for name in shop.gateways:
        shop.waiting(name)
    shop.now += timedelta(hours=1)
    shop.payments.recover()
    assert set(shop.asked().values()) == {1}
    assert len({thread for gateway in shop.gateways.values() for thread in gateway.threads}) <= 2


def test_where_no_thread_can_be_started_the_caller_does_it_all(shop, monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    for name in shop.gateways:
        shop.waiting(name)
    shop.now += timedelta(hours=1)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert shop.payments.recover().looked == 3


def test_one_backlog_does_not_fill_the_limit(shop):
    shop.waiting("a", 30)
    shop.waiting("b", 2)
    shop.waiting("c", 30)
    shop.now += timedelta(hours=1)
    assert shop.payments.recover(limit=10).looked == 10
    assert shop.asked() == {"a": 4, "b": 2, "c": 4}


def test_a_limit_below_the_number_of_providers_takes_the_longest_due(shop):
    for name in "bca":
        shop.waiting(name)
    shop.now += timedelta(hours=1)
    for expected in ({"b": 1, "c": 0, "a": 0}, {"b": 1, "c": 1, "a": 0}, {"b": 1, "c": 1, "a": 1}):
        assert shop.payments.recover(limit=1).looked == 1
        assert shop.asked() == expected


@pytest.mark.parametrize(
    ("found", "limit", "given"),
    [
        ({}, 10, {}),
        ({"a": 0, "b": 5}, 10, {"a": 0, "b": 5}),
        ({"a": 9, "b": 9}, 10, {"a": 5, "b": 5}),
        ({"a": 9, "b": 9, "c": 9}, 10, {"a": 4, "b": 3, "c": 3}),
        ({"a": 9, "b": 1, "c": 2}, 10, {"a": 7, "b": 1, "c": 2}),
        ({"a": 5, "b": 1, "c": 1}, 10, {"a": 5, "b": 1, "c": 1}),
        ({"a": 9, "b": 9, "c": 9}, 2, {"a": 1, "b": 1, "c": 0}),
    ],
)
def test_shares_are_even_and_nothing_of_the_limit_is_left_unused(found, limit, given):
    assert _shares(found, limit) == given


@pytest.mark.parametrize("names", ["ab", "abc"])
def test_a_slow_provider_leaves_the_rest_to_the_next_run(names, monkeypatch):
    monkeypatch.setattr(rounds, "PATIENCE", 0.0)
    shop = Shop(*names)
    shop.waiting("a", 3)
    for left in (2, 1, 0):
        shop.now += timedelta(hours=1)
        assert shop.payments.recover().looked == 1
        assert len(set(shop.gateways["a"].asked)) == 3 - left


def test_a_slow_provider_leaves_notifications_to_the_next_run_and_settles_one_at_least(shop, monkeypatch):
    monkeypatch.setattr(rounds, "PATIENCE", 0.0)
    for number in range(3):
        shop.payments.handle_webhook("a", headers={}, body=b"ps_%d" % number, settle=False)
    shop.waiting("a")
    shop.now += timedelta(hours=1)
    for looked in (0, 0, 1):
        done = shop.payments.recover()
        assert (done.notifications, done.looked) == (1, looked)


def test_what_a_slow_provider_settles_counts_as_its_share_of_a_run(shop, monkeypatch):
    monkeypatch.setattr(rounds, "PATIENCE", 0.0)
    shop.waiting("a", 3)
    shop.gateways["a"].status = "canceled"
    shop.now += timedelta(hours=1)
    for _ in range(3):
        assert len(shop.payments.recover().settled) == 1


def test_sessions_about_which_nothing_is_asked_are_no_failures_of_the_gateway(shop):
    """They are in flight elsewhere, and the last call to the gateway had no answer."""

    def dies():
        raise KeyboardInterrupt

    def down():
        raise NotApplied("connection refused")

    waits, gateway = shop.waiting("a"), shop.gateways["a"]
    shop.now += timedelta(hours=1)
    gateway.authorizing = dies
    for session_id in (leased := shop.waiting("a", rounds.MOST_UNANSWERED)):
        with pytest.raises(KeyboardInterrupt):
            shop.payments.authorize(session_id)
    gateway.looked = down
    assert list(shop.payments.recover().waiting) == waits
    gateway.looked = bool
    assert {*shop.payments.recover(now=True).waiting} == {*leased, *waits}


def test_a_limit_holds_where_another_worker_is_faster(shop, monkeypatch):
    ids = shop.waiting("a", 4)
    shop.now += timedelta(hours=1)
    attend, handed = Recoverer.attend, []

    def attended(self, session_id, **options):
        handed.append(session_id)
        found = attend(self, session_id, **options)
        return None if session_id == ids[0] else found

    monkeypatch.setattr(Recoverer, "attend", attended)
    shop.payments.recover(limit=2)
    assert len(handed) == 2


def test_who_is_alone_or_asked_for_has_all_the_time(monkeypatch):
    monkeypatch.setattr(rounds, "PATIENCE", 0.0)
    alone, two = Shop("a"), Shop("a", "b")
    for shop, given in ((alone, {}), (two, {"provider": "a"})):
        shop.waiting("a", 3)
        shop.now += timedelta(hours=1)
        assert shop.payments.recover(**given).looked == 3


def test_only_one_provider_is_recovered(shop):
    ids = shop.waiting("a", 2)
    shop.waiting("b", 2)
    shop.payments.handle_webhook("b", headers={}, body=b"ps_unknown", settle=False)
    shop.now += timedelta(hours=1)
    done = shop.payments.recover(provider="a")
    assert (done.waiting, done.notifications) == (tuple(ids), 0)
    later = shop.now + timedelta(days=9)
    assert [row.type for row in shop.store.due_notifications(later, 10, "b")] == ["t"]  # nothing is begun
    assert shop.payments.recover(provider="b").notifications == 1
    with pytest.raises(ProviderNotFound):
        shop.payments.recover(provider="typo")


def test_notifications_are_settled_beside_each_other_too(shop):
    (session_id,) = shop.waiting("a")
    for name, body in (("a", session_id), ("b", "ps_unknown"), ("c", "ps_unknown")):
        shop.payments.handle_webhook(name, headers={}, body=body.encode(), settle=False)
    done = shop.payments.recover()
    assert (done.notifications, done.notifications_done, done.looked) == (3, 1, 0)


def test_a_backlog_of_notifications_does_not_fill_the_limit(shop):
    for name, count in (("a", 20), ("b", 2)):
        for number in range(count):
            shop.payments.handle_webhook(name, headers={}, body=b"ps_%d" % number, settle=False)
    assert shop.payments.recover(limit=10).notifications == 10
    assert len(shop.store.due_notifications(shop.now, 100, "b")) == 0


def test_now_takes_what_is_not_due_yet_and_leaves_its_schedule(shop):
    ids = shop.waiting("a", 2) + shop.waiting("b", 1)
    before = [shop.payments.get(session_id).due_at for session_id in ids]
    assert shop.payments.recover().looked == 0
    assert shop.payments.recover(now=True).waiting == tuple(sorted(ids))
    assert shop.asked() == {"a": 2, "b": 1, "c": 0}
    assert [shop.payments.get(session_id).due_at for session_id in ids] == before
    assert shop.payments.recover(now=True, provider="b").looked == 1
    with pytest.raises(InvalidData, match="now is True or False"):
        shop.payments.recover(now="yes")


def test_a_store_that_fails_for_one_is_reported_when_the_others_are_done(shop):
    for name in shop.gateways:
        shop.waiting(name)
    shop.now += timedelta(hours=1)
    due = shop.store.due

    def fails(now, limit, provider):
        if provider == "b" and shop.gateways["a"].asked:
            raise StoreError("it is down")
        return due(now, limit, provider)

    in_turn = threading.Event()
    shop.store.due = fails
    shop.gateways["a"].looked = in_turn.set
    process = rounds._Part.process

    def ordered(part, stop):
        if part.provider == "b":
            assert in_turn.wait(10)
        process(part, stop)

    rounds._Part.process = ordered
    try:
        with pytest.raises(StoreError, match="it is down"):
            shop.payments.recover()
    finally:
        rounds._Part.process = process
    assert shop.asked() == {"a": 1, "b": 0, "c": 1}


@pytest.mark.parametrize("names", ["ab", "abc"])
def test_an_interrupted_call_begins_nothing_more(names, monkeypatch):
    monkeypatch.setattr(rounds, "WORKERS", 2)
    shop = Shop(*names)
    for name in shop.gateways:
        shop.waiting(name, 3)
    shop.now += timedelta(hours=1)
    entered = threading.Barrier(2)
    interrupted = threading.Event()

    def looked():
        entered.wait(10)
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        assert interrupted.wait(10)

    for gateway in shop.gateways.values():
        gateway.looked = looked
    before = {*threading.enumerate()}
    with pytest.raises(KeyboardInterrupt):
        shop.payments.recover()
    interrupted.set()
    for thread in {*threading.enumerate()} - before:
        thread.join(10)
    assert sum(shop.asked().values()) == 2


def test_a_gateway_that_answers_nothing_is_asked_about_a_few_sessions_in_a_run(shop):
    ids = shop.waiting("a", 12)
    other = shop.waiting("b", 3)
    shop.now += timedelta(hours=1)

    def down():
        raise NotApplied("connection refused")

    shop.gateways["a"].looked = down
    done = shop.payments.recover()
    assert (shop.asked()["a"], len(done.waiting)) == (rounds.MOST_UNANSWERED, rounds.MOST_UNANSWERED + 3)
    assert sorted(shop.gateways["b"].asked) == sorted(other)
    shop.payments.recover()  # those that it was not asked about are due as before, and the others wait
    assert shop.gateways["a"].asked == ids[: 2 * rounds.MOST_UNANSWERED]
    shop.gateways["a"].looked = bool
    shop.payments.recover()
    assert shop.gateways["a"].asked == ids


def test_an_answer_in_between_shows_that_the_gateway_is_there(shop):
    ids = shop.waiting("a", 12)
    shop.now += timedelta(hours=1)

    def sometimes():
        if len(shop.gateways["a"].asked) % rounds.MOST_UNANSWERED:
            raise OutcomeUnknown("a garbled answer")

    shop.gateways["a"].looked = sometimes
    shop.payments.recover()
    assert shop.gateways["a"].asked == ids


def test_workers_that_begin_at_a_time_are_handed_little_twice(shop, monkeypatch):
    ids = shop.waiting("a", 120)
    shop.now += timedelta(hours=1)
    attend, handed = Recoverer.attend, []
    first, workers = threading.Barrier(4), 4

    def counted(self, session_id, **options):
        handed.append(session_id)
        if handed.count(session_id) <= workers and session_id == ids[0]:
            first.wait(20)  # all begin with the same one
        return attend(self, session_id, **options)

    monkeypatch.setattr(Recoverer, "attend", counted)
    runs = [Payments(shop.store, Registry(shop.gateways)) for _ in range(workers)]
    with ThreadPoolExecutor(workers) as threads:
        done = list(threads.map(lambda pay: pay.recover(limit=120), runs))
    assert sorted(shop.gateways["a"].asked) == sorted(ids)
    assert sum(report.looked for report in done) == len(ids)
    assert len(handed) < 2 * len(ids)
