"""What pages show: the files of each package version, and when a value was last read for which bot."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from vault.models import Document, UtcDateTime

revision = "0016"
down_revision: str | None = "0014"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Add the column and make the tables."""
    op.add_column("package_versions", sa.Column("files", Document, nullable=True))
    op.create_table(
        "last_readings",
        sa.Column("asset_id", sa.Uuid(), nullable=False),
        sa.Column("environment", sa.String(16), nullable=False),
        sa.Column("bot_id", sa.Uuid(), nullable=False),
        sa.Column("read_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("asset_id", "environment", "bot_id"),
    )
    op.create_table(
        "readings_noted",
        sa.Column("bot_id", sa.Uuid(), nullable=False),
        sa.Column("until", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["bot_id"], ["bots.id"]),
        sa.PrimaryKeyConstraint("bot_id"),
    )


def downgrade() -> None:
    """Take them away again."""
    op.drop_table("readings_noted")
    op.drop_table("last_readings")
    op.drop_column("package_versions", "files")
