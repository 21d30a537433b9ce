"""The store in a SQLite file: reads from a pool of connections, one writer, commits in groups.

SQLite lets one connection write at a time, and a durable commit waits for the disk. So a process
writes through one connection, in place 0, and the call that takes the place leads: it makes all
changes that wait in one transaction, and wakes the others. No thread stands by for it, and alone it
costs nothing. Several processes on one file take turns (``BEGIN IMMEDIATE``).

A change stays in line until its transaction has ended, so that nothing is lost with a leader: when an
exception from outside (a signal handler's, a time limit's) ends a turn, its transaction is rolled
back, the exception fails the call that it hit, and the next in line leads. See also
``paysession_sql.places``.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import suppress
from threading import get_ident
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeVar

from paysession import StoreError
from paysession.store import Identity, OverLimit, SessionRow, Stale, utc_now
from paysession_sql import for_sqlite
from paysession_sql.advice import explained
from paysession_sql.forks import generation, watch
from paysession_sql.known import Known
from paysession_sql.places import Call, Places
from paysession_sql.reads import Reads
from paysession_sql.schema import SESSION, micros
from paysession_sql.statements import Statements
from paysession_sql.upgrade import HEAD, create_file, database_of, judge, upgrade
from paysession_sql.writes import Writes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from typing import Self

    from paysession import PaymentCollection
    from paysession.store import Change, Notification
    from paysession_sql.known import Row
    from paysession_sql.statements import Statement
    from paysession_sql.writes import Rewrite, Write

__all__ = ["SqliteStore"]

logger = logging.getLogger("paysession")

BUSY_TIMEOUT: Final = 30.0
"""Seconds that a writer waits for another process's transaction."""

GROUP: Final = 200
"""At most so many changes that wait are made in one transaction."""

_WAL_FIXED: Final = (3, 51, 3)
"""From this version on SQLite cannot corrupt a WAL that several connections reset."""


_WRITER: Final = 0
"""The place of the connection that writes."""

_TIDY: Final = 60.0
"""Seconds after which what was erased is erased from the write-ahead log as well."""

_TIDY_AGAIN: Final = 1.0
"""Seconds until the next attempt, if a reader keeps the log in use."""

_LOOK: Final = 1.0
"""Seconds after which a read looks again whether the file is in its place; a commit always does."""

_STATEMENTS: Final = 512
"""How many statements a connection keeps prepared: each shape of a change has its own."""

_COMMIT: Final = ("COMMIT",)

_VERSION: Final = "SELECT version, updated_at FROM session WHERE id = ?"

_UNWRITABLE: Final = (
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    sqlite3.DataError,
    OverflowError,
    UnicodeError,
)
"""What one change alone is to blame for, unlike a full disk or a lock."""


_Read = TypeVar("_Read")


class _Commit(Call):
    """A commit: its change, what became of it, and what it made for others while it led.

    The defaults are the class's: one that is made alone, as most are, sets only a few.
    """

    done = False
    error: Exception | None = None
    failure: sqlite3.Error | None = None
    group: Sequence[_Commit] = ()
    made: Sequence[object] = ()

    def __init__(self, change: Change) -> None:
        self.thread = get_ident()
        self.change = change


