"""What the ledger derives the authorized amount from: what was granted, and whether the rest is released."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both; a release before this one writes neither, and what it wrote is what was granted."""
    op.add_column("session", sa.Column("granted", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("session", sa.Column("released", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.execute("UPDATE session SET granted = authorized")


def downgrade() -> None:
    """Go back to the stored amount alone."""
    op.drop_column("session", "released")
    op.drop_column("session", "granted")
