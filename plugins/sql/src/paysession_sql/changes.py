"""A whole change as one statement of PostgreSQL: one round trip, one transaction, one plan.

The parts are data-modifying CTEs, each fed by the one before it, which fixes the order in which
rows are locked (collection, session, operations) and makes the rest depend on the guards: where the
first guard finds no row nothing at all is written. Where a later one finds none, something was
written before it, and a division by zero undoes it.

The parameters of a change are those of its parts, one after the other: the text numbers them in the
order in which `_parameters` lists them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from paysession_sql.schema import COLLECTION, CONFLICT, EVENT, NOTIFICATION, OPERATION, SESSION
from paysession_sql.statements import Statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paysession.store import Change
    from paysession_sql.schema import Layout, Type

__all__ = ["UNDONE", "Changes"]

UNDONE: Final = "22012"
"""The SQLSTATE with which a change is undone of which a later guard found no row."""

_SQL: Final[dict[Type, str]] = {"text": "TEXT", "number": "BIGINT", "flag": "BOOLEAN", "bytes": "BYTEA"}


def _changing(layout: Layout[Any]) -> tuple[str, ...]:
    return tuple(name for name in layout.columns if name not in layout.fixed)


_SESSION_CHANGES: Final = _changing(SESSION)
_NOTIFICATION_CHANGES: Final = _changing(NOTIFICATION)

_insert_collection: Final = COLLECTION.packer(COLLECTION.columns)
_update_amount: Final = COLLECTION.packer(("amount", "updated_at", "asked_by", "id"))
_insert_session: Final = SESSION.packer(SESSION.columns)
_update_session: Final = SESSION.packer((*_SESSION_CHANGES, "id"))
_erase_session: Final = SESSION.packer((*_SESSION_CHANGES, "checkout", "id"))
_operation: Final = OPERATION.packer(OPERATION.columns)
_conflict: Final = CONFLICT.packer(CONFLICT.columns)
_event: Final = EVENT.packer(EVENT.columns)
_insert_notification: Final = NOTIFICATION.packer(NOTIFICATION.columns)
_update_notification: Final = NOTIFICATION.packer((*_NOTIFICATION_CHANGES, "id", "attempts"))


class _Shape(NamedTuple):
    """What the statement of a change depends on; None: there is no such part."""

    new_collection: bool | None
    guarded_hold: bool | None
    new_session: bool | None
    erased: bool
    operations: int
    conflicts: int
    events: int
    new_notification: bool | None


class Changes:
    """The statements of changes, one for each shape that a change can have."""

    def __init__(self) -> None:
        self._made: dict[_Shape, Statement] = {}

    def of(self, change: Change, mark: int) -> tuple[Statement, Sequence[Any]]:
        """Return the statement of a change, and its parameters.

        It returns one row with one number: 0, if the first guard found no row.

        Args:
            change: The change.
            mark: What the session's row is marked with.
        """
        shape = _Shape(
            None if change.collection is None else not change.collection_amount,
            None if not change.hold else change.guarded and change.hold > 0,
            None if change.session is None else not change.expected,
            change.erased,
            len(change.operations),
            len(change.conflicts),
            len(change.events),
            None if change.notification is None else not change.notification_seen,
        )
        statement = self._made.get(shape)
        if statement is None:
            statement = self._made[shape] = Statement(_Text(shape).whole)
        return statement, _parameters(change, mark)


def _parameters(change: Change, mark: int) -> list[Any]:
    """Return the parameters of a change in the order of its statement's text."""
    found: list[Any] = []
    session, notification = change.session, change.notification
    if change.collection is not None:
        found += (_update_amount if change.collection_amount else _insert_collection)(change.collection)
    if session is not None:
        if change.hold:
            found += (change.hold, session.collection_id)
        if change.expected:
            found += (_erase_session if change.erased else _update_session)(session)
            found += (mark, change.expected)
        else:
            found += _insert_session(session)
            found.append(mark)
    for operation in change.operations:
        found += _operation(operation)
    for conflict in change.conflicts:
        found += _conflict(conflict)
    for event in change.events:
        found += _event(event)
    if notification is not None:
        found += (_update_notification if change.notification_seen else _insert_notification)(notification)
    return found


