"""How much one payment executes: ``python tests/benchmarks/instructions.py [PYTHON ...]`` (needs valgrind).

Processor time says little on a machine that is busy with other work; instructions are the same at any load.
Each row is a lifecycle with a remote provider, counted as the difference between two runs of this script, with
few lifecycles and with many. ``limited``: with a ``call_deadline``, so that each hook runs in a thread beside
its caller. The floor is the bare driver's, as in ``floors.py``. Other environments' interpreters can be named,
such as one with an earlier release; what that does not have has no row.
"""

import argparse
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
from inspect import signature
from pathlib import Path

from rich.console import Console
from rich.table import Table

FEW, MANY = 10, 60
ROWS = ("memory", "memory, limited", "SQLite", "SQLite, limited", "bare sqlite3")


def run(row, count, folder):
    """Make lifecycles: what is counted."""
    from providers import EUR, PROVIDERS, live  # noqa: PLC0415 - of the environment that is measured

    from paysession import Payments  # noqa: PLC0415

    url = "memory:" if row.startswith("memory") else f"sqlite:///{folder}/books.db"
    knows, limited = "call_deadline" in signature(Payments.open).parameters, row.endswith("limited")
    if limited and not knows:
        sys.exit("this release limits no caller's time")
    options = {"call_deadline": None} if knows and not limited else {}
    with Payments.open(url, providers=PROVIDERS, environ={}, **options) as pay:
        orders = [pay.create_collection(EUR, reference=str(number)).id for number in range(MANY)]
        if row != "bare sqlite3":
            live(pay, "remote", orders[:count])
            return
    import floors  # noqa: PLC0415 - of this release only

    texts = (
        floors.Statements(floors.for_sqlite.READS, numbered=False),
        floors.Writes(floors.for_sqlite.WRITES),
    )
    plans = floors._plans(floors.Recorded("remote"), *texts, orders, "floor")
    connection = sqlite3.connect(f"{folder}/books.db", isolation_level=None)
    connection.execute("PRAGMA synchronous = FULL")
    floors.played(connection, plans[:count])
    connection.close()


def counted(python, row, count):
    """Return the instructions of a process that makes so many lifecycles, or None if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        environ = {
            **os.environ,
            "PYTHONHASHSEED": "0",
            "PYTHONPYCACHEPREFIX": f"{tempfile.gettempdir()}/counted",
        }
        environ.pop("PYTHONDONTWRITEBYTECODE", None)  # as installed: the modules are compiled
        command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", python, __file__]
        done = subprocess.run(
            [*command, "--run", row, str(count), folder],
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
    found = re.search(r"Collected : (\d+)", done.stderr)
    return int(found[1]) if found and done.returncode == 0 else None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pythons", nargs="*", default=[])
    parser.add_argument("--run", nargs=3, metavar=("ROW", "COUNT", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run is not None:
        row, count, folder = given.run
        run(row, int(count), folder)
        return
    pythons = [sys.executable, *map(os.path.abspath, given.pythons)]
    table = Table("million instructions a payment", *pythons)
    for row in ROWS:
        cells = []
        for python in pythons:
            counted(python, row, 1)  # compiles
            few, many = counted(python, row, FEW), counted(python, row, MANY)
            cells.append("" if few is None or many is None else f"{(many - few) / (MANY - FEW) / 1e6:.2f}")
        table.add_row(row, *cells)
    Console(width=140).print(table)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
