"""Every statement, written once in SQLAlchemy Core and compiled once to the dialect's own text.

Building or even executing a Core statement costs more than SQLite's work on it; the text, run on
the driver, costs nothing. Core still says it portably: nothing here is of one database only, but
for the name of the upsert.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, bindparam, select, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.sql import Insert, operators

from paysession_sql.schema import COLLECTION, EVENT, NOTIFICATION, OPERATION, SESSION, Layout

if TYPE_CHECKING:
    from sqlalchemy import Dialect
    from sqlalchemy.sql.base import Executable

__all__ = ["Statement", "Statements"]


class Statement:
    """The text of a statement and the order of its parameters."""

    def __init__(self, statement: Executable, dialect: Dialect) -> None:
        compiled: Any = statement.compile(dialect=dialect)  # type: ignore[attr-defined]
        self.text: Final[str] = str(compiled)
        self._names: Final[tuple[str, ...]] = tuple(compiled.positiontup or ())
        self._literals: Final[dict[str, Any]] = {
            name: value
            for name, value in compiled.params.items()
            if value is not None and not compiled.binds[name].required
        }

    def parameters(self, given: dict[str, Any]) -> tuple[Any, ...]:
        """Return the parameters in the order in which the text wants them."""
        literals = self._literals
        if literals:
            given = {**literals, **given}
        return tuple([given[name] for name in self._names])


def _insert(layout: Layout[Any]) -> Insert:
    return layout.table.insert().values({name: bindparam(name) for name in layout.columns})


def _selected(layout: Layout[Any]) -> list[Any]:
    return [layout.table.c[name] for name in layout.columns]


class Statements:
    """All statements, compiled for one dialect."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._made: dict[str, Statement] = {}
        session, operation = SESSION.table, OPERATION.table
        collection, notification = COLLECTION.table, NOTIFICATION.table
        self.insert_session = self._of(_insert(SESSION))
        self.update_session = self._of(
            update(session)
            .where(session.c.id == bindparam("key"), session.c.version == bindparam("expected"))
            .values({name: bindparam(name) for name in SESSION.columns if name not in SESSION.fixed})
        )
        write = upsert(operation).values({name: bindparam(name) for name in OPERATION.columns})
        self.write_operation = self._of(
            write.on_conflict_do_update(
                index_elements=["id"],
                set_={
                    name: write.excluded[name] for name in OPERATION.columns if name not in OPERATION.fixed
                },
            )
        )
        self.insert_event = self._of(_insert(EVENT))
        self.insert_collection = self._of(_insert(COLLECTION))
        self.insert_notification = self._of(_insert(NOTIFICATION))
        self.update_notification = self._of(
            update(notification)
            .where(notification.c.id == bindparam("key"))
            .values(
                {name: bindparam(name) for name in NOTIFICATION.columns if name not in NOTIFICATION.fixed}
            )
        )
        self.update_amount = self._of(
            update(collection)
            .where(collection.c.id == bindparam("key"), collection.c.held <= bindparam("amount"))
            .values(amount=bindparam("amount"), updated_at=bindparam("updated_at"))
        )
        more = collection.c.held + bindparam("more")
        hold = update(collection).where(collection.c.id == bindparam("key")).values(held=more)
        self.hold = self._of(hold)
        self.hold_within = self._of(hold.where(more <= collection.c.amount))

        self.session = self._of(select(*_selected(SESSION)).where(session.c.id == bindparam("key")))
        self.collection = self._of(select(*_selected(COLLECTION)).where(collection.c.id == bindparam("key")))
        self.collections = self._of(
            select(*_selected(COLLECTION))
            .where(collection.c.id > bindparam("after"))
            .order_by(collection.c.id)
            .limit(bindparam("most"))
        )
        self.session_by_reference = self._of(
            select(session.c.id)
            .where(session.c.provider == bindparam("provider"), session.c.reference == bindparam("reference"))
            .order_by(session.c.id)
            .limit(bindparam("most"))
        )
        self.session_by_operation = self._of(
            select(session.c.id)
            .join_from(operation, session, operation.c.session_id == session.c.id)
            .where(
                operation.c.reference == bindparam("reference"), session.c.provider == bindparam("provider")
            )
            .limit(bindparam("most"))
        )
        self.operation = self._of(select(*_selected(OPERATION)).where(operation.c.id == bindparam("key")))
        of_session = select(*_selected(OPERATION)).where(operation.c.session_id == bindparam("key"))
        self.operations = self._of(of_session.order_by(operation.c.ordinal))
        self.repeated = self._of(
            of_session.where(operation.c.idempotency_key == bindparam("caller"))
            .order_by(operation.c.ordinal.desc())
            .limit(bindparam("most"))
        )
        self.in_doubt = self._of(
            select(*_selected(OPERATION))
            .where(operation.c.state == bindparam("state"))
            .order_by(operation.c.created_at, operation.c.id)
            .limit(bindparam("most"))
        )
        event = EVENT.table
        self.events = self._of(
            select(event.c.position, *_selected(EVENT))
            .where(event.c.position > bindparam("after"))
            .order_by(event.c.position)
            .limit(bindparam("most"))
        )
        self.due = self._of(
            select(session.c.id)
            .where(session.c.due_at <= bindparam("now"))
            .order_by(session.c.due_at, session.c.id)
            .limit(bindparam("most"))
        )
        self.notification = self._of(
            select(*_selected(NOTIFICATION)).where(notification.c.id == bindparam("key"))
        )
        self.due_notifications = self._of(
            select(*_selected(NOTIFICATION))
            .where(notification.c.due_at <= bindparam("now"))
            .order_by(notification.c.due_at, notification.c.id)
            .limit(bindparam("most"))
        )

    def _of(self, statement: Executable) -> Statement:
        return Statement(statement, self._dialect)

    def sessions(self, *filters: str) -> Statement:
        """Return the statement that selects sessions by these columns, after an id."""
        name = " ".join(filters)
        made = self._made.get(name)
        if made is None:
            columns = SESSION.table.c
            wanted = [operators.eq(columns[key], bindparam(key)) for key in filters]
            made = self._made[name] = self._of(
                select(*_selected(SESSION))
                .where(and_(columns.id > bindparam("after"), *wanted))
                .order_by(columns.id)
                .limit(bindparam("most"))
            )
        return made
