"""Calls on a session with many operations: ``python tests/benchmarks/long_sessions.py [--help]``.

Half of the operations are captures, half refunds, all settled, with ids of the gateway's. What one call costs is
told for each number of them in CPU time of this process, the best of several calls, which a busy machine distorts
least. What PostgreSQL's server takes comes on top: it finds what it is asked for by index.
"""

import argparse
import tempfile
import time
from itertools import count

from providers import Remote
from rich.console import Console
from rich.table import Table

from paysession import Capabilities, Money, Outcome, Payments, hookimpl
from paysession.provider import Effect, Snapshot
from paysession_sql import upgrade
from paysession_sql.testing import PostgresServer

CENT = Money("0.01", "EUR")


class Gateway(Remote):
    """Remembers what it did, and shows it: the totals, and each effect where that is asked for."""

    capabilities = Capabilities(capture="multiple", refund="multiple", lookup="consistent")

    def __init__(self):
        self.effects, self.shows_effects = [], False

    @hookimpl
    def capture(self, operation):
        return Outcome.captured(operation.amount, reference=self._done(operation))

    @hookimpl
    def refund(self, operation):
        return Outcome.refunded(operation.amount, reference=self._done(operation))

    def _done(self, operation):
        reference = f"fx_{len(self.effects)}"
        effect = Effect(operation.kind, operation.amount, reference=reference, key=operation.id)
        self.effects.append(effect)
        return reference

    @hookimpl
    def retrieve(self, session):
        return Snapshot(
            session.status,
            authorized=session.amount,
            captured=session.captured_amount,
            refunded=session.refunded_amount,
            effects=self.effects if self.shows_effects else (),
            session_id=session.id,
        )


def best(call, times):
    spent = []
    for _ in range(times):
        begun = time.process_time()
        call()
        spent.append((time.process_time() - begun) * 1e3)
    return min(spent)


def measure(url, operations, times):
    """Return the milliseconds of each call."""
    gateway, number = Gateway(), count()
    with Payments.open(url, providers={"gateway": gateway}, environ={}) as pay:
        order = pay.create_collection(Money("1000.00", "EUR"), reference=str(operations))
        key = pay.initiate(order.id, provider="gateway").id
        pay.authorize(key)
        for _ in range((operations - 2) // 2):
            pay.capture(key, CENT)
            pay.refund(key, CENT)
        pay.capture(key, Money("1.00", "EUR"))
        capture = pay.history(key)[-1].id
        found = {
            "get": best(lambda: pay.get(key), times),
            "refund that names its capture": best(lambda: pay.refund(key, CENT, capture=capture), times),
            "capture with a new idempotency key": best(
                lambda: pay.capture(key, CENT, idempotency_key=f"key {next(number)}"), times
            ),
            "capture without one": best(lambda: pay.capture(key, CENT), times),
            "history": best(lambda: pay.history(key), times),
            "sync, totals": best(lambda: pay.sync(key), times),
        }
        gateway.shows_effects = True
        found["sync, totals and each effect"] = best(lambda: pay.sync(key), times)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("operations", nargs="*", type=int, default=[10, 100, 1_000, 5_000])
    parser.add_argument("--times", type=int, default=15)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, PostgresServer() as server:
        postgres = server.database()
        upgrade(postgres)
        for name, url in {"SQLite": f"sqlite:///{folder}/books.db", "PostgreSQL": postgres}.items():
            columns = [measure(url, operations, given.times) for operations in given.operations]
            heads = (f"{operations:,} operations" for operations in given.operations)
            table = Table(f"{name}, ms of CPU", *heads)
            for row in columns[0]:
                table.add_row(row, *(f"{column[row]:.2f}" for column in columns))
            Console(width=120).print(table)


if __name__ == "__main__":
    main()
