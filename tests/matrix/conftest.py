"""A shop on real books, with a real gateway, whose processes can be killed at a chosen point."""

import contextlib
import http.client
import json
import mmap
import os
import shutil
import signal
import struct
import time
import traceback
from datetime import UTC, datetime, timedelta

import pytest

from paysession import Capabilities, Money, Payments
from paysession._plugins.registry import Registry
from paysession.payments import open_store
from paysession_sql import upgrade
from paysession_testing.gateway_process import GatewayProcess
from paysession_testing.gateway_provider import GatewayProvider
from paysession_testing.killing import KillPoints

KINDS = ("initiate", "update", "authorize", "capture", "refund", "cancel")
MOVES = ("authorize", "capture", "refund", "cancel")
START = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
TOTAL = 4200
PATIENT = 20.0
"""Seconds that an answer is waited for which should come, on however busy a machine."""
CALL_LIMIT = timedelta(seconds=60)


def eur(minor):
    return Money.from_minor(minor, "EUR")


@pytest.hookimpl(tryfirst=True)  # before pytest leaves out what is marked
def pytest_collection_modifyitems(items):
    """Leave to the slow tier what repeats a row on another than the first store, or with another operation.

    On the first store each test stays in the fast tier with all of its rows for a capture, and with one for
    each other operation, if no process is killed for it; on another with the first of its rows for a capture.
    """
    seen = set()
    for item in items:
        if not item.nodeid.startswith("tests/matrix/"):
            continue
        given = item.callspec.params if hasattr(item, "callspec") else {}
        kind, durable = given.get("kind", "capture"), "durable_url" in given
        first = given.get("any_url", "memory") == "memory" and given.get("durable_url", "sqlite") == "sqlite"
        row = item.path, item.originalname, given.get("any_url"), given.get("durable_url"), kind
        if kind == "capture":
            repeats = row in seen and not first
        else:
            repeats = row in seen or durable or not first
        if repeats:
            item.add_marker(pytest.mark.slow)
        seen.add(row)


@pytest.fixture(scope="session")
def gateway():
    with GatewayProcess() as gateway:
        yield gateway


@pytest.fixture(scope="session")
def sqlite_file(tmp_path_factory):
    """Empty books, to be copied: making their schema is the slow part."""
    path = tmp_path_factory.mktemp("sqlite") / "books.db"
    open_store(f"sqlite:///{path}").close()
    return path


@pytest.fixture(scope="session")
def postgres_url(postgres):
    url = postgres.database()
    upgrade(url)
    yield url
    postgres.drop(url)


def _url(request, tmp_path):
    if request.param == "memory":
        return "memory:"
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_file"), tmp_path / "books.db")
        return f"sqlite:///{tmp_path}/books.db"
    url = request.getfixturevalue("postgres_url")
    request.addfinalizer(lambda: _empty(url))
    return url


def _empty(url):
    import psycopg

    with psycopg.connect(url) as connection:
        names = connection.execute(
            "SELECT DISTINCT tablename FROM pg_tables JOIN pg_attribute ON attrelid = tablename::regclass"
            " WHERE schemaname = 'public' AND attname = 'id'"  # and not those with the schema's version
        ).fetchall()
        connection.execute(f"TRUNCATE {', '.join(name for (name,) in names)} RESTART IDENTITY")


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def any_url(request, tmp_path):
    return _url(request, tmp_path)


@pytest.fixture(params=["sqlite", "postgresql"])
def durable_url(request, tmp_path):
    return _url(request, tmp_path)


@pytest.fixture
def lab(any_url, gateway):
    """A shop on each store."""
    with contextlib.closing(Lab(any_url, gateway)) as lab:
        yield lab


@pytest.fixture
def durable(durable_url, gateway):
    """A shop whose books survive a process."""
    with contextlib.closing(Lab(durable_url, gateway)) as lab:
        yield lab


