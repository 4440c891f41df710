"""The tables of queues, workflows and their runs.

A *flow* is a queue or a workflow. What a run has done is told by the rows of its jobs; `run_tries` only says which
job was made for which step, and its key is what keeps a step from being begun twice.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, SmallInteger, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column
from uuid_utils.compat import uuid7

from vault.models import ACTOR_LENGTH, Model

#: What a partial index calls a run that has ended.
ENDED_RUNS = text("finished_at IS NOT NULL")

#: What a partial index calls a flow that can be run, a run that has not ended, and a try whose end nobody has seen.
PRESENT_FLOWS, OPEN_RUNS, UNSEEN_TRIES = text("removed_at IS NULL"), text("state = 'running'"), text("NOT seen")


class Flow(Model):
    """A queue or a workflow (`kind`). A removed one keeps its row, so that history can name it."""

    __tablename__ = "flows"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid7)
    workspace_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("workspaces.id"))
    kind: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(128))
    #: The number of the version that new runs begin with.
    version: Mapped[int]
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(ACTOR_LENGTH))
    removed_at: Mapped[datetime | None]
    pause_requested_at: Mapped[datetime | None]
    pause_requested_by: Mapped[str | None] = mapped_column(String(ACTOR_LENGTH))

    __table_args__ = (
        Index(
            "uq_flows_present",
            "workspace_id",
            "kind",
            "name",
            unique=True,
            postgresql_where=PRESENT_FLOWS,
            sqlite_where=PRESENT_FLOWS,
        ),
    )


class FlowVersion(Model):
    """One immutable definition of a flow; a run keeps the one that it began with."""

    __tablename__ = "flow_versions"

    flow_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("flows.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    definition: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(ACTOR_LENGTH))


class FlowArrangement(Model):
    """Where people put the steps of a flow in its drawing, by step; a flow that nobody arranged has no row."""

    __tablename__ = "flow_arrangements"

    flow_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("flows.id"), primary_key=True)
    places: Mapped[dict[str, Any]]
    changed_at: Mapped[datetime]
    changed_by: Mapped[str] = mapped_column(String(ACTOR_LENGTH))


class Run(Model):
    """One run of a flow in an environment; `state` is `running` until the rows of its jobs say how it ended."""

    __tablename__ = "runs"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid7)
    workspace_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("workspaces.id"))
    flow_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("flows.id"))
    version: Mapped[int]
    environment: Mapped[str] = mapped_column(String(16))
    group_name: Mapped[str] = mapped_column(String(64))
    priority: Mapped[int] = mapped_column(SmallInteger)
    parameters: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(String(32))
    detail: Mapped[str | None] = mapped_column(Text)
    cause_kind: Mapped[str] = mapped_column(String(32))
    cause_name: Mapped[str] = mapped_column(String(ACTOR_LENGTH))
    cause_id: Mapped[str | None] = mapped_column(String(64))
    #: Who asked for it; this one may not answer its approvals.
    requested_by: Mapped[str] = mapped_column(String(ACTOR_LENGTH))
    idempotency_key: Mapped[str | None] = mapped_column(String(200))
    restart_of: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("runs.id"))
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    deadline_at: Mapped[datetime | None]
    timed_out_at: Mapped[datetime | None]
    #: When it is looked at though none of its jobs ended.
    look_at: Mapped[datetime]
    pause_requested_at: Mapped[datetime | None]
    pause_requested_by: Mapped[str | None] = mapped_column(String(ACTOR_LENGTH))
    cancel_requested_at: Mapped[datetime | None]
    cancel_requested_by: Mapped[str | None] = mapped_column(String(ACTOR_LENGTH))

    __table_args__ = (
        Index("ix_runs_workspace", "workspace_id", "id"),
        Index("ix_runs_flow", "flow_id", "id"),
        Index("ix_runs_ended", "flow_id", "finished_at", postgresql_where=ENDED_RUNS, sqlite_where=ENDED_RUNS),
        Index("ix_runs_look", "look_at", postgresql_where=OPEN_RUNS, sqlite_where=OPEN_RUNS),
        Index(
            "uq_runs_idempotency",
            "workspace_id",
            "idempotency_key",
            unique=True,
            postgresql_where=text("idempotency_key IS NOT NULL"),
            sqlite_where=text("idempotency_key IS NOT NULL"),
        ),
    )


class RunTry(Model):
    """Which job was made for which step (and element of its list); the key lets each try be made once."""

    __tablename__ = "run_tries"

    run_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    step: Mapped[str] = mapped_column(String(64), primary_key=True)
    item: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    job_id: Mapped[uuid.UUID | None]
    #: Why there is no job.
    refusal: Mapped[str | None] = mapped_column(Text)
    #: Whether the job is one of the run that this one is a restart of.
    reused: Mapped[bool]
    #: Whether the run was looked at since the job ended; saves looks, and decides nothing.
    seen: Mapped[bool]
    created_at: Mapped[datetime]

    __table_args__ = (
        Index("ix_run_tries_job", "job_id"),
        Index("ix_run_tries_unseen", "job_id", "run_id", postgresql_where=UNSEEN_TRIES, sqlite_where=UNSEEN_TRIES),
    )


class Approval(Model):
    """A question that a run asks a person, and the answer."""

    __tablename__ = "approvals"

    run_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    step: Mapped[str] = mapped_column(String(64), primary_key=True)
    asked_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    answered_at: Mapped[datetime | None]
    answered_by: Mapped[str | None] = mapped_column(String(ACTOR_LENGTH))
    allowed: Mapped[bool | None]
    comment: Mapped[str | None] = mapped_column(Text)
