"""Indexes by which history is narrowed to a cause and to a runner."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision: str | None = "0009"
branch_labels: str | None = None
depends_on: str | None = None

_TAKEN = sa.text("runner IS NOT NULL")


def upgrade() -> None:
    """Make them."""
    op.create_index("ix_jobs_cause", "jobs", ["workspace_id", "cause_kind", "id"])
    op.create_index(
        "ix_jobs_runner", "jobs", ["workspace_id", "runner", "id"], postgresql_where=_TAKEN, sqlite_where=_TAKEN
    )


def downgrade() -> None:
    """Take them away again."""
    op.drop_index("ix_jobs_runner", table_name="jobs")
    op.drop_index("ix_jobs_cause", table_name="jobs")