class Lab:
    """A shop with one order of 42 euros, its gateway, and a clock that stands still until it is moved."""

    def __init__(self, url, gateway):
        self.url, self.gateway = url, gateway
        self._memory = mmap.mmap(-1, mmap.PAGESIZE)  # shared with every process that is forked
        self._pay = self._provider = None
        self._timeout = PATIENT
        self.clock(START)
        self.account()

    # --- time and the gateway ---

    def clock(self, seconds):
        struct.pack_into("d", self._memory, 0, seconds)
        self.gateway.clock(seconds, 0.0, 0.0)

    def seconds(self):
        return struct.unpack_from("d", self._memory, 0)[0]

    def now(self):
        return datetime.fromtimestamp(self.seconds(), UTC)

    def forward(self, **duration):
        self.clock(self.seconds() + timedelta(**duration).total_seconds())

    def account(self, keys="all", window=timedelta(hours=24), lookup="consistent", lag=0.0, secret=True):
        """Open the account anew, with these semantics."""
        self.gateway.accept()
        self.gateway.open("shop", keys=keys, key_window=window.total_seconds() or 86_400.0, lag=lag, late=0.0)
        self._secret = secret
        self._capabilities = Capabilities(
            capture="multiple", refund="multiple", replay_window=window, lookup=lookup,
            lookup_lag=timedelta(seconds=lag), call_limit=CALL_LIMIT,
        )  # fmt: skip
        self._close()

    def inject(self, *faults, verb=None):
        if {"silent_before", "silent_after", "late"} & set(faults):
            self._timeout = 0.3  # until it settles: who waits for nothing need not wait long
            self._provider.close()
        self.gateway.inject("shop", *faults, verb=verb)

    def someone_orders(self, ours):
        """Make an order at the gateway that our ledger does not know."""
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway.port, timeout=5)
        body = json.dumps({"ours": ours, "amount": 1, "currency": "EUR"})
        connection.request("POST", "/shop/orders", body, {"Authorization": "Bearer sk_gateway"})
        assert connection.getresponse().status == 200
        connection.close()

    def ledger(self, kind=None):
        return [row for row in self.gateway.ledger("shop") if kind in (None, row["kind"])]

    def calls(self):
        return self.gateway.stats()["calls"]

    # --- the ledger ---

    def open(self, plugins=(), connect=None):
        provider = self._provider = GatewayProvider(
            self.gateway.url("shop"), timeout=PATIENT, capabilities=self._capabilities, clock=self.seconds,
            webhook_secret="whsec_gateway" if self._secret else None, connect=connect or self._connect,
        )  # fmt: skip
        other = GatewayProvider(self.gateway.url("shop"), timeout=PATIENT, clock=self.seconds)
        registry = Registry({"gw": provider, "other": other}, plugins)
        return Payments(open_store(self.url, clock=self.now), registry)

    def _connect(self, host, port, _timeout):
        return http.client.HTTPConnection(host, port, timeout=self._timeout)

    @property
    def pay(self):
        if self._pay is None:
            self._pay = self.open()
        return self._pay

    def _close(self):
        if self._pay is not None:
            self._pay.close()
            self._pay = None

    def close(self):
        self._close()
        self.gateway.accept()

    def order(self):
        return self.pay.create_collection(eur(TOTAL), reference="order-1")

    def session(self, status="authorized", provider="gw"):
        session = self.pay.initiate(
            self.order().id, provider=provider, idempotency_key=f"{provider} {status}"
        )
        if status == "requires_more":
            return session.id
        self.gateway.payer("shop", session.id, "approve")
        # What a payer's return alone may cause is nothing at a gateway that cannot be queried.
        lookup = self.pay._registry.provider(provider).capabilities.lookup
        session = self.pay.authorize(session.id) if lookup == "none" else self.pay.resume(session.id)
        assert session.status == "authorized"
        if status == "captured":
            self.pay.capture(session.id)
        return session.id

    def ready_for(self, kind):
        """Return the id of a session on which an operation of that kind may begin; None: it makes one."""
        if kind == "initiate":
            self.order()
            return None
        if kind in ("update", "authorize"):
            session_id = self.session("requires_more")
            if kind == "authorize":
                self.gateway.payer("shop", session_id, "approve")
            return session_id
        return self.session("captured" if kind == "refund" else "authorized")

    @staticmethod
    def act(pay, kind, session_id, key="the-key"):
        """Do one operation; `done` tells whether it took effect."""
        if kind == "initiate":
            order = pay.collection(reference="order-1")
            return pay.initiate(order.id, provider="gw", idempotency_key=key)
        if kind == "update":
            return pay.update(session_id, eur(4000), idempotency_key=key)
        if kind in ("sync", "resume"):
            return getattr(pay, kind)(session_id)
        return getattr(pay, kind)(session_id, idempotency_key=key)

    def done(self, kind, session_id):
        """Return whether the ledger shows the effect of `act`."""
        session = self.pay.get(session_id) if session_id else self.pay.sessions()[0]
        return {
            "initiate": session.initiated,
            "update": session.amount == eur(4000),
            "authorize": session.status == "authorized",
            "capture": session.captured == TOTAL,
            "refund": session.refunded == TOTAL,
            "cancel": session.status == "canceled",
        }[kind]

    def effects(self, kind):
        return len(self.ledger({"initiate": "create"}.get(kind, kind)))

    def settle(self, hours=0, rounds=6):
        """Let recovery come round, with time between the rounds."""
        self.gateway.accept()
        self._timeout = PATIENT
        if self._provider is not None:
            self._provider.close()
        self.forward(hours=hours)
        for _ in range(rounds):
            self.forward(minutes=4)
            self.pay.recover()

    def check(self, kind, session_id, effects=1):
        """Check that it happened just as often as it should, and that the ledger says the same."""
        assert self.effects(kind) == effects
        assert self.done(kind, session_id) is bool(effects)
        assert not self.pay.in_doubt()
        told = [event.id for event in self.pay.events(limit=1000)]
        assert len(told) == len(set(told))
        for session in self.pay.sessions():
            ledger = {
                kind: sum(row["amount"] for row in self.ledger(kind) if (row["ours"], row["state"]) == (session.id, "succeeded"))
                for kind in ("capture", "refund")
            }  # fmt: skip
            assert (session.captured, session.refunded) == (ledger["capture"], ledger["refund"])
            assert not (session.open or session.pending or session.cancel_requested)

    def check_nothing(self, kind):
        """Check that nothing happened, and that nothing is in doubt."""
        assert self.effects(kind) == 0
        assert not self.pay.in_doubt()

    # --- processes ---

    def fork(self, act, point=None, hook=None, wait=True):
        """Do something in a process of its own, which dies at a point; return its `Child`."""
        self._close()  # connections do not cross a fork
        child = Child()
        child.pid = os.fork()
        if child.pid:
            child.started()
            return child.join() if wait else child
        try:
            points = KillPoints(lambda at, where: at == point and (hook is None or where in ("", hook)))
            pay = self.open([points], points.connection)
            child.tell("ready")
            child.wait_for_start()
            try:
                child.tell(act(pay))
            except Exception as error:  # noqa: BLE001 - the parent is told
                child.tell(f"{type(error).__name__}: {error}")
            pay.close()
            os._exit(0)
        except BaseException:  # noqa: BLE001 - a forked process must not go on as a test run
            traceback.print_exc()
        finally:
            os._exit(1)

    def dies(self, act, point, hook=None):
        """Do something in a process that is killed at that point; fail if it comes through."""
        child = self.fork(act, point, hook)
        assert child.signal == signal.SIGKILL, f"it came through: {child.answer}"

    def together(self, *acts):
        """Do things in processes of their own, all at once; return their answers."""
        children = [self.fork(act, wait=False) for act in acts]
        for child in children:
            child.start()
        return [child.join().answer for child in children]


