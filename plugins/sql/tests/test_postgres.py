"""What is particular to PostgreSQL: the order of the feed, lost connections, locks, plans, the clock."""

import random
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from paysession import Money, OutcomeUnknown, Payments, StoreError
from paysession._plugins.registry import Registry
from paysession.change import Change
from paysession.store import OverLimit, Stale
from paysession.values import Failure, replace
from paysession_sql import connections, upgrade
from paysession_sql.clock import SharedClock
from paysession_sql.connections import Connection, Refused, shown
from paysession_sql.places import Call, Places
from paysession_sql.postgres import PostgresStore
from paysession_sql.testing import server_or_skip
from paysession_testing import FakeProvider
from paysession_testing.stores import a_collection, a_session, an_event, an_operation


@pytest.fixture
def store(postgres_url):
    store = PostgresStore.open(postgres_url)
    yield store
    store.close()


@pytest.fixture
def other(postgres_url):
    """A connection beside the store's."""
    with psycopg.connect(postgres_url) as connection:
        yield connection


def begun(store, number=1):
    if store.collection("pc_0001") is None:
        store.commit(Change(collection=a_collection()))
    session = a_session(number)
    store.commit(Change(session=session))
    return session


def step(session, version=1, **more):
    """Return the change of a session to its next version, with an event."""
    return Change(
        session=replace(session, version=version + 1),
        expected=version,
        events=(an_event(session.id, version),),
        **more,
    )


# --- the feed -------------------------------------------------------------------------------------


def test_an_event_that_commits_late_is_not_skipped(store, other):
    one, two = begun(store, 1), begun(store, 2)
    other.execute(
        "WITH s AS (UPDATE session SET version = 2 WHERE id = %s RETURNING *) INSERT INTO event (id, type,"
        " session_id, collection_id, reference, provider, amount, currency, status, authorized, captured,"
        " refunded, version, occurred_at) SELECT 'late', 't', id, collection_id, 'r', provider, 1, 'EUR',"
        " status, 0, 0, 0, 2, 0 FROM s",
        (one.id,),
    )
    store.commit(step(two))
    cursor = None
    assert not store.events(after=cursor)  # it is there, and has to wait
    other.commit()
    found = store.events(after=cursor)
    assert [row.session_id for row in found] == [one.id, two.id]
    store.commit(step(two, 2))
    assert [row.version for row in store.events(after=found[-1].cursor)] == [2]


def test_a_reader_elsewhere_does_not_hold_the_feed_back(store, other):
    session = begun(store)
    other.execute("SELECT count(*) FROM session")
    store.commit(step(session))
    assert len(store.events()) == 1


def test_events_of_one_change_keep_their_order(store):
    session = begun(store)
    events = tuple(replace(an_event(session.id), id=f"e{place}") for place in range(9))
    store.commit(Change(session=replace(session, version=2), expected=1, events=events))
    assert [f"e{place}" for place in range(9)] == [row.id for row in store.events()]


# --- two at once ----------------------------------------------------------------------------------


def test_a_change_that_waited_for_a_lock_finds_itself_overtaken(store, other):
    session = begun(store)
    other.execute("UPDATE session SET version = 2 WHERE id = %s", (session.id,))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(store.commit, step(session, hold=10, operations=(an_operation(session.id),)))
        while not other.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchall():
            pass
        other.commit()
        with pytest.raises(Stale):
            waiting.result(30)
    assert store.collection("pc_0001").held == 0  # taken before the session's row, and undone
    assert not store.operations(session.id)


def test_a_lock_that_is_not_let_go_is_an_error_and_changes_nothing(postgres_url, other, monkeypatch):
    monkeypatch.setattr(connections, "_SESSION", "SET lock_timeout = '50ms'")
    store = PostgresStore.open(postgres_url)
    session = begun(store)
    other.execute("SELECT 1 FROM session FOR UPDATE")
    with pytest.raises(StoreError, match="lock timeout"):
        store.commit(step(session))
    other.rollback()
    assert store.session(session.id) == session
    store.commit(step(session))
    store.close()


@pytest.mark.parametrize("state", ["40001", "40P01"])
def test_what_the_server_undid_is_run_again(store, monkeypatch, state):
    session = begun(store)
    run, refused = Connection.run, []

    def once(self, statement, parameters):
        if statement.text.startswith("WITH") and not refused:
            refused.append(state)
            raise Refused(state, "undone")
        return run(self, statement, parameters)

    monkeypatch.setattr(Connection, "run", once)
    store.commit(step(session))
    assert ([state], 2) == (refused, store.session(session.id).version)


