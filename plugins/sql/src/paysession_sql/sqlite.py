"""The store in a SQLite file: reads from a pool of connections, one writer, commits in groups.

SQLite lets one connection write at a time, and a durable commit waits for the disk. So a process
writes through one connection, and whoever comes first leads: it takes all changes that wait, makes
them in one transaction, and wakes the others. No thread stands by for it, and alone it costs
nothing. Several processes on one file take turns (``BEGIN IMMEDIATE``).
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections import deque
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.dialects.sqlite.pysqlite import dialect as sqlite_dialect
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from paysession.errors import StoreError
from paysession.store import OverLimit, Stale, utc_now
from paysession_sql.forks import generation
from paysession_sql.reads import Reads
from paysession_sql.statements import Statements, Writes
from paysession_sql.upgrade import HEAD, judge, upgrade

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from typing import Self

    from paysession.change import Change, Notification
    from paysession.session import PaymentCollection, PaymentSession
    from paysession_sql.statements import Statement, Write

__all__ = ["SqliteStore"]

logger = logging.getLogger("paysession")

BUSY_TIMEOUT: Final = 30.0
"""Seconds that a writer waits for another process's transaction."""

GROUP: Final = 200
"""At most so many changes are made in one transaction."""

_WAL_FIXED: Final = (3, 51, 3)
"""From this version on SQLite cannot corrupt a WAL that several connections reset."""


class _Ticket:
    """A change that waits for its commit, and how its thread is woken."""

    __slots__ = ("change", "error", "leads", "woken")

    def __init__(self, change: Change) -> None:
        self.change = change
        self.error: Exception | None = None
        self.leads = False
        self.woken = Lock()
        self.woken.acquire()