class SqliteStore(Reads):
    """The ledger in a SQLite file. Opened with `SqliteStore.open`; thread-safe.

    Args:
        path: The file.
        clock: Returns the time in UTC; the system's by default.
    """

    def __init__(self, path: str, *, clock: Callable[[], datetime] = utc_now) -> None:
        super().__init__(Statements(for_sqlite.READS, numbered=False))
        self.now = clock
        self.path = path
        self._writes = Writes(for_sqlite.WRITES)
        self._places: Places[sqlite3.Connection] = Places(awaited=1)
        self._known = Known()
        self._generation = generation()
        self._rested = False
        self._written = False
        self._tidy_at = monotonic() + _TIDY
        self._file: tuple[int, int] | None = None
        self._look_at = 0.0
        self._lost = False
        watch(self)

    @classmethod
    def open(cls, url: str, *, clock: Callable[[], datetime] | None = None) -> Self:
        """Open ``sqlite:///payments.db``; the entry point of the scheme ``sqlite``.

        The file is created if it does not exist, readable by its owner only, and its schema brought up
        to date.

        Raises:
            StoreError: It cannot be opened, is no SQLite database, or has a newer schema.
        """
        path = database_of(url)
        if not path or path == ":memory:":
            raise StoreError("a SQLite store needs a file: sqlite:///payments.db (memory: is for tests)")
        path = os.path.abspath(path)  # noqa: PTH100 - the process may change its folder
        store = cls(path, clock=clock or utc_now)
        try:
            store._bring_up_to_date()
        except (sqlite3.Error, OSError) as error:
            store.close()
            raise StoreError(f"the database {path} cannot be opened: {explained(error)}") from None
        except BaseException as error:
            store.close()
            if isinstance(error, StoreError) or not isinstance(error, Exception):
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

    def _bring_up_to_date(self) -> None:
        create_file(self.path)
        self._file = _identity(self.path)
        call = Call()
        places = self._places
        try:
            # A call like another, so that nobody forks while the upgrade has connections open.
            place = places.take_any(call)
            connection = self._connection(places, place)
            if not _is_current(connection) and not _is_made(connection):
                upgrade(f"sqlite:///{self.path}")
                self._written = True
            places.leave(call)
        except BaseException:
            places.leave(call, broken_off=True)
            raise

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path,
            timeout=BUSY_TIMEOUT,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=_STATEMENTS,
        )
        try:
            self._check_file()
            for pragma in (
                "journal_mode = WAL",
                "synchronous = FULL",
                "foreign_keys = ON",
                "secure_delete = ON",  # what is erased is overwritten
            ):
                connection.execute(f"PRAGMA {pragma}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _check_file(self) -> None:
        """Refuse to go on with a file that is not in its place any more: what is written there is lost.

        From then on every read looks as well, so that none is answered until the same file is back.

        Raises:
            StoreError: It was replaced or deleted.
        """
        self._look_at = monotonic() + _LOOK
        self._lost = _identity(self.path) != self._file
        if self._lost:
            raise StoreError(
                f"the file {self.path} was replaced or deleted while it was in use: nothing more is written; "
                "see 'After a restore' in the documentation, and open the payments again"
            )

    def _connection(self, places: Places[sqlite3.Connection], place: int) -> sqlite3.Connection:
        """Return the connection of a place that the call has."""
        connection = places.connections.get(place)
        if connection is None:
            connection = places.connections[place] = self._connect()
            if place == _WRITER:
                self._known.check(connection)
        return connection

    def _entered(self) -> Places[sqlite3.Connection]:
        """Return the places of this process.

        Raises:
            StoreError: The process was forked past the handlers that bring the store to rest.
        """
        if self._generation != generation():
            raise StoreError(
                f"this process was forked from one that had {self.path} open, without Python's at-fork "
                "handlers or in the middle of a call: open the payments in each process instead"
            )
        return self._places

    def before_fork(self) -> None:
        """Come to rest: wait for the calls that run, hold back others, and close the connections."""
        if self._generation == generation():
            self._rested = self._places.rest()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._rested = False
        self._places.resume()

    def after_fork_in_child(self) -> None:
        """Begin anew, without the parent's calls; refuse all calls, if the parent was not at rest."""
        if self._rested:
            closed = self._places.closed
            self._places = Places(awaited=1)
            self._places.closed = closed
            self._generation = generation()
            self._rested = False

    def query(self, text: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Return the rows of a statement that reads; it sees every commit made before.

        While nobody writes it uses the connection that writes, whose cache still holds what it wrote:
        another one would fetch those pages again after every commit.
        """
        return self._reading(lambda connection, _: connection.execute(text, parameters).fetchall())

    def _reading(self, read: Callable[[sqlite3.Connection, int], _Read]) -> _Read:
        """Return what is read on a connection; ``read`` is given it, and its place."""
        places = self._entered()
        call = Call()
        try:
            place = places.take_any(call)
            connection = self._connection(places, place)
            if self._lost or monotonic() > self._look_at:
                self._check_file()
            found = read(connection, place)
            if place == _WRITER and self._written and monotonic() > self._tidy_at:
                self._tidy(connection)
            places.leave(call)
        except BaseException as error:
            places.leave(call, broken_off=True)
            if isinstance(error, (sqlite3.Error, OverflowError, UnicodeError)):
                raise StoreError(f"the database {self.path} cannot be read: {explained(error)}") from error
            raise
        return found

    def session(self, session_id: str) -> SessionRow | None:
        """See the protocol; a row that nobody can have changed since it was written is not read again."""
        return self._reading(lambda connection, place: self._session(connection, place, session_id))

    def _session(self, connection: sqlite3.Connection, place: int, session_id: str) -> SessionRow | None:
        known = self._known
        if place == _WRITER:
            row = known.current(connection, session_id)
        else:
            row = known.last(session_id)
            if row is not None:
                version = connection.execute(_VERSION, (session_id,)).fetchone()
                row = row if version == (row.version, micros(row.updated_at)) else None
        if row is None:
            found = connection.execute(self._statements.session.text, (session_id,)).fetchone()
            row = SESSION.value(found) if found is not None else None
            if row is not None and place == _WRITER:
                known.add(row)
        return row

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
        """Close the store: calls that run are waited for, later ones are a `StoreError`.

        From within a call of the same thread (a signal handler's close) it does not wait for that one,
        whose connection is closed when it ends. A second close does nothing.
        """
        if self._generation == generation():  # else the connections are the parent's
            self._places.close()

    # --- writing ----------------------------------------------------------------------------------

    def _prune_notifications(self, before: int, most: int) -> int:
        return self._delete(self._writes.prune_notifications, before=before, most=most)

    def _prune_events(self, before: int, most: int) -> int:
        return self._delete(self._writes.prune_events, before=before, most=most)

    def _delete(self, statement: Statement, **given: Any) -> int:
        """Delete rows in a transaction of its own, on any connection: the file has one writer at a time."""
        places = self._entered()
        call = Call()
        connection = None
        try:
            connection = self._connection(places, places.take_any(call))
            self._check_file()
            connection.execute("BEGIN IMMEDIATE")
            deleted = connection.execute(statement.text, statement.parameters(given)).rowcount
            connection.execute("COMMIT")
            self._written = True
            places.leave(call)
        except BaseException as error:
            _roll_back(connection)
            places.leave(call, broken_off=True)
            if isinstance(error, sqlite3.Error):
                raise self._failure(error) from error
            raise
        return deleted

    def commit(self, change: Change) -> None:
        """Make a change, alone or in a group with those of other threads; see the protocol."""
        places = self._entered()
        call = _Commit(change)
        try:
            self._commit(places, call)
        except BaseException as error:
            self._end_turn(places, call)
            places.leave(call, broken_off=True)
            if isinstance(error, (sqlite3.Error, *_UNWRITABLE)):
                raise self._failure(error) from error
            raise
        if call.error is not None:
            raise call.error

    def _commit(self, places: Places[sqlite3.Connection], call: _Commit) -> None:
        if not places.take(_WRITER, call):
            places.line_up(call)
        if places.closed:
            places.stop(call)
        while True:
            leads = not call.done and places.take(_WRITER, call)
            if call.done:  # by the last leader, before it gave the place back
                break
            if leads:
                if not places.resting:
                    self._lead(places, call)
                    if len(call.group) > 1:
                        self._end_turn(places, call)
                    break
                places.stop(call)
            elif call.woken is None:
                places.line_up(call)  # and look again: the place may have become free before that
            else:
                places.wait(call)
        places.leave(call)

    def _lead(self, places: Places[sqlite3.Connection], call: _Commit) -> None:
        """Make the call's change, and those of the calls that wait with it in one transaction."""
        connection = self._connection(places, _WRITER)
        self._check_file()
        if places.waiting:
            # Reads never wait in line.
            others = [other for other in list(places.waiting) if isinstance(other, _Commit)]
            call.group = [call, *(other for other in others[:GROUP] if other is not call)]
        if len(call.group) > 1:
            self._commit_group(connection, call)
        else:
            self._commit_alone(connection, call)
        self._written = True
        if monotonic() > self._tidy_at:
            self._tidy(connection)

    def _commit_alone(self, connection: sqlite3.Connection, call: _Commit) -> None:
        cursor = connection.cursor()
        cursor.execute("BEGIN IMMEDIATE")
        self._known.check(connection)  # a backup that was restored has other rows with the same versions
        self._write(cursor, call.change)
        cursor.execute("COMMIT")
        self._known.committed(call.change)

    def _commit_group(self, connection: sqlite3.Connection, lead: _Commit) -> None:
        made: list[sqlite3.Cursor] = []
        lead.made = made
        cursor = connection.cursor()
        try:
            cursor.execute("BEGIN IMMEDIATE")
            self._known.check(connection)
            if not all(self._make(cursor, member) for member in lead.group):
                # Seldom: mostly what refuses a change is the first that it writes.
                cursor.execute("ROLLBACK")
                cursor.execute("BEGIN IMMEDIATE")
                self._known.check(connection)
                for member in lead.group:
                    self._make_apart(cursor, member)
            # The interpreter sees one step here: no signal handler runs between the commit and the
            # record that it was made.
            made.extend(map(cursor.execute, _COMMIT))
        except sqlite3.Error as error:
            lead.failure = error  # of the database, and so for all of them
            return
        for member in lead.group:
            if member.error is None:
                self._known.committed(member.change)

    def _end_turn(self, places: Places[sqlite3.Connection], lead: _Commit) -> None:
        """End the transaction of a call that led, however it went. It may be repeated.

        If it was made, or the database refused it, its members have their answer. If an exception from
        outside broke it off, it is rolled back, and they stay in line for the next leader.
        """
        if not places.has(_WRITER, lead):
            return
        if not lead.made:
            # Nothing of the group was written: SQLite rolls back what it could not commit.
            _roll_back(places.connections.get(_WRITER))
        ended = bool(lead.made) or lead.failure is not None
        for member in lead.group:
            if lead.failure is not None:
                member.error = self._failure(lead.failure)
            elif not ended:
                member.error = None
            if ended:
                member.done = True
                places.waiting.pop(member, None)
                if member is not lead:
                    member.wake()

    def _tidy(self, connection: sqlite3.Connection) -> None:
        """Empty the write-ahead log, which still holds what was erased since the last time."""
        connection.execute("PRAGMA busy_timeout = 0")  # not now, if a reader needs it
        try:
            busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            self._written = bool(busy)
            self._tidy_at = monotonic() + (_TIDY_AGAIN if busy else _TIDY)
        except sqlite3.Error as error:
            self._tidy_at = monotonic() + _TIDY
            logger.warning("the write-ahead log of %s cannot be emptied now: %s", self.path, error)
        finally:
            connection.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT * 1000)}")

    def _failure(self, error: Exception) -> StoreError:
        return StoreError(f"the database {self.path} could not be written: {explained(error)}")

    def _make(self, cursor: sqlite3.Cursor, member: _Commit) -> bool:
        """Make one change of a group, or find it refused; return whether nothing was written then."""
        connection = cursor.connection
        before = connection.total_changes
        try:
            self._write(cursor, member.change)
        except (Stale, OverLimit, *_UNWRITABLE) as error:
            member.error = self._refusal(error)
            return connection.total_changes == before
        return True

    def _make_apart(self, cursor: sqlite3.Cursor, member: _Commit) -> None:
        """Make one change of a group; when it is refused, what it wrote is undone, and the others stand."""
        member.error = None
        cursor.execute("SAVEPOINT change")
        try:
            self._write(cursor, member.change)
        except (Stale, OverLimit, *_UNWRITABLE) as error:
            member.error = self._refusal(error)
            cursor.execute("ROLLBACK TO change")
        cursor.execute("RELEASE change")

    def _refusal(self, error: Exception) -> Exception:
        return error if isinstance(error, (Stale, OverLimit)) else self._failure(error)

    def _write(self, cursor: sqlite3.Cursor, change: Change) -> None:
        statements = self._writes
        session, _, operations, events, _, _, collection, *_ = change
        conflicts, notification, seen = change.conflicts, change.notification, change.notification_seen
        known = self._known.taken(change)
        if change.erased:
            known = None  # what never changes otherwise is written as well
        if collection is not None:
            self._write_collection(cursor, collection, change.collection_amount)
        if session is not None:
            self._write_session(cursor, change, session, known)
        for operation in operations:
            before = known.operations.get(operation.id) if known is not None else None
            if before is None or not _run_over(cursor, statements.rewrite_operation, operation, before):
                _run(cursor, statements.write_operation, operation)
        for conflict in conflicts:
            _run(cursor, statements.write_conflict, conflict)
        for event in events:
            _run(cursor, statements.insert_event, event)
        if notification is not None:
            if not seen:
                _insert(cursor, statements.insert_notification, notification)
            elif not _run(cursor, statements.update_notification, notification):
                raise Stale(notification.id)
        if change.erased:
            self._tidy_at = 0.0  # the write-ahead log holds it still

    def _write_session(
        self, cursor: sqlite3.Cursor, change: Change, session: SessionRow, known: Row | None
    ) -> None:
        statements, hold = self._writes, change.hold
        if hold:
            more = statements.hold_within if change.guarded and hold > 0 else statements.hold
            given = more.parameters({"key": session.collection_id, "more": hold})
            if not cursor.execute(more.text, given).rowcount:
                raise OverLimit(session.collection_id)
        if not change.expected:
            _insert(cursor, statements.insert_session, session)
        elif not (
            _run_over(cursor, statements.rewrite_session, session, known.session)
            if known is not None
            else _run(cursor, statements.of_session(change), session)
        ):
            raise Stale(session.id)

    def _write_collection(
        self, cursor: sqlite3.Cursor, collection: PaymentCollection, amount_only: bool
    ) -> None:
        if not amount_only:
            _insert(cursor, self._writes.insert_collection, collection)
        elif not _run(cursor, self._writes.update_amount, collection):
            known = self._statements.collection
            found = cursor.execute(known.text, known.parameters({"key": collection.id})).fetchall()
            raise OverLimit(collection.id) if found else Stale(collection.id)


def _identity(path: str) -> tuple[int, int] | None:
    """Return what tells the file in a place from any other that is put there; None: there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - at every commit
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _is_current(connection: sqlite3.Connection) -> bool:
    if not _has_version(connection):
        return False  # a new file
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    version = oldest = None
    if row is not None:
        version = row[0]
        if version >= HEAD:
            oldest = connection.execute("SELECT oldest FROM compatibility").fetchone()[0]
    return judge(version, oldest)


def _has_version(connection: sqlite3.Connection) -> bool:
    found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'")
    return found.fetchone() is not None


def _is_made(connection: sqlite3.Connection) -> bool:
    """Make the tables of a new file; return whether they are there now and need no upgrade."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        new = not _has_version(connection)
        if new:
            for statement in for_sqlite.SCHEMA:
                connection.execute(statement)
            secret = Identity.made().secret.reveal()
            connection.execute("INSERT INTO identity (secret) VALUES (?)", (secret,))
        connection.execute("COMMIT")
    except BaseException:
        _roll_back(connection)
        raise
    return new or _is_current(connection)  # else another process was faster, or it has an older schema


def _roll_back(connection: sqlite3.Connection | None) -> None:
    if connection is not None and connection.in_transaction:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")


def _run(cursor: sqlite3.Cursor, write: Write, value: object) -> int:
    return cursor.execute(*write.of(value)).rowcount


def _run_over(cursor: sqlite3.Cursor, rewrite: Rewrite, value: object, before: object) -> int:
    return cursor.execute(*rewrite.of(value, before)).rowcount


def _insert(
    cursor: sqlite3.Cursor, write: Write, value: SessionRow | PaymentCollection | Notification
) -> None:
    try:
        _run(cursor, write, value)
    except sqlite3.IntegrityError:
        raise Stale(value.id) from None
