"""Codes for whoever lost the authenticator, people who are shut out for a while, and which runner holds which key."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from vault.models import Document, UtcDateTime

revision = "0019"
down_revision: str | None = "0017"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Add the columns and make the table."""
    op.add_column("memberships", sa.Column("disabled_at", UtcDateTime(), nullable=True))
    op.add_column("runners", sa.Column("keys", Document, nullable=True))
    op.create_table(
        "recovery_codes",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("used_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"]),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_index("ix_recovery_codes_user_id", "recovery_codes", ["user_id"])


def downgrade() -> None:
    """Take them away again."""
    op.drop_table("recovery_codes")
    op.drop_column("runners", "keys")
    op.drop_column("memberships", "disabled_at")
