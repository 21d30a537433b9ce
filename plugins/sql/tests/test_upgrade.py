"""What is particular to the schema of PostgreSQL: upgrades by command, two releases at once, dumps."""

import sys
from datetime import timedelta
from hashlib import sha256

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from paysession import Money, Payments, StoreError
from paysession._plugins.registry import Registry
from paysession.store import Change, Identity
from paysession_sql import SqliteStore, upgrade
from paysession_sql.postgres import PostgresStore
from paysession_sql.schema import OPERATION, SESSION
from paysession_sql.tables import metadata
from paysession_sql.upgrade import HEAD, Schema, config
from paysession_testing import FakeProvider
from paysession_testing.stores import a_notification


def execute(url, statement):
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def migrate(url, run, revision):
    if url.startswith("sqlite"):
        engine = create_engine(url)
    else:
        engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url))
    with engine.begin() as connection:
        made = config()
        made.attributes["connection"] = connection
        run(made, revision)
    engine.dispose()


@pytest.fixture
def payments(postgres_url):
    with Payments(PostgresStore.open(postgres_url), Registry({"fake": FakeProvider()})) as pay:
        yield pay


def live(pay, reference):
    order = pay.create_collection(Money("42.00", "EUR"), reference=reference)
    session = pay.initiate(order.id, provider="fake")
    pay.authorize(session.id)
    return pay.capture(session.id)


