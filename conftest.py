"""What the tests of several folders share."""

import contextlib
import functools
import gc
import importlib.metadata
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest

LONGEST = (
    "core/tests/properties/test_mutations.py",
    "tests/campaign/test_campaign.py",
    "core/tests/properties/test_channels.py",
    "plugins/stripe/tests/test_contract.py",
    "tests/test_scaling.py",
    "tests/matrix/test_answers.py",
    "tests/matrix/test_kills.py",
    "tests/test_docs.py",
    "tests/test_new_provider.py",
    "plugins/sql/tests/test_replication.py",
    "plugins/sql/tests/test_contract.py",
    "plugins/sql/tests/test_hammer.py",
    "plugins/sql/tests/test_processes.py",
    "plugins/stripe/tests/test_faults.py",
    "plugins/paypal/tests/test_restart.py",
    "plugins/cli/tests/test_check.py",
    "plugins/cli/tests/test_cli.py",
    "plugins/testing/tests/test_contract_broken.py",
    "tests/matrix/test_races.py",
    "tests/test_examples.py",
    "tests/test_examples_shops.py",
    "plugins/paypal/tests/test_contract.py",
    "plugins/testing/tests/test_contract.py",
)
"""The files that take longest in the two tiers, as measured."""


APART = frozenset({
    "core/tests/properties/test_channels.py",
    "core/tests/properties/test_mutations.py",
    "plugins/sql/tests/test_replication.py",
    "tests/campaign/test_campaign.py",
    "tests/test_examples.py",
})  # fmt: skip
"""Files whose tests take long and share nothing: any worker takes the next of them."""


CONTRACTS = (
    "plugins/paypal/tests/test_contract.py",
    "plugins/stripe/tests/test_contract.py",
    "plugins/testing/tests/test_contract.py::TestGatewayProvider",
)
"""Contracts at a gateway's real client and at the kit's own, whose exhaustive rows are of the slow tier."""


LOST = frozenset({"drop_before", "drop_after", "409"})
"""What goes wrong with every operation of those in the fast tier; a capture meets all there is."""


WAITING = frozenset({
    "test_a_timeout_is_unknown_and_in_time",
    "test_an_answer_that_drips_ends_in_time",
    "test_a_gateway_that_hangs_leaves_doubt_and_no_second_effect",
})  # fmt: skip
"""Tests that only wait for a time limit: in the fast tier they wait for that of a capture."""


SLOW_LIMIT = 900.0
"""Seconds that a slow test may take; others have the `timeout` of pyproject.toml."""


def pytest_collection_modifyitems(items):
    """Begin with the longest files: one that begins late is what all workers wait for in the end."""
    for item in items:
        waits = getattr(item, "originalname", "") in WAITING and _operation(item) != "capture"
        if waits or (item.nodeid.startswith(CONTRACTS) and _is_tried_with_a_capture(item)):
            item.add_marker(pytest.mark.slow)
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(SLOW_LIMIT))
    places = {name: place for place, name in enumerate(LONGEST)}

    def place(item):
        name = item.nodeid.partition("::")[0]
        return places.get(name, len(places)), name  # by name: see `_take_turns`

    items.sort(key=place)


def _is_tried_with_a_capture(item):
    """Return whether a row of a contract is what a capture is tried with, for another operation."""
    operation = _operation(item)
    if operation == "capture":
        return False
    case = item.callspec.params
    if "fault" in case or "point" in case:
        return case.get("fault", case.get("point")) not in LOST
    # One transport reads the answers of all hooks.
    return "hook" in case and operation != "retrieve"


def _operation(item):
    """Return the operation that a row is about; that of one which names none counts as a capture."""
    case = item.callspec.params if hasattr(item, "callspec") else {}
    return case.get("kind", case.get("hook", "capture"))


def pytest_collection_finish():
    """Have the garbage collector leave what was collected alone: it would look at all of it again and again.

    Ten thousand tests are a million objects, and none of them is garbage before the end.
    """
    gc.freeze()
    gc.enable()


