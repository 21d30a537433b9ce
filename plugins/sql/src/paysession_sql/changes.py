"""A whole change as one statement of PostgreSQL: one round trip, one transaction, one plan.

The parts are data-modifying CTEs, each fed by the one before it, which fixes the order in which
rows are locked (collection, session, operations) and makes the rest depend on the guards: where the
first guard finds no row nothing at all is written. Where a later one finds none, something was
written before it, and a division by zero undoes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import BigInteger, bindparam, case, func, literal_column, select, union_all, update
from sqlalchemy.dialects.postgresql import insert

from paysession_sql.schema import COLLECTION, CONFLICT, EVENT, NOTIFICATION, OPERATION, SESSION
from paysession_sql.statements import Statement

if TYPE_CHECKING:
    from sqlalchemy import CTE, BindParameter, ColumnElement, Dialect, Select
    from sqlalchemy.sql.dml import ReturningInsert, ReturningUpdate

    from paysession.change import Change
    from paysession_sql.schema import Layout

__all__ = ["UNDONE", "Changes"]

UNDONE: Final = "22012"
"""The SQLSTATE with which a change is undone of which a later guard found no row."""

_NEW, _CHANGED = "new", "changed"


class Changes:
    """The statements of changes, one for each shape that a change can have.

    Args:
        dialect: PostgreSQL's.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._made: dict[tuple[Any, ...], Statement] = {}

    def of(self, change: Change, mark: int) -> tuple[Statement, tuple[Any, ...]]:
        """Return the statement of a change, and its parameters.

        It returns one row with one number: 0, if the first guard found no row.

        Args:
            change: The change.
            mark: What the session's row is marked with.
        """
        shape = (
            None if change.collection is None else _CHANGED if change.collection_amount else _NEW,
            None if not change.hold else change.guarded and change.hold > 0,
            None if change.session is None else _CHANGED if change.expected else _NEW,
            len(change.operations),
            len(change.events),
            len(change.conflicts),
            None if change.notification is None else _CHANGED if change.notification_seen else _NEW,
        )
        statement = self._made.get(shape)
        if statement is None:
            statement = self._made[shape] = Statement(_Builder(*shape).built(), self._dialect)
        return statement, statement.parameters(_given(change, mark))


def _given(change: Change, mark: int) -> dict[str, Any]:
    """Return the parameters of a change by name; those of each row have a prefix of its own."""
    given: dict[str, Any] = {}
    session = change.session
    if change.collection is not None:
        given.update(_prefixed("c_", COLLECTION.row(change.collection)))
    if session is not None:
        given.update(_prefixed("s_", SESSION.row(session)))
        given["s_mark"] = mark
        given["expected"], given["held_by"], given["more"] = (
            change.expected,
            session.collection_id,
            change.hold,
        )
    for place, operation in enumerate(change.operations):
        given.update(_prefixed(f"o{place}_", OPERATION.row(operation)))
    for place, conflict in enumerate(change.conflicts):
        given.update(_prefixed(f"x{place}_", CONFLICT.row(conflict)))
    for place, event in enumerate(change.events):
        given.update(_prefixed(f"e{place}_", EVENT.row(event)))
    if change.notification is not None:
        given.update(_prefixed("n_", NOTIFICATION.row(change.notification)))
    return given


def _prefixed(prefix: str, row: dict[str, Any]) -> dict[str, Any]:
    return {prefix + name: value for name, value in row.items()}


def _bound(layout: Layout[Any], prefix: str, name: str) -> BindParameter[Any]:
    return bindparam(prefix + name, type_=layout.table.c[name].type)


