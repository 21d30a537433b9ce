"""What is particular to a SQLite file: processes, crashes, full disks, schemas, plans."""

import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from time import monotonic

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from attrs import fields
from sqlalchemy import create_engine

from paysession import Checkout, Money, Payer, Payments, StoreError
from paysession._plugins.registry import Registry
from paysession.change import Change
from paysession.values import replace
from paysession_sql import SqliteStore, upgrade
from paysession_sql.places import Call
from paysession_sql.schema import COLLECTION, EVENT, NOTIFICATION, OPERATION, SESSION
from paysession_sql.tables import metadata
from paysession_sql.upgrade import HEAD, config
from paysession_testing import FakeProvider
from paysession_testing.stores import a_collection, a_notification, a_session, an_operation


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/books.db"


@pytest.fixture
def store(url):
    store = SqliteStore.open(url)
    yield store
    store.close()


def eur(amount):
    return Money(amount, "EUR")


@pytest.mark.parametrize("layout", [COLLECTION, SESSION, OPERATION, EVENT, NOTIFICATION])
def test_every_attribute_has_a_column_or_is_said_to_have_none(layout):
    kept = {place.attribute for place in layout.places} | set(layout.unstored)
    assert {attribute.name for attribute in fields(layout.cls)} == kept


def test_the_migrations_make_the_schema_without_the_index_that_only_postgres_needs(url, store):
    engine = create_engine(url)
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
        assert [(what, index.name) for what, index in differences] == [
            ("add_index", "ix_operation_session_id_ordinal")
        ]
        assert MigrationContext.configure(connection).get_current_revision() == HEAD
    engine.dispose()


def test_an_upgrade_of_what_is_current_changes_nothing(url, store):
    upgrade(url)
    SqliteStore.open(url).close()


@pytest.mark.parametrize("oldest", [HEAD, "9999"])
def test_a_newer_schema_is_refused_unless_it_says_that_it_suits(url, store, oldest):
    connection = sqlite3.connect(store.path)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.execute("UPDATE compatibility SET oldest = ?", (oldest,))
    connection.commit()
    connection.close()
    if oldest == HEAD:
        SqliteStore.open(url).close()
        return
    with pytest.raises(StoreError, match="newer"):
        SqliteStore.open(url)


def test_what_is_no_database_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("these are notes, and no database at all\n" * 100)
    for path in ("notes.txt", "nowhere/books.db", "."):
        with pytest.raises(StoreError, match="cannot be"):
            SqliteStore.open(f"sqlite:///{tmp_path}/{path}")
    for wrong in ("sqlite:///:memory:", "sqlite://", "sqlite:///"):
        with pytest.raises(StoreError, match="needs a file"):
            SqliteStore.open(wrong)


