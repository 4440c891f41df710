"""Assets whose values live on runners' hosts, and what runners say of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from vault.models import Document

revision = "0010"
down_revision: str | None = "0009"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Add the columns."""
    op.add_column("assets", sa.Column("local", sa.Boolean(), nullable=False, server_default=sa.text("false")))
    local = sa.column("local", sa.Boolean()).is_(True)
    op.create_index("ix_assets_local", "assets", ["bot_id"], postgresql_where=local, sqlite_where=local)
    op.add_column("runners", sa.Column("local_values", Document, nullable=True))


def downgrade() -> None:
    """Take them away again."""
    op.drop_column("runners", "local_values")
    op.drop_index("ix_assets_local", table_name="assets")
    op.drop_column("assets", "local")