def test_threads_share_a_small_pool(postgres_url):
    store = PostgresStore.open(f"{postgres_url}&pool_size=2")
    with Payments(store, Registry({"fake": FakeProvider()})) as pay, ThreadPoolExecutor(8) as threads:
        made = threads.map(lambda n: pay.create_collection(Money("1", "EUR"), reference=f"{n}"), range(40))
        assert len({row.id for row in made}) == 40
        assert len(store._pool._places().connections) <= 2


def test_a_call_that_comes_later_does_not_pass_the_line_for_a_connection(postgres_url, monkeypatch):
    """A thread that calls in a loop would take its connection again before those that wait wake up."""
    store = PostgresStore.open(f"{postgres_url}&pool_size=1")
    places, running, wait = store._pool._places(), Call(), Places.wait
    sleeps, awake = threading.Semaphore(0), threading.Event()

    def asleep(call, seconds):
        sleeps.release()
        assert awake.wait(20)
        wait(places, call, seconds)

    monkeypatch.setattr(places, "wait", asleep)
    assert places.take(0, running)
    with closing(store), ThreadPoolExecutor(2) as threads:
        first = threads.submit(store.collections)
        assert sleeps.acquire(timeout=20)
        places.leave(running)
        later = threads.submit(store.collections)
        later.add_done_callback(lambda _: sleeps.release())
        assert sleeps.acquire(timeout=20)
        assert not later.done()
        awake.set()
        assert [first.result(20), later.result(20)] == [[], []]


def test_each_connection_that_becomes_free_is_taken_by_one_of_the_line(postgres_url, monkeypatch):
    monkeypatch.setattr("paysession_sql.places.LOOK_AGAIN", 20.0)
    store = PostgresStore.open(f"{postgres_url}&pool_size=2")
    places, running, both, run = store._pool._places(), (Call(), Call()), threading.Barrier(2), Connection.run

    def at_once(self, statement, parameters):
        both.wait(10)
        return run(self, statement, parameters)

    monkeypatch.setattr(Connection, "run", at_once)
    for place, call in enumerate(running):
        assert places.take(place, call)
    with closing(store), ThreadPoolExecutor(2) as threads:
        answers = [threads.submit(store.collections) for _ in running]
        while len(places.waiting) < 2:
            pass
        for call in running:
            places.leave(call)
        assert [answer.result(20) for answer in answers] == [[], []]


def test_a_statement_runs_once_behind_a_proxy_that_forgets_what_was_prepared(store, monkeypatch):
    """In transaction pooling each message may reach another connection of the server."""
    session = begun(store)
    prepare = Connection._prepare

    def elsewhere(self, statement):
        prepare(self, statement)
        self._psycopg.execute("DEALLOCATE ALL")

    monkeypatch.setattr(Connection, "_prepare", elsewhere)
    store.commit(step(session))
    store.commit(step(session, 2))
    assert store.session(session.id).version == 3
    assert [1, 2] == [row.version for row in store.events()]


def test_an_upgrade_leaves_no_prepared_statement_to_whoever_shares_its_connection(postgres_url):
    with connections.connect(postgres_url, autocommit=True) as connection:
        for _ in range(20):
            assert connection.execute("SELECT 1 FROM pg_prepared_statements").fetchall() == []


def test_several_hosts_in_a_url_are_libpqs():
    url = "postgresql://shop@db1:5433,db2/books?target_session_attrs=read-write&pool_size=4"
    found = conninfo_to_dict(connections._split(url)[0])
    assert (found["host"], found["port"]) == ("db1,db2", "5433,")
    assert found["target_session_attrs"] == "read-write"
    assert shown(url) == url


# --- lost connections -----------------------------------------------------------------------------


