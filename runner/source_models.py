"""The tables of data sources and of what is asked of them without a job."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column
from uuid_utils.compat import uuid7

from vault.models import ACTOR_LENGTH, Document, Model

#: What a partial index calls a check that no runner has taken.
WAITING_CHECKS = text("runner IS NULL")

#: What a partial index calls a fan-out that has not become jobs yet.
UNFINISHED = text("finished_at IS NULL")


class DataSource(Model):
    """A named SQL or IMAP connection whose definition holds tokens; `bots` is None where every bot may use it."""

    __tablename__ = "data_sources"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid7)
    workspace_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("workspaces.id"))
    name: Mapped[str] = mapped_column(String(128))
    kind: Mapped[str] = mapped_column(String(16))
    definition: Mapped[dict[str, Any]]
    environments: Mapped[list[Any]]
    bots: Mapped[list[Any] | None]
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(ACTOR_LENGTH))
    updated_at: Mapped[datetime]
    updated_by: Mapped[str] = mapped_column(String(ACTOR_LENGTH))

    __table_args__ = (Index("uq_data_sources_name", "workspace_id", "name", unique=True),)


class SourceCheck(Model):
    """One request to try a data source on a runner of an environment, and what that runner answered."""

    __tablename__ = "source_checks"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid7)
    workspace_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("workspaces.id"))
    source: Mapped[str] = mapped_column(String(128))
    environment: Mapped[str] = mapped_column(String(16))
    requested_at: Mapped[datetime]
    requested_by: Mapped[str] = mapped_column(String(ACTOR_LENGTH))
    runner: Mapped[str | None] = mapped_column(String(128))
    claimed_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    ok: Mapped[bool | None]
    answer: Mapped[dict[str, Any] | None]

    __table_args__ = (
        Index(
            "ix_source_checks_waiting",
            "environment",
            "id",
            postgresql_where=WAITING_CHECKS,
            sqlite_where=WAITING_CHECKS,
        ),
    )


class FanOut(Model):
    """One request to start a job for each row, or each batch of rows, of a data source; `runner.fan_outs` moves it on.

    `order` is what every job of it has: group, priority, concurrency, parameters. `rows_per_job` is 0 for one row a
    job.
    """

    __tablename__ = "fan_outs"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid7)
    workspace_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("workspaces.id"))
    source: Mapped[str] = mapped_column(String(128))
    environment: Mapped[str] = mapped_column(String(16))
    bot_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("bots.id"))
    version_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("package_versions.id"))
    order: Mapped[dict[str, Any]]
    rows_per_job: Mapped[int]
    requested_at: Mapped[datetime]
    requested_by: Mapped[str] = mapped_column(String(ACTOR_LENGTH))
    runner: Mapped[str | None] = mapped_column(String(128))
    tries: Mapped[int] = mapped_column(default=0)
    lease_expires_at: Mapped[datetime | None]
    read_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    ok: Mapped[bool | None]
    detail: Mapped[str | None] = mapped_column(Text)
    cancelled_by: Mapped[str | None] = mapped_column(String(ACTOR_LENGTH))
    jobs: Mapped[int] = mapped_column(default=0)

    __table_args__ = (Index("ix_fan_outs_unfinished", "id", postgresql_where=UNFINISHED, sqlite_where=UNFINISHED),)


class FanOutBatch(Model):
    """What one job of a fan-out is given, until the scheduler makes the job; `content` is a row or a list of rows."""

    __tablename__ = "fan_out_batches"

    fan_out_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("fan_outs.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    content: Mapped[Any] = mapped_column(Document)
