"""What may follow a failure, and what the payer may be told of it.

The release before this one goes on working: it writes neither, which reads as the defaults.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_COLUMNS = ("error_category", "error_payer_message_key")


def upgrade() -> None:
    """Add both where failures are kept."""
    for table in ("session", "operation"):
        for name in _COLUMNS:
            op.add_column(table, sa.Column(name, sa.Text(), nullable=True))


def downgrade() -> None:
    """Go back to codes and messages alone."""
    for table in ("session", "operation"):
        for name in _COLUMNS:
            op.drop_column(table, name)