def test_a_file_that_may_not_be_written_says_what_sqlite_needs(url, tmp_path, monkeypatch):
    SqliteStore.open(url).close()
    path, connect = tmp_path / "books.db", sqlite3.connect
    with closing(connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    # As for a user without permission: that of root, as whom tests may run, cannot be taken away.
    monkeypatch.setattr(
        sqlite3, "connect", lambda path, **given: connect(f"file:{path}?mode=ro", uri=True, **given)
    )
    with pytest.raises(
        StoreError, match="readonly database; this user has to be able to write the file and its"
    ):
        SqliteStore.open(url)


def test_a_file_that_is_damaged_says_where_to_read_on(store, url, tmp_path):
    store.close()
    with closing(SqliteStore.open(url)) as again:  # which has read nothing yet
        _damage(tmp_path / "books.db")
        with pytest.raises(StoreError, match="malformed; if another file was copied .* 'After a restore'"):
            again.query("SELECT * FROM session")


def _damage(path):
    with path.open("r+b") as file:
        file.seek(4096)  # behind the first page, which says that it is a database
        file.write(b"\xff" * 100_000)


def test_commits_are_durable_and_many_may_read(store):
    pragmas = [store.query(f"PRAGMA {name}")[0][0] for name in ("journal_mode", "synchronous")]
    assert pragmas == ["wal", 2]


def test_every_read_uses_an_index(store):
    made = store._statements
    writes = {key: value for key, value in vars(store._writes).items() if not key.startswith("insert")}
    statements = {**vars(made), **writes}
    for name, statement in statements.items():
        if not hasattr(statement, "text") or not statement.text.startswith(("SELECT", "UPDATE")):
            continue
        if name == "prunable":  # an operator's dry run counts the events
            continue
        given = (None,) * len(statement.names)
        plan = store.query(f"EXPLAIN QUERY PLAN {statement.text}", given)
        details = [row[-1] for row in plan if row[-1] != "SCAN identity"]  # that is one row
        details = [
            detail
            for detail in details
            if detail.startswith(("SEARCH", "SCAN", "USE"))
            and "json_each" not in detail  # the parameter's list
        ]
        assert all("SCAN" not in detail or "USING INDEX" in detail for detail in details), (name, details)
        if name == "in_doubt":  # the index holds nothing but operations in doubt
            assert details == ["SCAN operation USING INDEX ix_operation_started"]
            continue
        assert all("SEARCH" in detail or "B-TREE" in detail for detail in details), (name, details)


def test_only_the_operations_of_a_session_are_found_by_the_ids_that_begin_with_its_id(store):
    store.commit(Change(collection=a_collection()))
    ids = ["ps_1", "ps_1-1", "ps_1.", "ps_10", "ps_", "PS_1"]
    for id_ in ids:
        operations = an_operation(id_, 2), an_operation(id_, 1)
        store.commit(Change(session=a_session(id=id_), operations=operations))
    for id_ in ids:
        assert [row.id for row in store.operations(id_)] == [f"{id_}-1", f"{id_}-2"]
        plan = store.query(f"EXPLAIN QUERY PLAN {store._statements.operations.text}", (id_,) * 3)
        assert plan[0][-1] == ("SEARCH operation USING INDEX sqlite_autoindex_operation_1 (id>? AND id<?)")


def payments(url):
    return Payments(SqliteStore.open(url), Registry({"fake": FakeProvider()}))


def test_a_full_disk_is_an_error_and_nothing_is_half_written(store, url):
    pay = Payments(store, Registry({"fake": FakeProvider()}))
    order = pay.create_collection(eur("42.00"), reference="r")
    pages = store._places.connections[0].execute("PRAGMA page_count").fetchone()[0]
    store._places.connections[0].execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="full"):
        for n in range(1000):
            pay.initiate(order.id, provider="fake", idempotency_key=str(n), data={"x": "y" * 5000})
    written = pay.sessions(limit=1000)
    store._places.connections[0].execute("PRAGMA max_page_count = 1000000")
    assert [len(pay.history(row.id)) for row in written] == [1] * len(written)
    for row in written:
        assert row.in_doubt or row.initiated
    session = pay.initiate(order.id, provider="fake", idempotency_key="after")
    assert session.status == "requires_more"


@pytest.mark.parametrize("how", ["replaced", "deleted", "deleted and made again"])
def test_a_file_that_is_not_in_its_place_any_more_is_neither_written_nor_read(
    url, tmp_path, monkeypatch, how
):
    path, backup, fake = tmp_path / "books.db", tmp_path / "backup.db", FakeProvider()
    with Payments.open(url, providers={"fake": fake}) as payments:
        order = payments.create_collection(Money("42.00", "EUR"), reference="o1")
        session = payments.initiate(order.id, provider="fake")
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(backup)) as target:
            source.backup(target)
        kept = backup.read_bytes()
        session = payments.authorize(session.id)
        if how == "replaced":
            backup.replace(path)
        else:
            path.unlink()
        if how == "deleted and made again":
            path.touch()
        with pytest.raises(StoreError, match="was replaced or deleted"):
            payments.capture(session.id)
        assert [kind for kind, _ in fake.calls] == ["initiate", "authorize"]
        later = monotonic() + 2
        monkeypatch.setattr("paysession_sql.sqlite.monotonic", lambda: later)
        with pytest.raises(StoreError, match="was replaced or deleted"):
            payments.get(session.id)
        with pytest.raises(StoreError, match="was replaced or deleted"):
            payments.prune()
    assert path.exists() is (how != "deleted")
    if how == "replaced":
        assert path.read_bytes() == kept


