"""What is particular to a SQLite file: processes, crashes, full disks, schemas, plans."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from attrs import fields
from sqlalchemy import create_engine

from paysession import Money, Payments, StoreError
from paysession.plugins import Registry
from paysession.testing import FakeProvider
from paysession_sql import SqliteStore, upgrade
from paysession_sql.schema import COLLECTION, EVENT, NOTIFICATION, OPERATION, SESSION, metadata
from paysession_sql.upgrade import HEAD


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


def test_the_migrations_make_the_schema(url, store):
    engine = create_engine(url)
    with engine.connect() as connection:
        assert not compare_metadata(MigrationContext.configure(connection), metadata)
        assert MigrationContext.configure(connection).get_current_revision() == HEAD
    engine.dispose()


def test_an_upgrade_of_what_is_current_changes_nothing(url, store):
    upgrade(url)
    SqliteStore.open(url).close()


def test_a_newer_schema_is_refused(url, store):
    connection = sqlite3.connect(store.path)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
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


def test_commits_are_durable_and_many_may_read(store):
    pragmas = [store.query(f"PRAGMA {name}")[0][0] for name in ("journal_mode", "synchronous")]
    assert pragmas == ["wal", 2]


def test_every_read_uses_an_index(store):
    made = store._statements
    made.sessions()
    made.sessions("collection_id")
    statements = {**vars(made), **made._made}
    for name, statement in statements.items():
        if not hasattr(statement, "text") or not statement.text.startswith(("SELECT", "UPDATE")):
            continue
        given = (None,) * len(statement._names)
        plan = store.query(f"EXPLAIN QUERY PLAN {statement.text}", given)
        details = [row[-1] for row in plan]
        assert all("SCAN" not in detail or "USING INDEX" in detail for detail in details), (name, details)
        assert all("SEARCH" in detail or "B-TREE" in detail for detail in details), (name, details)


def payments(url):
    return Payments(SqliteStore.open(url), Registry({"fake": FakeProvider()}))


CAPTURE = """
import sys
from paysession import Capabilities, Outcome, Payments, SessionBusy, hookimpl

class Ledger:
    capabilities = Capabilities(capture="full")
    def __init__(self, path):
        self.path = path
    @hookimpl
    def initiate(self):
        return Outcome.pending()
    @hookimpl
    def authorize(self):
        return Outcome.authorized()
    @hookimpl
    def capture(self, operation):
        with open(self.path, "a") as file:
            file.write(operation.key + chr(10))
        return Outcome.captured(operation.amount)
    @hookimpl
    def cancel(self):
        return Outcome.canceled()

if __name__ == "__main__":
    url, path, session_id, key = sys.argv[1:]
    with Payments.open(url, providers={"ledger": Ledger(path)}, environ={}) as pay:
        print("ready", flush=True)
        sys.stdin.readline()
        try:
            print(pay.capture(session_id, idempotency_key=key or None).captured)
        except SessionBusy:
            print("busy")
"""
"""A provider whose gateway is a file (each capture is a line of it), and a process that captures."""


@pytest.mark.parametrize("key", ["", "k"])
def test_8_processes_capture_once(url, tmp_path, key):
    names = {"__name__": "test"}
    exec(CAPTURE, names)
    ledger = tmp_path / "ledger"
    with Payments.open(url, providers={"ledger": names["Ledger"](ledger)}, environ={}) as pay:
        order = pay.create_collection(eur("42.00"), reference="r")
        session = pay.initiate(order.id, provider="ledger")
        pay.authorize(session.id)
    command = [sys.executable, "-c", CAPTURE, url, str(ledger), session.id, key]
    workers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(8)
    ]
    assert ["ready\n"] * 8 == [worker.stdout.readline() for worker in workers]
    for worker in workers:
        worker.stdin.write("\n")
        worker.stdin.flush()
    told = {worker.communicate(timeout=60)[0].strip() for worker in workers}
    assert told <= {"4200", "busy"}
    assert "4200" in told
    assert ledger.read_text() == f"{session.id}-3\n"


WRITER = """
import sys
from paysession import Money, Payments
from paysession.plugins import Registry
from paysession.testing import FakeProvider
from paysession_sql import SqliteStore
pay = Payments(SqliteStore.open(sys.argv[1]), Registry({"fake": FakeProvider()}))
for n in range(100000):
    order = pay.create_collection(Money("1.00", "EUR"), reference=f"{sys.argv[2]}-{n}")
    session = pay.initiate(order.id, provider="fake")
    pay.authorize(session.id)
    print(order.reference, flush=True)
