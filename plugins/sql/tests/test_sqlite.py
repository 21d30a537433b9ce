"""What is particular to a SQLite file: processes, crashes, full disks, schemas, plans."""

import sqlite3
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


def test_commits_are_durable_and_many_may_read(store):
    pragmas = [store.query(f"PRAGMA {name}")[0][0] for name in ("journal_mode", "synchronous")]
    assert pragmas == ["wal", 2]


def test_every_read_uses_an_index(store):
    made = store._statements
    made.sessions()
    made.sessions("collection_id")
    writes = {key: value for key, value in vars(store._writes).items() if not key.startswith("insert")}
    statements = {**vars(made), **made._made, **writes}
    for name, statement in statements.items():
        if not hasattr(statement, "text") or not statement.text.startswith(("SELECT", "UPDATE")):
            continue
        given = (None,) * len(statement.names)
        plan = store.query(f"EXPLAIN QUERY PLAN {statement.text}", given)
        details = [row[-1] for row in plan]
        assert all("SCAN" not in detail or "USING INDEX" in detail for detail in details), (name, details)
        if name == "in_doubt":  # the index holds nothing but operations in doubt
            assert details == ["SCAN operation USING INDEX ix_operation_started"]
            continue
        assert all("SEARCH" in detail or "B-TREE" in detail for detail in details), (name, details)


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


def test_a_closed_store_neither_reads_nor_writes(store):
    pay = Payments(store, Registry({"fake": FakeProvider()}))
    pay.create_collection(eur("1"), reference="a")
    pay.close()
    with pytest.raises(StoreError, match="closed"):
        pay.events()
    with pytest.raises(StoreError, match="closed"):
        pay.create_collection(eur("1"), reference="b")
