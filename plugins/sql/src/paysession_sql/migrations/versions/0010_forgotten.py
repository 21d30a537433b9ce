"""When what is personal in a session was erased; the words of a refund's reason are in no digest any more."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from paysession.store import digest_of

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the time, and put a digest in the place of each reason in what tells repeated calls apart."""
    op.add_column("session", sa.Column("forgotten_at", sa.BigInteger(), nullable=True))
    connection = op.get_bind()
    operation = sa.table("operation", sa.column("id"), sa.column("reason"), sa.column("fingerprint"))
    named = sa.select(operation).where(operation.c.reason.is_not(None), operation.c.fingerprint.is_not(None))
    for key, reason, fingerprint in connection.execute(named).fetchall():
        # "refund 4200 EUR False REASON CAPTURE EXTRA", where the reason may have any words.
        digested = fingerprint.replace(f" {reason} ", f" {digest_of(reason)} ", 1)
        connection.execute(operation.update().where(operation.c.id == key).values(fingerprint=digested))


def downgrade() -> None:
    """Go back to sessions that nobody forgets."""
    op.drop_column("session", "forgotten_at")
