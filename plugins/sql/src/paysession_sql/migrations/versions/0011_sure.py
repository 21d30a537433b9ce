"""Whether the gateway's effect that an operation names is known to be its own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add it; what a release before this one writes is taken for its own, as it was by that release."""
    op.add_column("operation", sa.Column("sure", sa.Boolean(), nullable=False, server_default=sa.true()))


def downgrade() -> None:
    """Go back to operations that do not say so."""
    op.drop_column("operation", "sure")
