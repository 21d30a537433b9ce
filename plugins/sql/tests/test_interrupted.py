"""Exceptions from outside (signal handlers, time limits of task queues) at every line of a call.

`interrupted` has one raised at the n-th line that the package runs in a thread, for n = 1, 2, ... until the call
ends before that. Whatever was hit: the call raises it or has been acknowledged, all other calls end as if nothing
had happened, what was acknowledged is there, what was not is wholly there or not at all, and the store goes on.
"""

import sys
import threading
from pathlib import Path

import pytest

import paysession_sql
from paysession.change import Change
from paysession.store import Stale
from paysession_sql import SqliteStore, places
from paysession_sql.places import Call
from paysession_sql.postgres import PostgresStore
from paysession_testing.stores import a_collection, a_session, an_event, an_operation

PACKAGE = str(Path(paysession_sql.__file__).parent)
PATIENCE = 20


class Interrupted(BaseException):
    pass


def interrupted(at, act):
    """Run something, and raise at the n-th line of the package; return whether that was reached."""
    lines = 0

    def trace(frame, event, _):
        nonlocal lines
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if event == "line":
            lines += 1
            if lines == at:
                raise Interrupted(f"{frame.f_code.co_filename}:{frame.f_lineno}")
        return trace

    sys.settrace(trace)  # the interpreter takes it away when it raises: one exception, and no more
    try:
        act()
    finally:
        sys.settrace(None)
    return lines >= at


class Committer(threading.Thread):
    """Commits a new session with an operation and an event, in a thread; the same session twice is refused."""

    def __init__(self, store, number, at=0):
        super().__init__(daemon=True)
        self.store, self.number, self.at = store, number, at
        self.session = a_session(number)
        self.acknowledged = self.reached = False
        self.error = None

    def run(self):
        try:
            self.reached = interrupted(self.at, self.commit) if self.at else self.commit()
        except BaseException as error:  # noqa: BLE001 - one of them is not an Exception
            self.error, self.reached = error, isinstance(error, Interrupted)

    def commit(self):
        key = self.session.id
        self.store.commit(
            Change(
                session=self.session, operations=(an_operation(key),), events=(an_event(key, self.number),)
            )
        )
        self.acknowledged = True


def everything(store):
    cursor, found = None, []
    while page := store.events(after=cursor, limit=1000):
        found += page
        cursor = page[-1].cursor
    return found


def ended(threads):
    for thread in threads:
        thread.join(PATIENCE)
    return not any(thread.is_alive() for thread in threads)


def check(store, committers):
    """Assert what holds of all commits, whatever became of them."""
    feed = [event.session_id for event in everything(store)]
    assert len(feed) == len(set(feed))
    there = set(feed)
    for committer in committers:
        key = committer.session.id
        parts = store.session(key) is not None, bool(store.operations(key)), key in there
        assert len(set(parts)) == 1, (parts, committer.error)
        assert parts[0] or not committer.acknowledged, committer.error
        if not committer.at:
            assert committer.acknowledged or isinstance(committer.error, Stale), committer.error


# --- SQLite ---------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path):
    store = SqliteStore.open(f"sqlite:///{tmp_path}/books.db")
    store.commit(Change(collection=a_collection()))
    yield store
    store.close()


def line_up(places, committer):
    before = len(places.waiting)
    committer.start()
    while committer.is_alive() and len(places.waiting) == before:
        committer.join(0.001)  # it either waits in line or was interrupted before


def alone(store, victim, others):
    victim.start()
    victim.join(PATIENCE)


def first_of_all(store, victim, others):
    """Open the connection, too."""
    store._places.close_idle()
    alone(store, victim, others)


def leading(store, victim, others):
    blocker = Call()
    assert store._places.take(0, blocker)
    for committer in (victim, *others):
        line_up(store._places, committer)
    store._places.leave(blocker)


def led(store, victim, others):
    blocker = Call()
    assert store._places.take(0, blocker)
    for committer in (*others, victim):
        line_up(store._places, committer)
    store._places.leave(blocker)


def coming_before_the_next_in_line(store, victim, others):
    blocker = Call()
    assert store._places.take(0, blocker)
    for committer in others:
        line_up(store._places, committer)
    del store._places._using[0]  # and nobody is woken yet
    victim.start()
    victim.join(PATIENCE)
    store._places.leave(blocker, broken_off=True)


@pytest.mark.parametrize(
    ("role", "beside", "every"),
    [
        (alone, 0, 1),
        (first_of_all, 0, 1),
        (leading, 3, 23),  # a leader runs a thousand lines
        (led, 3, 1),
        (coming_before_the_next_in_line, 3, 23),
        pytest.param(leading, 3, 1, marks=pytest.mark.slow),
        pytest.param(coming_before_the_next_in_line, 3, 1, marks=pytest.mark.slow),
    ],
)
def test_an_exception_at_any_line_of_a_commit_leaves_sqlite_usable(store, role, beside, every, monkeypatch):
    monkeypatch.setattr(places, "LOOK_AGAIN", 3 * PATIENCE)  # a wake-up that is lost is noticed
    committers, at, reached = [Committer(store, 0)], 0, True
    committers[0].run()
    while reached:
        at += every
        victim, *others = (
            Committer(store, len(committers) + n, at if n == 0 else 0) for n in range(1 + beside)
        )
        committers += [victim, *others]
        if others:
            others.insert(1, Committer(store, 0))
        role(store, victim, others)
        assert ended([victim, *others]), (at, victim.error)
        assert victim.acknowledged or isinstance(victim.error, Interrupted)
        assert len(others) < 2 or isinstance(others[1].error, Stale)
        assert (store._places._using, store._places.waiting) == ({}, {}), victim.error
        reached = victim.reached
    assert victim.acknowledged
    assert at > 20
    last = Committer(store, len(committers))
    last.start()
    assert ended([last])
    check(store, [*committers, last])
    store.close()


def test_an_exception_at_any_line_of_a_read_leaves_sqlite_usable(store):
    at, reached = 0, True
    while reached:
        at += 1
        reached = False
        try:
            interrupted(at, lambda: store.collection("pc_0001"))
        except Interrupted:
            reached = True
        assert not store._places._using
    assert at > 10
    store.close()


# --- PostgreSQL -----------------------------------------------------------------------------------


def test_an_exception_within_a_commit_leaves_postgresql_usable(postgres_url, monkeypatch):
    monkeypatch.setattr(places, "LOOK_AGAIN", 3 * PATIENCE)
    store = PostgresStore.open(f"{postgres_url}&pool_size=1")  # so that they wait for one another
    store.commit(Change(collection=a_collection()))
    committers, at, reached = [], -1, True
    while reached:
        at += 2
        victim, other = Committer(store, len(committers), at), Committer(store, len(committers) + 1)
        committers += [victim, other]
        victim.start()
        other.start()
        assert ended([victim, other]), (at, victim.error)
        assert victim.acknowledged or isinstance(victim.error, Interrupted)
        here = store._pool._places()
        assert (here._using, here.waiting) == ({}, {}), victim.error
        reached = victim.reached
    assert at > 20
    check(store, committers)
    store.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # psycopg's, of one half open
def test_an_exception_while_a_connection_is_opened_leaves_postgresql_usable(postgres_url):
    store = PostgresStore.open(postgres_url)
    at, reached = -4, True
    while reached:
        at += 5
        reached = False
        store._pool._places().close_idle()
        try:
            interrupted(at, lambda: store.collection("pc_0001"))
        except Interrupted:
            reached = True
        assert not store._pool._places()._using
        assert store.collection("pc_0001") is None
    assert at > 20
    store.close()
