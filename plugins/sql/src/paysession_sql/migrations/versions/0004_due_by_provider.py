"""What is due is found by provider; the bodies of processed notifications are dropped.

The release before this one goes on working: it finds what is due without an index of its own.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_TABLES = ("session", "notification")
_DUE = sa.text("due_at IS NOT NULL")


def upgrade() -> None:
    """Index what is due by provider."""
    for table in _TABLES:
        op.create_index(
            f"ix_{table}_provider_due_at",
            table,
            ["provider", "due_at"],
            sqlite_where=_DUE,
            postgresql_where=_DUE,
        )
        op.drop_index(f"ix_{table}_due_at", table_name=table)
    notification = sa.table("notification", sa.column("body"), sa.column("state"))
    op.execute(
        notification.update()
        .where(notification.c.state == "processed", notification.c.body != sa.literal(b""))
        .values(body=b"")
    )


def downgrade() -> None:
    """Index what is due of all providers together."""
    for table in _TABLES:
        op.create_index(f"ix_{table}_due_at", table, ["due_at"], sqlite_where=_DUE, postgresql_where=_DUE)
        op.drop_index(f"ix_{table}_provider_due_at", table_name=table)
