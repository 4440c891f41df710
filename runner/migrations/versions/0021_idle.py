"""What the scheduler asks each second: which work items are past their deadline."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision: str | None = "0020"
branch_labels: str | None = None
depends_on: str | None = None

_LIMITED = sa.text("state = 'waiting' AND deadline IS NOT NULL")


def upgrade() -> None:
    """Make the index."""
    op.create_index(
        "ix_work_items_deadline", "work_items", ["deadline"], postgresql_where=_LIMITED, sqlite_where=_LIMITED
    )


def downgrade() -> None:
    """Take it away again."""
    op.drop_index("ix_work_items_deadline", table_name="work_items")
