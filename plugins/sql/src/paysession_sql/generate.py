"""Generates the statements of each database from the tables: ``python -m paysession_sql.generate``.

SQLAlchemy says a statement portably, but to import it, and to build and compile the statements, costs more
than all the rest of paysession together. So their texts are generated once, committed (``for_sqlite``,
``for_postgres``) and run as they are. A test says when they are no longer what this module generates.
"""

from __future__ import annotations

import json
import re
import sqlite3
import tempfile
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from sqlalchemy import and_, any_, bindparam, func, literal_column, select, text, tuple_, union_all, update
from sqlalchemy.dialects.postgresql.psycopg import dialect as postgres_dialect
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.dialects.sqlite.pysqlite import dialect as sqlite_dialect

from paysession_sql import schema, tables
from paysession_sql.upgrade import HEAD, upgrade

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Dialect, Table
    from sqlalchemy.sql import Insert
    from sqlalchemy.sql.base import Executable

    from paysession_sql.schema import Layout

__all__ = ["compiled", "generated", "reads", "writes"]

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

_SUMS: Final = """
SELECT collection_id, count(*),
    CAST(sum(CASE WHEN status = 'canceled' THEN 1 ELSE 0 END) AS BIGINT),
    CAST(sum(CASE WHEN status IN ('pending', 'requires_more') THEN 1 ELSE 0 END) AS BIGINT),
    CAST(sum(authorized) AS BIGINT), CAST(sum(captured) AS BIGINT), CAST(sum(refunded) AS BIGINT),
    CAST(sum(charged_back) AS BIGINT)
FROM session WHERE collection_id {ids} GROUP BY collection_id
"""
"""The sums of the sessions of some collections; see ``paysession.session.Sums``."""

# On PostgreSQL as an array, here and in ``refunds_of``: while it has no figures about a table it would join a
# subquery by reading all of the table.
_IDS_SQLITE: Final = "IN (SELECT value FROM json_each(:ids))"
_IDS_POSTGRES: Final = "= ANY(ARRAY(SELECT jsonb_array_elements_text(CAST(:ids AS JSONB))))"

_PRUNE_NOTIFICATIONS: Final = """
DELETE FROM notification WHERE id IN (
    SELECT id FROM notification WHERE due_at IS NULL AND received_at < :before
    ORDER BY received_at LIMIT :most
)
"""
_PRUNE_EVENTS: Final = """
DELETE FROM event WHERE ({place}) IN (
    SELECT {place} FROM (
        SELECT {place}, occurred_at, lead(occurred_at) OVER (ORDER BY {place}) AS later FROM (
            SELECT {place}, occurred_at FROM event ORDER BY {place} LIMIT :most
        ) AS first
    ) AS pair WHERE occurred_at < :before AND later < :before
)
"""
"""Each event goes once the next one is old as well: a reader that waited there has gone on since."""

_COUNTED: Final = "WITH pruned AS ({} RETURNING 1) SELECT count(*) FROM pruned"

_PRUNABLE: Final = """
SELECT (SELECT count(*) FROM notification WHERE due_at IS NULL AND received_at < :notifications),
    (SELECT count(*) FROM event WHERE occurred_at < :events)
"""


def _selected(table: Table, layout: Layout[Any]) -> list[Any]:
    """Return the columns of a layout, in the order in which it reads them."""
    return [table.c[name] for name in layout.columns]


