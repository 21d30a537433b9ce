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
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy.dialects.sqlite.pysqlite import dialect as sqlite_dialect
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from paysession.errors import StoreError
from paysession.operation import State
from paysession.store import OverLimit, Stale, utc_now
from paysession.values import replace
from paysession_sql.schema import COLLECTION, EVENT, NOTIFICATION, OPERATION, SESSION, micros
from paysession_sql.statements import Statements
from paysession_sql.upgrade import check, upgrade

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from typing import Self

    from paysession.change import Change, Notification
    from paysession.operation import Event, Operation
    from paysession.session import PaymentCollection, PaymentSession
    from paysession_sql.schema import Layout
    from paysession_sql.statements import Statement

__all__ = ["SqliteStore"]

logger = logging.getLogger("paysession")

_Value = TypeVar("_Value")

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


class SqliteStore:
    """The books in a SQLite file. Opened with `SqliteStore.open`; thread-safe.

    Args:
        path: The file.
        clock: Returns the time in UTC; the system's by default.
    """

    def __init__(self, path: str, *, clock: Callable[[], datetime] = utc_now) -> None:
        self.now = clock
        self.path = path
        self._statements = Statements(sqlite_dialect(paramstyle="qmark"))
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
                current = check(connection)
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
        self._pid = os.getpid()
        self._idle: deque[sqlite3.Connection] = deque()
        self._writer: sqlite3.Connection | None = None
        self._queue: deque[_Ticket] = deque()
        self._leading = False
        self._lock = Lock()
        self._closed = False

    def _connect(self) -> sqlite3.Connection:
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
        if self._pid != os.getpid():
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

    def _values(self, layout: Layout[_Value], statement: Statement, **given: Any) -> list[_Value]:
        value = layout.value
        return [value(row) for row in self._rows(statement, **given)]

    def _one(self, layout: Layout[_Value], statement: Statement, **given: Any) -> _Value | None:
        rows = self._rows(statement, **given)
        return layout.value(rows[0]) if rows else None

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
        if self._pid != os.getpid():
            self._reset()
        ticket = _Ticket(change)
        with self._lock:
            self._queue.append(ticket)
            leads = not self._leading
            self._leading = True
        if not leads:
            ticket.woken.acquire()
            leads = ticket.leads
        if leads:
            self._lead()
        if ticket.error is not None:
            raise ticket.error

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
                connection = self._writer = self._open_writer()
            execute = connection.execute
            execute("BEGIN IMMEDIATE")
            alone = len(group) == 1
            for ticket in group:
                self._make(connection, ticket, alone=alone)
            execute("COMMIT" if not (alone and group[0].error) else "ROLLBACK")
        except BaseException as error:
            # Nothing of the group was written: SQLite rolls back what it could not commit.
            if connection is not None and connection.in_transaction:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
            failure = error
            if isinstance(error, sqlite3.Error):
                failure = StoreError(f"the database {self.path} could not be written: {error}")
            for ticket in group:
                ticket.error = failure if isinstance(failure, Exception) else StoreError("interrupted")
            if not isinstance(error, Exception):
                raise

    def _open_writer(self) -> sqlite3.Connection:
        if self._closed:
            raise StoreError("the store is closed")
        return self._connect()

    def _make(self, connection: sqlite3.Connection, ticket: _Ticket, *, alone: bool) -> None:
        """Make one change; when it is refused, the others of the group stand."""
        if not alone:
            connection.execute("SAVEPOINT change")
        try:
            self._write(connection, ticket.change)
        except (Stale, OverLimit) as refusal:
            ticket.error = refusal
            if not alone:
                connection.execute("ROLLBACK TO change")
        if not alone:
            connection.execute("RELEASE change")

    def _write(self, connection: sqlite3.Connection, change: Change) -> None:
        statements = self._statements

        if change.collection is not None:
            self._write_collection(connection, change.collection, change.collection_amount)
        session = change.session
        if session is not None:
            if change.hold:
                guarded = change.guarded and change.hold > 0
                hold = statements.hold_within if guarded else statements.hold
                if not _run(connection, hold, {"key": session.collection_id, "more": change.hold}):
                    raise OverLimit(session.collection_id)
            if not change.expected:
                _insert(connection, statements.insert_session, SESSION.row(session))
            else:
                row = SESSION.changes(session)
                row["key"], row["expected"] = session.id, change.expected
                if not _run(connection, statements.update_session, row):
                    raise Stale(session.id)
        for operation in change.operations:
            _run(connection, statements.write_operation, OPERATION.row(operation))
        for event in change.events:
            _run(connection, statements.insert_event, EVENT.row(event))
        if change.notification is not None:
            row = NOTIFICATION.row(change.notification)
            if not change.notification_seen:
                _insert(connection, statements.insert_notification, row)
            elif not _run(connection, statements.update_notification, {**row, "key": row["id"]}):
                raise Stale(row["id"])

    def _write_collection(
        self, connection: sqlite3.Connection, collection: PaymentCollection, amount_only: bool
    ) -> None:
        statements, row = self._statements, COLLECTION.row(collection)
        if not amount_only:
            _insert(connection, statements.insert_collection, row)
        elif not _run(connection, statements.update_amount, {**row, "key": row["id"]}):
            known = statements.collection
            found = connection.execute(known.text, known.parameters({"key": row["id"]})).fetchall()
            raise OverLimit(row["id"]) if found else Stale(row["id"])

    # --- reading ----------------------------------------------------------------------------------

    def collection(self, collection_id: str) -> PaymentCollection | None:
        """See the protocol."""
        return self._one(COLLECTION, self._statements.collection, key=collection_id)

    def collections(self, *, after: str | None = None, limit: int = 100) -> Sequence[PaymentCollection]:
        """See the protocol."""
        return self._values(COLLECTION, self._statements.collections, after=after or "", most=limit)

    def session(self, session_id: str) -> PaymentSession | None:
        """See the protocol."""
        return self._one(SESSION, self._statements.session, key=session_id)

    def sessions(
        self,
        *,
        collection_id: str | None = None,
        provider: str | None = None,
        status: str | None = None,
        after: str | None = None,
        limit: int | None = 100,
    ) -> Sequence[PaymentSession]:
        """See the protocol."""
        filters = {"collection_id": collection_id, "provider": provider, "status": status}
        given = {key: str(value) for key, value in filters.items() if value is not None}
        return self._values(
            SESSION,
            self._statements.sessions(*given),
            after=after or "",
            most=-1 if limit is None else limit,
            **given,
        )

    def find_session(self, provider: str, references: Sequence[str]) -> str | None:
        """See the protocol."""
        statements = self._statements
        for statement in (statements.session_by_reference, statements.session_by_operation):
            for reference in references:
                rows = self._rows(statement, provider=provider, reference=reference, most=1)
                if rows:
                    return str(rows[0][0])
        return None

    def operation(self, operation_id: str) -> Operation | None:
        """See the protocol."""
        return self._one(OPERATION, self._statements.operation, key=operation_id)

    def operations(self, session_id: str) -> Sequence[Operation]:
        """See the protocol."""
        return self._values(OPERATION, self._statements.operations, key=session_id)

    def repeated(self, session_id: str, idempotency_key: str) -> Operation | None:
        """See the protocol."""
        return self._one(OPERATION, self._statements.repeated, key=session_id, caller=idempotency_key, most=1)

    def events(self, *, after: str | None = None, limit: int = 100) -> Sequence[Event]:
        """See the protocol. One writer at a time numbers them in the order of commit."""
        place = 0 if after is None else int(after)
        if not 0 <= place < 2**63:
            raise ValueError(after)
        rows = self._rows(self._statements.events, after=place, most=limit)
        return [replace(EVENT.value(row[1:]), cursor=str(row[0])) for row in rows]

    def due(self, now: datetime, limit: int) -> Sequence[str]:
        """See the protocol."""
        return [row[0] for row in self._rows(self._statements.due, now=micros(now), most=limit)]

    def in_doubt(self, limit: int) -> Sequence[Operation]:
        """See the protocol."""
        return self._values(OPERATION, self._statements.in_doubt, state=str(State.STARTED), most=limit)

    def notification(self, notification_id: str) -> Notification | None:
        """See the protocol."""
        return self._one(NOTIFICATION, self._statements.notification, key=notification_id)

    def due_notifications(self, now: datetime, limit: int) -> Sequence[Notification]:
        """See the protocol."""
        return self._values(NOTIFICATION, self._statements.due_notifications, now=micros(now), most=limit)


def _run(connection: sqlite3.Connection, statement: Statement, row: dict[str, Any]) -> int:
    return connection.execute(statement.text, statement.parameters(row)).rowcount


def _insert(connection: sqlite3.Connection, statement: Statement, row: dict[str, Any]) -> None:
    try:
        _run(connection, statement, row)
    except sqlite3.IntegrityError:
        raise Stale(row["id"]) from None
