"""Queues, workflows, their runs and approvals, results of attempts, and work items."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from vault.models import Document, UtcDateTime

revision = "0007"
down_revision: str | None = "0006"
branch_labels: str | None = None
depends_on: str | None = None

#: Tables in the order in which they can be made.
TABLES = ("flows", "flow_versions", "runs", "run_tries", "approvals", "attempt_results", "work_items")


def upgrade() -> None:
    """Make the tables."""
    _flows()
    _runs()
    _run_tries()
    _work_items()
    op.create_table(
        "attempt_results",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("value", Document, nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "attempt", "key", name="pk_attempt_results"),
    )


def downgrade() -> None:
    """Take them away again."""
    for table in reversed(TABLES):
        op.drop_table(table)


def _flows() -> None:
    op.create_table(
        "flows",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.String(200), nullable=False),
        sa.Column("removed_at", UtcDateTime(), nullable=True),
        sa.Column("pause_requested_at", UtcDateTime(), nullable=True),
        sa.Column("pause_requested_by", sa.String(200), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_flows"),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name="fk_flows_workspace_id"),
    )
    _index("uq_flows_present", "flows", ["workspace_id", "kind", "name"], where="removed_at IS NULL", unique=True)
    op.create_table(
        "flow_versions",
        sa.Column("flow_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("definition", Document, nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("flow_id", "number", name="pk_flow_versions"),
        sa.ForeignKeyConstraint(["flow_id"], ["flows.id"], name="fk_flow_versions_flow_id"),
    )


def _runs() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("flow_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("environment", sa.String(16), nullable=False),
        sa.Column("group_name", sa.String(64), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("parameters", Document, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(32), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("cause_kind", sa.String(32), nullable=False),
        sa.Column("cause_name", sa.String(200), nullable=False),
        sa.Column("cause_id", sa.String(64), nullable=True),
        sa.Column("requested_by", sa.String(200), nullable=False),
        sa.Column("idempotency_key", sa.String(200), nullable=True),
        sa.Column("restart_of", sa.Uuid(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.Column("deadline_at", UtcDateTime(), nullable=True),
        sa.Column("timed_out_at", UtcDateTime(), nullable=True),
        sa.Column("look_at", UtcDateTime(), nullable=False),
        sa.Column("pause_requested_at", UtcDateTime(), nullable=True),
        sa.Column("pause_requested_by", sa.String(200), nullable=True),
        sa.Column("cancel_requested_at", UtcDateTime(), nullable=True),
        sa.Column("cancel_requested_by", sa.String(200), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name="fk_runs_workspace_id"),
        sa.ForeignKeyConstraint(["flow_id"], ["flows.id"], name="fk_runs_flow_id"),
        sa.ForeignKeyConstraint(["restart_of"], ["runs.id"], name="fk_runs_restart_of"),
    )
    op.create_index("ix_runs_workspace", "runs", ["workspace_id", "id"])
    op.create_index("ix_runs_flow", "runs", ["flow_id", "id"])
    _index("ix_runs_ended", "runs", ["flow_id", "finished_at"], where="finished_at IS NOT NULL")
    _index("ix_runs_look", "runs", ["look_at"], where="state = 'running'")
    named = "idempotency_key IS NOT NULL"
    _index("uq_runs_idempotency", "runs", ["workspace_id", "idempotency_key"], where=named, unique=True)


def _run_tries() -> None:
    op.create_table(
        "run_tries",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("step", sa.String(64), nullable=False),
        sa.Column("item", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("refusal", sa.Text(), nullable=True),
        sa.Column("reused", sa.Boolean(), nullable=False),
        sa.Column("seen", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "step", "item", "number", name="pk_run_tries"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_run_tries_run_id"),
    )
    _index("ix_run_tries_unseen", "run_tries", ["job_id", "run_id"], where="NOT seen")
    op.create_table(
        "approvals",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("step", sa.String(64), nullable=False),
        sa.Column("asked_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("answered_at", UtcDateTime(), nullable=True),
        sa.Column("answered_by", sa.String(200), nullable=True),
        sa.Column("allowed", sa.Boolean(), nullable=True),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("run_id", "step", name="pk_approvals"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_approvals_run_id"),
    )


def _work_items() -> None:
    op.create_table(
        "work_items",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("tray", sa.String(64), nullable=False),
        sa.Column("environment", sa.String(16), nullable=False),
        sa.Column("reference", sa.String(200), nullable=True),
        sa.Column("data", Document, nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("deadline", UtcDateTime(), nullable=True),
        sa.Column("not_before", UtcDateTime(), nullable=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(32), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("result", Document, nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("retries", sa.Integer(), nullable=False),
        sa.Column("retry_delay", sa.Double(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.String(200), nullable=False),
        sa.Column("reserved_at", UtcDateTime(), nullable=True),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_work_items"),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name="fk_work_items_workspace_id"),
    )
    op.create_index("ix_work_items_workspace", "work_items", ["workspace_id", "id"])
    op.create_index("ix_work_items_tray", "work_items", ["workspace_id", "tray", "id"])
    next_of = ["workspace_id", "tray", "environment", "priority", "deadline", "id"]
    _index("ix_work_items_next", "work_items", next_of, where="state = 'waiting'")
    _index("ix_work_items_held", "work_items", ["job_id"], where="state = 'reserved'")
    unique = ["workspace_id", "tray", "environment", "reference"]
    _index("uq_work_items_reference", "work_items", unique, where="reference IS NOT NULL", unique=True)


def _index(name: str, table: str, columns: list[str], *, where: str, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, unique=unique, postgresql_where=condition, sqlite_where=condition)
