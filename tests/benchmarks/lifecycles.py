"""Lifecycles per second beside the floor, in one run: ``python tests/benchmarks/lifecycles.py [--help]``.

A lifecycle is initiate, authorize, capture, refund. ``local``: the manual provider, one transaction an
operation. ``remote``: a provider whose effects are elsewhere, two transactions an operation. The floors are the
same durable commits of the same rows by the bare drivers (``floors.py``). All take turns, round by round, and
the medians are told: a disk and a shared machine are noisy. Ratios matter, not figures: name the medium with
every one.
"""

import argparse
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import floors
import table_size
from providers import EUR, Remote, live, opened
from rich.console import Console
from rich.table import Table

from paysession._plugins.registry import Provider
from paysession_sql import upgrade
from paysession_sql.testing import PostgresServer, PostgresUnavailable


class Contender:
    """What is measured in every round; the database is the same, and grows, for all of its kind."""

    def __init__(self, name, threads, run, against=None):
        self.name, self.threads, self.run, self.against = name, threads, run, against
        self.rates, self.cpu = [], []

    def round(self, lifecycles, tag):
        rate, cpu = self.run(lifecycles, tag)
        self.rates.append(rate)
        self.cpu.append(cpu)

    @property
    def rate(self):
        return statistics.median(self.rates)

    def ratio(self, floor):
        """Return the median of the rounds' ratios: what slows a round down slows both."""
        return statistics.median(mine / bare for mine, bare in zip(self.rates, floor.rates, strict=True))


def real(pay, provider, threads):
    def run(lifecycles, tag):
        orders = ordered(pay, lifecycles, tag)
        return floors.in_threads(threads, lambda share: live(pay, provider, share), orders)

    return run


def ordered(pay, lifecycles, tag):
    return [pay.create_collection(EUR, reference=f"{tag} {n}").id for n in range(lifecycles)]


def contenders(kind, pay, target, bare):
    """Return those of one database: the floors, and the real path against each."""
    found = []
    for provider in ("local", "remote"):
        recorded = floors.Recorded(provider)
        for threads in (1, 16):
            rivals = []
            for name, floor in bare.items():

                def run(lifecycles, tag, floor=floor, recorded=recorded, threads=threads):
                    return floor(target, recorded, threads, ordered(pay, lifecycles, tag), tag)

                rivals.append(Contender(f"{name}, {len(recorded.changes)} commits", threads, run))
            mine = Contender(f"{kind}, {provider}", threads, real(pay, provider, threads), rivals)
            found += [*rivals, mine]
    return found


def measure(found, rounds, lifecycles):
    for round_ in range(rounds + 1):
        for place, contender in enumerate(found):
            # The first round opens connections, prepares statements and fills caches.
            count = lifecycles if round_ else 32
            contender.round(count, f"{place}.{round_}")
            if not round_:
                contender.rates.clear()
                contender.cpu.clear()


def rows_of(found):
    for contender in found:
        ratios = " / ".join(f"{contender.ratio(floor):.0%}" for floor in contender.against or ())
        spread = f"{min(contender.rates):,.0f}-{max(contender.rates):,.0f}"
        cpu = f"{statistics.median(contender.cpu):,.0f}"
        yield contender.name, str(contender.threads), f"{contender.rate:,.0f}", spread, cpu, ratios


def hook_call():
    """Return the microseconds of one hook call through the typed handle, through pluggy, and direct."""
    plugin = Remote()
    handle = Provider("remote", plugin)
    with opened("memory:") as pay:
        session = pay.initiate(pay.create_collection(EUR, reference="r").id, provider="remote")
        operation = pay.history(session.id)[0]
    count = 20_000

    def timed(call):
        begun = time.process_time()
        for _ in range(count):
            call()
        return (time.process_time() - begun) / count * 1e6

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


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", default=".", help="the medium that is measured")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--lifecycles", type=int, default=64, help="in each round, for each contender")
    parser.add_argument(
        "--sessions", type=int, default=0, help="also: the cost of a table of so many, such as 1000000"
    )
    return parser.parse_args()


def main():
    given = arguments()
    medium = Path(given.folder).resolve()
    load = os.getloadavg()[0]
    console = Console(width=120)
    table = Table(
        "path", "threads", "lifecycles/s", "from-to", "CPU us each", "of the floor",
        title=f"{medium}: {given.rounds} rounds of {given.lifecycles}; {os.cpu_count()} cores, load {load:.1f}; "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}",
    )  # fmt: skip
    with opened("memory:") as pay:
        found = [Contender(f"memory, {name}", 1, real(pay, name, 1)) for name in ("local", "remote")]
        measure(found, given.rounds, 1000)
        for row in rows_of(found):
            table.add_row(*row)
        overhead = [found[1]]
    with tempfile.TemporaryDirectory(dir=medium) as folder:
        url = f"sqlite:///{folder}/books.db"
        with opened(url) as pay:
            found = contenders("SQLite", pay, f"{folder}/books.db", {"bare sqlite3": floors.sqlite})
            measure(found, given.rounds, given.lifecycles)
        overhead.append(next(row for row in found if row.name == "SQLite, remote"))
        for row in rows_of(found):
            table.add_row(*row)
    os.environ["TMPDIR"], tempfile.tempdir = str(medium), None  # where the server keeps its files
    try:
        with PostgresServer(durable=True) as server:
            url = server.database()
            upgrade(url)
            with opened(url) as pay:
                bare = {"bare psycopg": floors.postgres, "bare psycopg, pipelined": floors.postgres_at_once}
                found = contenders("PostgreSQL", pay, url, bare)
                measure(found, given.rounds, given.lifecycles)
            overhead.append(next(row for row in found if row.name == "PostgreSQL, remote"))
            for row in rows_of(found):
                table.add_row(*row)
            console.print(table)
            if given.sessions:
                table_size.main(console, server, medium, given.sessions)
    except PostgresUnavailable as reason:
        console.print(table)
        console.print(f"no PostgreSQL: {reason}")
    costs = ", ".join(
        f"{statistics.median(row.cpu) / 4:,.0f} ({row.name.partition(',')[0]})" for row in overhead
    )
    console.print(f"all of paysession around one call of a provider: {costs} us of CPU")
    handle, pluggy, direct = hook_call()
    console.print(
        f"hook call: {handle:.1f} us through the handle, {pluggy:.1f} us through pluggy, {direct:.2f} us direct"
    )
    console.print(
        f"import paysession: {import_time('paysession'):.0f} ms (attrs {import_time('attrs'):.0f} ms)"
    )


if __name__ == "__main__":
    main()
