"""Bringing a database's schema up to date.

Alembic does it, on SQLAlchemy. Both are imported where they are used: most processes find the schema as
they need it, and a new SQLite file is made without them.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from paysession import StoreError
from paysession_sql.advice import explained

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection, Engine
    from sqlalchemy.exc import SQLAlchemyError

__all__ = ["HEAD", "Schema", "config", "create_file", "database_of", "judge", "upgrade"]

HEAD: Final = "0013"
"""The schema that this version needs: the last file under ``migrations/versions``."""

_LOCK: Final = 0x70617973
"""The advisory lock that one upgrade at a time holds on PostgreSQL."""

# A lock that is not to be had at once would hold up every commit that queues behind us.
_LOCK_TIMEOUT: Final = "5s"


def config() -> Config:
    """Return Alembic's configuration of the package's migrations."""
    from alembic.config import Config  # noqa: PLC0415 - see the module

    made = Config()
    made.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    return made


def judge(version: str | None, oldest: str | None) -> bool:
    """Return whether this release can work with a schema; False: it has to be upgraded first.

    Args:
        version: The schema's version; None: there is none yet.
        oldest: What the schema says of the oldest release that works with it.

    Raises:
        StoreError: The schema is newer than this release can work with.
    """
    if version is None or version < HEAD:
        return False
    if version > HEAD and (oldest is None or oldest > HEAD):
        raise StoreError(
            f"the database has schema {version}, which is newer than this paysession-sql knows ({HEAD}); "
            "upgrade the package"
        )
    return True


def create_file(path: str) -> None:
    """Create the file of a SQLite database, readable and writable by its owner only.

    SQLite gives the files beside it (the write-ahead log) the same mode. One that exists is left as it is.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def database_of(url: str) -> str:
    """Return the path of the file that a URL such as ``sqlite:///payments.db`` names; "": it names none.

    Raises:
        StoreError: It is no URL of SQLite.
    """
    scheme, colon, rest = url.partition(":")
    path = rest.partition("?")[0]
    if not colon or scheme.partition("+")[0] != "sqlite" or not (path.startswith("///") or path == "//"):
        raise StoreError(f"{url!r:.100} is no database URL, such as sqlite:///payments.db")
    return path[3:]


def _is_missing(url: str) -> bool:
    path = "" if url.startswith("postgres") else database_of(url)
    return path not in ("", ":memory:") and not os.path.exists(path)  # noqa: PTH110 - a path is a text here


def _engine(url: str) -> Engine:
    from sqlalchemy import create_engine, pool  # noqa: PLC0415 - see the module

    if not url.startswith("postgres"):
        path = database_of(url)
        if path and path != ":memory:":
            with suppress(OSError):  # the connection says what is wrong
                create_file(path)
        return create_engine(url, poolclass=pool.NullPool)
    from paysession_sql.connections import connect  # noqa: PLC0415 - needs psycopg, an extra

    return create_engine("postgresql+psycopg://", creator=lambda: connect(url), poolclass=pool.NullPool)


class Schema:
    """The schema of a database; the entry point of ``paysession db``.

    To look at it creates no file: one of SQLite that is not there has no schema.

    Args:
        url: The database, such as ``postgresql://host/books``.

    Raises:
        StoreError: It cannot be reached.
    """

    needed: Final = HEAD

    def __init__(self, url: str) -> None:
        self._url = url
        self.found: str | None = None
        """The schema's version; None: there is none yet."""
        self._oldest: str | None = None
        self._restored = False
        if not _is_missing(url):
            self._read()

    def _read(self) -> None:
        from sqlalchemy import inspect  # noqa: PLC0415 - see the module

        with self._connected() as connection:
            self.found = _version(connection)
            tables = inspect(connection).get_table_names()
            if "compatibility" in tables:
                self._oldest = connection.exec_driver_sql("SELECT oldest FROM compatibility").scalar()
            if "event" in tables and self._oldest is not None:
                self._restored = _restored(connection)

    @property
    def current(self) -> bool:
        """Whether this release works with it as it is."""
        return judge(self.found, self._oldest) and not self._restored

    def upgrade(self) -> None:
        """Bring it up to date.

        Raises:
            StoreError: That failed, and changed nothing.
        """
        upgrade(self._url)

    def _connected(self) -> _Connected:
        return _Connected(self._url)


class _Connected:
    """A connection for as long as a block lasts; a failure is a `StoreError`."""

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)

    def __enter__(self) -> Connection:
        from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 - see the module

        try:
            self._connection = self._engine.connect()
        except SQLAlchemyError as error:
            self._engine.dispose()
            raise StoreError(f"the database cannot be reached: {_cause(error)}") from None
        return self._connection

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 - see the module

        self._connection.close()
        self._engine.dispose()
        if isinstance(error, SQLAlchemyError):
            raise StoreError(f"the schema cannot be read or upgraded: {_cause(error)}") from error


def _cause(error: SQLAlchemyError) -> str:
    return explained(getattr(error, "orig", None) or error).strip().partition("\n")[0]


def _version(connection: Connection) -> str | None:
    from alembic.migration import MigrationContext  # noqa: PLC0415 - see the module

    return MigrationContext.configure(connection).get_current_revision()


def upgrade(url: str) -> None:
    """Bring the schema of a database up to date; nothing happens if it is.

    Args:
        url: The database, such as ``sqlite:///payments.db``.

    Raises:
        StoreError: That failed, and changed nothing.
    """
    from alembic import command  # noqa: PLC0415 - see the module

    with _Connected(url) as connection:
        # Two processes that do this at once: the second waits, and finds it done.
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA busy_timeout = 30000")
            connection.exec_driver_sql("PRAGMA secure_delete = ON")  # a migration may erase as well
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
        made = config()
        made.attributes["connection"] = connection
        command.upgrade(made, "head")
        if _restored(connection):
            _shift(connection)
        connection.commit()


# --- a dump that was restored into another cluster ------------------------------------------------

RESTORED: Final = (
    "SELECT (SELECT coalesce(max(xact), 0) FROM event) >= paysession_horizon() "
    "+ pg_snapshot_xmax(s)::text::bigint - pg_snapshot_xmin(s)::text::bigint FROM pg_current_snapshot() AS s"
)
"""Whether the feed has events of transactions that are yet to come in this cluster."""

_FUNCTION: Final = (
    "CREATE OR REPLACE FUNCTION {} RETURNS bigint LANGUAGE sql {} AS 'SELECT {}::text::bigint + {}'"
)


def _restored(connection: Connection) -> bool:
    return connection.dialect.name == "postgresql" and bool(connection.exec_driver_sql(RESTORED).scalar())


def _shift(connection: Connection) -> None:
    """Have the feed go on above all that it holds: the functions of migration 0002, with an offset."""
    offset = connection.exec_driver_sql("SELECT max(xact) + 1 FROM event").scalar()
    for name, kind, value in (
        ("paysession_xact()", "VOLATILE", "pg_current_xact_id()"),
        ("paysession_horizon()", "STABLE", "pg_snapshot_xmin(pg_current_snapshot())"),
    ):
        connection.exec_driver_sql(_FUNCTION.format(name, kind, value, offset))
