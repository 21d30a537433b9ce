"""Lists of sessions in the order of time, reads of single operations, and what is pruned, by index.

The release before this one goes on working: it finds sessions by collection and by reference with the new
indexes as well.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_NEW = (
    ("ix_session_reference_provider", "session", ["reference", "provider"], "reference IS NOT NULL"),
    ("ix_session_collection_time", "session", ["collection_id", "created_at", "id"], None),
    ("ix_session_provider_status_time", "session", ["provider", "status", "created_at", "id"], None),
    ("ix_session_conflict_time", "session", ["created_at", "id"], "conflict IS NOT NULL"),
    (
        "ix_operation_idempotency_key",
        "operation",
        ["session_id", "idempotency_key"],
        "idempotency_key IS NOT NULL",
    ),
    ("ix_operation_from_provider", "operation", ["session_id"], "origin = 'provider'"),
    ("ix_operation_capture", "operation", ["capture_id"], "capture_id IS NOT NULL"),
    ("ix_operation_reverses", "operation", ["reverses"], "reverses IS NOT NULL"),
    ("ix_notification_done", "notification", ["received_at"], "due_at IS NULL"),
)
_OLD = (
    ("ix_session_collection_id", "session", ["collection_id"], None),
    ("ix_session_provider_reference", "session", ["provider", "reference"], "reference IS NOT NULL"),
)


def upgrade() -> None:
    """Index what is asked for."""
    _replace(_OLD, _NEW)


def downgrade() -> None:
    """Go back to lists in the order of ids."""
    _replace(_NEW, _OLD)


def _replace(
    old: tuple[tuple[str, str, list[str], str | None], ...],
    new: tuple[tuple[str, str, list[str], str | None], ...],
) -> None:
    for name, table, columns, where in new:
        condition = None if where is None else sa.text(where)
        op.create_index(name, table, columns, sqlite_where=condition, postgresql_where=condition)
    for name, table, _, _ in old:
        op.drop_index(name, table_name=table)
