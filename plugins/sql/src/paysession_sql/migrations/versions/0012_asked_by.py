"""Who asked for what, and when an unpaid session is abandoned.

The release before this one goes on working: it writes none of it, and abandons nothing.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_ASKED = ("collection", "operation", "event")


def upgrade() -> None:
    """Add the columns, empty."""
    for table in _ASKED:
        op.add_column(table, sa.Column("asked_by", sa.Text(), nullable=True))
    op.add_column("session", sa.Column("cancel_by", sa.Text(), nullable=True))
    op.add_column("session", sa.Column("abandon_at", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """Go back to sessions that nobody in particular asked for."""
    op.drop_column("session", "abandon_at")
    op.drop_column("session", "cancel_by")
    for table in _ASKED:
        op.drop_column(table, "asked_by")