def reads(*, sqlite: bool) -> dict[str, Executable]:
    """Return the statements that read, by the names that `paysession_sql.statements.Statements` has."""
    collection, session, operation = tables.COLLECTION, tables.SESSION, tables.OPERATION
    event, conflict, notification = tables.EVENT, tables.CONFLICT, tables.NOTIFICATION
    operations = select(*_selected(operation, schema.OPERATION))
    of_session = operations.where(operation.c.session_id == bindparam("key"))
    # An operation's id is its session's, a hyphen and more, and "." is the character after the hyphen. On
    # PostgreSQL texts may be in the order of a language.
    first, end = (bindparam("key").concat(literal_column(mark)) for mark in ("'-'", "'.'"))
    by_id = of_session.where(operation.c.id > first, operation.c.id < end)
    refund = operation.alias("refund")
    refunds = select(refund.c.id).where(refund.c.capture_id == bindparam("key"))
    place = [event.c.xact, event.c.position]
    # From the cursor's own event on: whether it is still there is looked at as well.
    after = tuple_(*place) >= tuple_(bindparam("xact"), bindparam("position"))
    feed = select(*place, *_selected(event, schema.EVENT)).limit(bindparam("most"))
    conflicts = (
        select(*_selected(conflict, schema.CONFLICT))
        .where(conflict.c.id > bindparam("after"))
        .order_by(conflict.c.id)
        .limit(bindparam("most"))
    )
    conflicts_of = conflicts.where(conflict.c.session_id == bindparam("session_id"))
    # Spelled out, not bound: the index holds these rows only.
    still_open = conflict.c.closed_at.is_(None)
    started = operation.c.state == literal_column("'started'")
    from_provider = operation.c.origin == literal_column("'provider'")
    notifications = select(*_selected(notification, schema.NOTIFICATION))
    unprocessed = (
        notifications.where(
            and_(
                notification.c.id > bindparam("after"),
                notification.c.state != literal_column("'processed'"),
            )
        )
        .order_by(notification.c.id)
        .limit(bindparam("most"))
    )
    return {
        "identity": select(tables.IDENTITY.c.secret, tables.IDENTITY.c.since),
        "collection": select(*_selected(collection, schema.COLLECTION)).where(
            collection.c.id == bindparam("key")
        ),
        "collections": select(*_selected(collection, schema.COLLECTION))
        .where(collection.c.id > bindparam("after"))
        .order_by(collection.c.id)
        .limit(bindparam("most")),
        "sums": text(_SUMS.format(ids=_IDS_SQLITE if sqlite else _IDS_POSTGRES)),
        "session": select(*_selected(session, schema.SESSION)).where(session.c.id == bindparam("key")),
        "session_by_reference": select(session.c.id)
        .where(session.c.provider == bindparam("provider"), session.c.reference == bindparam("reference"))
        .order_by(session.c.id)
        .limit(bindparam("most")),
        "session_by_operation": select(session.c.id)
        .join_from(operation, session, operation.c.session_id == session.c.id)
        .where(operation.c.reference == bindparam("reference"), session.c.provider == bindparam("provider"))
        .limit(bindparam("most")),
        "operation": operations.where(operation.c.id == bindparam("key")),
        "operations": (by_id if sqlite else of_session).order_by(operation.c.ordinal, operation.c.created_at),
        "refunds_of": union_all(
            operations.where(operation.c.id == bindparam("key")),
            operations.where(operation.c.capture_id == bindparam("key")),
            operations.where(operation.c.reverses == bindparam("key")),
            operations.where(
                operation.c.reverses.in_(refunds)
                if sqlite
                else operation.c.reverses == any_(func.array(refunds.scalar_subquery()))
            ),
        ),
        "repeated": union_all(
            of_session.where(operation.c.idempotency_key == bindparam("caller")),
            of_session.where(from_provider, operation.c.id.like(bindparam("ends"))),
        ),
        "in_doubt": operations.where(started)
        .order_by(operation.c.created_at, operation.c.id)
        .limit(bindparam("most")),
        "unattended": select(*_selected(session, schema.SESSION))
        .where(session.c.attention_at.is_not(None))
        .order_by(session.c.attention_at, session.c.id)
        .limit(bindparam("most")),
        # One writer at a time numbers events in the order of commit on SQLite; elsewhere see
        # ``paysession_sql.postgres``.
        "events": feed.where(event.c.position >= bindparam("position")).order_by(event.c.position)
        if sqlite
        else feed.where(after, event.c.xact < literal_column(_HORIZON)).order_by(*place),
        "due": select(session.c.id)
        .where(session.c.provider == bindparam("provider"), session.c.due_at <= bindparam("now"))
        .order_by(session.c.due_at, session.c.id)
        .limit(bindparam("most")),
        "provider_after": select(session.c.provider)
        .where(session.c.provider > bindparam("after"))
        .order_by(session.c.provider)
        .limit(bindparam("most")),
        "next_provider": _next(session),
        "next_notified": _next(notification),
        "conflict": select(*_selected(conflict, schema.CONFLICT)).where(conflict.c.id == bindparam("key")),
        "conflicts": conflicts,
        "conflicts_open": conflicts.where(still_open),
        "conflicts_of": conflicts_of,
        "conflicts_open_of": conflicts_of.where(still_open),
        "notification": notifications.where(notification.c.id == bindparam("key")),
        "prunable": text(_PRUNABLE),
        "due_notifications": notifications.where(
            notification.c.provider == bindparam("provider"), notification.c.due_at <= bindparam("now")
        )
        .order_by(notification.c.due_at, notification.c.id)
        .limit(bindparam("most")),
        "unprocessed": unprocessed,
        "unprocessed_of": unprocessed.where(notification.c.provider == bindparam("provider")),
    }


