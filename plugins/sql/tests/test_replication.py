"""The primary is killed and its replica promoted, while a shop's processes pay, capture and refund.

With synchronous replication nothing that was acknowledged is lost. With asynchronous replication the last
commits are; the gateway knows what they did. Debian's PostgreSQL, on Unix sockets in a folder of the test.
"""

import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from paysession import CursorLost, Money, NotFound, Payments
from paysession.change import Change
from paysession_sql import testing, upgrade
from paysession_sql.postgres import PostgresStore
from paysession_testing.gateway_process import GatewayProcess
from paysession_testing.stores import a_collection, a_session

pytestmark = pytest.mark.slow

SHOP = Path(__file__).with_name("shop.py")
shop = runpy.run_path(str(SHOP))
WORKERS = 3
PATIENCE = 60.0
"""Seconds within which anything happens that is waited for, on however busy a machine."""
FAULTS = {
    "drop_before": 3,
    "drop_after": 4,
    "error_before": 2,
    "error_after": 4,
    "unavailable": 2,
    "garbage": 2,
}


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, condition
        time.sleep(0.02)


# --- two servers ----------------------------------------------------------------------------------


class Node:
    """A PostgreSQL server of the system's packages, with a folder of its own.

    Args:
        binaries: The folder of its programs.
        data: The folder of its files: what `initdb` or `pg_basebackup` made.
        settings: Those of the command line, which a copy of the files does not inherit.
    """

    def __init__(self, binaries, data, **settings):
        self.data, self.host = data, folder(data.with_name(f"{data.name}-socket"))
        options = [f"--{name}={value}" for name, value in settings.items()]
        server = [binaries / "postgres", "-D", data, "-k", self.host, "-h", "", *options]
        with data.with_suffix(".log").open("wb") as log:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", testing._WATCH, "sh", "unlimited", *server],
                stdin=subprocess.PIPE, stdout=log, stderr=log, cwd="/", **as_user(),
            )  # fmt: skip

    def answers(self):
        assert self._process.poll() is None, self.data.with_suffix(".log").read_text()[-1000:]
        try:
            return self.ask("SELECT 1") == [(1,)]
        except psycopg.OperationalError:
            return False

    def ask(self, statement):
        with psycopg.connect(
            f"host={self.host} user=postgres dbname=postgres", autocommit=True
        ) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def kill(self):
        """Kill the server and each of its processes at once, as a machine dies."""
        main = int((self.data / "postmaster.pid").read_text().split()[0])
        os.kill(main, signal.SIGSTOP)  # it starts no other meanwhile
        children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        for pid in [main, *map(int, children)]:
            os.kill(pid, signal.SIGKILL)

    def close(self):
        self._process.communicate(b"\n")


def as_user():
    if os.geteuid():
        return {}
    return {"user": "nobody", "group": testing._group_of("nobody"), "extra_groups": []}


def folder(path):
    """Make a folder for the user that the servers run as."""
    path.mkdir(mode=0o700)
    if os.geteuid() == 0:
        shutil.chown(path, "nobody")
    return path


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", **as_user())
    assert done.returncode == 0, done.stderr


class Pair:
    """A primary and a streaming replica of it.

    Args:
        binaries: The folder of PostgreSQL's programs.
        synchronous: Whether a commit of the primary waits for the replica.
    """

    def __init__(self, binaries, *, synchronous):
        self._folder = Path(tempfile.mkdtemp(prefix="paysession-pair-"))
        self._folder.chmod(0o755)
        self._nodes = []
        primary, replica = folder(self._folder / "primary"), folder(self._folder / "replica")
        names = "*" if synchronous else ""
        try:
            run(
                binaries / "initdb", "-D", primary, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"
            )
            # No power is cut here, only processes are killed: what the kernel has is not lost.
            self.primary = self._started(binaries, primary, fsync="off", synchronous_standby_names=names)
            run(
                binaries / "pg_basebackup",
                "-h",
                self.primary.host,
                "-U",
                "postgres",
                "-D",
                replica,
                "-R",
                "-c",
                "fast",
            )
            self.replica = self._started(binaries, replica, fsync="off")
            state = [("sync",)] if synchronous else [("async",)]
            wait_until(lambda: self.primary.ask("SELECT sync_state FROM pg_stat_replication") == state)
            self.primary.ask("CREATE DATABASE books")
        except BaseException:
            self.close()
            raise
        hosts = f"{self.primary.host},{self.replica.host}"
        self.url = (
            f"postgresql:///books?user=postgres&host={hosts}&target_session_attrs=read-write&pool_size=2"
        )

    def _started(self, *arguments, **settings):
        node = Node(*arguments, **settings)
        self._nodes.append(node)
        wait_until(node.answers)
        return node

    def part(self):
        """Cut the replica off: it has all that was committed so far, and nothing that follows."""
        self.replica.ask("ALTER SYSTEM SET primary_conninfo = ''")
        self.replica.ask("SELECT pg_reload_conf()")
        wait_until(lambda: not self.primary.ask("SELECT 1 FROM pg_stat_replication"))

    def promote(self):
        """Let the replica be a primary."""
        assert self.replica.ask(f"SELECT pg_promote(true, {PATIENCE:.0f})") == [(True,)]

    def close(self):
        for node in self._nodes:
            node.close()
        shutil.rmtree(self._folder, ignore_errors=True)


