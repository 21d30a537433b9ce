"""Several recovery workers on the same store: they share the work, and nobody does it twice."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from helpers import Willing
from paysession import MemoryStore, Money, Payments, hookimpl
from paysession._plugins.registry import Registry
from paysession.outcome import Snapshot


class Asked(Willing):
    """A gateway that notes what is asked for; the first answer comes when it is let."""

    def __init__(self):
        self.asked = []
        self.entered, self.answer = threading.Event(), threading.Event()

    @hookimpl
    def retrieve(self, session):
        self.asked.append(session.id)
        if not self.entered.is_set():
            self.entered.set()
            assert self.answer.wait(10)
        return Snapshot("pending", authorized=Money.from_minor(0, "EUR"))


class Books:
    def __init__(self):
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.store = MemoryStore(clock=lambda: self.now)
        self.gateway = Asked()
        self.workers = [Payments(self.store, Registry({"asked": self.gateway})) for _ in range(2)]

    def waiting(self, number):
        order = self.workers[0].create_collection(Money("42.00", "EUR"), reference=f"order {number}")
        return self.workers[0].initiate(order.id, provider="asked").id


def test_a_second_worker_passes_over_what_the_first_is_at():
    books = Books()
    ids = [books.waiting(number) for number in range(2)]
    books.now += timedelta(hours=1)
    one, two = books.workers
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(one.recover, limit=1)
        assert books.gateway.entered.wait(10)
        second = two.recover()
        books.gateway.answer.set()
        first = first.result(10)
    assert (1, 1) == (first.looked, second.looked)
    assert sorted(ids) == sorted(books.gateway.asked)


@pytest.mark.parametrize("early", [False, True])
def test_a_list_whose_sessions_were_settled_meanwhile_asks_nobody_again(early):
    books = Books()
    session_id = books.waiting(1)
    books.now += timedelta(hours=1)
    one, two = books.workers
    due = list(books.store.due(books.now, 10, "asked"))
    one.cancel(session_id)
    books.store.due_providers = lambda now: ["asked"]  # what the second had read before
    books.store.due = lambda now, limit, provider: due
    assert two.recover(now=early).looked == 0
    assert books.gateway.asked == []


def test_a_list_that_has_grown_old_meanwhile_asks_nobody_again():
    books = Books()
    ids = [books.waiting(number) for number in range(3)]
    books.now += timedelta(hours=1)
    books.gateway.answer.set()
    one, two = books.workers
    due = list(books.store.due(books.now, 10, "asked"))
    one.recover()
    books.store.due_providers = lambda now: ["asked"]  # what the second had read before
    books.store.due = lambda now, limit, provider: due
    assert two.recover().looked == 0
    assert sorted(ids) == sorted(books.gateway.asked)


def test_what_a_dead_worker_was_at_is_looked_at_again_later():
    books = Books()
    session_id = books.waiting(1)
    books.now += timedelta(hours=1)

    def dies(session_id):
        raise KeyboardInterrupt

    recovery = books.workers[0]._recovery
    sync, recovery.sync = recovery.sync, dies
    try:
        books.workers[0].recover()
    except KeyboardInterrupt:
        recovery.sync = sync
    assert books.workers[1].recover().looked == 0
    books.gateway.answer.set()
    books.now = books.workers[1]._store.session(session_id).due_at
    assert books.workers[1].recover().looked == 1
    assert [session_id] == books.gateway.asked
