"""Data sources, requests to check and to fan out one on a runner, and which hosts connections may go to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from vault.models import Document, UtcDateTime

revision = "0004"
down_revision: str | None = "0002"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Add the tables, and the workspace's policy."""
    op.add_column("workspaces", sa.Column("connections", Document, nullable=True))
    _data_sources()
    _source_checks()
    _fan_outs()


def downgrade() -> None:
    """Take all of it away again."""
    op.drop_table("fan_out_batches")
    op.drop_table("fan_outs")
    op.drop_table("source_checks")
    op.drop_table("data_sources")
    op.drop_column("workspaces", "connections")


def _data_sources() -> None:
    op.create_table(
        "data_sources",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("definition", Document, nullable=False),
        sa.Column("environments", Document, nullable=False),
        sa.Column("bots", Document, nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.String(200), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_data_sources")),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name=op.f("fk_data_sources_workspace_id")),
    )
    op.create_index("uq_data_sources_name", "data_sources", ["workspace_id", "name"], unique=True)


def _source_checks() -> None:
    op.create_table(
        "source_checks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("source", sa.String(128), nullable=False),
        sa.Column("environment", sa.String(16), nullable=False),
        sa.Column("requested_at", UtcDateTime(), nullable=False),
        sa.Column("requested_by", sa.String(200), nullable=False),
        sa.Column("runner", sa.String(128), nullable=True),
        sa.Column("claimed_at", UtcDateTime(), nullable=True),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.Column("ok", sa.Boolean(), nullable=True),
        sa.Column("answer", Document, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_source_checks")),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name=op.f("fk_source_checks_workspace_id")),
    )
    waiting = sa.text("runner IS NULL")
    op.create_index(
        "ix_source_checks_waiting",
        "source_checks",
        ["environment", "id"],
        postgresql_where=waiting,
        sqlite_where=waiting,
    )


def _fan_outs() -> None:
    op.create_table(
        "fan_outs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("source", sa.String(128), nullable=False),
        sa.Column("environment", sa.String(16), nullable=False),
        sa.Column("bot_id", sa.Uuid(), nullable=False),
        sa.Column("version_id", sa.Uuid(), nullable=False),
        sa.Column("order", Document, nullable=False),
        sa.Column("rows_per_job", sa.Integer(), nullable=False),
        sa.Column("requested_at", UtcDateTime(), nullable=False),
        sa.Column("requested_by", sa.String(200), nullable=False),
        sa.Column("runner", sa.String(128), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("lease_expires_at", UtcDateTime(), nullable=True),
        sa.Column("read_at", UtcDateTime(), nullable=True),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.Column("ok", sa.Boolean(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("jobs", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fan_outs")),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name=op.f("fk_fan_outs_workspace_id")),
        sa.ForeignKeyConstraint(["bot_id"], ["bots.id"], name=op.f("fk_fan_outs_bot_id")),
        sa.ForeignKeyConstraint(["version_id"], ["package_versions.id"], name=op.f("fk_fan_outs_version_id")),
    )
    unfinished = sa.text("finished_at IS NULL")
    op.create_index("ix_fan_outs_unfinished", "fan_outs", ["id"], postgresql_where=unfinished, sqlite_where=unfinished)
    op.create_table(
        "fan_out_batches",
        sa.Column("fan_out_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("content", Document, nullable=False),
        sa.PrimaryKeyConstraint("fan_out_id", "number", name=op.f("pk_fan_out_batches")),
        sa.ForeignKeyConstraint(["fan_out_id"], ["fan_outs.id"], name=op.f("fk_fan_out_batches_fan_out_id")),
    )
