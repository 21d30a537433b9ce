"""Who paid, as the gateway reports it, and what a notification says beside its effects."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both; the release before this one writes neither."""
    op.add_column("session", sa.Column("payer", sa.Text(), nullable=True))
    op.add_column("notification", sa.Column("details", sa.Text(), nullable=False, server_default="{}"))


def downgrade() -> None:
    """Go back to sessions without a payer."""
    op.drop_column("notification", "details")
    op.drop_column("session", "payer")
