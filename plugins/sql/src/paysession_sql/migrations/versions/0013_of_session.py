"""On SQLite a session's operations are found by their ids, which begin with the session's.

The release before this one goes on working: it reads the table to find them.
"""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_NAME = "ix_operation_session_id_ordinal"


def upgrade() -> None:
    """Drop what the primary key does as well."""
    if op.get_bind().dialect.name == "sqlite":
        op.drop_index(_NAME, table_name="operation")


def downgrade() -> None:
    """Index the operations of each session again."""
    if op.get_bind().dialect.name == "sqlite":
        op.create_index(_NAME, "operation", ["session_id", "ordinal"])