class _Text:
    """Writes the statement of one shape, part by part.

    Attributes:
        whole: The text.
    """

    def __init__(self, shape: _Shape) -> None:
        self._numbered = 0
        self._parts: list[str] = []
        self._guards: list[str] = []
        if shape.new_collection is not None:
            self._guard("booked", self._collection(new=shape.new_collection))
        if shape.guarded_hold is not None:
            self._guard("held", self._hold(guarded=shape.guarded_hold))
        if shape.new_session is not None:
            self._guard("written", self._session(new=shape.new_session, erased=shape.erased))
        for place in range(shape.operations):
            self._parts.append(f"operation_{place} AS ({self._upsert(OPERATION)})")
        for place in range(shape.conflicts):
            self._parts.append(f"conflict_{place} AS ({self._upsert(CONFLICT)})")
        if shape.events:
            # One insert of all: they are numbered in their order.
            rows = " UNION ALL ".join(self._row(EVENT) for _ in range(shape.events))
            self._parts.append(f"recorded AS (INSERT INTO event ({', '.join(EVENT.columns)}) {rows})")
        if shape.new_notification is not None:
            self._guard("noted", self._notification(new=shape.new_notification))
        first, *later = [f"(SELECT count(*) FROM {guard})" for guard in self._guards]
        made = " / ".join(["1", *later])
        self.whole = f"WITH {', '.join(self._parts)} SELECT CASE WHEN {first} = 0 THEN 0 ELSE {made} END"

    def _guard(self, name: str, part: str) -> None:
        self._parts.append(f"{name} AS ({part} RETURNING id)")
        self._guards.append(name)

    def _next(self, type_: Type = "number") -> str:
        """Return the next parameter."""
        self._numbered += 1
        return f"${self._numbered}::{_SQL[type_]}"

    def _after(self, word: str) -> str:
        """Return the condition that all guards so far found their row."""
        return f" {word} EXISTS (SELECT FROM {self._guards[-1]})" if self._guards else ""

    def _row(self, layout: Layout[Any], *more: str) -> str:
        values = [self._next(type_) for type_ in layout.types.values()]
        values += [self._next() for _ in more]
        return f"SELECT {', '.join(values)}{self._after('WHERE')}"

    def _insert(self, layout: Layout[Any], *more: str) -> str:
        columns = ", ".join((*layout.columns, *more))
        return f"INSERT INTO {layout.name} ({columns}) {self._row(layout, *more)} ON CONFLICT"

    def _set(self, layout: Layout[Any], names: tuple[str, ...]) -> str:
        return ", ".join(f"{name} = {self._next(layout.types[name])}" for name in names)

    def _collection(self, *, new: bool) -> str:
        if new:
            return f"{self._insert(COLLECTION)} DO NOTHING"
        amount, updated_at = self._next(), self._next()
        asked_by, key = self._next("text"), self._next("text")
        return (
            f"UPDATE collection SET amount = {amount}, updated_at = {updated_at}, asked_by = {asked_by} "
            f"WHERE id = {key} AND held <= {amount}"
        )

    def _hold(self, *, guarded: bool) -> str:
        held = f"held + {self._next()}"
        limit = f" AND {held} <= amount" if guarded else ""
        return f"UPDATE collection SET held = {held} WHERE id = {self._next('text')}{limit}"

    def _session(self, *, new: bool, erased: bool) -> str:
        if new:
            return f"{self._insert(SESSION, 'mark')} DO NOTHING"
        changes = self._set(SESSION, (*_SESSION_CHANGES, "checkout") if erased else _SESSION_CHANGES)
        key, mark, expected = self._next("text"), self._next(), self._next()
        return (
            f"UPDATE session SET {changes}, mark = {mark} "
            f"WHERE id = {key} AND version = {expected}{self._after('AND')}"
        )

    def _upsert(self, layout: Layout[Any]) -> str:
        changes = ", ".join(f"{name} = excluded.{name}" for name in _changing(layout))
        return f"{self._insert(layout)} (id) DO UPDATE SET {changes}"

    def _notification(self, *, new: bool) -> str:
        if new:
            return f"{self._insert(NOTIFICATION)} DO NOTHING"
        changes = self._set(NOTIFICATION, _NOTIFICATION_CHANGES)
        key, attempts = self._next("text"), self._next()
        return (
            f"UPDATE notification SET {changes} "
            f"WHERE id = {key} AND attempts = {attempts} - 1{self._after('AND')}"
        )
