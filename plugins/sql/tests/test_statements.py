"""The statements: generated, committed, right in every shape, and run without what generates them."""

import itertools
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

import paysession_sql
from paysession import MemoryStore, Money, Payments
from paysession.change import Change
from paysession.values import replace
from paysession_sql import SqliteStore, upgrade
from paysession_sql.generate import generated
from paysession_sql.postgres import PostgresStore
from paysession_testing import FakeProvider
from paysession_testing.stores import (
    a_collection,
    a_conflict,
    a_notification,
    a_session,
    an_event,
    an_operation,
)

PAYMENT = """
import sys
from paysession import Money, Payments
from paysession_testing import FakeProvider
with Payments.open(sys.argv[1], providers={"fake": FakeProvider()}) as payments:
    order = payments.create_collection(Money("42.00", "EUR"), reference="order")
    session = payments.initiate(order.id, provider="fake")
    payments.authorize(session.id)
    payments.capture(session.id)
    payments.refund(session.id)
    assert payments.events() and payments.sessions(provider="fake")
sys.exit(" ".join(name for name in ("sqlalchemy", "alembic", "rich", "click") if name in sys.modules) or 0)
"""


def test_the_generated_statements_are_what_the_tables_and_migrations_lead_to():
    folder = Path(paysession_sql.__file__).parent
    for name, content in generated().items():
        assert (folder / name).read_text(encoding="utf-8") == content, "run python -m paysession_sql.generate"


