"""Sessions as the connection that writes has just written or read them, and their last operations.

A payment's calls come one after the other, mostly to the same process: each reads the session that the last
one wrote. While nobody else has written to the file the row is what it was, so it is neither read nor made
into a value again, and a commit writes only the columns that it changes.

Only the call that has the connection that writes changes what is kept, so nothing is locked. Another
connection cannot tell this process's commits from others'. There a row is the known one if it has its
version and its time: a version is written once, unless a backup is restored, and then at another time. What
is changed by hand is noticed with the next commit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from sqlite3 import Connection

    from paysession import Operation
    from paysession.store import Change, SessionRow

__all__ = ["Known", "Row"]

MOST: Final = 256
"""So many sessions are kept, those that were written or read last: each takes some kilobytes."""

_WRITTEN_BY_OTHERS: Final = "PRAGMA data_version"
"""Another number once another connection, of whatever process, has written to the file."""


class Row(NamedTuple):
    """A session as it stands in the file.

    Attributes:
        session: Its row.
        operations: Its operations that were written with this very version, by their ids.
    """

    session: SessionRow
    operations: Mapping[str, Operation]


class Known:
    """What is known of the rows of some sessions."""

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}
        self._seen: object = None

    def check(self, connection: Connection) -> None:
        """Forget everything, if others have written to the file, or it is a new connection."""
        seen = connection, connection.execute(_WRITTEN_BY_OTHERS).fetchone()
        if seen != self._seen:
            self._rows.clear()
            self._seen = seen

    def current(self, connection: Connection, session_id: str) -> SessionRow | None:
        """Return a session's row, if it is known and nobody else can have changed it."""
        self.check(connection)
        return self.last(session_id)

    def last(self, session_id: str) -> SessionRow | None:
        """Return a session's row, if it is known: as it is, unless its version or time is another one."""
        row = self._rows.get(session_id)
        return None if row is None else row.session

    def add(self, session: SessionRow) -> None:
        """Keep a row that was read after `current` had looked."""
        self._keep(Row(session, {}))

    def taken(self, change: Change) -> Row | None:
        """Return the row that a change was decided on, if it is known, and forget it: it changes now."""
        session = change.session
        row = None if session is None else self._rows.pop(session.id, None)
        return row if row is not None and row.session.version == change.expected else None

    def committed(self, change: Change) -> None:
        """Keep the row of a change that was made."""
        if change.session is not None:
            self._keep(Row(change.session, {operation.id: operation for operation in change.operations}))

    def _keep(self, row: Row) -> None:
        if len(self._rows) >= MOST:
            del self._rows[next(iter(self._rows))]
        self._rows[row.session.id] = row
