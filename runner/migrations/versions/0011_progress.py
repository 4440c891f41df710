"""How far a running bot is, and the files of work items."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from vault.models import Document, UtcDateTime

revision = "0011"
down_revision: str | None = "0010"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Make the column and the table."""
    op.add_column("jobs", sa.Column("progress", Document, nullable=True))
    op.create_table(
        "work_item_files",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["work_items.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("uq_work_item_files_name", "work_item_files", ["item_id", "name"], unique=True)


def downgrade() -> None:
    """Take them away again."""
    op.drop_table("work_item_files")
    op.drop_column("jobs", "progress")