@pytest.mark.parametrize("database", ["new", "sqlite", "postgresql"])
def test_a_payment_is_made_without_what_generates_statements_and_migrates(database, tmp_path, request):
    url = request.getfixturevalue("postgres_url") if database == "postgresql" else f"sqlite:///{tmp_path}/db"
    if database == "sqlite":
        SqliteStore.open(url).close()
    done = subprocess.run([sys.executable, "-c", PAYMENT, url], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_new_file_is_made_as_the_migrations_make_it(tmp_path):
    upgrade(f"sqlite:///{tmp_path}/migrated.db")
    SqliteStore.open(f"sqlite:///{tmp_path}/new.db").close()
    made = []
    for name in ("migrated.db", "new.db"):
        connection = sqlite3.connect(tmp_path / name)
        rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name")
        tables = [row[:3] + (row[3] and " ".join(row[3].split()),) for row in rows]
        stamps = [
            connection.execute(f"SELECT * FROM {name}").fetchall()
            for name in ("alembic_version", "compatibility")
        ]
        secret = connection.execute("SELECT length(secret), since FROM identity").fetchall()
        made.append((tables, stamps, secret))
        connection.close()
    assert made[0] == made[1]


def test_tables_of_somebody_else_in_the_file_are_left_alone(tmp_path):
    connection = sqlite3.connect(tmp_path / "shop.db")
    connection.execute("CREATE TABLE cart (id INTEGER)")
    connection.execute("INSERT INTO cart VALUES (7)")
    connection.commit()
    SqliteStore.open(f"sqlite:///{tmp_path}/shop.db").close()
    assert connection.execute("SELECT id FROM cart").fetchall() == [(7,)]
    connection.close()


LISTS = {
    (): "ix_session_provider_status_time",
    ("status",): "ix_session_provider_status_time",
    ("provider",): "ix_session_provider_status_time",
    ("provider", "status"): "ix_session_provider_status_time",
    ("collection_id",): "ix_session_collection_time",
    ("collection_id", "provider", "status"): "ix_session_collection_time",
    ("with_conflict",): "ix_session_conflict_time",
    ("provider", "with_conflict"): "ix_session_conflict_time",
    ("without_conflict",): "ix_session_provider_status_time",
    ("gateway_reference",): None,
    ("provider", "status", "gateway_reference"): None,
}
"""Each way to filter a list, and the index in whose order it is read; None: what is found is sorted."""


def listed(store, filters, newest):
    """Return the statement of a list where two providers have sessions."""
    merged = store._statements.merges(*filters)
    return store._statements.sessions(*filters, providers=2 if merged else 0, newest=newest)


@pytest.mark.parametrize("newest", [False, True])
@pytest.mark.parametrize("filters", LISTS)
def test_a_list_reads_its_page_by_index_on_sqlite(tmp_path, filters, newest):
    store = SqliteStore.open(f"sqlite:///{tmp_path}/books.db")
    statement = listed(store, filters, newest)
    plan = store.query(f"EXPLAIN QUERY PLAN {statement.text}", (None,) * len(statement.names))
    details = [row[-1] for row in plan]
    store.close()
    index = LISTS[filters]
    # Where no status is asked for, the pages of each are merged: "one" is such a page.
    searches = [
        detail for detail in details if detail.startswith(("SEARCH", "SCAN")) and detail != "SCAN one"
    ]
    if index is None:
        assert all("(reference=?)" in detail or "(id=?)" in detail for detail in searches), details
    else:
        assert all(f"SEARCH session USING INDEX {index}" in detail for detail in searches), details
        assert all("created_at>? AND created_at<?" in detail for detail in searches), details
        for before, detail in itertools.pairwise(details):  # a page is sorted, and never more
            assert "TEMP B-TREE" not in detail or before == "SCAN one", details


@pytest.mark.parametrize("newest", [False, True])
@pytest.mark.parametrize("filters", LISTS)
def test_a_list_reads_its_page_by_index_on_postgresql(filled_url, filters, newest):
    psycopg = pytest.importorskip("psycopg")
    store = PostgresStore.open(filled_url)
    statement = listed(store, filters, newest)
    store.close()
    # The rarest and the most frequent alike: the plan does not know which is asked for.
    with psycopg.connect(filled_url) as other:
        other.execute("SET plan_cache_mode = force_generic_plan")
        other.execute(f"PREPARE list AS {statement.text}")
        given = ", ".join(["NULL"] * len(statement.names))
        plan = [row[0] for row in other.execute(f"EXPLAIN EXECUTE list({given})").fetchall()]
    index = LISTS[filters]
    assert not [line for line in plan if "Seq Scan" in line], plan
    if index is not None:
        assert [line for line in plan if f" using {index}" in line], plan
        assert not [line for line in plan if line.strip().startswith(("Sort  ", "->  Sort  "))], plan
        pages = 1 if "provider" in filters else 2
        pages = pages if "status" in filters else 5 * pages
        assert sum("Limit  " in line for line in plan) == (1 + pages if "status_time" in index else 1), plan


@pytest.fixture(scope="module")
def filled_url(new_url):
    """The URL of a database with 20,000 sessions, of which PostgreSQL has figures."""
    psycopg = pytest.importorskip("psycopg")
    with psycopg.connect(new_url, autocommit=True) as other:
        other.execute("ANALYZE")
    return new_url


@pytest.fixture(scope="module")
def new_url(postgres):
    """The URL of a database with 20,000 sessions, of which PostgreSQL has no figures yet."""
    psycopg = pytest.importorskip("psycopg")
    url = postgres.database()
    upgrade(url)
    store = PostgresStore.open(url)
    store.commit(Change(collection=a_collection()))
    store.commit(Change(session=a_session(), operations=(an_operation(),)))
    store.close()
    with psycopg.connect(url, autocommit=True) as other:
        for table in ("session", "operation"):
            columns = other.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_name = %s", (table,)
            ).fetchall()
            made = {
                "id": "id || n",
                "session_id": "session_id || n",
                "collection_id": "collection_id || n / 2",
                "reference": "reference || n",
                "created_at": "created_at + n",
                "status": "CASE WHEN n % 10 = 0 THEN 'canceled' ELSE 'authorized' END",
                "conflict": "CASE WHEN n % 1000 = 0 THEN 'amount' END",
                "idempotency_key": "idempotency_key || n",
                "capture_id": "capture_id || n",
                "reverses": "CASE WHEN n % 100 = 0 THEN reverses || n END",
                "origin": "CASE WHEN n % 100 = 0 THEN 'provider' ELSE 'host' END",
            }
            names = [name for (name,) in columns]
            values = ", ".join(made.get(name, name) for name in names)
            other.execute(
                f"INSERT INTO {table} ({', '.join(names)}) "
                f"SELECT {values} FROM {table}, generate_series(1, 20000) AS n"
            )
    yield url
    postgres.drop(url)


READS = ["sums", "refunds_of", "repeated", "session_by_reference", "session_by_operation"]


def planned(url, name):
    """Return the plan of a read on PostgreSQL, as it is run: with unknown parameters."""
    psycopg = pytest.importorskip("psycopg")
    store = PostgresStore.open(url)
    statement = getattr(store._statements, name)
    store.close()
    with psycopg.connect(url) as other:
        other.execute("SET plan_cache_mode = force_generic_plan")
        other.execute(f"PREPARE one AS {statement.text}")
        given = ", ".join(["NULL"] * len(statement.names))
        return [row[0] for row in other.execute(f"EXPLAIN EXECUTE one({given})").fetchall()]


@pytest.mark.parametrize("figures", [False, True], ids=["no figures yet", "figures"])
@pytest.mark.parametrize("name", READS)
def test_other_reads_are_by_index_in_large_tables(name, figures, request):
    plan = planned(request.getfixturevalue("filled_url" if figures else "new_url"), name)
    assert not [line for line in plan if "Seq Scan" in line], plan


@pytest.mark.parametrize("name", ["sums", "refunds_of"])
def test_a_list_of_ids_is_looked_up_and_not_joined(new_url, name):
    """PostgreSQL joins by reading all of a table of which it has no figures, if it is not very large."""
    plan = planned(new_url, name)
    assert not [line for line in plan if "Join" in line or "Nested Loop" in line], plan


