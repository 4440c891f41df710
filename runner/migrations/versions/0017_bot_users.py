"""The user that a bot had for itself, by attempt."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision: str | None = "0016"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("attempts", sa.Column("os_user", sa.String(64), nullable=True))


def downgrade() -> None:
    """Take it away again."""
    op.drop_column("attempts", "os_user")
