"""The whole procedure of a restore, at a gateway with a ledger of its own: back up, pay, restore, resync."""

import os
import shutil
import sqlite3
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest

from paysession import Capabilities, CursorLost, Money, OutcomeUnknown, Payments
from paysession._plugins.registry import Registry
from paysession.payments import open_store
from paysession_sql import upgrade
from paysession_testing.gateway_process import GatewayProcess
from paysession_testing.gateway_provider import GatewayProvider

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
CAN = Capabilities(
    capture="multiple", refund="multiple", lookup="consistent", replay_window=timedelta(hours=24)
)


def eur(minor):
    return Money.from_minor(minor, "EUR")


@pytest.fixture(scope="module")
def gateway():
    with GatewayProcess() as gateway:
        yield gateway


class SqliteBackups:
    """Copies of a SQLite database, made while the application goes on."""

    def __init__(self, folder):
        self.url, self._path, self._copy = (
            f"sqlite:///{folder}/pay.db",
            f"{folder}/pay.db",
            f"{folder}/copy.db",
        )
        upgrade(self.url)

    def make(self):
        with closing(sqlite3.connect(self._path)) as live, closing(sqlite3.connect(self._copy)) as copy:
            live.backup(copy)

    def restore(self):
        for name in ("", "-wal", "-shm"):
            if os.path.exists(self._path + name):
                os.remove(self._path + name)
        shutil.copy(self._copy, self._path)


class PostgresBackups:
    """Copies of a PostgreSQL database, by ``CREATE DATABASE ... TEMPLATE``."""

    def __init__(self, server, url):
        self._server, self.url, self._copy = server, url, server.database()
        self._name, self._backup = (urlsplit(each).path[1:] for each in (url, self._copy))

    def _replace(self, name, template):
        self._server.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{template}'"
        )
        self._server.execute(f"DROP DATABASE {name} WITH (FORCE)")
        self._server.execute(f"CREATE DATABASE {name} TEMPLATE {template}")

    def make(self):
        self._replace(self._backup, self._name)

    def restore(self):
        self._replace(self._name, self._backup)

    def close(self):
        self._server.drop(self._copy)


@pytest.fixture(params=["sqlite", "postgresql"])
def backups(request, tmp_path):
    if request.param == "sqlite":
        yield SqliteBackups(tmp_path)
        return
    made = PostgresBackups(request.getfixturevalue("postgres"), request.getfixturevalue("postgres_url"))
    yield made
    made.close()


class Shop:
    """A shop that calls with idempotency keys, and a gateway account of its own."""

    def __init__(self, gateway, name, url):
        self.gateway, self.name, self.url = gateway, name, url
        gateway.open(name)

    @contextmanager
    def open(self):
        provider = GatewayProvider(self.gateway.url(self.name), capabilities=CAN)
        with Payments(open_store(self.url), Registry({self.name: provider})) as self.pay:
            yield self.pay

    def begin(self, reference):
        order = self.pay.create_collection(eur(4200), reference=reference)
        return self.pay.initiate(order.id, provider=self.name, idempotency_key=reference)

    def authorized(self, reference):
        session = self.begin(reference)
        self.gateway.payer(self.name, session.id, "approve")
        return self.pay.resume(session.id)

    def notify(self, *sessions):
        """Deliver the notifications about these sessions; about all that are left, by default."""
        told = self.gateway.notifications(self.name, limit=1000)
        ids = [session.id.encode() for session in sessions]
        told = [row for row in told if not ids or any(id_ in row[2] for id_ in ids)]
        for _, headers, body in told:
            assert self.pay.handle_webhook(self.name, headers=headers, body=body).status == 200
        self.gateway.acknowledge(self.name, *(id_ for id_, _, _ in told))

    def moved(self):
        """Return what the gateway took and gave back, as it stands in its own ledger."""
        return [
            (row["ours"], row["kind"], row["amount"], row["operation"])
            for row in self.gateway.ledger(self.name)
            if row["kind"] in ("authorize", "capture", "refund")
        ]

    def totals(self, session_id):
        rows = [row for row in self.moved() if row[0] == session_id]
        return tuple(sum(row[2] for row in rows if row[1] == kind) for kind in ("capture", "refund"))

    def recorded(self, session_id):
        session = self.pay.get(session_id)
        return session.captured, session.refunded


