"""How fast recovery works off a backlog on PostgreSQL: ``python tests/benchmarks/drain.py [--help]``.

Payers are awaited at a gateway that answers at once, and all of their sessions are due, as after an outage.
Each worker is a process that calls ``recover(limit=100)`` again and again. What a real gateway takes for an
answer comes on top: multiply it by the sessions of one worker.
"""

import argparse
import subprocess
import sys
import time

import psycopg
import table_size
from providers import EUR
from rich.console import Console
from rich.table import Table

from paysession import Capabilities, Money, Outcome, Payments, hookimpl
from paysession._engine.recovery import Recoverer
from paysession.provider import Snapshot
from paysession_sql import upgrade
from paysession_sql.testing import PostgresServer

LIMIT = 100


class Waiting:
    """A gateway at which no payer has come yet."""

    capabilities = Capabilities(lookup="consistent")

    @hookimpl
    def initiate(self):
        return Outcome.pending()

    @hookimpl
    def authorize(self):
        return Outcome.authorized()

    @hookimpl
    def cancel(self):
        return Outcome.canceled()

    @hookimpl
    def retrieve(self, session):
        return Snapshot("pending", authorized=Money.from_minor(0, "EUR"), session_id=session.id)


def opened(url):
    return Payments.open(url, providers={"waiting": Waiting()}, environ={})


def work(url, seconds):
    """Be a worker, and print how many sessions were looked after, and how many were handed out."""
    attend, handed = Recoverer.attend, []

    def counted(self, session_id, **options):
        handed.append(session_id)
        return attend(self, session_id, **options)

    Recoverer.attend = counted
    looked = 0
    with opened(url) as pay:
        print("ready", flush=True)
        sys.stdin.readline()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            looked += pay.recover(limit=LIMIT).looked
    print(looked, len(handed), flush=True)


def measured(url, workers, seconds):
    """Return sessions a second, and how many were handed out for each that was looked after."""
    command = [sys.executable, __file__, "--worker", url, "--seconds", str(seconds)]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(workers)
    ]
    for worker in started:
        assert worker.stdout.readline() == "ready\n"
    for worker in started:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    said = [list(map(int, worker.communicate()[0].split())) for worker in started]
    looked = sum(row[0] for row in said)
    return looked / seconds, sum(row[1] for row in said) / looked


def due_after(pay):
    """Return the milliseconds that it takes to find out what is due."""
    begun = time.perf_counter()
    pay._store.due(pay._store.now(), LIMIT, "waiting")
    return (time.perf_counter() - begun) * 1e3


def main():
    reader = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    reader.add_argument("--sessions", type=int, default=100_000, help="how many are due")
    reader.add_argument("--workers", default="1,4,8", help="how many processes, one measurement each")
    reader.add_argument("--seconds", type=float, default=10, help="for how long each is measured")
    reader.add_argument("--worker", help=argparse.SUPPRESS)
    given = reader.parse_args()
    if given.worker:
        work(given.worker, given.seconds)
        return
    with PostgresServer(durable=True) as server:
        url = server.database()
        upgrade(url)
        with opened(url) as pay, psycopg.connect(url, autocommit=True) as connection:
            order = pay.create_collection(EUR, reference="first")
            pay.initiate(order.id, provider="waiting")
            for table in table_size._NAMES:
                connection.execute(f"CREATE TABLE {table}_first AS TABLE {table}")
            table_size.fill(connection, 1, given.sessions)
            connection.execute("UPDATE session SET due_at = created_at")
            for table in table_size._NAMES:
                connection.execute(f"VACUUM ANALYZE {table}")
            due_after(pay)
            table = Table(
                "workers",
                "sessions a second",
                "handed out for each",
                title=f"{given.sessions:,} sessions are due",
            )
            for workers in map(int, given.workers.split(",")):
                rate, handed = measured(url, workers, given.seconds)
                table.add_row(str(workers), f"{rate:.0f}", f"{handed:.2f}")
            table.caption = f"what is due is found in {due_after(pay):.1f} ms"
        Console().print(table)


if __name__ == "__main__":
    main()
