"""What the authorized amount is derived from, and conflicts as rows of their own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both; a release before this one writes neither, and what it wrote is what was granted."""
    op.add_column("session", sa.Column("granted", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("session", sa.Column("released", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "conflict",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("expected", sa.Text(), nullable=False),
        sa.Column("found", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.Column("closed_by", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_conflict"),
    )
    op.create_index("ix_conflict_session_id", "conflict", ["session_id"])
    still_open = sa.text("closed_at IS NULL")
    op.create_index(
        "ix_conflict_open", "conflict", ["id"], sqlite_where=still_open, postgresql_where=still_open
    )
    op.execute(
        "INSERT INTO conflict (id, session_id, kind, expected, found, opened_at) "
        "SELECT 'cf_0' || id, id, conflict, '', '', updated_at FROM session WHERE conflict IS NOT NULL"
    )
    op.add_column("session", sa.Column("attention_at", sa.BigInteger(), nullable=True))
    unattended = sa.text("attention_at IS NOT NULL")
    op.create_index(
        "ix_session_attention_at",
        "session",
        ["attention_at", "id"],
        sqlite_where=unattended,
        postgresql_where=unattended,
    )
    op.execute("UPDATE session SET granted = authorized")
    op.execute("UPDATE session SET released = true WHERE status = 'canceled' AND conflict IS NULL")


def downgrade() -> None:
    """Go back to the stored amount and one conflict alone."""
    op.drop_table("conflict")
    op.drop_index("ix_session_attention_at", table_name="session")
    op.drop_column("session", "attention_at")
    op.drop_column("session", "released")
    op.drop_column("session", "granted")
