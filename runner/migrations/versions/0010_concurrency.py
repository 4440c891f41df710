"""Concurrency limits of environments, bots and assets."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from vault.models import UtcDateTime

revision = "0010"
down_revision: str | None = "0002"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "concurrency_limits",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("environment", sa.String(16), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("target", sa.String(520), nullable=False),
        sa.Column("at_once", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.String(200), nullable=False),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "uq_concurrency_limits_target",
        "concurrency_limits",
        ["workspace_id", "environment", "kind", "target"],
        unique=True,
    )
    op.create_table(
        "limit_members",
        sa.Column("limit_id", sa.Uuid(), nullable=False),
        sa.Column("version_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["limit_id"], ["concurrency_limits.id"]),
        sa.ForeignKeyConstraint(["version_id"], ["package_versions.id"]),
        sa.PrimaryKeyConstraint("limit_id", "version_id"),
    )
    op.create_index("ix_limit_members_version", "limit_members", ["version_id"])


def downgrade() -> None:
    """Take them away again."""
    op.drop_table("limit_members")
    op.drop_table("concurrency_limits")
