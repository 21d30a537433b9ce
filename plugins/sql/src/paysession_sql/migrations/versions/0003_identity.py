"""A secret of the store, from which the ids of sessions derive that are begun under a caller's key.

Without it they derived from the collection's id and the key, which a stranger may guess. Collections that
exist already keep that, so that a repeated call finds its session. A release that knows nothing of the
secret would give one call two sessions, so it may not run on this schema.
"""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the secret."""
    made = op.create_table(
        "identity",
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=True),
    )
    since = op.get_bind().scalar(sa.text("SELECT max(created_at) + 1 FROM collection"))
    op.bulk_insert(made, [{"secret": secrets.token_hex(32), "since": since}])
    op.execute("UPDATE compatibility SET oldest = '0003'")


def downgrade() -> None:
    """Forget the secret: calls with a caller's key no longer find the sessions begun since."""
    op.execute("UPDATE compatibility SET oldest = '0002'")
    op.drop_table("identity")
