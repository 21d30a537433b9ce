"""16 processes hammer 8 sessions with conflicting operations, alone and beside two recovery workers.

The gateway is a table in a database of its own, in which every effect is written once for each key; it loses
answers, and requests, at random. In the end it judges the ledger.
"""

import subprocess
import sys
from collections import defaultdict
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from paysession import Money, Payments

GATEWAY = """
import os, random, sys, threading
from datetime import timedelta
import psycopg
from paysession import Capabilities, Money, NotApplied, Outcome, OutcomeUnknown, Payments, PaysessionError, hookimpl
from paysession.outcome import Effect, Snapshot
from paysession.operation import Kind

class Gateway:
    capabilities = Capabilities(
        capture="multiple", refund="multiple", replay_window=timedelta(days=1), lookup="consistent",
        call_limit=timedelta(seconds=20),
    )

    def __init__(self, url, seed, faults=0.2):
        self.url, self.random, self.faults = url, random.Random(seed), faults
        self.here = threading.local()

    def ask(self, statement, *given):
        if not hasattr(self.here, "connection"):
            self.here.connection = psycopg.connect(self.url, autocommit=True)
        cursor = self.here.connection.execute(statement, given)
        return cursor.fetchall() if cursor.description else []

    def send(self, session, operation):
        dice = self.random.random() / self.faults if self.faults else 9
        if dice < 0.4:
            raise OutcomeUnknown("the request was lost")
        self.ask(
            "INSERT INTO ledger (key, session, kind, minor) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
            operation.key, session.id, str(operation.kind), operation.amount.minor,
        )
        if dice < 0.8:
            raise OutcomeUnknown("the answer was lost")
        if dice < 1:
            os._exit(9)

    @hookimpl
    def close(self):
        if hasattr(self.here, "connection"):
            self.here.connection.close()

    @hookimpl
    def initiate(self):
        return Outcome.pending()

    @hookimpl
    def authorize(self, session, operation):
        self.send(session, operation)
        return Outcome.authorized()

    @hookimpl
    def capture(self, session, operation):
        self.send(session, operation)
        return Outcome.captured(operation.amount)

    @hookimpl
    def refund(self, session, operation):
        self.send(session, operation)
        return Outcome.refunded(operation.amount)

    @hookimpl
    def cancel(self, session, operation):
        self.send(session, operation)
        return Outcome.canceled()

    @hookimpl
    def retrieve(self, session):
        rows = self.ask("SELECT kind, minor, key FROM ledger WHERE session = %s ORDER BY at", session.id)
        total = {kind: sum(row[1] for row in rows if row[0] == kind) for kind in ("authorize", "capture", "refund")}
        released = any(row[0] == "cancel" for row in rows)
        status = "authorized" if total["authorize"] else "pending"
        if released and not total["capture"]:
            status = "canceled"
        money = lambda minor: Money.from_minor(minor, "EUR")
        return Snapshot(
            status, session_id=session.id, authorized=money(total["capture"] if released else total["authorize"]),
            captured=money(total["capture"]), refunded=money(total["refund"]),
            effects=[Effect(Kind(kind), money(minor), "succeeded", key, key) for kind, minor, key in rows
                     if kind in ("capture", "refund")],
        )

def hammer(books, ledger, sessions, seed, rounds):
    dice = random.Random(seed)
    with Payments.open(books, providers={"gateway": Gateway(ledger, seed)}, environ={}) as pay:
        for _ in range(rounds):
            session = dice.choice(sessions)
            call = dice.choice([*["authorize", "capture", "refund"] * 6, "sync", "cancel"])
            part = Money.from_minor(dice.choice([100, 700, 4200]), "EUR")
            try:
                if call in ("capture", "refund"):
                    key = dice.choice([None, None, f"{seed % 4}"])
                    getattr(pay, call)(session, part, idempotency_key=key and f"{call} {key} {part}")
                else:
                    getattr(pay, call)(session)
            except PaysessionError:
                pass

def main():
    books, ledger, rounds, *sessions = sys.argv[1:]
    living = {}
    for seed in range(16):
        pid = os.fork()
        if not pid:
            hammer(books, ledger, sessions, seed, int(rounds))
            os._exit(0)
        living[pid] = seed
    killed = 0
    while living:
        pid, status = os.wait()
        seed = living.pop(pid)
        if os.waitstatus_to_exitcode(status) == 9:  # it died in a call: another takes its place
            killed += 1
            pid = os.fork()
            if not pid:
                hammer(books, ledger, sessions, seed + 16 * killed, int(rounds) // 2)
                os._exit(0)
            living[pid] = seed
        else:
            assert status == 0, status
    print(killed)

def recover(books, ledger, seed):
    with Payments.open(books, providers={"gateway": Gateway(ledger, seed, 0.05)}, environ={}) as pay:
        print("ready", flush=True)
        while True:
            pay.recover(limit=5)

if __name__ == "__main__":
    recover(*sys.argv[2:4], int(sys.argv[4])) if sys.argv[1] == "recover" else main()
"""


