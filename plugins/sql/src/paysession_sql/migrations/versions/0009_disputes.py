"""What disputes took back, how many are not decided, and how each of them stands."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_COUNTS = (("session", "charged_back"), ("session", "disputes"), ("event", "charged_back"))


def upgrade() -> None:
    """Add them; a release before this one writes none of them, and records a chargeback as a refund."""
    for table, column in _COUNTS:
        op.add_column(table, sa.Column(column, sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("operation", sa.Column("dispute", sa.Text(), nullable=True))


def downgrade() -> None:
    """Forget them."""
    op.drop_column("operation", "dispute")
    for table, column in reversed(_COUNTS):
        op.drop_column(table, column)
