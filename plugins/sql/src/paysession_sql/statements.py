"""Every statement, written once in SQLAlchemy Core and compiled once to the dialect's own text.

Building or even executing a Core statement costs more than a database's work on it; the text, run
on the driver, costs nothing. Core still says it portably.
"""

from __future__ import annotations

from hashlib import sha256
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, bindparam, literal_column, or_, select, tuple_, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.sql import Insert, operators

from paysession_sql.schema import (
    COLLECTION,
    CONFLICT,
    EVENT,
    IDENTITY,
    NOTIFICATION,
    OPERATION,
    SESSION,
    Layout,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Dialect, Table
    from sqlalchemy.sql.base import Executable

__all__ = ["Statement", "Statements", "Write", "Writes", "selected"]


_HORIZON: Final = """(
SELECT paysession_horizon() - pg_snapshot_xmin(now)::text::bigint + CASE
    WHEN pg_is_in_recovery() THEN pg_snapshot_xmin(now)::text::bigint  -- the list is empty there
    ELSE coalesce((
        SELECT min(running::text::bigint) FROM pg_snapshot_xip(now) AS running
        WHERE NOT EXISTS (
            SELECT FROM pg_stat_get_activity(NULL) AS backend
            WHERE backend.backend_xid::text::bigint = running::text::bigint % 4294967296
            AND backend.datid <> (SELECT oid FROM pg_database WHERE datname = current_database())
        ) AND NOT EXISTS (
            SELECT FROM pg_prepared_xacts AS prepared
            WHERE prepared.transaction::text::bigint = running::text::bigint % 4294967296
            AND prepared.database <> current_database()
        )
    ), pg_snapshot_xmax(now)::text::bigint)
END FROM pg_current_snapshot() AS now
)"""
"""The oldest transaction that may still add to the feed of this database of PostgreSQL.

Transaction numbers are the cluster's. One that runs is passed over if it is found to run in another
database: it cannot write here. One that ended since the snapshot was taken is not found, and counts.
``paysession_horizon()`` is the snapshot's oldest, with the offset of a database that was restored.
"""


def _picker(names: tuple[str, ...]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    if len(names) > 1:
        return itemgetter(*names)
    return lambda given: tuple([given[name] for name in names])


class Statement:
    """The text of a statement and the order of its parameters."""

    def __init__(self, statement: Executable, dialect: Dialect) -> None:
        compiled: Any = statement.compile(dialect=dialect)  # type: ignore[attr-defined]
        self.text: Final[str] = str(compiled)
        # How it is called where it is prepared: what shares a connection through a proxy must not
        # take another statement for it.
        self.name: Final = b"paysession_" + sha256(self.text.encode()).hexdigest()[:24].encode()
        self.names: Final[tuple[str, ...]] = tuple(compiled.positiontup or ())
        self._pick: Final = _picker(self.names)
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
        return self._pick(given)


class Write(Statement):
    """A statement that writes one value.

    Args:
        statement: The statement. Its parameters have the names of columns, or ``key`` for the id of the row
            and ``earlier`` for the version (of a notification, the attempts) before the value's own.
        dialect: The database's.
        layout: The value's.
    """

    def __init__(self, statement: Executable, dialect: Dialect, layout: Layout[Any]) -> None:
        super().__init__(statement, dialect)
        version = "version" if layout is SESSION else "attempts"
        self.pack: Final = layout.packer(self.names, key=("id", None), earlier=(version, _before))


def _before(version: int) -> int:
    return version - 1


def _insert(layout: Layout[Any]) -> Insert:
    return layout.table.insert().values({name: bindparam(name) for name in layout.columns})


def selected(layout: Layout[Any]) -> list[Any]:
    """Return the columns of a layout, in the order in which it reads them."""
    return [layout.table.c[name] for name in layout.columns]


class Statements:
    """The statements that read, compiled for one dialect."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._made: dict[str, Statement] = {}
        sqlite = dialect.name == "sqlite"
        self.no_limit = -1 if sqlite else None
        session, operation = SESSION.table, OPERATION.table
        collection, notification = COLLECTION.table, NOTIFICATION.table
        self.session = self._of(select(*selected(SESSION)).where(session.c.id == bindparam("key")))
        self.collection = self._of(select(*selected(COLLECTION)).where(collection.c.id == bindparam("key")))
        self.collections = self._of(
            select(*selected(COLLECTION))
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
        self.operation = self._of(select(*selected(OPERATION)).where(operation.c.id == bindparam("key")))
        of_session = select(*selected(OPERATION)).where(operation.c.session_id == bindparam("key"))
        self.operations = self._of(of_session.order_by(operation.c.ordinal))
        self.repeated = self._of(
            of_session.where(
                or_(
                    operation.c.idempotency_key == bindparam("caller"), operation.c.id.like(bindparam("ends"))
                )
            )
            .order_by(operation.c.ordinal.desc())
            .limit(bindparam("most"))
        )
        self.in_doubt = self._of(
            select(*selected(OPERATION))
            # Spelled out, not bound: the index holds these rows only.
            .where(operation.c.state == literal_column("'started'"))
            .order_by(operation.c.created_at, operation.c.id)
            .limit(bindparam("most"))
        )
        event = EVENT.table
        place = [event.c.xact, event.c.position]
        # From the cursor's own event on: whether it is still there is looked at as well.
        after = tuple_(*place) >= tuple_(bindparam("xact"), bindparam("position"))
        feed = select(*place, *selected(EVENT)).limit(bindparam("most"))
        # One writer at a time numbers events in the order of commit on SQLite; elsewhere see
        # ``paysession_sql.postgres``.
        self.events = self._of(
            feed.where(event.c.position >= bindparam("position")).order_by(event.c.position)
            if sqlite
            else feed.where(after, event.c.xact < literal_column(_HORIZON)).order_by(*place)
        )
        self.identity = self._of(select(IDENTITY.c.secret, IDENTITY.c.since))
        self.due = self._of(
            select(session.c.id)
            .where(session.c.provider == bindparam("provider"), session.c.due_at <= bindparam("now"))
            .order_by(session.c.due_at, session.c.id)
            .limit(bindparam("most"))
        )
        self.next_provider = self._of(self._next(session))
        self.next_notified = self._of(self._next(notification))
        conflict = CONFLICT.table
        self.conflict = self._of(select(*selected(CONFLICT)).where(conflict.c.id == bindparam("key")))
        rows = select(*selected(CONFLICT)).where(conflict.c.id > bindparam("after"))
        rows = rows.order_by(conflict.c.id).limit(bindparam("most"))
        belongs = conflict.c.session_id == bindparam("session_id")
        # Spelled out: the index holds the open ones only.
        still_open = conflict.c.closed_at.is_(None)
        self.conflicts = {
            (False, False): self._of(rows),
            (False, True): self._of(rows.where(still_open)),
            (True, False): self._of(rows.where(belongs)),
            (True, True): self._of(rows.where(belongs, still_open)),
        }
        self.unattended = self._of(
            select(*selected(SESSION))
            .where(session.c.attention_at.is_not(None))
            .order_by(session.c.attention_at, session.c.id)
            .limit(bindparam("most"))
        )
        self.notification = self._of(
            select(*selected(NOTIFICATION)).where(notification.c.id == bindparam("key"))
        )
        self.due_notifications = self._of(
            select(*selected(NOTIFICATION))
            .where(
                notification.c.provider == bindparam("provider"), notification.c.due_at <= bindparam("now")
            )
            .order_by(notification.c.due_at, notification.c.id)
            .limit(bindparam("most"))
        )

    def _of(self, statement: Executable) -> Statement:
        return Statement(statement, self._dialect)

    def unprocessed(self, *filters: str) -> Statement:
        """Return the statement that selects notifications which led to nothing yet, by these columns."""
        name = " ".join(("unprocessed", *filters))
        made = self._made.get(name)
        if made is None:
            columns = NOTIFICATION.table.c
            wanted = [operators.eq(columns[key], bindparam(key)) for key in filters]
            made = self._made[name] = self._of(
                select(*selected(NOTIFICATION))
                .where(and_(columns.id > bindparam("after"), columns.state != literal_column("'processed'")))
                .where(*wanted)
                .order_by(columns.id)
                .limit(bindparam("most"))
            )
        return made

    def _next(self, table: Table) -> Executable:
        """Return the statement that finds the next provider with anything to do, and since when it is due."""
        return (
            select(table.c.provider, table.c.due_at)
            .where(table.c.provider > bindparam("after"), table.c.due_at.is_not(None))
            .order_by(table.c.provider, table.c.due_at)
            .limit(bindparam("most"))
        )

    def sessions(self, *filters: str) -> Statement:
        """Return the statement that selects sessions by these columns, after an id.

        ``touched_since`` is no column: it stands for the earliest ``updated_at``.
        """
        name = " ".join(filters)
        made = self._made.get(name)
        if made is None:
            columns = SESSION.table.c
            wanted = [
                columns.updated_at >= bindparam(key)
                if key == "touched_since"
                else operators.eq(columns[key], bindparam(key))
                for key in filters
            ]
            made = self._made[name] = self._of(
                select(*selected(SESSION))
                .where(and_(columns.id > bindparam("after"), *wanted))
                .order_by(columns.id)
                .limit(bindparam("most"))
            )
        return made


class Writes:
    """The statements that write one row each, for SQLite."""

    def __init__(self, dialect: Dialect) -> None:
        session, operation = SESSION.table, OPERATION.table
        collection, notification = COLLECTION.table, NOTIFICATION.table
        self.insert_session = Write(_insert(SESSION), dialect, SESSION)
        self.update_session = Write(
            update(session)
            .where(session.c.id == bindparam("key"), session.c.version == bindparam("earlier"))
            .values({name: bindparam(name) for name in SESSION.columns if name not in SESSION.fixed}),
            dialect,
            SESSION,
        )
        write = upsert(operation).values({name: bindparam(name) for name in OPERATION.columns})
        self.write_operation = Write(
            write.on_conflict_do_update(
                index_elements=["id"],
                set_={
                    name: write.excluded[name] for name in OPERATION.columns if name not in OPERATION.fixed
                },
            ),
            dialect,
            OPERATION,
        )
        put = upsert(CONFLICT.table).values({name: bindparam(name) for name in CONFLICT.columns})
        self.write_conflict = Write(
            put.on_conflict_do_update(
                index_elements=["id"],
                set_={name: put.excluded[name] for name in CONFLICT.columns if name not in CONFLICT.fixed},
            ),
            dialect,
            CONFLICT,
        )
        self.insert_event = Write(_insert(EVENT), dialect, EVENT)
        self.insert_collection = Write(_insert(COLLECTION), dialect, COLLECTION)
        self.insert_notification = Write(_insert(NOTIFICATION), dialect, NOTIFICATION)
        self.update_notification = Write(
            update(notification)
            .where(notification.c.id == bindparam("key"), notification.c.attempts == bindparam("earlier"))
            .values(
                {name: bindparam(name) for name in NOTIFICATION.columns if name not in NOTIFICATION.fixed}
            ),
            dialect,
            NOTIFICATION,
        )
        self.update_amount = Write(
            update(collection)
            .where(collection.c.id == bindparam("key"), collection.c.held <= bindparam("amount"))
            .values(amount=bindparam("amount"), updated_at=bindparam("updated_at")),
            dialect,
            COLLECTION,
        )
        more = collection.c.held + bindparam("more")
        hold = update(collection).where(collection.c.id == bindparam("key")).values(held=more)
        self.hold = Statement(hold, dialect)
        self.hold_within = Statement(hold.where(more <= collection.c.amount), dialect)