class SqliteStore(Reads):
    """The books in a SQLite file. Opened with `SqliteStore.open`; thread-safe.

    Args:
        path: The file.
        clock: Returns the time in UTC; the system's by default.
    """

    def __init__(self, path: str, *, clock: Callable[[], datetime] = utc_now) -> None:
        dialect = sqlite_dialect(paramstyle="qmark")
        super().__init__(Statements(dialect))
        self.now = clock
        self.path = path
        self._writes = Writes(dialect)
        self._reset()

    @classmethod
    def open(cls, url: str, *, clock: Callable[[], datetime] | None = None) -> Self:
        """Open ``sqlite:///payments.db``; the entry point of the scheme ``sqlite``.

        The file is made if it does not exist, and its schema brought up to date.

        Raises:
            StoreError: It cannot be opened, is no SQLite database, or has a newer schema.
        """
        try:
            path = make_url(url).database
        except (ArgumentError, ValueError):
            raise StoreError(f"{url!r:.100} is no database URL, such as sqlite:///payments.db") from None
        if not path or path == ":memory:":
            raise StoreError("a SQLite store needs a file: sqlite:///payments.db (memory: is for tests)")
        path = os.path.abspath(path)  # noqa: PTH100 - the process may change its folder
        store = cls(path, clock=clock or utc_now)
        try:
            connection = store._connect()
            try:
                current = _is_current(connection)
            finally:
                connection.close()
            if not current:
                upgrade(f"sqlite:///{path}")
        except (sqlite3.Error, OSError) as error:
            store.close()
            raise StoreError(f"the database {path} cannot be opened: {error}") from None
        except Exception as error:
            store.close()
            if isinstance(error, StoreError):
                raise
            raise StoreError(f"the schema of {path} cannot be brought up to date: {error}") from error
        if sqlite3.sqlite_version_info < _WAL_FIXED:
            logger.info(
                "SQLite %s can corrupt a database that several processes write (fixed in 3.51.3); "
                "let one process write, or use a newer SQLite",
                sqlite3.sqlite_version,
            )
        return store

    # --- connections ------------------------------------------------------------------------------

    def _reset(self) -> None:
        self._generation = generation()
        self._idle: deque[sqlite3.Connection] = deque()
        self._writer: sqlite3.Connection | None = None
        self._queue: deque[_Ticket] = deque()
        self._leading = False
        self._lock = Lock()
        self._closed = False

    def _connect(self) -> sqlite3.Connection:
        if self._closed:
            raise StoreError("the store is closed")
        connection = sqlite3.connect(
            self.path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
        )
        try:
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
                connection.execute(f"PRAGMA {pragma}")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _borrow(self) -> sqlite3.Connection:
        """Return a connection to read with; it sees every commit made before.

        While nobody writes that is the writer, whose cache still holds what it wrote: another
        connection would fetch those pages again after every commit.
        """
        if self._generation != generation():
            self._reset()  # a connection must not cross a fork; the parent's is left alone
        with self._lock:
            if not self._leading and self._writer is not None:
                self._leading = True
                return self._writer
        try:
            return self._idle.pop()
        except IndexError:
            return self._connect()

    def _give_back(self, connection: sqlite3.Connection) -> None:
        if connection is self._writer:
            self._hand_over()
        elif self._closed:
            connection.close()
        else:
            self._idle.append(connection)

    def query(self, text: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Return the rows of a statement that reads."""
        try:
            connection = self._borrow()
            try:
                return connection.execute(text, parameters).fetchall()
            finally:
                self._give_back(connection)
        except sqlite3.Error as error:
            raise StoreError(f"the database {self.path} cannot be read: {error}") from error

    def _rows(self, statement: Statement, **given: Any) -> list[Any]:
        return self.query(statement.text, statement.parameters(given))

    def _rows_of(self, statement: Statement, key: str) -> list[Any]:
        return self.query(statement.text, (key,))

    def _place(self, cursor: str) -> tuple[int, int]:
        position = int(cursor)
        if not 0 <= position < 2**63:
            raise ValueError(cursor)
        return 0, position

    def _cursor(self, xact: int, position: int) -> str:
        """One writer at a time numbers events in the order of commit: the position is all."""
        del xact
        return str(position)

    def close(self) -> None:
        """Close the connections; a commit that runs is waited for."""
        with self._lock:
            self._closed = True
            writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
        while self._idle:
            with suppress(IndexError):
                self._idle.pop().close()

    # --- writing ----------------------------------------------------------------------------------

    def commit(self, change: Change) -> None:
        """Make a change, alone or in a group with those of other threads; see the protocol."""
        if self._generation != generation():
            self._reset()
        ticket = None
        with self._lock:
            if self._leading:
                ticket = _Ticket(change)
                self._queue.append(ticket)
            self._leading = True
        if ticket is None:
            self._commit_alone(change)
            return
        ticket.woken.acquire()
        if ticket.leads:
            self._lead()
        if ticket.error is not None:
            raise ticket.error

    def _commit_alone(self, change: Change) -> None:
        """Commit the change of the first who comes, then hand the lead to the first who came since."""
        connection = self._writer
        try:
            if connection is None:
                connection = self._writer = self._connect()
            connection.execute("BEGIN IMMEDIATE")
            self._write(connection, change)
            connection.execute("COMMIT")
        except BaseException as error:
            _roll_back(connection)
            if isinstance(error, sqlite3.Error):
                raise self._failure(error) from error
            raise
        finally:
            self._hand_over()

    def _lead(self) -> None:
        """Commit what waits in one transaction, then hand the lead to the first who came since."""
        with self._lock:
            group = [self._queue.popleft() for _ in range(min(len(self._queue), GROUP))]
        try:
            self._commit_group(group)
        finally:
            for ticket in group:
                ticket.woken.release()
            self._hand_over()

    def _hand_over(self) -> None:
        """Let the first that waits lead, or nobody."""
        with self._lock:
            heir = self._queue[0] if self._queue else None
            if heir is None:
                self._leading = False
                return
            heir.leads = True
        heir.woken.release()

    def _commit_group(self, group: list[_Ticket]) -> None:
        connection = self._writer
        try:
            if connection is None:
                connection = self._writer = self._connect()
            connection.execute("BEGIN IMMEDIATE")
            for ticket in group:
                self._make(connection, ticket)
            connection.execute("COMMIT")
        except BaseException as error:
            # Nothing of the group was written: SQLite rolls back what it could not commit.
            _roll_back(connection)
            failure = self._failure(error) if isinstance(error, sqlite3.Error) else error
            for ticket in group:
                ticket.error = failure if isinstance(failure, Exception) else StoreError("interrupted")
            if not isinstance(error, Exception):
                raise

    def _failure(self, error: sqlite3.Error) -> StoreError:
        return StoreError(f"the database {self.path} could not be written: {error}")

    def _make(self, connection: sqlite3.Connection, ticket: _Ticket) -> None:
        """Make one change of a group; when it is refused, the others stand."""
        connection.execute("SAVEPOINT change")
        try:
            self._write(connection, ticket.change)
        except (Stale, OverLimit) as refusal:
            ticket.error = refusal
            connection.execute("ROLLBACK TO change")
        connection.execute("RELEASE change")

    def _write(self, connection: sqlite3.Connection, change: Change) -> None:
        statements = self._writes
        session, expected, operations, events, hold, guarded, collection, _, conflicts, notification, seen = (
            change
        )
        if collection is not None:
            self._write_collection(connection, collection, change.collection_amount)
        if session is not None:
            if hold:
                more = statements.hold_within if guarded and hold > 0 else statements.hold
                given = more.parameters({"key": session.collection_id, "more": hold})
                if not connection.execute(more.text, given).rowcount:
                    raise OverLimit(session.collection_id)
            if not expected:
                _insert(connection, statements.insert_session, session)
            elif not _run(connection, statements.update_session, session):
                raise Stale(session.id)
        for operation in operations:
            _run(connection, statements.write_operation, operation)
        for conflict in conflicts:
            _run(connection, statements.write_conflict, conflict)
        for event in events:
            _run(connection, statements.insert_event, event)
        if notification is not None:
            if not seen:
                _insert(connection, statements.insert_notification, notification)
            elif not _run(connection, statements.update_notification, notification):
                raise Stale(notification.id)

    def _write_collection(
        self, connection: sqlite3.Connection, collection: PaymentCollection, amount_only: bool
    ) -> None:
        if not amount_only:
            _insert(connection, self._writes.insert_collection, collection)
        elif not _run(connection, self._writes.update_amount, collection):
            known = self._statements.collection
            found = connection.execute(known.text, known.parameters({"key": collection.id})).fetchall()
            raise OverLimit(collection.id) if found else Stale(collection.id)


def _is_current(connection: sqlite3.Connection) -> bool:
    try:
        version = connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]
    except sqlite3.OperationalError:
        return False  # no such table: a new file
    oldest = None
    if version >= HEAD:
        oldest = connection.execute("SELECT oldest FROM compatibility").fetchone()[0]
    return judge(version, oldest)


def _roll_back(connection: sqlite3.Connection | None) -> None:
    if connection is not None and connection.in_transaction:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")


def _run(connection: sqlite3.Connection, write: Write, value: object) -> int:
    return connection.execute(write.text, write.pack(value)).rowcount


def _insert(
    connection: sqlite3.Connection, write: Write, value: PaymentSession | PaymentCollection | Notification
) -> None:
    try:
        _run(connection, write, value)
    except sqlite3.IntegrityError:
        raise Stale(value.id) from None