def _next(table: Table) -> Executable:
    """Return the statement that finds the next provider with anything to do, and since when it is due."""
    return (
        select(table.c.provider, table.c.due_at)
        .where(table.c.provider > bindparam("after"), table.c.due_at.is_not(None))
        .order_by(table.c.provider, table.c.due_at)
        .limit(bindparam("most"))
    )


def _postgres_only() -> dict[str, Executable]:
    """Return the statements that only PostgreSQL needs."""
    session = tables.SESSION
    return {
        "mark": select(session.c.version, session.c.mark).where(session.c.id == bindparam("key")),
        "again": update(session)
        .where(session.c.id == bindparam("key"), session.c.version == bindparam("version"))
        .values(mark=session.c.mark)
        .returning(session.c.id),
        "prune_notifications": text(_COUNTED.format(_PRUNE_NOTIFICATIONS)),
        "prune_events": text(_COUNTED.format(_PRUNE_EVENTS.format(place="xact, position"))),
        "time": text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"),
    }


def _insert(table: Table, layout: Layout[Any]) -> Insert:
    return table.insert().values({name: bindparam(name) for name in layout.columns})


def _upsert(insert: Callable[[Table], Any], table: Table, layout: Layout[Any]) -> Any:
    write = insert(table).values({name: bindparam(name) for name in layout.columns})
    changing = [name for name in layout.columns if name not in layout.fixed]
    return write.on_conflict_do_update(
        index_elements=["id"], set_={name: write.excluded[name] for name in changing}
    )


def _changing(layout: Layout[Any]) -> dict[str, Any]:
    return {name: bindparam(name) for name in layout.columns if name not in layout.fixed}


def writes(insert: Callable[[Table], Any] = insert) -> dict[str, Executable]:
    """Return the statements that write one row each, by the names that ``writes.Writes`` has.

    Args:
        insert: The dialect's own insert, which knows ``ON CONFLICT``.
    """
    collection, session, notification = tables.COLLECTION, tables.SESSION, tables.NOTIFICATION
    more = collection.c.held + bindparam("more")
    hold = update(collection).where(collection.c.id == bindparam("key")).values(held=more)
    return {
        "insert_session": _insert(session, schema.SESSION),
        "update_session": update(session)
        .where(session.c.id == bindparam("key"), session.c.version == bindparam("earlier"))
        .values(_changing(schema.SESSION)),
        "erase_session": update(session)
        .where(session.c.id == bindparam("key"), session.c.version == bindparam("earlier"))
        .values({**_changing(schema.SESSION), "checkout": bindparam("checkout")}),
        "write_operation": _upsert(insert, tables.OPERATION, schema.OPERATION),
        "write_conflict": _upsert(insert, tables.CONFLICT, schema.CONFLICT),
        "insert_event": _insert(tables.EVENT, schema.EVENT),
        "insert_collection": _insert(collection, schema.COLLECTION),
        "insert_notification": _insert(notification, schema.NOTIFICATION),
        "update_notification": update(notification)
        .where(notification.c.id == bindparam("key"), notification.c.attempts == bindparam("earlier"))
        .values(_changing(schema.NOTIFICATION)),
        "update_amount": update(collection)
        .where(collection.c.id == bindparam("key"), collection.c.held <= bindparam("amount"))
        .values(
            amount=bindparam("amount"),
            updated_at=bindparam("updated_at"),
            asked_by=bindparam("asked_by"),
        ),
        "hold": hold,
        "prune_notifications": text(_PRUNE_NOTIFICATIONS),
        "prune_events": text(_PRUNE_EVENTS.format(place="position")),
        "hold_within": hold.where(more <= collection.c.amount),
    }


