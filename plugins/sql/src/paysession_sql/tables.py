"""The tables, as SQLAlchemy describes them: what migrations lead to, and statements are generated from.

No column but a primary key is UNIQUE: ids are derived (a session's from the caller's key, an
operation's from its session and ordinal), so the primary key is all that is needed, and the tables
can be partitioned by hash.

Nothing that runs a payment imports this module: SQLAlchemy costs more than all the rest together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, MetaData, Table, Text, text

from paysession_sql import schema

if TYPE_CHECKING:
    from sqlalchemy.types import TypeEngine

    from paysession_sql.schema import Layout, Type

__all__ = [
    "COLLECTION",
    "COMPATIBILITY",
    "CONFLICT",
    "EVENT",
    "IDENTITY",
    "NOTIFICATION",
    "OPERATION",
    "SESSION",
    "metadata",
]

metadata: Final = MetaData(
    naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_name)s", "pk": "pk_%(table_name)s"}
)

_TYPES: Final[dict[Type, type[TypeEngine[Any]]]] = {
    "text": Text,
    "number": BigInteger,
    "flag": Boolean,
    "bytes": LargeBinary,
}


def _table(layout: Layout[Any], *extra: Column[Any] | Index, key: str = "id") -> Table:
    """Return the table of a layout, with columns that no attribute has, and indexes."""
    columns = [
        Column(column, _TYPES[type_](), primary_key=column == key, nullable=place.nullable)
        for place in layout.places
        for column, type_ in zip(place.columns, place.types, strict=True)
    ]
    return Table(layout.name, metadata, *columns, *extra)


def _partial(name: str, *columns: str, where: str) -> Index:
    """Return an index of the few rows that it is asked for: the others cost it nothing."""
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


COLLECTION: Final = _table(schema.COLLECTION)

SESSION: Final = _table(
    schema.SESSION,
    # Which commit wrote the row last: whoever lost the connection in a commit finds out by it
    # whether that one was made. Not kept on SQLite, where nothing stands between us and the file.
    Column("mark", BigInteger),
    _partial("ix_session_reference_provider", "reference", "provider", where="reference IS NOT NULL"),
    _partial("ix_session_provider_due_at", "provider", "due_at", where="due_at IS NOT NULL"),
    _partial("ix_session_attention_at", "attention_at", "id", where="attention_at IS NOT NULL"),
    # What lists are filtered by, each in the order of time; see ``Statements.sessions``.
    Index("ix_session_collection_time", "collection_id", "created_at", "id"),
    Index("ix_session_provider_status_time", "provider", "status", "created_at", "id"),
    _partial("ix_session_conflict_time", "created_at", "id", where="conflict IS NOT NULL"),
)

OPERATION: Final = _table(
    schema.OPERATION,
    # SQLite finds them by the primary key, see ``generate``: an index less to write with each operation.
    Index(None, "session_id", "ordinal").ddl_if(dialect="postgresql"),
    _partial("ix_operation_reference", "reference", where="reference IS NOT NULL"),
    _partial("ix_operation_started", "created_at", "id", where="state = 'started'"),
    _partial(
        "ix_operation_idempotency_key", "session_id", "idempotency_key", where="idempotency_key IS NOT NULL"
    ),
    _partial("ix_operation_from_provider", "session_id", where="origin = 'provider'"),
    _partial("ix_operation_capture", "capture_id", where="capture_id IS NOT NULL"),
    _partial("ix_operation_reverses", "reverses", where="reverses IS NOT NULL"),
)

CONFLICT: Final = _table(
    schema.CONFLICT,
    Index(None, "session_id"),
    _partial("ix_conflict_open", "id", where="closed_at IS NULL"),
)

EVENT: Final = _table(
    schema.EVENT,
    # The place in the feed. On SQLite one writer at a time numbers events in the order of commit.
    # On PostgreSQL a database default fills in the transaction: see ``paysession_sql.postgres``.
    Column("xact", BigInteger, nullable=False, server_default="0"),
    Column("position", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    key="position",
)

NOTIFICATION: Final = _table(
    schema.NOTIFICATION,
    _partial("ix_notification_provider_due_at", "provider", "due_at", where="due_at IS NOT NULL"),
    _partial("ix_notification_done", "received_at", where="due_at IS NULL"),
)

IDENTITY: Final = Table(
    "identity",
    metadata,
    Column("secret", Text, nullable=False),
    Column("since", BigInteger, nullable=True),
)
"""One row: see ``paysession.store.Identity``."""

COMPATIBILITY: Final = Table("compatibility", metadata, Column("oldest", Text, nullable=False))
"""One row: the schema that the oldest release knows which works with this one."""