def test_a_file_that_was_found_missing_answers_no_read_until_it_is_back(url, tmp_path, monkeypatch):
    path, aside, now = tmp_path / "books.db", tmp_path / "aside.db", monotonic()
    monkeypatch.setattr("paysession_sql.sqlite.monotonic", lambda: now)
    with Payments.open(url, providers={"fake": FakeProvider()}) as payments:
        order = payments.create_collection(Money("42.00", "EUR"), reference="o1")
        path.rename(aside)
        now += 2
        for _ in range(3):
            with pytest.raises(StoreError, match="was replaced or deleted"):
                payments.collection(order.id)
            assert payments.health().failing
        with pytest.raises(StoreError, match="was replaced or deleted"):
            payments.create_collection(Money("42.00", "EUR"), reference="o2")
        with pytest.raises(StoreError, match="was replaced or deleted"):
            payments.collection(order.id)
        aside.rename(path)
        assert payments.collection(order.id).reference == "o1"
        assert not payments.health().failing


def test_a_database_locked_by_another_is_waited_for_and_then_an_error(store, monkeypatch):
    pay = Payments(store, Registry({"fake": FakeProvider()}))
    pay.create_collection(eur("1"), reference="a")
    store._places.connections[0].execute("PRAGMA busy_timeout = 50")
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked"):
        pay.create_collection(eur("1"), reference="b")
    other.execute("COMMIT")
    other.close()
    assert pay.create_collection(eur("1"), reference="b").reference == "b"


def test_threads_commit_in_groups(store):
    pay = Payments(store, Registry({"fake": FakeProvider()}))
    commits = []
    commit_alone, commit_group = store._commit_alone, store._commit_group
    entered, leave = threading.Event(), threading.Event()

    def slow(connection, call):
        commits.append(1)
        entered.set()
        leave.wait(10)
        commit_alone(connection, call)

    def counted(connection, lead):
        commits.append(len(lead.group))
        commit_group(connection, lead)

    store._commit_alone, store._commit_group = slow, counted
    threads = [
        threading.Thread(target=pay.create_collection, args=(eur("1"),), kwargs={"reference": str(n)})
        for n in range(9)
    ]
    threads[0].start()
    entered.wait(10)
    for thread in threads[1:]:
        thread.start()
    while len(store._places.waiting) < 8:
        pass
    leave.set()
    for thread in threads:
        thread.join(10)
    assert commits == [1, 8]
    assert len(pay.collections()) == 9


def test_a_read_leaves_the_connection_that_writes_to_a_commit_that_waits_for_it(store, monkeypatch):
    """A thread that reads in a loop would take it again each time before the commit wakes up."""
    places, reading, used = store._places, Call(), []
    sleeps, awake = threading.Event(), threading.Event()
    connection, wait = store._connection, places.wait

    def asleep(call):
        sleeps.set()
        assert awake.wait(20)
        wait(call)

    def noted(places, place):
        used.append(place)
        return connection(places, place)

    monkeypatch.setattr(places, "wait", asleep)
    monkeypatch.setattr(store, "_connection", noted)
    assert places.take(0, reading)
    commit = threading.Thread(target=store.commit, args=(Change(collection=a_collection()),))
    commit.start()
    assert sleeps.wait(20)
    places.leave(reading)
    for _ in range(3):
        assert not store.collections()
    awake.set()
    commit.join(20)
    assert len(store.collections()) == 1
    assert used == [1, 1, 1, 0, 0]


def test_a_commit_that_meets_a_fork_waits_for_it_and_then_in_line(store):
    pay = Payments(store, Registry({"fake": FakeProvider()}))
    places = store._places
    store.before_fork()
    threads = [
        threading.Thread(target=pay.create_collection, args=(eur("1"),), kwargs={"reference": str(n)})
        for n in range(4)
    ]
    threads.append(threading.Thread(target=pay.events))
    for thread in threads:
        thread.start()
    assert not places.connections
    blocker = Call()
    store.after_fork_in_parent()
    while not places.take(0, blocker):
        pass  # one of them is faster, and the rest waits in line
    places.leave(blocker)
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    assert len(pay.collections()) == 4


