"""Several processes on one database: at once, forked, and killed."""

import os
import signal
import subprocess
import sys

import pytest

from paysession import Money, Payments, StoreError
from paysession._ledger.ids import number_of
from paysession._plugins.registry import Registry
from paysession.payments import open_store
from paysession_testing import FakeProvider


@pytest.fixture(params=["sqlite", "postgresql", pytest.param("pgbouncer", marks=pytest.mark.slow)])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/books.db"
    return request.getfixturevalue("pgbouncer_url" if request.param == "pgbouncer" else "postgres_url")


def eur(amount):
    return Money(amount, "EUR")


def payments(url):
    return Payments(open_store(url), Registry({"fake": FakeProvider()}))


CAPTURE = """
import os
import sys
import paysession_sql.postgres  # before the fork
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

def child(url, path, session_id, key, ready, go):
    with Payments.open(url, providers={"ledger": Ledger(path)}, environ={}) as pay:
        os.write(ready, b".")
        os.read(go, 1)
        try:
            told = str(pay.capture(session_id, idempotency_key=key or None).captured)
        except SessionBusy:
            told = "busy"
    os.write(1, told.encode() + b"\\n")

if __name__ == "__main__":
    (ready, all_ready), (go, start) = os.pipe(), os.pipe()
    children = []
    for _ in range(8):
        children.append(os.fork())
        if not children[-1]:
            child(*sys.argv[1:], all_ready, go)
            os._exit(0)
    for _ in children:
        assert os.read(ready, 1)
    os.write(start, b"." * 8)
    for pid in children:
        assert os.waitpid(pid, 0)[1] == 0
"""
"""A provider whose gateway is a file (each capture is a line of it), and 8 processes that capture."""


@pytest.mark.parametrize("key", ["k", pytest.param("", marks=pytest.mark.slow)])
def test_8_processes_capture_once(url, tmp_path, key):
    names = {"__name__": "test"}
    exec(CAPTURE, names)
    ledger = tmp_path / "ledger"
    with Payments.open(url, providers={"ledger": names["Ledger"](ledger)}, environ={}) as pay:
        order = pay.create_collection(eur("42.00"), reference="r")
        session = pay.initiate(order.id, provider="ledger")
        pay.authorize(session.id)
    command = [sys.executable, "-c", CAPTURE, url, str(ledger), session.id, key]
    told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=60).stdout.split()
    assert len(told) == 8
    assert set(told) <= {"4200", "busy"}
    assert "4200" in told
    (line,) = ledger.read_text().splitlines()
    assert number_of(session.id, line) == (1 if key else 3)


WRITER = """
import sys
from paysession import Money, Payments
from paysession._plugins.registry import Registry
from paysession_testing import FakeProvider
from paysession.payments import open_store
pay = Payments(open_store(sys.argv[1]), Registry({"fake": FakeProvider()}))
for n in range(100000):
    order = pay.create_collection(Money("1.00", "EUR"), reference=f"{sys.argv[2]}-{n}")
    session = pay.initiate(order.id, provider="fake")
    pay.authorize(session.id)
    print(order.reference, flush=True)
"""


def test_a_killed_process_loses_nothing_that_was_acknowledged(url):
    open_store(url).close()
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
        if url.startswith("sqlite"):
            assert pay._store.query("PRAGMA integrity_check") == [("ok",)]
        versions = {}
        cursor = None
        while page := pay.events(after=cursor, limit=1000):
            for event in page:
                assert event.version > versions.get(event.session_id, 0)
                versions[event.session_id] = event.version
            cursor = page[-1].cursor


def test_a_forked_child_opens_its_own_connections(url):
    with payments(url) as pay:
        pay.create_collection(eur("1"), reference="parent")
        child = os.fork()
        if child == 0:
            try:
                pay.create_collection(eur("1"), reference="child")
                pay.close()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert {row.reference for row in pay.collections()} == {"parent", "child"}
        pay.create_collection(eur("1"), reference="parent again")


def test_a_closed_store_refuses(url):
    pay = payments(url)
    pay.close()
    with pytest.raises(StoreError, match="closed"):
        pay.create_collection(eur("1"), reference="a")
