"""Fair order, pauses, steps and limits: what a job's life cycle needs."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from vault.models import Document, UtcDateTime

revision = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None


def _added() -> dict[str, Sequence[sa.Column[object]]]:
    """The new columns of each table; those that may not be null have a default for the rows that are there."""
    return {
        "jobs": (
            sa.Column("priority", sa.SmallInteger(), nullable=False, server_default=sa.text("1")),
            sa.Column("turn", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
            sa.Column("concurrency", sa.Integer(), nullable=True),
            sa.Column("pause_requested_at", UtcDateTime(), nullable=True),
            sa.Column("pause_requested_by", sa.String(200), nullable=True),
            sa.Column("paused_at", UtcDateTime(), nullable=True),
        ),
        "attempts": (
            sa.Column("steps", Document, nullable=True),
            sa.Column("paused_seconds", sa.Double(), nullable=True),
            sa.Column("ended_by", sa.String(200), nullable=True),
            sa.Column("adopted_at", UtcDateTime(), nullable=True),
        ),
        "runners": (
            sa.Column("labels", Document, nullable=True),
            sa.Column("isolation", Document, nullable=True),
        ),
        "environments": (sa.Column("isolation", sa.String(16), nullable=False, server_default=sa.text("'any'")),),
        "workspaces": (sa.Column("limits", Document, nullable=True),),
    }


def upgrade() -> None:
    """Add the columns, and the indexes that a claim and an enqueue read."""
    for table, columns in _added().items():
        for column in columns:
            op.add_column(table, column)
    _index("ix_jobs_lane", ["environment", "group_name", "priority", "turn", "id"])
    _index("ix_jobs_turn", ["bot_id", "environment", "group_name", "priority", "turn"])
    _index("ix_jobs_limited", ["bot_id"], where="state = 'running' AND concurrency IS NOT NULL")


def downgrade() -> None:
    """Take all of it away again."""
    for name in ("ix_jobs_lane", "ix_jobs_turn", "ix_jobs_limited"):
        op.drop_index(name, table_name="jobs")
    for table, columns in _added().items():
        for column in reversed(columns):
            op.drop_column(table, column.name)


def _index(name: str, columns: Sequence[str], *, where: str = "state = 'queued'") -> None:
    condition = sa.text(where)
    op.create_index(name, "jobs", columns, postgresql_where=condition, sqlite_where=condition)