"""


def test_a_killed_process_loses_nothing_that_was_acknowledged(url):
    SqliteStore.open(url).close()
    acknowledged = []
    for round_ in range(3):
        worker = subprocess.Popen(
            [sys.executable, "-c", WRITER, url, str(round_)], stdout=subprocess.PIPE, text=True
        )
        with worker:
            for _ in range(15):
                acknowledged.append(worker.stdout.readline().strip())
            os.kill(worker.pid, signal.SIGKILL)
            rest = worker.stdout.read().splitlines(keepends=True)
        acknowledged += [line.strip() for line in rest if line.endswith("\n")]
    with payments(url) as pay:
        for reference in acknowledged:
            (session,) = pay.sessions(reference=reference)
            assert session.status == "authorized"
        connection = sqlite3.connect(pay._store.path)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()
        versions = {}
        cursor = None
        while page := pay.events(after=cursor, limit=1000):
            for event in page:
                assert event.version > versions.get(event.session_id, 0)
                versions[event.session_id] = event.version
            cursor = page[-1].cursor


def test_a_full_disk_is_an_error_and_nothing_is_half_written(store, url):
    pay = Payments(store, Registry({"fake": FakeProvider()}))
    order = pay.create_collection(eur("42.00"), reference="r")
    pages = store._writer.execute("PRAGMA page_count").fetchone()[0]
    store._writer.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="full"):
        for n in range(1000):
            pay.initiate(order.id, provider="fake", idempotency_key=str(n), data={"x": "y" * 5000})
    written = pay.sessions(limit=1000)
    store._writer.execute("PRAGMA max_page_count = 1000000")
    assert [len(pay.history(row.id)) for row in written] == [1] * len(written)
    for row in written:
        assert row.in_doubt or row.initiated
    session = pay.initiate(order.id, provider="fake", idempotency_key="after")
    assert session.status == "requires_more"


def test_a_database_locked_by_another_is_waited_for_and_then_an_error(store, monkeypatch):
    pay = Payments(store, Registry({"fake": FakeProvider()}))
    pay.create_collection(eur("1"), reference="a")
    store._writer.execute("PRAGMA busy_timeout = 50")
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
    commit_group = store._commit_group
    entered, leave = threading.Event(), threading.Event()

    def slow(group):
        commits.append(len(group))
        entered.set()
        leave.wait(10)
        commit_group(group)

    store._commit_group = slow
    threads = [
        threading.Thread(target=pay.create_collection, args=(eur("1"),), kwargs={"reference": str(n)})
        for n in range(9)
    ]
    threads[0].start()
    entered.wait(10)
    for thread in threads[1:]:
        thread.start()
    while len(store._queue) < 8:
        pass
    leave.set()
    for thread in threads:
        thread.join(10)
    assert commits == [1, 8]
    assert len(pay.collections()) == 9


def test_a_forked_child_opens_its_own_connections(store):
    pay = Payments(store, Registry({"fake": FakeProvider()}))
    pay.create_collection(eur("1"), reference="parent")
    child = os.fork()
    if child == 0:
        try:
            pay.create_collection(eur("1"), reference="child")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert {row.reference for row in pay.collections()} == {"parent", "child"}


def test_a_closed_store_refuses(url):
    store = SqliteStore.open(url)
    pay = Payments(store, Registry({"fake": FakeProvider()}))
    pay.close()
    with pytest.raises(StoreError, match="closed"):
        pay.create_collection(eur("1"), reference="a")