@pytest.fixture
def shop(gateway, backups):
    return Shop(gateway, f"shop-{id(backups)}", backups.url)


@pytest.mark.parametrize("first", ["resync", "the host's retries"])
def test_after_a_restore_the_ledger_equals_the_gateway_and_nothing_is_sent_twice(shop, backups, first):
    with shop.open() as pay:
        one, two = shop.authorized("one"), shop.authorized("two")
        pay.capture(two.id, eur(2000), idempotency_key="two-c")
        three = shop.begin("three")
        four = pay.create_collection(eur(4200), reference="four")
        kept = pay.events()[-1].cursor
        backups.make()

    with shop.open() as pay:

        def calls(pay):
            """Do what the shop does under its own keys, and will do again whenever it is not sure."""
            pay.capture(one.id, eur(400), idempotency_key="one-c")
            pay.refund(two.id, eur(100), reason="late", idempotency_key="two-r")
            pay.resume(three.id)
            pay.capture(three.id, idempotency_key="three-c")
            session = pay.initiate(four.id, provider=shop.name, idempotency_key="four")
            session = pay.resume(session.id)
            pay.capture(session.id, eur(700), final=True, idempotency_key="four-c")
            return session.id

        pay.capture(two.id, eur(300))  # without a key
        shop.gateway.payer(shop.name, three.id, "approve")
        begun = pay.initiate(four.id, provider=shop.name, idempotency_key="four")
        shop.gateway.payer(shop.name, begun.id, "approve")
        fourth = calls(pay)
        lost = shop.authorized("lost with its collection")
        shop.notify(one, two, three)
        cursor = pay.events(limit=1000)[-1].cursor
        before = shop.moved()
        secret = pay._store.identity

    backups.restore()
    with shop.open() as pay:
        assert pay._store.identity == secret
        assert pay.get(one.id).captured == 0
        with pytest.raises(CursorLost):
            pay.events(after=cursor)
        assert pay.events(after=kept) == ()
        shop.notify()
        assert {row.session_id for row in pay.unmatched()} == {fourth, lost.id}
        if first == "resync":
            report = pay.resync(since=LONG_AGO)
            assert (report.looked, report.changed, report.failed) == (3, 3, 0)
            assert [shop.recorded(row.id) for row in (one, two, three)] == [
                shop.totals(row.id) for row in (one, two, three)
            ]
        assert calls(pay) == fourth  # under the same key it has the same id
        pay.resync(since=LONG_AGO)
        assert shop.moved() == before
        for session_id in (one.id, two.id, three.id, fourth):
            assert shop.recorded(session_id) == shop.totals(session_id)
        assert {row.session_id for row in pay.unmatched()} == {lost.id}

        # Another call is another effect, and the reader goes on.
        pay.capture(one.id, eur(400), idempotency_key="one-d")
        assert shop.totals(one.id) == shop.recorded(one.id) == (800, 0)
        events = pay.events(after=kept, limit=1000)
        assert events[-1].captured == 800
        assert pay.events(after=events[-1].cursor) == ()
        with pytest.raises(CursorLost):
            pay.events(after=cursor)


def test_what_was_in_flight_when_the_backup_was_made_is_settled_once(shop, backups):
    with shop.open() as pay:
        session = shop.authorized("one")
        shop.gateway.inject(shop.name, "drop_before", verb="capture")
        shop.gateway.inject(shop.name, "error_before", verb="lookup")
        with pytest.raises(OutcomeUnknown):
            pay.capture(session.id, eur(400), idempotency_key="c")
        assert pay.get(session.id).in_doubt
        backups.make()
    with shop.open() as pay:
        assert pay.capture(session.id, eur(400), idempotency_key="c").captured == 400
        assert pay.capture(session.id, eur(400), idempotency_key="d").captured == 800
        before = shop.moved()
    backups.restore()
    with shop.open() as pay:
        assert pay.get(session.id).in_doubt
        pay.resync(since=LONG_AGO)
        assert shop.recorded(session.id) == shop.totals(session.id) == (800, 0)
        for key in ("c", "d"):
            assert pay.capture(session.id, eur(400), idempotency_key=key).captured == 800
        assert shop.moved() == before
