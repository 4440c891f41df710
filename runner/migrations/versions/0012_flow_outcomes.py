"""How long records are kept, which files were moved away, who cancelled a fan-out, and the run of a job."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from vault.models import UtcDateTime

revision = "0012"
down_revision: str | None = "0011"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Make the table, the column and the index."""
    op.create_table(
        "record_ages",
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("age", sa.BigInteger(), nullable=False),
        sa.Column("set_at", UtcDateTime(), nullable=False),
        sa.Column("set_by", sa.String(200), nullable=False),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"]),
        sa.PrimaryKeyConstraint("workspace_id", "kind"),
    )
    op.add_column("firings", sa.Column("moved_at", UtcDateTime(), nullable=True))
    op.add_column("fan_outs", sa.Column("cancelled_by", sa.String(200), nullable=True))
    op.create_index("ix_run_tries_job", "run_tries", ["job_id"])


def downgrade() -> None:
    """Take them away again."""
    op.drop_index("ix_run_tries_job", "run_tries")
    op.drop_column("fan_outs", "cancelled_by")
    op.drop_column("firings", "moved_at")
    op.drop_table("record_ages")