class _Builder:
    """Builds the statement of one shape, part by part."""

    def __init__(
        self,
        collection: str | None,
        guarded: bool | None,
        session: str | None,
        operations: int,
        events: int,
        conflicts: int,
        notification: str | None,
    ) -> None:
        self._shape = collection, guarded, session, notification
        self._operations, self._events, self._conflicts = operations, events, conflicts
        self._guards: list[CTE] = []
        self._others: list[CTE] = []

    def built(self) -> Select[Any]:
        """Return the statement."""
        collection, guarded, session, notification = self._shape
        if collection is not None:
            self._guard(self._collection(new=collection == _NEW), "booked")
        if guarded is not None:
            self._guard(self._hold(guarded=guarded), "held")
        if session is not None:
            self._guard(self._session(new=session == _NEW), "written")
        for place in range(self._operations):
            self._others.append(self._upsert(OPERATION, f"o{place}_").cte(f"operation_{place}"))
        for place in range(self._conflicts):
            self._others.append(self._upsert(CONFLICT, f"x{place}_").cte(f"conflict_{place}"))
        if self._events:
            self._others.append(self._event_rows().cte("told"))
        if notification is not None:
            self._guard(self._notification(new=notification == _NEW), "noted")
        first, *later = [select(func.count()).select_from(guard).scalar_subquery() for guard in self._guards]
        made: ColumnElement[int] = literal_column("1", BigInteger)
        for found in later:
            made = made // found
        return select(case((first == literal_column("0"), literal_column("0")), else_=made)).add_cte(
            *self._others
        )

    def _guard(self, part: ReturningInsert[Any] | ReturningUpdate[Any], name: str) -> None:
        self._guards.append(part.cte(name))

    def _after(self, columns: list[BindParameter[Any]]) -> Select[Any]:
        """Return one row of parameters, if all guards so far found theirs."""
        row = select(*columns)
        return row.where(select(self._guards[-1]).exists()) if self._guards else row

    def _rows(self, layout: Layout[Any], prefix: str, names: tuple[str, ...]) -> Select[Any]:
        return self._after([_bound(layout, prefix, name) for name in names])

    def _collection(self, *, new: bool) -> ReturningInsert[Any] | ReturningUpdate[Any]:
        table = COLLECTION.table
        if new:
            made = insert(table).from_select(
                COLLECTION.columns, self._rows(COLLECTION, "c_", COLLECTION.columns)
            )
            return made.on_conflict_do_nothing().returning(table.c.id)
        amount = _bound(COLLECTION, "c_", "amount")
        return (
            update(table)
            .where(table.c.id == _bound(COLLECTION, "c_", "id"), table.c.held <= amount)
            .values(amount=amount, updated_at=_bound(COLLECTION, "c_", "updated_at"))
            .returning(table.c.id)
        )

    def _hold(self, *, guarded: bool) -> ReturningUpdate[Any]:
        table = COLLECTION.table
        held = table.c.held + bindparam("more", type_=BigInteger())
        changed = update(table).where(table.c.id == bindparam("held_by", type_=table.c.id.type))
        if guarded:
            changed = changed.where(held <= table.c.amount)
        return changed.values(held=held).returning(table.c.id)

    def _session(self, *, new: bool) -> ReturningInsert[Any] | ReturningUpdate[Any]:
        table = SESSION.table
        if new:
            names = (*SESSION.columns, "mark")
            made = insert(table).from_select(names, self._rows(SESSION, "s_", names))
            return made.on_conflict_do_nothing().returning(table.c.id)
        names = tuple(name for name in (*SESSION.columns, "mark") if name not in SESSION.fixed)
        changed = update(table).where(
            table.c.id == _bound(SESSION, "s_", "id"),
            table.c.version == bindparam("expected", type_=BigInteger()),
        )
        if self._guards:
            changed = changed.where(select(self._guards[-1]).exists())
        return changed.values({name: _bound(SESSION, "s_", name) for name in names}).returning(table.c.id)

    def _upsert(self, layout: Layout[Any], prefix: str) -> Any:
        write = insert(layout.table).from_select(layout.columns, self._rows(layout, prefix, layout.columns))
        changing = [name for name in layout.columns if name not in layout.fixed]
        return write.on_conflict_do_update(
            index_elements=["id"], set_={name: write.excluded[name] for name in changing}
        )

    def _event_rows(self) -> Any:
        """Return one insert of all events: they are numbered in their order."""
        rows = [self._rows(EVENT, f"e{place}_", EVENT.columns) for place in range(self._events)]
        source = rows[0] if len(rows) == 1 else union_all(*rows)
        # Without the defaults that SQLAlchemy would add: the database's own fill in the place.
        return insert(EVENT.table).from_select(EVENT.columns, source, include_defaults=False)

    def _notification(self, *, new: bool) -> ReturningInsert[Any] | ReturningUpdate[Any]:
        table = NOTIFICATION.table
        if new:
            source = self._rows(NOTIFICATION, "n_", NOTIFICATION.columns)
            made = insert(table).from_select(NOTIFICATION.columns, source)
            return made.on_conflict_do_nothing().returning(table.c.id)
        names = [name for name in NOTIFICATION.columns if name not in NOTIFICATION.fixed]
        changed = update(table).where(
            table.c.id == _bound(NOTIFICATION, "n_", "id"),
            table.c.attempts == _bound(NOTIFICATION, "n_", "attempts") - 1,
        )
        if self._guards:
            changed = changed.where(select(self._guards[-1]).exists())
        changed = changed.values({name: _bound(NOTIFICATION, "n_", name) for name in names})
        return changed.returning(table.c.id)
