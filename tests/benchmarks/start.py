"""How long a process needs to be ready: ``python tests/benchmarks/start.py [PYTHON ...] [--rounds N]``.

Each row is a whole process, start of Python included, measured in CPU time (user and system), which a busy
machine distorts least; the figure is the best of the rounds, and the ratio is to ``import paysession`` of the
same environment (of imports: to importing attrs and pluggy). Other environments' interpreters can be named,
such as one with an earlier release: they take turns with this one, round by round.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

OPEN = 'from paysession import Payments; Payments.open("sqlite:///{}", providers={{"manual": {{}}}}).close()'
ROWS = (
    ("python", None),
    ("import attrs, pluggy", None),
    ("import paysession", "import attrs, pluggy"),
    ("from paysession import Payments", "import attrs, pluggy"),
    ("open an existing SQLite file", "import paysession"),
    ("open a new SQLite file", "import paysession"),
    ("paysession --help", "import paysession"),
    ("paysession session list", "import paysession"),
)


def spent(command, folder, cache):
    """Return the milliseconds of CPU time of a process."""
    environ = {**os.environ, "PYTHONPYCACHEPREFIX": cache, "PAYSESSION_DB": "sqlite:///existing.db"}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)  # as installed: the modules are compiled
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, env=environ, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e3


def command(name, python, folder):
    """Return the command line of a row; each row that needs a new file gets one."""
    if name.startswith("paysession"):
        return [python, "-c", "from paysession_cli.main import main; main()", *name.split()[1:]]
    code = {"python": "pass", "open an existing SQLite file": OPEN.format("existing.db")}.get(name, name)
    if name == "open a new SQLite file":
        for path in Path(folder).glob("new.db*"):
            path.unlink()
        code = OPEN.format("new.db")
    return [python, "-c", code]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pythons", nargs="*", default=[])
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    pythons = [sys.executable, *map(os.path.abspath, given.pythons)]
    best = {}
    with tempfile.TemporaryDirectory() as base:
        for place, python in enumerate(pythons):
            Path(base, str(place)).mkdir()
            spent([python, "-c", OPEN.format("existing.db")], f"{base}/{place}", f"{base}/cache{place}")
        for round_ in range(given.rounds + 1):
            for name, _ in ROWS:
                for place, python in enumerate(pythons):
                    folder = f"{base}/{place}"
                    time = spent(command(name, python, folder), folder, f"{base}/cache{place}")
                    if round_:  # the first compiles
                        best[name, place] = min(time, best.get((name, place), time))
    table = Table(title=f"CPU ms of a process, best of {given.rounds}; load {os.getloadavg()[0]:.1f}")
    table.add_column("process")
    for python in pythons:
        table.add_column(python, justify="right", overflow="fold")
    for name, base in ROWS:
        cells = []
        for place in range(len(pythons)):
            ratio = f" ({best[name, place] / best[base, place]:.2f} x)" if base else ""
            cells.append(f"{best[name, place]:.0f}{ratio}")
        table.add_row(name if base is None else f"{name} / {base}", *cells)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
