"""Lifecycles per second beside the floor, in one run: ``python tests/benchmarks/lifecycles.py [FOLDER]``.

A lifecycle is initiate, authorize, capture, refund. ``local``: the manual provider, one transaction an
operation. ``remote``: a provider whose effects are elsewhere, two transactions an operation. The floor is the
same number of durable commits of the same rows by the bare ``sqlite3`` driver, without anything else. Ratios
matter, not figures: name the medium (FOLDER; the current folder by default) with every one.
"""

import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.table import Table

from paysession import Capabilities, Money, Outcome, Payments, hookimpl
from paysession.plugins import Provider
from paysession_sql.schema import EVENT, OPERATION, SESSION

EUR = Money("42.00", "EUR")


class Remote:
    """A provider that answers at once and whose effects count as remote."""

    capabilities = Capabilities(capture="multiple", refund="multiple")

    @hookimpl
    def initiate(self):
        return Outcome.pending()

    @hookimpl
    def authorize(self):
        return Outcome.authorized()

    @hookimpl
    def capture(self, operation):
        return Outcome.captured(operation.amount)

    @hookimpl
    def refund(self, operation):
        return Outcome.refunded(operation.amount)

    @hookimpl
    def cancel(self):
        return Outcome.canceled()


def opened(url):
    providers = {"local": {"use": "manual", "auto_authorize": True}, "remote": Remote()}
    return Payments.open(url, providers=providers, environ={})


def live(pay, provider, orders):
    for order in orders:
        session_id = pay.initiate(order, provider=provider).id
        pay.authorize(session_id)
        pay.capture(session_id)
        pay.refund(session_id)


def measure(url, provider, count, threads):
    """Return lifecycles per second; the collections are made beforehand."""
    with opened(url) as pay:
        orders = [pay.create_collection(EUR, reference=f"{n}").id for n in range(count)]
        shares = [orders[n::threads] for n in range(threads)]
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda share: live(pay, provider, share[:1]), shares))  # connections, caches
            begun = time.perf_counter()
            list(pool.map(lambda share: live(pay, provider, share[1:]), shares))
            return (count - threads) / (time.perf_counter() - begun)


def floor(path, commits, rounds):
    """Return lifecycles per second of the bare driver: the same commits of the same rows, and no more.

    A lifecycle of remote effects is 8 commits: each writes its session and its operation, every second
    one (a finish) its event too, and begin and finish of the authorization the collection. With local
    effects it is 4 commits that write all three.
    """
    with opened(f"sqlite:///{path}") as pay:
        order = pay.create_collection(EUR, reference="r")
        live(pay, "local", [order.id])
        store = pay._store
        session = pay.sessions()[0]
        operation, event = pay.history(session.id)[-1], pay.events()[-1]
        texts = store._statements
        rows = (SESSION.row(session), OPERATION.row(operation), EVENT.row(event))
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = FULL")
    hold = {"key": order.id, "more": 0}
    begun = time.perf_counter()
    for number in range(rounds):
        rows[0]["id"] = key = f"ps_{number:028}"
        for commit in range(commits):
            begins = commits == 8 and commit % 2 == 0
            rows[1]["id"] = f"{key}-{commit // 2 if commits == 8 else commit}"
            if begins or commits == 4:  # a finish decides on what its begin has read
                connection.execute(texts.session.text, (key,)).fetchall()
            connection.execute("BEGIN IMMEDIATE")
            if commit == (2 if commits == 8 else 1):
                connection.execute(texts.hold_within.text, texts.hold_within.parameters(hold))
            if commit == 0:
                connection.execute(texts.insert_session.text, texts.insert_session.parameters(rows[0]))
            else:
                given = {**rows[0], "key": key, "expected": rows[0]["version"]}
                connection.execute(texts.update_session.text, texts.update_session.parameters(given))
            connection.execute(texts.write_operation.text, texts.write_operation.parameters(rows[1]))
            if not begins:
                connection.execute(texts.insert_event.text, texts.insert_event.parameters(rows[2]))
            connection.execute("COMMIT")
    rate = rounds / (time.perf_counter() - begun)
    connection.close()
    return rate


def hook_call():
    """Return the microseconds of one hook call through the typed handle, through pluggy, and direct."""
    plugin = Remote()
    handle = Provider("remote", plugin)
    with opened("memory:") as pay:
        session = pay.initiate(pay.create_collection(EUR, reference="r").id, provider="remote")
        operation = pay.history(session.id)[0]
    count = 20_000

    def timed(call):
        begun = time.perf_counter()
        for _ in range(count):
            call()
        return (time.perf_counter() - begun) / count * 1e6

    return (
        timed(lambda: handle.perform(operation.kind, session, operation)),
        timed(lambda: handle._hooks["initiate"](session=session, operation=operation)),
        timed(plugin.initiate),
    )


def import_time(module):
    """Return the milliseconds of importing a module, beyond those of starting Python."""

    def started(code):
        best = 9.0
        for _ in range(5):
            begun = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            best = min(best, time.perf_counter() - begun)
        return best

    return (started(f"import {module}") - started("pass")) * 1e3


def main():
    medium = sys.argv[1] if len(sys.argv) > 1 else "."
    table = Table(
        "path",
        "threads",
        "lifecycles/s",
        "of the floor",
        title=f"on {Path(medium).resolve()}, {os.cpu_count()} cores",
    )
    for provider in ("local", "remote"):
        table.add_row(f"memory, {provider}", "1", f"{measure('memory:', provider, 3000, 1):,.0f}", "")
    with tempfile.TemporaryDirectory(dir=medium) as folder:
        for provider, commits in (("local", 4), ("remote", 8)):
            # Alternating rounds, medians: a disk is noisy.
            rates = {"floor": [], 1: [], 16: []}
            for round_ in range(3):
                rates["floor"].append(floor(f"{folder}/floor-{provider}-{round_}.db", commits, 300))
                for threads in (1, 16):
                    url = f"sqlite:///{folder}/{provider}-{threads}-{round_}.db"
                    rates[threads].append(measure(url, provider, 300 + 100 * (threads > 1), threads))
            base = sorted(rates["floor"])[1]
            table.add_row(f"bare sqlite3, {commits} commits", "1", f"{base:,.0f}", "100%")
            for threads in (1, 16):
                rate = sorted(rates[threads])[1]
                table.add_row(f"SQLite, {provider}", str(threads), f"{rate:,.0f}", f"{rate / base:.0%}")
    console = Console(width=100)
    console.print(table)
    console.print(
        "hook call: {:.1f} us through the handle, {:.1f} us through pluggy, {:.2f} us direct".format(
            *hook_call()
        )
    )
    console.print(
        f"import paysession: {import_time('paysession'):.0f} ms (attrs {import_time('attrs'):.0f} ms)"
    )


if __name__ == "__main__":
    main()
