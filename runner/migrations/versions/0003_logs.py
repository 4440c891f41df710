"""Logs and artefacts: what they take in the store, how long they are kept, when they were pruned."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from vault.models import UtcDateTime

revision = "0003"
down_revision: str | None = "0002"
branch_labels: str | None = None
depends_on: str | None = None

_ATTEMPT = ("log_bytes", "artefact_bytes", "pruned_at", "pruned_by")


def upgrade() -> None:
    """Add the columns and the tables."""
    op.add_column("attempts", sa.Column("log_bytes", sa.BigInteger(), nullable=True))
    op.add_column("attempts", sa.Column("artefact_bytes", sa.BigInteger(), nullable=True))
    op.add_column("attempts", sa.Column("pruned_at", UtcDateTime(), nullable=True))
    op.add_column("attempts", sa.Column("pruned_by", sa.String(200), nullable=True))
    op.add_column("runners", sa.Column("log_store", sa.Text(), nullable=True))
    op.create_table(
        "artefacts",
        sa.Column("job_id", sa.Uuid(), primary_key=True),
        sa.Column("attempt", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("masked", sa.Boolean(), nullable=False),
        sa.Column("withheld", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["job_id", "attempt"], ["attempts.job_id", "attempts.number"]),
    )
    op.create_table(
        "retention_rules",
        sa.Column("workspace_id", sa.Uuid(), sa.ForeignKey("workspaces.id"), primary_key=True),
        sa.Column("bot", sa.String(36), primary_key=True),
        sa.Column("environment", sa.String(16), primary_key=True),
        sa.Column("age", sa.BigInteger(), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("set_at", UtcDateTime(), nullable=False),
        sa.Column("set_by", sa.String(200), nullable=False),
    )
    op.create_table(
        "prunings",
        sa.Column("bot_id", sa.Uuid(), sa.ForeignKey("bots.id"), primary_key=True),
        sa.Column("environment", sa.String(16), primary_key=True),
        sa.Column("up_to", sa.Uuid(), nullable=False),
    )


def downgrade() -> None:
    """Take all of it away again."""
    for table in ("prunings", "retention_rules", "artefacts"):
        op.drop_table(table)
    op.drop_column("runners", "log_store")
    for column in reversed(_ATTEMPT):
        op.drop_column("attempts", column)