def pytest_configure(config):
    """Order what xdist hands out as it was collected, and let the processes of a run share their bytecode."""
    gc.disable()  # until `pytest_collection_finish`
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False
    # Where Python is not to write bytecode, each of the interpreters that the tests start, several
    # hundred, would compile all that it imports again, which takes longer than most tests.
    if "PYTHONPYCACHEPREFIX" not in os.environ and os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
        folder = tempfile.TemporaryDirectory(prefix="paysession-bytecode-")
        config.add_cleanup(folder.cleanup)
        os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix = folder.name
        sys.dont_write_bytecode = False
    _remember_entry_points()
    if hasattr(config, "workerinput"):
        _take_turns(config)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Hand out whole files, as `--dist loadfile` does, but the tests of those in `APART` one by one."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return nodeid if file in APART else file

    return Scheduling(config, log)


def _remember_entry_points():
    """Look for entry points again only where something was installed or the path is another.

    Tests ask thirteen hundred times, and each time the files of all distributions are read: 12 ms.
    """
    read = importlib.metadata.entry_points

    @functools.cache
    def found(path, changed, wanted):
        return read(**dict(wanted))

    def entry_points(**wanted):
        folders = [Path(folder) for folder in sys.path]
        changed = tuple(folder.stat().st_mtime_ns if folder.exists() else None for folder in folders)
        return found(tuple(sys.path), changed, tuple(sorted(wanted.items())))

    importlib.metadata.entry_points = entry_points


def _take_turns(config):
    """Have each worker of xdist collect the folders from another one on.

    Each collects all tests, and in a fresh clone compiling them is most of that: workers that begin at the
    same file all compile it at the same time, the others find what one of them has compiled.
    """
    if config.args_source is not config.ArgsSource.TESTPATHS:
        return
    parts = [part for path in config.args for part in sorted(Path(path).iterdir())]
    folders = [str(part) for part in parts if part.is_dir() or part.match("test_*.py")]
    first = len(folders) * int(config.workerinput["workerid"][2:]) // config.workerinput["workercount"]
    config.args[:] = folders[first:] + folders[:first]


# --- PostgreSQL -----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def postgres():
    """A real PostgreSQL server, for all tests of this process.

    The workers of xdist do not share one: the event feed waits for the oldest transaction of the whole
    server, so a test would see its own events only when the other workers' transactions have ended.
    """
    from paysession_sql.testing import server_or_skip

    with contextlib.ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            if _has_room(MEMORY):
                patch.setattr(tempfile, "tempdir", MEMORY)
            server = stack.enter_context(server_or_skip())
        yield server


MEMORY = "/dev/shm"
"""A file system in memory: a database of 300 files is made there with a quarter of the processor's time."""


def _has_room(folder):
    """Return whether programs run there, and a gigabyte of WAL of each worker's server fits."""
    if not os.access(folder, os.W_OK) or os.statvfs(folder).f_flag & os.ST_NOEXEC:
        return False
    return shutil.disk_usage(folder).free > 8 << 30


@pytest.fixture(scope="session")
def _upgraded_url(postgres):
    from paysession_sql import upgrade

    url = postgres.database()
    upgrade(url)
    return url


@pytest.fixture(scope="session")
def _databases(postgres, _upgraded_url):
    return _Databases(postgres, _upgraded_url)


@pytest.fixture
def postgres_url(_databases):
    """The URL of a database with the schema and without rows."""
    url = _databases.take()
    yield url
    _databases.put_back(url)