class Proxy:
    """A TCP proxy in front of the server's socket, which can lose a connection at any point of a commit."""

    def __init__(self, url):
        query = parse_qs(urlsplit(url).query)
        self._server = f"{query['host'][0]}/.s.PGSQL.5432"
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.url = f"postgresql://postgres@127.0.0.1:{port}{urlsplit(url).path}"
        self.cut = None
        """``request``: the next commit never reaches the server. ``answer``: its answer never comes
        back. ``at once``: it reaches the server, and the client hears of nothing."""
        self.then = None
        """What happens between the cut and its news."""
        self._sockets = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._server)
            self._sockets += [client, server]
            state = {"committing": False}
            threading.Thread(target=self._to_server, args=(client, server, state), daemon=True).start()
            threading.Thread(target=self._to_client, args=(server, client, state), daemon=True).start()

    def _to_server(self, client, server, state):
        while data := self._read(client):
            # The commit of a change is prepared already: what comes is its Bind ("B").
            cut = self.cut if data[:1] == b"B" else None
            if cut:
                state["committing"] = True
            if cut == "request":
                self._lose(client, server)
                return
            self._write(server, data)
            if cut == "at once":
                self._lose(client, None)
                return
        self._shut(server)

    def _to_client(self, server, client, state):
        while data := self._read(server):
            if state["committing"] and self.cut == "answer":
                self._lose(client, server)
                return
            self._write(client, data)
        self._shut(client)

    def _write(self, end, data):
        with suppress(OSError):  # the other end has hung up
            end.sendall(data)

    def _lose(self, client, server):
        self.cut = None
        if self.then is not None:
            self.then()
        for end in (client, server):
            self._shut(end)

    def _read(self, end):
        try:
            return end.recv(1 << 16)
        except OSError:
            return b""

    def _shut(self, end):
        if end is not None:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        for end in [self._listener, *self._sockets]:
            self._shut(end)
            end.close()


@pytest.fixture
def proxy(postgres_url):
    proxy = Proxy(postgres_url)
    yield proxy
    proxy.close()


@pytest.fixture
def far(proxy):
    """A store behind the proxy, with the statement of `step` prepared on its connection."""
    store = PostgresStore.open(proxy.url)
    store.commit(step(begun(store, 9)))
    yield store
    store.close()


@pytest.mark.parametrize("cut", ["request", "answer"])
def test_a_commit_whose_connection_is_lost_is_made_once(proxy, far, cut):
    session = begun(far)
    proxy.cut = cut
    far.commit(step(session))
    assert proxy.cut is None
    assert far.session(session.id).version == 2
    assert [1] == [row.version for row in far.events() if row.session_id == session.id]


@pytest.mark.parametrize("cut", ["request", "answer"])
def test_a_first_commit_whose_connection_is_lost_is_made_once(proxy, far, cut):
    begun(far, 1)
    proxy.cut = cut
    far.commit(Change(session=a_session(2)))
    assert far.session("ps_0002") == a_session(2)
    proxy.cut = cut
    with pytest.raises(Stale):
        far.commit(Change(session=a_session(1)))


def test_a_commit_that_is_still_under_way_when_its_connection_is_lost_is_made_once(proxy, far, other):
    session = begun(far)
    other.execute("SELECT 1 FROM session FOR UPDATE")
    proxy.cut = "at once"
    with ThreadPoolExecutor(1) as pool:
        commit = pool.submit(far.commit, step(session))
        waiting = "SELECT DISTINCT pid FROM pg_locks WHERE NOT granted"
        while len(other.execute(waiting).fetchall()) < 2:  # the lost one, and its repetition
            pass
        other.commit()
        commit.result(30)
    assert far.session(session.id).version == 2
    assert [1] == [row.version for row in far.events() if row.session_id == session.id]


@pytest.mark.parametrize("cut", ["request", "answer"])
def test_another_change_made_meanwhile_is_told_from_ours(proxy, far, store, cut):
    session = begun(far)
    others = replace(session, version=2, provider="fake", conflict="other")
    proxy.cut = cut
    refused = []

    def meanwhile():
        try:
            store.commit(Change(session=others, expected=1))
        except Stale:
            refused.append(True)

    proxy.then = meanwhile
    if cut == "request":
        with pytest.raises(Stale):
            far.commit(step(session))
        assert store.session(session.id) == others
    else:
        far.commit(step(session))
        assert refused
        assert store.session(session.id) == replace(session, version=2)


@pytest.mark.parametrize("cut", ["request", "answer"])
def test_what_nobody_can_tell_any_more_is_an_error(proxy, far, store, cut):
    session = begun(far)
    proxy.cut = cut

    def meanwhile():
        first = 1 if cut == "request" else 2
        for version in (first, first + 1):
            store.commit(Change(session=replace(session, version=version + 1), expected=version))

    proxy.then = meanwhile
    with pytest.raises(StoreError, match="not known whether it was made"):
        far.commit(step(session))