def test_the_migrations_make_the_schema_and_unmake_it(postgres_url):
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(postgres_url))
    with engine.connect() as connection:
        assert not compare_metadata(MigrationContext.configure(connection), metadata)
    engine.dispose()
    migrate(postgres_url, command.downgrade, "base")
    assert execute(postgres_url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == [
        ("alembic_version",)
    ]
    upgrade(postgres_url)
    PostgresStore.open(postgres_url).close()


@pytest.mark.parametrize(
    ("layout", "changing"),
    [
        (SESSION, ["open", "ordinal", "updated_at", "version", "due_at", "mark"]),
        (OPERATION, ["answer", "payload", "state", "updated_at", "lease_until"]),
    ],
)
def test_what_every_commit_changes_stands_behind_what_none_changes(postgres_url, layout, changing):
    """PostgreSQL logs an updated row from the first byte that changed to the last."""
    places = dict(
        execute(
            postgres_url,
            "SELECT column_name, ordinal_position FROM information_schema.columns "
            f"WHERE table_name = '{layout.name}' AND (is_nullable = 'NO' OR column_name IN {(*changing,)})",
        )
    )
    fixed = layout.fixed & places.keys()
    assert len(fixed) > 5
    assert max(places[name] for name in fixed) < min(places[name] for name in changing)


def test_an_older_schema_is_refused_and_the_command_is_named(empty_url):
    with pytest.raises(StoreError, match="no tables yet.*run `paysession db upgrade --db"):
        PostgresStore.open(empty_url)
    assert (None, False) == (Schema(empty_url).found, Schema(empty_url).current)
    migrate(empty_url, command.upgrade, "0001")
    with pytest.raises(StoreError, match=f"schema 0001, and this version needs schema {HEAD}"):
        PostgresStore.open(empty_url)
    Schema(empty_url).upgrade()
    Schema(empty_url).upgrade()
    assert (HEAD, True) == (Schema(empty_url).found, Schema(empty_url).current)
    PostgresStore.open(empty_url).close()


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_call_from_before_the_secret_finds_its_session_after_the_upgrade(tmp_path, database, request):
    """Ids of sessions derived from the collection and the caller's key alone then."""
    url = f"sqlite:///{tmp_path}/books.db" if database == "sqlite" else request.getfixturevalue("empty_url")
    open_ = (SqliteStore if database == "sqlite" else PostgresStore).open
    upgrade(url)
    fake = FakeProvider()
    with Payments(open_(url), Registry({"fake": fake})) as pay:
        order = pay.create_collection(Money("42.00", "EUR"), reference="before")
        store, secret = pay._store, pay._store.identity.secret
        store._identity = Identity(secret, since=order.created_at + timedelta(seconds=1))
        session = pay.initiate(order.id, provider="fake", idempotency_key="k")
        assert session.id.endswith(sha256(f"{order.id} k".encode()).hexdigest()[:16])
    migrate(url, command.downgrade, "0002")
    upgrade(url)
    with Payments(open_(url), Registry({"fake": fake})) as pay:
        assert pay.initiate(order.id, provider="fake", idempotency_key="k") == session
        later = pay.create_collection(Money("42.00", "EUR"), reference="later")
        session = pay.initiate(later.id, provider="fake", idempotency_key="k")
        assert not session.id.endswith(sha256(f"{later.id} k".encode()).hexdigest()[:16])
        assert session == pay.initiate(later.id, provider="fake", idempotency_key="k")
        assert pay._store.identity.secret != secret


def test_the_password_is_not_told(empty_url):
    with pytest.raises(StoreError) as caught:
        PostgresStore.open(empty_url.replace("postgres&", "postgres&password=hunter2&"))
    assert "hunter2" not in str(caught.value)
    with pytest.raises(StoreError, match="cannot be reached") as caught:
        PostgresStore.open("postgresql://ann:hunter2@127.0.0.1:1/books")
    assert "hunter2" not in str(caught.value)


def test_a_newer_schema_is_refused_unless_it_says_that_it_suits(postgres_url):
    execute(postgres_url, "UPDATE alembic_version SET version_num = '9999'")
    PostgresStore.open(postgres_url).close()
    execute(postgres_url, "UPDATE compatibility SET oldest = '9999'")
    with pytest.raises(StoreError, match="newer"):
        PostgresStore.open(postgres_url)
    with pytest.raises(StoreError, match="newer"):
        Schema(postgres_url).current  # noqa: B018


def test_a_running_release_survives_what_a_later_migration_may_add(postgres_url, payments):
    live(payments, "before")
    for table in ("collection", "session", "operation", "event", "notification"):
        execute(postgres_url, f"ALTER TABLE {table} ADD COLUMN later BIGINT")
        execute(postgres_url, f"ALTER TABLE {table} ADD COLUMN latest TEXT NOT NULL DEFAULT 'x'")
        execute(postgres_url, f"CREATE INDEX ON {table} (later)")
    session = live(payments, "after")
    assert session.captured == 4200
    assert payments.get(session.id) == session
    assert len(payments.events()) == 6


def test_an_upgrade_does_not_hold_up_the_app_behind_a_long_transaction(empty_url, monkeypatch):
    monkeypatch.setattr(sys.modules[config.__module__], "_LOCK_TIMEOUT", "100ms")
    migrate(empty_url, command.upgrade, "0001")
    with psycopg.connect(empty_url) as reader:
        reader.execute("SELECT 1 FROM session")
        with pytest.raises(StoreError, match="lock timeout"):
            upgrade(empty_url)
    assert Schema(empty_url).found == "0001"


def test_the_feed_goes_on_after_a_dump_was_restored_into_another_cluster(postgres_url):
    with Payments(PostgresStore.open(postgres_url), Registry({"fake": FakeProvider()})) as pay:
        live(pay, "before")
        # As it comes out of the dump of a cluster that has counted further.
        execute(postgres_url, "UPDATE event SET xact = xact + 5000000000")
    with pytest.raises(StoreError, match="restored from another cluster.*paysession db upgrade"):
        PostgresStore.open(postgres_url)
    assert not Schema(postgres_url).current
    upgrade(postgres_url)
    assert Schema(postgres_url).current
    with Payments(PostgresStore.open(postgres_url), Registry({"fake": FakeProvider()})) as pay:
        before = pay.events()
        assert [row.reference for row in before] == ["before"] * 3
        live(pay, "after")
        assert [row.reference for row in pay.events(after=before[-1].cursor)] == ["after"] * 3


def test_an_upgrade_drops_the_bodies_of_processed_notifications(postgres_url):
    store = PostgresStore.open(postgres_url)
    for number, state in enumerate(("processed", "received"), 1):
        store.commit(Change(notification=a_notification(number, state=state)))
    store.close()
    migrate(postgres_url, command.downgrade, "0002")
    upgrade(postgres_url)
    bodies = execute(postgres_url, "SELECT body FROM notification ORDER BY id")
    assert [bytes(row[0]) for row in bodies] == [b"", a_notification().body]