@pytest.fixture
def ledger(postgres):
    url = postgres.database()
    with psycopg.connect(url) as connection:
        connection.execute(
            "CREATE TABLE ledger (key TEXT PRIMARY KEY, session TEXT, kind TEXT, minor BIGINT, at BIGSERIAL)"
        )
    yield url
    postgres.drop(url)


def gateway(ledger):
    names = {"__name__": "test"}
    exec(GATEWAY, names)
    return names["Gateway"](ledger, 0, faults=0)


@pytest.mark.parametrize(
    ("through", "workers"),
    [
        ("postgres_url", 0),
        pytest.param("postgres_url", 2, marks=pytest.mark.slow),
        pytest.param("pgbouncer_url", 2, marks=pytest.mark.slow),
    ],
)
def test_16_processes_keep_the_ledger_and_the_gateway_alike(request, through, ledger, workers):
    url = request.getfixturevalue(through) + "&pool_size=2"
    with Payments.open(url, providers={"gateway": gateway(ledger)}, environ={}) as pay:
        orders = [pay.create_collection(Money("42.00", "EUR"), reference=f"{n}").id for n in range(6)]
        # Two orders have two sessions, of which one can hold the amount.
        sessions = [pay.initiate(order, provider="gateway").id for order in [*orders, *orders[:2]]]
    script = [sys.executable, "-c", GATEWAY]
    recovering = [
        subprocess.Popen(
            [*script, "recover", url, ledger, str(99 + n)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        for n in range(workers)
    ]
    try:
        for worker in recovering:
            assert worker.stdout.readline() == b"ready\n"
        done = subprocess.run(
            [*script, url, ledger, "12", *sessions], capture_output=True, text=True, timeout=120, check=False
        )
    finally:
        for worker in recovering:
            worker.kill()
            worker.communicate()
    # Doubt is logged, and without a handler of its own a process writes that to standard error.
    unexpected = [line for line in done.stderr.splitlines() if " is in doubt: " not in line]
    assert (done.returncode, unexpected) == (0, [])
    later = datetime.now(UTC)

    def clock():
        return later

    with Payments.open(url, providers={"gateway": gateway(ledger)}, environ={}, clock=clock) as pay:
        for _ in range(12):  # every lease has run out; what waits is due
            later += timedelta(hours=1)
            pay.recover(limit=1000)
        open_ = [
            (row.operation.id, str(row.operation.kind), row.operation.amount, row.reason)
            for row in pay.in_doubt()
        ]
        assert [] == open_
        judge(pay, ledger, sessions)


def judge(pay, ledger, sessions):
    with psycopg.connect(ledger) as connection:
        rows = connection.execute("SELECT session, kind, minor, key FROM ledger").fetchall()
    booked = {}
    for session_id in sessions:
        session = pay.get(session_id)
        assert not session.in_doubt
        assert session.refunded <= session.captured <= session.authorized or session.status == "canceled"
        for operation in pay.history(session_id):
            if operation.state == "succeeded" and operation.kind != "initiate":
                booked[operation.id] = (session_id, str(operation.kind), operation.amount.minor)
        for kind, total in (("capture", session.captured), ("refund", session.refunded)):
            assert total == sum(row[2] for row in rows if row[:2] == (session_id, kind))
    effects = {key: (session, kind, minor) for session, kind, minor, key in rows}
    assert effects == booked
    assert {kind for _, kind, _ in effects.values()} >= {"authorize", "capture", "refund"}
    held = defaultdict(int)
    for session in map(pay.get, sessions):
        held[session.collection_id] += session.held
    for collection_id, total in held.items():
        row = pay._store.collection(collection_id)
        assert (total, True) == (row.held, row.held <= row.amount.minor)
    versions, cursor = defaultdict(list), None
    while page := pay.events(after=cursor, limit=50):
        cursor = page[-1].cursor
        for event in page:
            versions[event.session_id].append(event.id)
            assert event.captured >= event.refunded
    for ids in versions.values():
        places = [tuple(map(int, event.partition(":")[2].partition("-")[0].split("."))) for event in ids]
        assert places == sorted(set(places))
