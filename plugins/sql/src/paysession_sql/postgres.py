"""The store on PostgreSQL, which several app servers and recovery workers share.

**One change is one statement** (``paysession_sql.changes``), run outside any transaction block: it is
its own transaction, in one round trip. What comes second finds no row at the version that it
expected, and is refused; rows are locked in the order collection, session, operations, everywhere.

**The feed.** Positions come from a sequence and commit out of order, so a reader that went by them
would skip what commits late. Events are ordered by their transaction's number instead, and read up
to the oldest transaction that still runs: whatever commits later has a higher number. Of one session,
the transaction that decided on a version began after the one that wrote it had committed, so its
number is higher as well. A transaction that stays open in this database, with something written,
holds the feed back until it ends; it never leaves a hole. One of another database does not.

**A connection that is lost in a commit** leaves unknown whether the change was made, and the server
may still be at it. The session's row tells: at our version with our mark, it was made; at the version
we expected, it was not, and the same statement is run again, which the guard makes safe even against
a first one that is still under way. If others have moved the row on since, nobody can tell: that is
an error, as if the process had died there, and recovery finds out what became of the operation.

**Time** is the database's clock, so that leases taken on several hosts compare.
"""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from paysession import StoreError
from paysession.store import OverLimit, Stale
from paysession_sql import for_postgres
from paysession_sql.changes import UNDONE, Changes
from paysession_sql.clock import SharedClock
from paysession_sql.connections import Lost, Pool, Refused, shown
from paysession_sql.reads import Reads
from paysession_sql.statements import Statement, Statements
from paysession_sql.upgrade import HEAD, RESTORED, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self

    from paysession.store import Change

__all__ = ["PostgresStore"]

# Serialization failure and deadlock: the server undid the transaction and says to run it again.
_AGAIN: Final = ("40001", "40P01")
_NO_TABLE: Final = "42P01"
_LOCKED: Final = "55P03"

_PAUSES: Final = (0.0, 0.0, 0.1, 0.5, 2.0)
"""Seconds before each attempt at a change, once a connection was lost: a restart takes a moment."""