def test_a_commit_that_gave_way_to_a_fork_lines_up_behind_who_was_faster(store):
    pay = Payments(store, Registry({"fake": FakeProvider()}))
    places, blocker = store._places, Call()
    stop = places.stop

    def overtaken(call):
        stop(call)
        assert places.take(0, blocker)

    places.stop, places.resting = overtaken, True
    thread = threading.Thread(target=pay.create_collection, args=(eur("1"),), kwargs={"reference": "a"})
    thread.start()
    while not places.waiting and thread.is_alive():
        pass
    places.resting = False
    places.leave(blocker)
    thread.join(20)
    assert pay.collection(reference="a")


def test_closing_waits_for_the_calls_that_run_and_refuses_later_ones(store):
    pay = Payments(store, Registry({"fake": FakeProvider()}))
    entered, leave, ended = threading.Event(), threading.Event(), []
    write = store._write

    def slow(connection, change):
        entered.set()
        assert leave.wait(20)
        write(connection, change)

    def create(reference):
        pay.create_collection(eur("1"), reference=reference)
        ended.append(reference)

    store._write = slow
    threads = [threading.Thread(target=create, args=("running",))]
    threads[0].start()
    assert entered.wait(20)
    threads.append(threading.Thread(target=create, args=("in line",)))
    threads[1].start()
    while not store._places.waiting:
        pass
    closing = threading.Thread(target=store.close)
    closing.start()
    while not store._places.closed:
        pass
    with pytest.raises(StoreError, match="closed"):
        store.commit(Change())
    with pytest.raises(StoreError, match="closed"):
        store.collections()
    assert closing.is_alive()
    leave.set()
    for thread in (*threads, closing):
        thread.join(20)
    assert sorted(ended) == ["in line", "running"]
    assert not store._places.connections
    store.close()
    assert len(SqliteStore.open(f"sqlite:///{store.path}").collections()) == 2


def test_a_close_from_within_a_call_does_not_wait_for_itself(store):
    write = store._write

    def closing(connection, change):
        store.close()  # as a signal handler may
        write(connection, change)

    store._write = closing
    Payments(store, Registry({"fake": FakeProvider()})).create_collection(eur("1"), reference="a")
    assert not store._places.connections
    assert len(SqliteStore.open(f"sqlite:///{store.path}").collections()) == 1


CLOSING = """
import sys, threading
from paysession import Money, Payments, StoreError
from paysession_testing import FakeProvider
for turn in range(30):
    pay = Payments.open(sys.argv[1], providers={"fake": FakeProvider()}, environ={})
    begun = threading.Barrier(9)
    def work(write, n):
        begun.wait()
        try:
            while True:
                if write:
                    pay.create_collection(Money("1.00", "EUR"), reference=f"{turn} {n}")
                pay._store.events(limit=1000)
        except StoreError:
            pass
    threads = [threading.Thread(target=work, args=(n % 2, n)) for n in range(8)]
    for thread in threads:
        thread.start()
    begun.wait()
    pay._store.close()
    for thread in threads:
        thread.join()
"""