def test_a_hold_whose_connection_is_lost_is_taken_once(proxy, far):
    session = begun(far)
    far.commit(step(session, hold=3000))
    proxy.cut = "answer"
    far.commit(step(session, 2, hold=1000))
    with pytest.raises(OverLimit):
        far.commit(step(session, 3, hold=201))
    assert far.collection("pc_0001").held == 4000


def test_connections_that_the_server_ended_are_replaced(store, postgres):
    session = begun(store)
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'paysession'"
    postgres.execute(end)
    assert store.session(session.id) == session
    postgres.execute(end)
    store.commit(step(session))
    assert store.session(session.id).version == 2


def test_a_database_that_is_down_is_an_error_at_once(proxy):
    store = PostgresStore.open(proxy.url)
    session = begun(store)
    proxy.close()
    with pytest.raises(StoreError, match="cannot be reached"):
        store.session(session.id)
    with pytest.raises(StoreError, match="cannot be reached"):
        store.commit(step(session))
    assert store.now().utcoffset() == timedelta(0)
    store.close()


# --- disks and clocks -----------------------------------------------------------------------------


@pytest.mark.slow  # a server of its own; SQLite's disk is full in the fast tier
def test_a_full_disk_is_an_error_and_nothing_is_half_written(monkeypatch):
    monkeypatch.delenv("PAYSESSION_TEST_POSTGRES", raising=False)
    with server_or_skip(largest_file=16 << 20) as server:  # as large as a segment of the WAL
        url = server.database()
        upgrade(url)
        full = f"CREATE TABLE filler AS SELECT repeat('x', 1900) FROM generate_series(1, {9000})"
        with Payments(PostgresStore.open(url), Registry({"fake": FakeProvider()})) as pay:
            order = pay.create_collection(Money("42.00", "EUR"), reference="r")
            session = pay.initiate(order.id, provider="fake")
            with psycopg.connect(url, autocommit=True) as connection, pytest.raises(psycopg.Error):
                connection.execute(full)  # the limit is real
            noise = random.Random(1)
            with pytest.raises(StoreError, match="could not be written: .*File too large"):
                for n in range(1000):
                    data = {"x": noise.randbytes(30_000).hex()}
                    pay.initiate(order.id, provider="fake", idempotency_key=str(n), data=data)
            written = pay.sessions(limit=1000)
            assert [1] * len(written) == [len(pay.history(row.id)) for row in written]
            assert pay.get(session.id) == session
            assert pay.authorize(session.id).status == "authorized"  # what fits is written


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_set_while_an_operation_is_in_doubt_causes_nothing_twice(postgres_url, hours):
    now = datetime(2026, 1, 1, tzinfo=UTC)
    fake = FakeProvider(lookup="none")
    store = PostgresStore.open(postgres_url, clock=lambda: now)
    with Payments(store, Registry({"fake": fake})) as pay:
        order = pay.create_collection(Money("42.00", "EUR"), reference="r")
        session = pay.initiate(order.id, provider="fake")
        pay.authorize(session.id)
        fake.fail_next("lost_answer")
        with pytest.raises(OutcomeUnknown):
            pay.capture(session.id)
        now += timedelta(hours=hours)
        pay.recover()
        assert (hours < 0) == pay.get(session.id).in_doubt  # set back, it waits
        now += timedelta(hours=2)
        pay.recover()
        assert 4200 == pay.get(session.id).captured == fake.total(session.id, "capture")


# --- what is written ------------------------------------------------------------------------------


def test_what_postgresql_cannot_keep_in_a_text_is_escaped_as_the_core_does_it(store):
    session = begun(store)
    error = Failure("a\\u0000b", "half a \\ud83d pair")
    object.__setattr__(error, "code", "a\0b")  # as no core would hand it over
    store.commit(Change(session=replace(session, version=2, error=error), expected=1))
    assert Failure("a\\u0000b", "half a \\ud83d pair") == store.session(session.id).error


class Name(str):
    """As an SDK may return one."""

    __slots__ = ()


def test_a_subclass_of_a_text_is_kept_as_a_text(store):
    session = begun(store)
    store.commit(Change(session=replace(session, version=2, reference=Name("gw")), expected=1))
    assert store.session(session.id).reference == "gw"


