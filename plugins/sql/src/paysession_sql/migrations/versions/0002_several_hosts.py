"""Several hosts on one database: the feed's order, the mark of a commit, indexes of open rows only.

This was written before any release had PostgreSQL, so its tables are empty there. From now on a
migration leaves every statement of the release before it working, and says in ``compatibility``
which schema the oldest release knows that may still run: see ``docs/operations.md``.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_PARTIAL = (
    ("ix_session_provider_reference", "session", ["provider", "reference"], "reference IS NOT NULL"),
    ("ix_session_due_at", "session", ["due_at"], "due_at IS NOT NULL"),
    ("ix_operation_reference", "operation", ["reference"], "reference IS NOT NULL"),
    ("ix_operation_started", "operation", ["created_at", "id"], "state = 'started'"),
    ("ix_notification_due_at", "notification", ["due_at"], "due_at IS NOT NULL"),
)
_WHOLE = (
    ("ix_session_provider_reference", "session", ["provider", "reference"]),
    ("ix_session_due_at", "session", ["due_at"]),
    ("ix_operation_reference", "operation", ["reference"]),
    ("ix_operation_state_created_at", "operation", ["state", "created_at"]),
    ("ix_notification_due_at", "notification", ["due_at"]),
)


def upgrade() -> None:
    """Add what several hosts need."""
    op.add_column("session", sa.Column("mark", sa.BigInteger(), nullable=True))
    op.add_column("event", sa.Column("xact", sa.BigInteger(), nullable=False, server_default="0"))
    for name, table, _ in _WHOLE:
        op.drop_index(name, table_name=table)
    for name, table, columns, where in _PARTIAL:
        op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
    op.create_table("compatibility", sa.Column("oldest", sa.Text(), nullable=False))
    op.execute("INSERT INTO compatibility (oldest) VALUES ('0002')")
    if op.get_bind().dialect.name != "postgresql":
        return
    # Transaction ids grow for ever in one cluster. A dump that is restored into another meets smaller
    # ones; then an upgrade adds an offset to both functions, and the feed goes on.
    op.execute(
        "CREATE FUNCTION paysession_xact() RETURNS bigint LANGUAGE sql VOLATILE "
        "AS 'SELECT pg_current_xact_id()::text::bigint + 0'"
    )
    op.execute(
        "CREATE FUNCTION paysession_horizon() RETURNS bigint LANGUAGE sql STABLE "
        "AS 'SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint + 0'"
    )
    op.execute("ALTER TABLE event ALTER COLUMN xact SET DEFAULT paysession_xact()")
    op.execute("ALTER TABLE event DROP CONSTRAINT pk_event")
    op.execute("ALTER TABLE event ADD CONSTRAINT pk_event PRIMARY KEY (xact, position)")


def downgrade() -> None:
    """Go back to one host."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE event DROP CONSTRAINT pk_event")
        op.execute("ALTER TABLE event ADD CONSTRAINT pk_event PRIMARY KEY (position)")
        op.execute("ALTER TABLE event ALTER COLUMN xact SET DEFAULT 0")
        op.execute("DROP FUNCTION paysession_xact()")
        op.execute("DROP FUNCTION paysession_horizon()")
    op.drop_table("compatibility")
    for name, table, _, _ in _PARTIAL:
        op.drop_index(name, table_name=table)
    for name, table, columns in _WHOLE:
        op.create_index(name, table, columns)
    op.drop_column("event", "xact")
    op.drop_column("session", "mark")
