"""The tables of triggers, their firings and calendars, as every process that fires something knows them.

A firing is unique by its trigger and its key: the instant of a schedule, the delivery of a webhook, the file, the
message, the job that ended. Its row stands in the transaction that inserts what it starts, so that any number of
schedulers and repetitions start one job. A runner that sees a file or a message only leaves a `pending` firing;
the scheduler starts it, since no runner may insert jobs.
"""

from __future__ import annotations

import hashlib
import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column
from uuid_utils.compat import uuid7

from vault.models import ACTOR_LENGTH, Model

#: The longest key of a firing; a longer one is kept as its digest.
KEY_LENGTH = 300

#: What a partial index calls a trigger that is in use.
PRESENT_TRIGGERS = text("removed_at IS NULL")

#: What a partial index calls a trigger whose time will come.
TIMED_TRIGGERS = text("next_fire_at IS NOT NULL")

#: What a partial index calls a firing that nobody has decided about.
PENDING_FIRINGS = text("state = 'pending'")

#: What a partial index calls a firing that started something.
STARTED_FIRINGS = text("started_id IS NOT NULL")


class Kind(StrEnum):
    """What fires a trigger."""

    SCHEDULE = "schedule"
    WEBHOOK = "webhook"
    EMAIL = "email"
    FILE = "file"
    COMPLETION = "completion"


class FiringState(StrEnum):
    """How far a firing has come."""

    PENDING = "pending"
    """A runner saw something; the scheduler has not decided yet."""

    STARTED = "started"
    """It started a job, a queue or a workflow."""

    SKIPPED = "skipped"
    """A policy said no; `why` is the sentence."""

    FAILED = "failed"
    """What it should start cannot be started; `why` is the sentence. The same key may be tried again."""


def storable_key(key: str) -> str:
    """The key of a firing, or its digest where it is too long or holds what no database stores."""
    if len(key) <= KEY_LENGTH and key.isprintable() and key.isascii():
        return key
    return f"sha256:{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}"


class Trigger(Model):
    """What starts something, and when. `definition` is what the operator wrote, checked and with its defaults."""

    __tablename__ = "triggers"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid7)
    workspace_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("workspaces.id"))
    name: Mapped[str] = mapped_column(String(128))
    kind: Mapped[str] = mapped_column(String(16))
    target_kind: Mapped[str] = mapped_column(String(16))
    target: Mapped[str] = mapped_column(String(128))
    environment: Mapped[str] = mapped_column(String(16))
    group_name: Mapped[str] = mapped_column(String(64))
    parameters: Mapped[dict[str, Any]]
    definition: Mapped[dict[str, Any]]
    enabled: Mapped[bool]
    paused_at: Mapped[datetime | None]
    paused_by: Mapped[str | None] = mapped_column(String(ACTOR_LENGTH))
    #: The next instant as its schedule says it, and when that is due, which is later by the jitter.
    next_instant: Mapped[datetime | None]
    next_fire_at: Mapped[datetime | None]
    #: Ends of jobs before this time were looked at; completion triggers only.
    watched_until: Mapped[datetime | None]
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(ACTOR_LENGTH))
    changed_at: Mapped[datetime]
    removed_at: Mapped[datetime | None]

    __table_args__ = (
        Index(
            "uq_triggers_present",
            "workspace_id",
            "name",
            unique=True,
            postgresql_where=PRESENT_TRIGGERS,
            sqlite_where=PRESENT_TRIGGERS,
        ),
        Index("ix_triggers_due", "next_fire_at", postgresql_where=TIMED_TRIGGERS, sqlite_where=TIMED_TRIGGERS),
        Index("ix_triggers_kind", "kind", postgresql_where=PRESENT_TRIGGERS, sqlite_where=PRESENT_TRIGGERS),
    )

    @property
    def active(self) -> bool:
        """Whether it fires at all now."""
        return self.enabled and self.paused_at is None and self.removed_at is None


class Firing(Model):
    """One time that a trigger fired: what it started, or why it did not."""

    __tablename__ = "firings"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid7)
    trigger_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("triggers.id"))
    key: Mapped[str] = mapped_column(String(KEY_LENGTH))
    state: Mapped[str] = mapped_column(String(16))
    #: The instant of a schedule, or when the event came.
    instant: Mapped[datetime]
    why: Mapped[str | None] = mapped_column(Text)
    #: What the event said, while it is pending or failed.
    event: Mapped[dict[str, Any] | None]
    started_kind: Mapped[str | None] = mapped_column(String(16))
    started_id: Mapped[uuid.UUID | None]
    #: How many firings led to this one, each by the end of what the one before started.
    depth: Mapped[int]
    created_at: Mapped[datetime]
    #: When a runner moved the file away that it is about; until then the row keeps the file from firing again.
    moved_at: Mapped[datetime | None]

    __table_args__ = (
        Index("uq_firings_key", "trigger_id", "key", unique=True),
        Index("ix_firings_trigger", "trigger_id", "id"),
        Index("ix_firings_pending", "id", postgresql_where=PENDING_FIRINGS, sqlite_where=PENDING_FIRINGS),
        Index("ix_firings_started", "started_id", postgresql_where=STARTED_FIRINGS, sqlite_where=STARTED_FIRINGS),
    )


class Calendar(Model):
    """Named days on which schedules that name it do not fire: a list of `YYYY-MM-DD`, in the schedule's zone."""

    __tablename__ = "calendars"

    workspace_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("workspaces.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(128), primary_key=True)
    days: Mapped[list[Any]]
    changed_at: Mapped[datetime]
    changed_by: Mapped[str] = mapped_column(String(ACTOR_LENGTH))