def _schema() -> list[str]:
    """Return what the migrations leave in a new SQLite file: the statements that make it at once."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/new.db"
        upgrade(f"sqlite:///{path}")
        connection = sqlite3.connect(path)
        made = [row[0] for row in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")]
        oldest = connection.execute("SELECT oldest FROM compatibility").fetchone()[0]
        connection.close()
    stamps = [
        f"INSERT INTO alembic_version (version_num) VALUES ('{HEAD}')",
        f"INSERT INTO compatibility (oldest) VALUES ('{oldest}')",
    ]
    return [" ".join(statement.split()) for statement in (*made, *stamps)]


# --- the modules ----------------------------------------------------------------------------------


def compiled(statement: Executable, dialect: Dialect) -> tuple[str, tuple[str, ...]]:
    """Return the text of a statement, and the names of its parameters in their order."""
    made = cast("Any", statement).compile(dialect=dialect)
    # A comment would swallow the rest of the line.
    words = " ".join(re.sub(r" *--.*", "", str(made)).split())
    names = tuple(made.positiontup or ())
    if words.endswith("LIMIT ? OFFSET ?"):  # SQLAlchemy adds an offset of 0 on SQLite
        words, names = words.removesuffix(" OFFSET ?"), names[:-1]
    if not all(made.binds[name].required for name in names):
        raise ValueError(f"a value stands in the statement, which must be spelled out: {words}")
    return words, names


def _quoted(statement: str, depth: int) -> str:
    """Return a text as literals of Python, one below the other, in parentheses."""
    indent = " " * 4 * depth
    lines = textwrap.wrap(statement, 84, break_long_words=False, break_on_hyphens=False)
    pieces = [f"{line} " for line in lines[:-1]] + lines[-1:]
    literals = "\n".join(f"{indent}    {json.dumps(piece)}" for piece in pieces)
    return f"{indent}(\n{literals}\n{indent}),"


def _table_of(name: str, statements: dict[str, Executable], dialect: Dialect) -> str:
    """Return the definition of a table of statements: each by its name, with its parameters."""
    lines = [f"{name}: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {{"]
    for key, statement in statements.items():
        words, names = compiled(statement, dialect)
        lines += [f'    "{key}": (', _quoted(words, 2), "        ("]
        lines += [
            f"            {line}" for line in textwrap.wrap("".join(f'"{part}", ' for part in names), 84)
        ]
        lines += ["        ),", "    ),"]
    return "\n".join([*lines, "}", ""])


_HEAD: Final = '''"""{title}.

Generated by ``python -m paysession_sql.generate``; do not edit.
"""

# fmt: off

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = {names}

'''


def generated() -> dict[str, str]:
    """Return the text of each generated module by the name of its file."""
    sqlite = sqlite_dialect(paramstyle="qmark")
    postgres: Dialect = postgres_dialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
    creation = "\n".join(_quoted(statement, 1) for statement in _schema())
    for_sqlite = (
        _HEAD.format(title="The statements of SQLite, and its schema", names='["READS", "SCHEMA", "WRITES"]'),
        _table_of("READS", reads(sqlite=True), sqlite),
        "\n",
        _table_of("WRITES", writes(), sqlite),
        f'\nSCHEMA: Final = (\n{creation}\n)\n"""What makes the tables of a new file."""\n',
    )
    for_postgres = (
        _HEAD.format(title="The statements of PostgreSQL that read", names='["READS"]'),
        _table_of("READS", reads(sqlite=False) | _postgres_only(), postgres),
    )
    return {"for_sqlite.py": "".join(for_sqlite), "for_postgres.py": "".join(for_postgres)}


def main() -> None:
    """Write the generated modules."""
    for name, content in generated().items():
        Path(__file__).with_name(name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
