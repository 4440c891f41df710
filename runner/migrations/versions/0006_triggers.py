"""Triggers, their firings, calendars and the console's keys of webhooks; an index by which ends of jobs are found."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from vault.models import Document, UtcDateTime

revision = "0006"
down_revision: str | None = "0002"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Make the tables and the index."""
    _triggers()
    _firings()
    op.create_table(
        "calendars",
        sa.Column("workspace_id", sa.Uuid(), sa.ForeignKey("workspaces.id"), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("days", Document, nullable=False),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.Column("changed_by", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", "name"),
    )
    op.create_table(
        "hook_keys",
        sa.Column("trigger_id", sa.Uuid(), sa.ForeignKey("triggers.id"), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("set_at", UtcDateTime(), nullable=False),
        sa.Column("set_by", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("trigger_id"),
    )
    _index("ix_jobs_finished", "jobs", ["bot_id", "finished_at"], where="finished_at IS NOT NULL")


def downgrade() -> None:
    """Take all of it away again."""
    op.drop_index("ix_jobs_finished", table_name="jobs")
    for table in ("hook_keys", "calendars", "firings", "triggers"):
        op.drop_table(table)


def _triggers() -> None:
    op.create_table(
        "triggers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), sa.ForeignKey("workspaces.id"), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("target_kind", sa.String(16), nullable=False),
        sa.Column("target", sa.String(128), nullable=False),
        sa.Column("environment", sa.String(16), nullable=False),
        sa.Column("group_name", sa.String(64), nullable=False),
        sa.Column("parameters", Document, nullable=False),
        sa.Column("definition", Document, nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("paused_at", UtcDateTime(), nullable=True),
        sa.Column("paused_by", sa.String(200), nullable=True),
        sa.Column("next_instant", UtcDateTime(), nullable=True),
        sa.Column("next_fire_at", UtcDateTime(), nullable=True),
        sa.Column("watched_until", UtcDateTime(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.String(200), nullable=False),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.Column("removed_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    _index("uq_triggers_present", "triggers", ["workspace_id", "name"], where="removed_at IS NULL", unique=True)
    _index("ix_triggers_due", "triggers", ["next_fire_at"], where="next_fire_at IS NOT NULL")
    _index("ix_triggers_kind", "triggers", ["kind"], where="removed_at IS NULL")


def _firings() -> None:
    op.create_table(
        "firings",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("trigger_id", sa.Uuid(), sa.ForeignKey("triggers.id"), nullable=False),
        sa.Column("key", sa.String(300), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("instant", UtcDateTime(), nullable=False),
        sa.Column("why", sa.Text(), nullable=True),
        sa.Column("event", Document, nullable=True),
        sa.Column("started_kind", sa.String(16), nullable=True),
        sa.Column("started_id", sa.Uuid(), nullable=True),
        sa.Column("depth", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("uq_firings_key", "firings", ["trigger_id", "key"], unique=True)
    op.create_index("ix_firings_trigger", "firings", ["trigger_id", "id"])
    _index("ix_firings_pending", "firings", ["id"], where="state = 'pending'")
    _index("ix_firings_started", "firings", ["started_id"], where="started_id IS NOT NULL")


def _index(name: str, table: str, columns: list[str], *, where: str, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, unique=unique, postgresql_where=condition, sqlite_where=condition)
