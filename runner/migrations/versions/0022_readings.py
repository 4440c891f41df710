"""A reading for each number of a value: an attempt may see two, as when its bot changes what it read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision: str | None = "0021"
branch_labels: str | None = None
depends_on: str | None = None

_BEFORE = ["job_id", "attempt", "asset_id"]


def upgrade() -> None:
    """Let the number be part of the key."""
    _key([*_BEFORE, "number"])


def downgrade() -> None:
    """Keep the first number of each attempt."""
    op.execute(
        sa.text(
            "DELETE FROM readings AS later WHERE EXISTS (SELECT 1 FROM readings AS one WHERE one.job_id = later.job_id "
            "AND one.attempt = later.attempt AND one.asset_id = later.asset_id AND one.number < later.number)"
        )
    )
    _key(_BEFORE)


def _key(columns: list[str]) -> None:
    with op.batch_alter_table("readings") as table:
        table.drop_constraint("pk_readings", type_="primary")
        table.create_primary_key("pk_readings", columns)