class Child:
    """A forked process: it says that it is ready, starts when it is told to, and answers in one word."""

    def __init__(self):
        self.signal = self.answer = self.pid = None
        self._read, self._write = os.pipe()
        self._go_read, self._go = os.pipe()

    # in the parent

    def started(self):
        os.close(self._write)
        os.close(self._go_read)
        self._file = os.fdopen(self._read)
        assert json.loads(self._file.readline()) == "ready"

    def start(self):
        if self._go is not None:
            os.write(self._go, b"!")
            os.close(self._go)
            self._go = None

    def join(self):
        self.start()
        lines = self._file.read().splitlines()
        self._file.close()
        _, status = os.waitpid(self.pid, 0)
        if os.WIFSIGNALED(status):
            self.signal = os.WTERMSIG(status)
        else:
            assert os.WEXITSTATUS(status) == 0
        self.answer = json.loads(lines[-1]) if lines else None
        return self

    def stop(self, number):
        os.kill(self.pid, number)

    # in the child

    def wait_for_start(self):
        os.close(self._go)
        os.read(self._go_read, 1)

    def tell(self, words):
        os.write(self._write, (json.dumps(words, default=str) + "\n").encode())


def wait_until(condition, seconds=10.0):
    """Wait for another process to get somewhere; fail if it does not."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)
