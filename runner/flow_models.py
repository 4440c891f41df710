"""The tables of what bots give one another: results of attempts, and work items."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary, SmallInteger, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column
from uuid_utils.compat import uuid7

from vault.models import ACTOR_LENGTH, Model

#: What a partial index calls a work item that may be reserved, and one that a bot holds.
WAITING_ITEMS, RESERVED_ITEMS = text("state = 'waiting'"), text("state = 'reserved'")

#: What a partial index calls a work item that nobody may reserve after a time.
LIMITED_ITEMS = text("state = 'waiting' AND deadline IS NOT NULL")


class AttemptResult(Model):
    """One result that a bot gave with `botkeep.output(key, value)`, masked; a second of a key replaces the first."""

    __tablename__ = "attempt_results"

    job_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    #: `{"is": value}`, since a database does not tell a JSON null from no value.
    value: Mapped[dict[str, Any]]
    size: Mapped[int]
    at: Mapped[datetime]


class WorkItem(Model):
    """One piece of data in a tray, which one bot at a time reserves. `runner.work_items` alone changes its state."""

    __tablename__ = "work_items"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid7)
    workspace_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("workspaces.id"))
    tray: Mapped[str] = mapped_column(String(64))
    environment: Mapped[str] = mapped_column(String(16))
    reference: Mapped[str | None] = mapped_column(String(200))
    #: `{"is": data}`, as above.
    data: Mapped[dict[str, Any]]
    priority: Mapped[int] = mapped_column(SmallInteger)
    deadline: Mapped[datetime | None]
    not_before: Mapped[datetime | None]
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(String(32))
    detail: Mapped[str | None] = mapped_column(Text)
    result: Mapped[dict[str, Any] | None]
    #: How often it was reserved since it was added or retried by a person.
    tries: Mapped[int]
    retries: Mapped[int]
    retry_delay: Mapped[float]
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(ACTOR_LENGTH))
    reserved_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    #: The attempt that holds it, or held it last.
    job_id: Mapped[uuid.UUID | None]
    attempt: Mapped[int | None]

    __table_args__ = (
        Index("ix_work_items_workspace", "workspace_id", "id"),
        Index("ix_work_items_tray", "workspace_id", "tray", "id"),
        Index(
            "ix_work_items_next",
            "workspace_id",
            "tray",
            "environment",
            "priority",
            "deadline",
            "id",
            postgresql_where=WAITING_ITEMS,
            sqlite_where=WAITING_ITEMS,
        ),
        Index("ix_work_items_deadline", "deadline", postgresql_where=LIMITED_ITEMS, sqlite_where=LIMITED_ITEMS),
        Index("ix_work_items_held", "job_id", postgresql_where=RESERVED_ITEMS, sqlite_where=RESERVED_ITEMS),
        Index(
            "uq_work_items_reference",
            "workspace_id",
            "tray",
            "environment",
            "reference",
            unique=True,
            postgresql_where=text("reference IS NOT NULL"),
            sqlite_where=text("reference IS NOT NULL"),
        ),
    )


class WorkItemFile(Model):
    """A file of a work item; goes with it."""

    __tablename__ = "work_item_files"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid7)
    item_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("work_items.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(255))
    size: Mapped[int]
    content: Mapped[bytes] = mapped_column(LargeBinary, deferred=True, deferred_raiseload=True)
    created_at: Mapped[datetime]

    __table_args__ = (Index("uq_work_item_files_name", "item_id", "name", unique=True),)