def test_closing_under_many_threads_does_not_crash_the_interpreter(url):
    done = subprocess.run(
        [sys.executable, "-c", CLOSING, url], capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


ENDING = """
import sys, threading
from paysession import Money, Payments
from paysession_testing import FakeProvider
pay = Payments.open(sys.argv[1], providers={"fake": FakeProvider()}, environ={})
begun = threading.Semaphore(0)
def work(n):
    try:
        for m in range(1_000_000):
            pay.create_collection(Money("1.00", "EUR"), reference=f"{n} {m}")
            pay.events(limit=1000)
            begun.release()
    except Exception:
        pass
for n in range(4):
    threading.Thread(target=work, args=(n,), daemon=True).start()
for n in range(8):
    begun.acquire()
"""


def test_the_interpreter_ends_while_daemon_threads_are_inside_and_closes_the_file(url, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ENDING, url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [path.name for path in tmp_path.iterdir()] == ["books.db"]  # no log: the last one closed it


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX's")
@pytest.mark.parametrize("by", [SqliteStore.open, upgrade])
def test_the_file_and_its_log_are_the_owners_alone(url, tmp_path, by):
    before = os.umask(0o022)
    try:
        by(url)
        store = SqliteStore.open(url)
        Payments(store, Registry({"fake": FakeProvider()})).create_collection(eur("1"), reference="a")
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(["books.db", "books.db-wal", "books.db-shm"], 0o600)
    store.close()
    (tmp_path / "books.db").chmod(0o640)  # whoever wants it otherwise says so once
    SqliteStore.open(url).close()
    assert (tmp_path / "books.db").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("last", ["a write", "a read", "the close"])
def test_what_is_erased_is_gone_from_the_file_and_from_the_log(store, tmp_path, last):
    erased = "4000-0000-erased-0000" * 40
    store.commit(Change(collection=a_collection()))
    session, operation = a_session(), an_operation(_payload=f'{{"p":"{erased}"}}')
    store.commit(Change(session=session, operations=(operation,)))
    raw = [path.read_bytes() for path in tmp_path.iterdir()]
    assert any(b"0000-erased" in content for content in raw)
    change = Change(
        session=replace(session, version=2), expected=1, operations=(replace(operation, payload=None),)
    )
    if last == "a write":
        store._tidy_at = 0.0
        store.commit(change)
    else:
        store.commit(change)
        store._tidy_at = 0.0
        store.close() if last == "the close" else store.session(session.id)
    assert not any(b"0000-erased" in path.read_bytes() for path in tmp_path.iterdir())
    assert last == "the close" or store._tidy_at > 0


def test_a_payer_who_is_forgotten_is_gone_from_the_file_and_from_the_log(store, tmp_path):
    pay = Payments(store, Registry({"fake": FakeProvider()}))
    order = pay.create_collection(eur("42.00"), reference="order-1")
    ann = Payer(name="Ann Miller " * 40, email="ann@example.com")
    session = pay.initiate(order.id, provider="fake", data={"n": "Ann Miller"}, checkout=Checkout(payer=ann))
    pay.authorize(session.id, payload={"n": "Ann Miller"})
    pay.capture(session.id)
    pay.refund(session.id, eur("1.00"), reason="Ann Miller complained", idempotency_key="r1")
    assert any(b"Ann Miller" in path.read_bytes() for path in tmp_path.iterdir())
    pay.forget(order.id, by="the data officer")
    left = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"Ann Miller" not in left
    assert b"ann@example" not in left
    assert (
        pay.refund(session.id, eur("1.00"), reason="Ann Miller complained", idempotency_key="r1").refunded
        == 100
    )


def test_a_log_that_a_reader_uses_is_emptied_later(store, tmp_path):
    store.commit(Change(collection=a_collection()))
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN")
    other.execute("SELECT count(*) FROM collection").fetchone()
    store._tidy_at = 0.0
    store.commit(Change(session=a_session()))
    assert store._written
    assert store.query("PRAGMA busy_timeout") == [(30000,)]
    other.close()
    store._tidy_at = 0.0
    assert store.session("ps_0001")
    assert not store._written
    assert (tmp_path / "books.db-wal").stat().st_size == 0


def test_a_closed_store_neither_reads_nor_writes(store):
    pay = Payments(store, Registry({"fake": FakeProvider()}))
    pay.create_collection(eur("1"), reference="a")
    pay.close()
    with pytest.raises(StoreError, match="closed"):
        pay.events()
    with pytest.raises(StoreError, match="closed"):
        pay.create_collection(eur("1"), reference="b")


def test_an_upgrade_drops_the_bodies_of_processed_notifications(url):
    store = SqliteStore.open(url)
    for number, state in enumerate(("processed", "received", "unmatched"), 1):
        store.commit(Change(notification=a_notification(number, state=state)))
    store.close()
    engine = create_engine(url)
    with engine.begin() as connection:
        made = config()
        made.attributes["connection"] = connection
        command.downgrade(made, "0002")
    engine.dispose()
    store = SqliteStore.open(url)
    try:
        bodies = {store.notification(f"wh_{number:04}").body for number in (2, 3)}
        assert bodies == {a_notification().body}
        assert store.notification("wh_0001").body == b""
    finally:
        store.close()
