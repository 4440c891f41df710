"""Where people put the steps of a workflow in its drawing."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from vault.models import Document, UtcDateTime

revision = "0020"
down_revision: str | None = "0019"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "flow_arrangements",
        sa.Column("flow_id", sa.Uuid(), nullable=False),
        sa.Column("places", Document, nullable=False),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.Column("changed_by", sa.String(200), nullable=False),
        sa.ForeignKeyConstraint(["flow_id"], ["flows.id"]),
        sa.PrimaryKeyConstraint("flow_id"),
    )


def downgrade() -> None:
    """Take it away again."""
    op.drop_table("flow_arrangements")