@pytest.fixture
def pair(request, missing):
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda place: int(place.parent.name))
    if not places:
        missing("postgresql")
    pair = Pair(places[-1], synchronous=request.param == "synchronous")
    upgrade(pair.url)
    yield pair
    pair.close()


# --- the shop -------------------------------------------------------------------------------------


@pytest.fixture
def gateway():
    with GatewayProcess() as gateway:
        gateway.open(shop["ACCOUNT"], keys="success", seed=7)
        gateway.inject_at_random(shop["ACCOUNT"], 0.1, FAULTS)
        yield gateway


class Staff:
    """The shop's processes, and the journal of what they were answered."""

    def __init__(self, url, gateway, journal):
        self._journal = journal
        command = [sys.executable, SHOP, url, str(gateway.port), str(gateway._control), journal]
        self._workers = [
            subprocess.Popen(
                [*command, f"{number}"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            for number in range(WORKERS)
        ]

    def lines(self):
        if not self._journal.exists():
            return []
        return [
            json.loads(line)
            for line in self._journal.read_text().splitlines(keepends=True)
            if line[-1] == "\n"
        ]

    def wait_for(self, count):
        """Wait until so many more calls were answered."""
        count += len(self.lines())
        wait_until(lambda: self._alive() and len(self.lines()) >= count)

    def _alive(self):
        for worker in self._workers:
            assert worker.poll() is None, worker.communicate()[1]
        return True

    def stop(self):
        """Let each finish what it has begun; return what was answered, and the orders."""
        for worker in self._workers:
            worker.stdin.close()
            worker.stdin = None
        for worker in self._workers:
            errors = worker.communicate(timeout=PATIENCE)[1]
            assert worker.returncode == 0, errors
        return self._journal_read()

    def die(self):
        """Kill all; return what was answered, and the orders."""
        self.close()
        return self._journal_read()

    def _journal_read(self):
        lines = self.lines()
        orders = [line["reference"] for line in lines if line["call"] == "begin"]
        return [line for line in lines if line["call"] != "begin"], orders

    def close(self):
        for worker in self._workers:
            worker.kill()
            worker.communicate()


@pytest.fixture
def staff(pair, gateway, tmp_path):
    staff = Staff(pair.url, gateway, tmp_path / "journal")
    yield staff
    staff.close()


def opened(url, gateway, clock=None):
    name = shop["ACCOUNT"]
    return Payments.open(url, providers={name: shop["provider"](gateway.port)}, environ={}, clock=clock)


def read(pay, cursor=None):
    """Return the events after a cursor, and the last one's cursor."""
    events = []
    while page := pay.events(after=cursor, limit=500):
        events += page
        cursor = page[-1].cursor
    return [event.id for event in events], cursor


def lost(pay, answers):
    """Return the answers of which the database knows nothing any more."""
    known = defaultdict(set)
    for session_id in {line["session"] for line in answers}:
        try:
            rows = pay.history(session_id)
        except NotFound:
            continue
        known[session_id] = {(row.kind, row.idempotency_key) for row in rows if row.state == "succeeded"}
    return [line for line in answers if (line["call"], line["key"]) not in known[line["session"]]]


class Clock:
    """The time, and as much later as a test says."""

    def __init__(self):
        self.ahead = timedelta(0)

    def __call__(self):
        return datetime.now(UTC) + self.ahead


def settle(pay, gateway, clock):
    """Let everything go well, and recover until nothing is in doubt."""
    gateway.heal(shop["ACCOUNT"])
    for _ in range(12):  # hours: every lease has run out, and what waits is due
        clock.ahead += timedelta(hours=1)
        pay.recover(limit=1000)
    assert pay.in_doubt() == ()


def finish(pay, gateway, orders):
    """Take each order to its end, under the same idempotency keys, whatever was done before."""
    for reference in orders:
        for place in range(shop["STEPS"]):
            shop["Shop"](pay, gateway).step(reference, place)


def totals(gateway):
    """Return what is authorized, captured and refunded at the gateway, by session."""
    sums = defaultdict(Counter)
    for row in gateway.ledger(shop["ACCOUNT"]):
        if row["state"] == "succeeded":
            sums[row["ours"]][row["kind"]] += row["amount"]
    return {ours: (made["authorize"], made["capture"], made["refund"]) for ours, made in sums.items()}


def judge(pay, gateway, orders, cents=()):
    """Compare the database with the gateway's ledger; return the gateway's sessions that it does not know.

    Args:
        pay: The payments.
        gateway: The gateway.
        orders: What was ordered, and has come to its end.
        cents: Sessions of which a cent more was refunded.
    """
    entries = defaultdict(list)
    for row in gateway.ledger(shop["ACCOUNT"]):
        entries[row["ours"]].append((row["kind"], row["amount"], row["state"]))
    parts = Counter((kind, Money(amount, "EUR").minor) for kind, amount in shop["PARTS"])
    total = shop["AMOUNT"].minor
    once = Counter({("create", total): 1, ("authorize", total): 1}) + parts
    for reference in orders:
        (session,) = pay.sessions(collection_id=pay.collection(reference=reference).id)
        made = Counter(
            (kind, amount) for kind, amount, state in entries.pop(session.id) if state == "succeeded"
        )
        cent = int(session.id in cents)
        assert made == once + Counter({("refund", 1): cent}), session.id
        assert (session.authorized, session.captured, session.refunded) == (total, 1700, 700 + cent)
    return entries


@pytest.mark.parametrize("pair", ["synchronous"], indirect=True)
def test_no_acknowledged_commit_is_lost_when_a_synchronous_replica_is_promoted(pair, gateway, staff):
    clock = Clock()
    with opened(pair.url, gateway, clock) as pay:
        staff.wait_for(100)
        before, cursor = read(pay)
        pair.primary.kill()
        pair.promote()
        staff.wait_for(100)
        answers, orders = staff.stop()
        assert lost(pay, answers) == []
        settle(pay, gateway, clock)
        finish(pay, gateway, orders)
        assert judge(pay, gateway, orders) == {}
        after, _ = read(pay, cursor)
        assert read(pay)[0] == before + after
        assert before
        assert after


@pytest.mark.parametrize("pair", ["asynchronous"], indirect=True)
def test_what_an_asynchronous_replica_lacked_is_brought_back_by_resync_and_sent_no_second_time(
    pair, gateway, staff
):
    clock = Clock()
    with opened(pair.url, gateway, clock) as pay:
        staff.wait_for(100)
        pair.part()
        parted = datetime.now(UTC)
        staff.wait_for(100)
        _, cursor = read(pay)  # beyond what the replica has
        pair.primary.kill()
        answers, orders = staff.die()
        pair.promote()
        gone = lost(pay, answers)
        assert {line["call"] for line in gone} >= {"initiate", "authorize", "capture", "refund"}
        with pytest.raises(CursorLost):
            read(pay, cursor)

        gateway.heal(shop["ACCOUNT"])
        since = parted - timedelta(minutes=1)
        pay.resync(since=since)
        settle(pay, gateway, clock)  # what was in doubt when the replica was cut off
        assert pay.resync(since=since).failed == 0
        sessions = pay.sessions(limit=1000)
        made = totals(gateway)
        for session in sessions:
            assert (session.authorized, session.captured, session.refunded) == made[session.id], session.id
        forgotten = {line["session"] for line in gone} - {session.id for session in sessions}
        assert forgotten
        assert forgotten <= {line["session"] for line in gone if line["call"] == "initiate"}

        # Another call than the lost one is carried out, and not answered by the lost one's answer.
        refundable = [session.id for session in sessions if session.captured > session.refunded]
        for session_id in refundable:
            pay.refund(session_id, Money("0.01", "EUR"), idempotency_key="after the failover")
        assert refundable

        finish(pay, gateway, orders)
        # What remains at the gateway alone: sessions of orders of which the replica had nothing.
        assert judge(pay, gateway, orders, cents=refundable).keys() & forgotten


@pytest.mark.parametrize("pair", ["synchronous"], indirect=True)
def test_a_commit_that_was_cut_off_while_it_waited_for_the_replica_is_acknowledged_once_a_replica_has_it(
    pair, monkeypatch
):
    store = PostgresStore.open(pair.url)
    pair.part()

    def waiting():
        return pair.primary.ask("SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'")

    with ThreadPoolExecutor(1) as pool:
        commit = pool.submit(store.commit, Change(collection=a_collection(), session=a_session(1)))
        wait_until(waiting)
        ((first,),) = waiting()
        # As a crash of any of the primary's processes does; PostgreSQL has the commit, and shows it from now on.
        pair.primary.ask(f"SELECT pg_terminate_backend({first})")
        wait_until(lambda: commit.done() or waiting() not in ([], [(first,)]))
        assert not commit.done()
        promoted = threading.Event()
        run = store._pool.run

        def run_later(*arguments, **options):
            promoted.wait(PATIENCE)
            return run(*arguments, **options)

        monkeypatch.setattr(store._pool, "run", run_later)  # what is tried again meets the new primary
        pair.primary.kill()
        pair.promote()
        promoted.set()
        commit.result(PATIENCE)
        assert store.session("ps_0001") == a_session(1)
    store.close()