def test_every_read_uses_an_index(store, other):
    made = store._statements
    # With a few rows a scan is cheapest: what counts is whether there is another way.
    other.execute("SET enable_seqscan = off")
    other.execute("SET plan_cache_mode = force_generic_plan")
    statements = {key: value for key, value in vars(made).items() if hasattr(value, "text")}
    del statements["prunable"]  # an operator's dry run counts the events
    for number, (name, statement) in enumerate(statements.items()):
        other.execute(f"PREPARE p{number} AS {statement.text}")
        given = f"({', '.join(['NULL'] * len(statement.names))})" if statement.names else ""
        plan = [row[0] for row in other.execute(f"EXPLAIN EXECUTE p{number}{given}").fetchall()]
        scans = [line for line in plan if "Seq Scan" in line and "on identity" not in line]  # that is one row
        assert not scans, (name, plan)
        if name in (
            "collections", "events", "due", "due_notifications", "in_doubt", "next_provider", "next_notified"
        ):  # fmt: skip
            assert not [
                line for line in plan if "-> " in line and " Sort " in line and "Incremental" not in line
            ], (name, plan)


def test_the_settings_of_a_connection_make_commits_durable(postgres, postgres_url):
    postgres.execute(f"ALTER DATABASE {urlsplit(postgres_url).path[1:]} SET synchronous_commit = off")
    postgres.execute(
        f"ALTER DATABASE {urlsplit(postgres_url).path[1:]} SET default_transaction_isolation = 'serializable'"
    )
    connection = Connection(postgres_url)
    told = [
        connection._psycopg.execute(f"SHOW {name}").fetchone()[0]
        for name in ("synchronous_commit", "transaction_isolation", "statement_timeout", "lock_timeout")
    ]
    connection.close()
    assert told == ["on", "read committed", "30s", "10s"]


def test_a_url_is_shown_without_its_password():
    assert shown("postgresql://ann:s@h:5/b?x=1&password=p") == "postgresql://ann@h:5/b?x=1"
    assert shown("postgresql:///b?host=/tmp") == "postgresql:///b?host=/tmp"


@pytest.mark.parametrize(
    "url", ["postgresql://h/b?pool_size=x", "postgresql://h/b?pool_size=0", "postgresql://h:x/b"]
)
def test_a_url_that_makes_no_sense_is_refused(url):
    with pytest.raises(StoreError):
        PostgresStore.open(url)


# --- the clock ------------------------------------------------------------------------------------


def test_the_clock_is_the_databases(store, other):
    before = store.now()
    told = other.execute("SELECT clock_timestamp()").fetchone()[0]
    after = store.now()
    slack = timedelta(seconds=0.05)  # the question itself took some time
    assert before - slack <= told <= after + slack


class Clocks:
    def __init__(self):
        self.time, self.elapsed, self.asked = datetime(2026, 1, 1, tzinfo=UTC), 100.0, 0
        self.down = False
        self.now = SharedClock(self.ask, elapsed=lambda: self.elapsed)

    def ask(self):
        self.asked += 1
        if self.down:
            raise StoreError("down")
        return self.time

    def pass_(self, seconds):
        self.elapsed += seconds
        self.time += timedelta(seconds=seconds)


def test_the_clock_is_asked_now_and_then_and_carried_on():
    clocks = Clocks()
    for _ in range(30):
        assert clocks.now() == clocks.time
        clocks.pass_(1)
    assert clocks.asked == 3


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_set_is_followed(hours):
    clocks = Clocks()
    clocks.now()
    clocks.time += timedelta(hours=hours)
    clocks.pass_(10.5)
    assert clocks.now() == clocks.time


def test_a_clock_that_does_not_answer_is_carried_on():
    clocks = Clocks()
    clocks.now()
    clocks.down = True
    clocks.pass_(60)
    assert clocks.now() == clocks.time
    clocks.down = False
    clocks.time += timedelta(hours=1)
    assert clocks.now() == clocks.time


def test_a_clock_that_never_answered_is_an_error():
    clocks = Clocks()
    clocks.down = True
    with pytest.raises(StoreError):
        clocks.now()


def test_without_psycopg_sqlite_works_and_postgresql_says_what_is_missing(tmp_path):
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from paysession import ConfigurationError, Payments\n"
        "Payments.open(f'sqlite:///{sys.argv[1]}/b.db', environ={}).close()\n"
        "try: Payments.open('postgresql:///b', environ={})\n"
        "except ConfigurationError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, timeout=60, check=False
    )
    assert "pip install 'paysession-sql[postgresql]'" in done.stdout, done.stderr
