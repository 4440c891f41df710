"""The ledger of messages that consumers were given."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from vault.models import UtcDateTime

revision = "0005"
down_revision: str | None = "0004"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "mail_messages",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("source", sa.String(128), nullable=False),
        sa.Column("environment", sa.String(16), nullable=False),
        sa.Column("consumer", sa.String(64), nullable=False),
        sa.Column("folder", sa.String(255), nullable=False),
        sa.Column("uid_validity", sa.BigInteger(), nullable=False),
        sa.Column("uid", sa.BigInteger(), nullable=False),
        sa.Column("print", sa.String(64), nullable=False),
        sa.Column("firing_id", sa.Uuid(), nullable=True),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("taken_at", UtcDateTime(), nullable=False),
        sa.Column("settled_at", UtcDateTime(), nullable=True),
        sa.Column("marked_at", UtcDateTime(), nullable=True),
        sa.Column("mark_after", UtcDateTime(), nullable=True),
        sa.Column("mark_tries", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mail_messages")),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name=op.f("fk_mail_messages_workspace_id")),
    )
    place = ["workspace_id", "source", "environment", "consumer", "folder", "uid_validity", "uid"]
    op.create_index("uq_mail_messages_place", "mail_messages", place, unique=True)
    op.create_index("ix_mail_messages_firing", "mail_messages", ["firing_id"])
    _partial("ix_mail_messages_open", ["environment", "job_id"], where="settled_at IS NULL")
    _partial("ix_mail_messages_unmarked", ["environment"], where="settled_at IS NOT NULL AND marked_at IS NULL")


def downgrade() -> None:
    """Take it away again."""
    op.drop_table("mail_messages")


def _partial(name: str, columns: list[str], *, where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, "mail_messages", columns, postgresql_where=condition, sqlite_where=condition)