@pytest.mark.parametrize("name", READS)
def test_other_reads_are_by_index_on_sqlite(tmp_path, name):
    store = SqliteStore.open(f"sqlite:///{tmp_path}/books.db")
    statement = getattr(store._statements, name)
    plan = store.query(f"EXPLAIN QUERY PLAN {statement.text}", ("[]",) * len(statement.names))
    store.close()
    reads = [row[-1] for row in plan if row[-1].startswith(("SEARCH", "SCAN"))]
    assert reads
    # What is scanned is the list of collections' ids, which the caller gives.
    assert all(detail.startswith(("SEARCH", "SCAN json_each")) for detail in reads), plan
    indexes = {"repeated": "ix_operation_idempotency_key", "refunds_of": "ix_operation_capture"}
    assert any(indexes.get(name, "INDEX") in detail for detail in reads), plan


def shapes():
    """Yield a change of every shape, on what `prepared` wrote."""
    notes = {
        None: {},
        "new": {"notification": a_notification(2)},
        "seen": {"notification": a_notification(1, attempts=3, state="processed"), "notification_seen": True},
    }
    collections = {
        None: {},
        "new": {"collection": a_collection(2)},
        "amount": {"collection": a_collection(1, 99_00), "collection_amount": True},
    }
    for (_, collection), (_, note) in itertools.product(collections.items(), notes.items()):
        if collection or note:
            yield Change(**collection, **note)
    counts = [(0, 0, 0), (1, 0, 1), (3, 2, 2), (0, 1, 0)]
    holds = [(0, True), (70, True), (-5, True), (70_000, False)]
    for new, (hold, guarded), note, (operations, conflicts, events) in itertools.product(
        (True, False), holds, notes.values(), counts
    ):
        session = a_session(2) if new else a_session(1, version=2, reference=None)
        yield Change(
            session=session,
            expected=0 if new else 1,
            hold=hold,
            guarded=guarded,
            operations=tuple(
                an_operation(session.id, ordinal, note="changed") for ordinal in range(1, operations + 1)
            ),
            conflicts=tuple(
                a_conflict(number if not new else number + 10, session.id, note="changed")
                for number in range(1, conflicts + 1)
            ),
            events=tuple(an_event(session.id, version) for version in range(5, 5 + events)),
            **note,
        )


def prepared(store):
    store.commit(Change(collection=a_collection()))
    store.commit(
        Change(
            session=a_session(),
            operations=(an_operation(),),
            conflicts=(a_conflict(),),
            events=(an_event(),),
            hold=10,
        )
    )
    store.commit(Change(notification=a_notification(attempts=2)))


class Told(sqlite3.Connection):
    """A connection that records what it is asked to execute."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.said = []

    def cursor(self, factory=None):
        return super().cursor(factory or ToldCursor)


class ToldCursor(sqlite3.Cursor):
    def execute(self, text, parameters=()):
        self.connection.said.append((text, parameters))
        return super().execute(text, parameters)


def test_no_parameter_is_one_that_sqlite3_looks_for_an_adapter_for(tmp_path, monkeypatch):
    opened, connect = [], sqlite3.connect

    def connected(path, **options):
        opened.append(connect(path, factory=Told, **options))
        return opened[-1]

    monkeypatch.setattr(sqlite3, "connect", connected)
    with Payments.open(
        f"sqlite:///{tmp_path}/books.db", providers={"fake": FakeProvider()}, environ={}
    ) as payments:
        order = payments.create_collection(Money("42.00", "EUR"), reference="order")
        session = payments.initiate(order.id, provider="fake")
        payments.authorize(session.id)
        payments.capture(session.id)
        payments.refund(session.id)
    said = [each for connection in opened for each in connection.said]
    assert any('"open" = NULL' in text for text, _ in said)
    strange = {type(value) for _, parameters in said for value in parameters} - {int, str}
    assert not strange


def held(store):
    """Return all that the tests of shapes look at."""
    sessions = [store.session(key) for key in ("ps_0001", "ps_0002")]
    return (
        [store.collection(key) for key in ("pc_0001", "pc_0002")],
        sessions,
        [store.operations(key) for key in ("ps_0001", "ps_0002")],
        store.conflicts(open=False),
        [replace(event, cursor="") for event in store.events()],
        [store.notification(key) for key in ("wh_0001", "wh_0002")],
    )


def test_a_change_of_every_shape_is_written_as_the_store_in_memory_does(postgres_url):
    store = PostgresStore.open(postgres_url)
    tables = "collection, session, operation, conflict, event, notification"
    psycopg = pytest.importorskip("psycopg")
    with psycopg.connect(postgres_url, autocommit=True) as other:
        for change in shapes():
            other.execute(f"TRUNCATE {tables}")
            memory = MemoryStore()
            for each in (store, memory):
                prepared(each)
                each.commit(change)
            assert held(store) == held(memory), change
    store.close()