class PostgresStore(Reads):
    """The ledger in PostgreSQL. Opened with `PostgresStore.open`; thread-safe.

    Args:
        url: The database, as libpq takes it: ``postgresql://user@host/books``, and ``pool_size=`` for
            the connections of this process.
        clock: Returns the time in UTC; the database's by default.
    """

    def __init__(self, url: str, *, clock: Callable[[], datetime] | None = None) -> None:
        super().__init__(Statements(for_postgres.READS, numbered=True))
        self._changes = Changes()
        self._pool = Pool(url)
        self.now = clock if clock is not None else SharedClock(self._database_time)
        self.url = shown(url)

    @classmethod
    def open(cls, url: str, *, clock: Callable[[], datetime] | None = None) -> Self:
        """Open ``postgresql://user@host/books``; the entry point of the scheme ``postgresql``.

        Raises:
            StoreError: It cannot be reached, or its schema is not the one that this version needs.
        """
        store = cls(url, clock=clock)
        try:
            store._check_schema()
            store.now()
        except BaseException:
            store.close()
            raise
        return store

    def _check_schema(self) -> None:
        try:
            version = self._query(Statement("SELECT version_num FROM alembic_version"))[0][0]
            oldest = None
            if version >= HEAD:
                oldest = self._query(Statement("SELECT oldest FROM compatibility"))[0][0]
        except Refused as refusal:
            if refusal.state != _NO_TABLE:
                raise self._unreadable(refusal) from None
            version = oldest = None
        if not judge(version, oldest):
            found = f"schema {version}" if version else "no tables yet"
            raise StoreError(
                f"the database {self.url} has {found}, and this version needs schema {HEAD}: run "
                f"`paysession db upgrade --db {self.url}` first"
            )
        if self._told(Statement(RESTORED), ())[0][0]:
            raise StoreError(
                f"the database {self.url} was restored from another cluster's, whose transactions have "
                f"higher numbers: run `paysession db upgrade --db {self.url}`, so that the event feed goes "
                "on above them"
            )

    def _database_time(self) -> datetime:
        micros: int = self._rows(self._statements.time)[0][0]
        return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=micros)

    def close(self) -> None:
        """Close the store: calls that run are waited for, later ones are a `StoreError`.

        A second close does nothing.
        """
        self._pool.close()

    # --- reading ----------------------------------------------------------------------------------

    def _query(self, statement: Statement, parameters: Sequence[Any] = ()) -> list[Any]:
        try:
            return self._pool.run(statement, parameters)
        except Lost:  # since its last use, mostly: a read may be repeated
            pass
        try:
            return self._pool.run(statement, parameters, fresh=True)
        except Lost as error:
            raise StoreError(f"the database {self.url} cannot be read: {error}") from None

    def _rows(self, statement: Statement, **given: Any) -> Sequence[Sequence[Any]]:
        return self._told(statement, statement.parameters(given))

    def _rows_of(self, statement: Statement, key: str) -> Sequence[Sequence[Any]]:
        return self._told(statement, (key,))

    def _told(self, statement: Statement, parameters: Sequence[Any]) -> Sequence[Sequence[Any]]:
        try:
            return self._query(statement, parameters)
        except Refused as refusal:
            raise self._unreadable(refusal) from None

    def _unreadable(self, refusal: Refused) -> StoreError:
        hint = "; try again when it is not locked" if refusal.state == _LOCKED else ""
        return StoreError(f"the database {self.url} cannot be read: {refusal}{hint}")

    def _place(self, cursor: str) -> tuple[int, int]:
        xact, _, position = cursor.partition("-")
        place = int(xact), int(position)
        if not all(0 <= part < 2**63 for part in place):
            raise ValueError(cursor)
        return place

    def _cursor(self, xact: int, position: int) -> str:
        return f"{xact}-{position}"

    # --- writing ----------------------------------------------------------------------------------

    def _prune_notifications(self, before: int, most: int) -> int:
        return int(self._rows(self._statements.prune_notifications, before=before, most=most)[0][0])

    def _prune_events(self, before: int, most: int) -> int:
        return int(self._rows(self._statements.prune_events, before=before, most=most)[0][0])

    def commit(self, change: Change) -> None:
        """Make a change; see the protocol."""
        mark = secrets.randbits(63)
        statement, parameters = self._changes.of(change, mark)
        lost: Exception | None = None
        for pause in _PAUSES:
            try:
                if lost is not None:
                    time.sleep(pause)
                    if self._was_made(change, mark):
                        return
                made = self._pool.run(statement, parameters, fresh=lost is not None)[0][0]
            except Lost as error:
                lost = error
                continue
            except Refused as refusal:
                if refusal.state in _AGAIN:
                    continue
                if refusal.state != UNDONE:
                    raise StoreError(f"the database {self.url} could not be written: {refusal}") from None
                made = None
            except _Overtaken:
                assert lost is not None  # noqa: S101 - asked for only then
                raise self._unknown(lost) from None
            except StoreError as error:  # it cannot be reached
                if lost is None:
                    raise
                lost = error
                continue
            if made or (lost is not None and self._was_made(change, mark)):
                return
            raise self._refusal(change, limited=made == 0)
        if lost is not None:
            raise self._unknown(lost)
        raise StoreError(f"the database {self.url} could not be written: it is too busy")

    def _was_made(self, change: Change, mark: int) -> bool:
        """Return whether a change whose connection was lost was made; if not, it may be run again.

        A change without a session may in any case: it sets what it says, or finds its row there.

        Raises:
            Stale: Another change was made instead.
            _Overtaken: Others have changed the session since: nobody can tell.
        """
        session = change.session
        if session is None:
            return False
        rows = self._rows(self._statements.mark, key=session.id)
        version, found = rows[0] if rows else (0, None)
        if version == change.expected:
            return False
        if version != session.version:
            raise _Overtaken(session.id)
        if found != mark:
            raise Stale(session.id)
        # The server shows a commit that was cut off while it waited for a synchronous replica, which may lack
        # it. What is written now is acknowledged once a replica has it, and all that was written before.
        if self._rows(self._statements.again, key=session.id, version=version):
            return True
        # Another change was made since, or the row was never on the primary that has been promoted since.
        return self._was_made(change, mark)

    def _unknown(self, lost: Exception) -> StoreError:
        return StoreError(
            f"the connection to {self.url} was lost while a change was written, and it is not known whether "
            f"it was made ({lost}); call again with the same idempotency key, and recover() settles the rest"
        )

    def _refusal(self, change: Change, *, limited: bool) -> Stale | OverLimit:
        """Return why a change found no row; ``limited``: it was the collection's."""
        if change.collection is not None:
            key = change.collection.id
            known = change.collection_amount and self.collection(key) is not None
            return OverLimit(key) if known else Stale(key)
        session = change.session
        if session is not None:
            return OverLimit(session.collection_id) if change.hold and limited else Stale(session.id)
        return Stale(change.notification.id if change.notification is not None else "")


class _Overtaken(StoreError):
    """Others have changed the session since: whether a change was made cannot be told any more."""