class _Databases:
    """Copies of a database, since the migrations take longer than most tests.

    A copy takes longer than most tests, too: 0.1 to 0.2 s of the processor. So one that a test has put back
    is emptied for the next, which takes a tenth of that, unless the test changed more than rows.
    """

    MANY = 2000
    """What a test that left more rows has used is dropped: they would stay in the files for a while."""

    # Constraints and an index's definition stand with the first attribute only: written with each, they took
    # three quarters of the query's time, 12 ms after each test.
    DESCRIPTION = """
        SELECT relname, relkind, reloptions::text, attname, attnum, atttypid, attnotnull, attisdropped,
            (SELECT string_agg(pg_get_constraintdef(oid), ' ' ORDER BY conname)
            FROM pg_constraint WHERE conrelid = pg_class.oid AND attnum = 1),
            CASE WHEN relkind = 'i' AND attnum = 1 THEN pg_get_indexdef(pg_class.oid) END
        FROM pg_class LEFT JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0
        WHERE relnamespace = 'public'::regnamespace
        UNION ALL
        SELECT setting, NULL, NULL, NULL, setrole, NULL, NULL, NULL, NULL, NULL
        FROM pg_db_role_setting JOIN pg_database ON pg_database.oid = setdatabase,
            unnest(setconfig) AS setting
        WHERE datname = current_database()
        ORDER BY 1, 5
    """
    OTHERS = """
        SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()
    """

    def __init__(self, postgres, template):
        self._postgres, self._template = postgres, template
        self._numbers = itertools.count(1)
        self._free = []
        with self._connect(template) as connection:
            query = "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'"
            tables = [name for (name,) in connection.execute(query)]
            # What the migrations write, such as the schema's version, belongs to the schema.
            self._written = [name for name in tables if self._rows(connection, name)]
            self._tables = [name for name in tables if name not in self._written]
            self._as_made = self._description(connection)

    def take(self):
        if self._free:
            return self._free.pop()
        template = urlsplit(self._template).path
        copy = f"{template}_{next(self._numbers)}"
        self._postgres.execute(f"CREATE DATABASE {copy[1:]} TEMPLATE {template[1:]}")
        return self._template.replace(template, copy, 1)

    def put_back(self, url):
        if self._empty(url):
            self._free.append(url)
        else:
            self._postgres.drop(url)

    def _empty(self, url):
        """Remove all rows; return whether the database is as good as a new copy."""
        with self._connect(url) as connection:
            connection.execute(self.OTHERS)
            if self._description(connection) != self._as_made:
                return False
            connection.execute("SET session_replication_role = replica")  # in any order of the tables
            removed = sum(connection.execute(f"DELETE FROM {name}").rowcount for name in self._tables)
            connection.execute(
                "SELECT setval(oid, 1, false) FROM pg_class"
                " WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace"
            )
        return removed <= self.MANY

    def _connect(self, url):
        import psycopg

        return psycopg.connect(url, autocommit=True)

    def _rows(self, connection, name):
        return connection.execute(f"SELECT row::text FROM {name} AS row ORDER BY 1").fetchall()

    def _description(self, connection):
        written = [self._rows(connection, name) for name in self._written]
        return connection.execute(self.DESCRIPTION).fetchall(), written


# --- the command ----------------------------------------------------------------------------------


def _environment(changes):
    """Return our environment without settings of paysession, and with these changes."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PAYSESSION_")}
    return {**clean, **changes}


@pytest.fixture
def in_process(tmp_path, monkeypatch, capsys):
    """Return a function that runs the command in this process, and returns what `subprocess.run` would."""
    from paysession_cli.main import main

    def run(*arguments, cwd=tmp_path, **environ):
        capsys.readouterr()
        with monkeypatch.context() as patch:
            patch.chdir(cwd)
            patch.setattr(sys, "argv", ["paysession", *arguments])
            for name in set(os.environ) - set(_environment({})):
                patch.delenv(name)
            for name, value in environ.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                main()
        stdout, stderr = capsys.readouterr()
        return SimpleNamespace(stdout=stdout, stderr=stderr, returncode=ended.value.code or 0)

    return run


@pytest.fixture
def in_a_process(tmp_path):
    """Return a function that runs the command in a process of its own, as a person or a script would."""

    def run(*arguments, before="pass", cwd=tmp_path, **environ):
        code = f"{before}; from paysession_cli.main import main; main()"
        return subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=cwd,
            env=_environment(environ), check=False, timeout=120,
        )  # fmt: skip

    return run
