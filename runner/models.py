"""The tables of bots, their packages, jobs, attempts, runners and data sources."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    SmallInteger,
    String,
    Text,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column
from uuid_utils.compat import uuid7

from runner.states import State
from vault.models import ACTOR_LENGTH, Model

#: What a partial index calls a job that is not final.
OPEN_JOBS = text("state IN ('queued', 'running')")

#: What a partial index calls a job that waits for a runner.
QUEUED_JOBS = text("state = 'queued'")

#: What a partial index calls a running job whose bot has a limit.
LIMITED_JOBS = text("state = 'running' AND concurrency IS NOT NULL")


#: What a partial index calls a job that a runner claimed.
TAKEN_JOBS = text("runner IS NOT NULL")

#: What a partial index calls a job that has ended.
ENDED_JOBS = text("finished_at IS NOT NULL")

#: What a partial index calls a bot that can be run.
PRESENT_BOTS = text("removed_at IS NULL")


class Bot(Model):
    """A registered program. A removed bot keeps its row, so that history can name it."""

    __tablename__ = "bots"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid7)
    workspace_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("workspaces.id"))
    name: Mapped[str] = mapped_column(String(128))
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(ACTOR_LENGTH))
    removed_at: Mapped[datetime | None]

    __table_args__ = (
        Index(
            "uq_bots_present",
            "workspace_id",
            "name",
            unique=True,
            postgresql_where=PRESENT_BOTS,
            sqlite_where=PRESENT_BOTS,
        ),
    )


class PackageBlob(Model):
    """The bytes of a canonical package archive, stored once under the SHA-256 of its content."""

    __tablename__ = "package_blobs"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    content: Mapped[bytes] = mapped_column(LargeBinary, deferred=True, deferred_raiseload=True)


class PackageVersion(Model):
    """One immutable version of a bot: which package, what it declares, what it needs."""

    __tablename__ = "package_versions"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid7)
    bot_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("bots.id"))
    number: Mapped[int]
    digest: Mapped[str] = mapped_column(ForeignKey("package_blobs.digest"))
    size: Mapped[int]
    manifest: Mapped[dict[str, Any]]
    dependencies: Mapped[dict[str, Any] | None]
    #: `archive.Listed` by name; `None` for versions of before this was kept. Thousands of names, so asked for by name.
    files: Mapped[dict[str, Any] | None] = mapped_column(deferred=True)
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(ACTOR_LENGTH))

    __table_args__ = (Index("uq_package_versions_number", "bot_id", "number", unique=True),)


class ReadingsNoted(Model):
    """Up to which end of its jobs the readings of a bot were noted in `last_readings`."""

    __tablename__ = "readings_noted"

    bot_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("bots.id"), primary_key=True)
    until: Mapped[datetime]


class Job(Model):
    """One request to run a bot in an environment; the row in History. `runner.jobs` alone changes its state."""

    __tablename__ = "jobs"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid7)
    workspace_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("workspaces.id"))
    bot_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("bots.id"))
    version_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("package_versions.id"))
    environment: Mapped[str] = mapped_column(String(16))
    group_name: Mapped[str] = mapped_column(String(64), default="default")
    state: Mapped[str] = mapped_column(String(16), default=State.QUEUED)
    reason: Mapped[str | None] = mapped_column(String(32))
    detail: Mapped[str | None] = mapped_column(Text)
    exit_code: Mapped[int | None]
    attempt: Mapped[int] = mapped_column(default=0)
    parameters: Mapped[dict[str, Any]] = mapped_column(default=dict)
    cause_kind: Mapped[str] = mapped_column(String(32))
    cause_name: Mapped[str] = mapped_column(String(ACTOR_LENGTH))
    cause_id: Mapped[str | None] = mapped_column(String(64))
    idempotency_key: Mapped[str | None] = mapped_column(String(200))
    retry_of: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("jobs.id"))
    not_before: Mapped[datetime | None]
    created_at: Mapped[datetime]
    published_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    runner: Mapped[str | None] = mapped_column(String(128))
    lease_expires_at: Mapped[datetime | None]
    cancel_requested_at: Mapped[datetime | None]
    cancel_requested_by: Mapped[str | None] = mapped_column(String(ACTOR_LENGTH))
    warnings: Mapped[list[Any]] = mapped_column(default=list)
    #: Of the jobs of a lane that may start, the lowest priority (0 high, 1 normal, 2 low) and then turn is first.
    priority: Mapped[int] = mapped_column(SmallInteger, default=1, server_default=text("1"))
    turn: Mapped[int] = mapped_column(BigInteger, default=0, server_default=text("0"))
    #: The declared limit of the bot's attempts at the same time, as it was when the job was queued.
    concurrency: Mapped[int | None]
    pause_requested_at: Mapped[datetime | None]
    pause_requested_by: Mapped[str | None] = mapped_column(String(ACTOR_LENGTH))
    #: Since when the bot's processes stand still; its runner says so.
    paused_at: Mapped[datetime | None]
    #: How far the bot of `attempt` says it is: `attempt`, `fraction`, `text`, `at`, masked. Only a running job has it.
    progress: Mapped[dict[str, Any] | None]

    __table_args__ = (
        # Ids are UUIDv7: their order is the order of creation, so each list is one range of one index.
        Index("ix_jobs_workspace", "workspace_id", "id"),
        Index("ix_jobs_bot", "bot_id", "id"),
        Index("ix_jobs_bot_state", "bot_id", "state", "id"),
        Index("ix_jobs_environment", "workspace_id", "environment", "id"),
        Index("ix_jobs_state", "workspace_id", "state", "id"),
        Index("ix_jobs_cause", "workspace_id", "cause_kind", "id"),
        Index("ix_jobs_runner", "workspace_id", "runner", "id", postgresql_where=TAKEN_JOBS, sqlite_where=TAKEN_JOBS),
        Index("ix_jobs_open", "state", "id", postgresql_where=OPEN_JOBS, sqlite_where=OPEN_JOBS),
        # A claim takes the first entry of its lane here; an enqueue finds the last turn of its bot there.
        Index(
            "ix_jobs_lane",
            "environment",
            "group_name",
            "priority",
            "turn",
            "id",
            postgresql_where=QUEUED_JOBS,
            sqlite_where=QUEUED_JOBS,
        ),
        Index(
            "ix_jobs_turn",
            "bot_id",
            "environment",
            "group_name",
            "priority",
            "turn",
            postgresql_where=QUEUED_JOBS,
            sqlite_where=QUEUED_JOBS,
        ),
        # What waits for the end of a bot's jobs finds the latest ends here.
        Index("ix_jobs_finished", "bot_id", "finished_at", postgresql_where=ENDED_JOBS, sqlite_where=ENDED_JOBS),
        Index("ix_jobs_limited", "bot_id", postgresql_where=LIMITED_JOBS, sqlite_where=LIMITED_JOBS),
        Index(
            "uq_jobs_idempotency",
            "workspace_id",
            "idempotency_key",
            unique=True,
            postgresql_where=text("idempotency_key IS NOT NULL"),
            sqlite_where=text("idempotency_key IS NOT NULL"),
        ),
    )


class Attempt(Model):
    """One process started for a job; `number` is the fence that refuses late reports."""

    __tablename__ = "attempts"

    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    runner: Mapped[str] = mapped_column(String(128))
    claimed_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    state: Mapped[str] = mapped_column(String(16), default=State.RUNNING)
    reason: Mapped[str | None] = mapped_column(String(32))
    detail: Mapped[str | None] = mapped_column(Text)
    exit_code: Mapped[int | None]
    survivors: Mapped[int | None]
    #: The user of the operating system that its bot had for itself, where it had one.
    user: Mapped[str | None] = mapped_column("os_user", String(64))
    max_rss_kb: Mapped[int | None]
    cpu_seconds: Mapped[float | None]
    #: When each step of `runner.worker.executor` began: name to seconds after the claim.
    steps: Mapped[dict[str, Any] | None]
    paused_seconds: Mapped[float | None]
    #: Who ended the attempt, where a person or another process did.
    ended_by: Mapped[str | None] = mapped_column(String(ACTOR_LENGTH))
    #: When its exit record was found by somebody other than the worker that ran it.
    adopted_at: Mapped[datetime | None]
    #: What its log and its artefacts take in the store.
    log_bytes: Mapped[int | None] = mapped_column(BigInteger)
    artefact_bytes: Mapped[int | None] = mapped_column(BigInteger)
    #: When both were removed from the store, and by which rule.
    pruned_at: Mapped[datetime | None]
    pruned_by: Mapped[str | None] = mapped_column(String(200))


class Artefact(Model):
    """A file that an attempt left in its output folder; the content is in the store, unless it is withheld."""

    __tablename__ = "artefacts"

    job_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    path: Mapped[str] = mapped_column(Text)
    size: Mapped[int] = mapped_column(BigInteger)
    digest: Mapped[str] = mapped_column(String(64))
    masked: Mapped[bool]
    withheld: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (ForeignKeyConstraint(["job_id", "attempt"], ["attempts.job_id", "attempts.number"]),)


class RetentionRule(Model):
    """How long logs and artefacts are kept, for a bot or all (no id), in an environment or all (no name)."""

    __tablename__ = "retention_rules"

    workspace_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("workspaces.id"), primary_key=True)
    bot: Mapped[str] = mapped_column(String(36), primary_key=True)
    environment: Mapped[str] = mapped_column(String(16), primary_key=True)
    #: Seconds and bytes; 0 keeps for ever, nothing leaves it to the next wider rule.
    age: Mapped[int | None] = mapped_column(BigInteger)
    size: Mapped[int | None] = mapped_column(BigInteger)
    set_at: Mapped[datetime]
    set_by: Mapped[str] = mapped_column(String(ACTOR_LENGTH))


class RecordAge(Model):
    """How long the records of one kind are kept, where the workspace decided; see `scheduler.records`."""

    __tablename__ = "record_ages"

    workspace_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("workspaces.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    #: Seconds; 0 keeps for ever.
    age: Mapped[int] = mapped_column(BigInteger)
    set_at: Mapped[datetime]
    set_by: Mapped[str] = mapped_column(String(ACTOR_LENGTH))


class Pruning(Model):
    """How far a bot's jobs in an environment are pruned: all before `up_to`, an id of a job."""

    __tablename__ = "prunings"

    bot_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("bots.id"), primary_key=True)
    environment: Mapped[str] = mapped_column(String(16), primary_key=True)
    up_to: Mapped[uuid.UUID]


class Runner(Model):
    """The daemon on a host: which environments and groups it serves, and when it was last heard of."""

    __tablename__ = "runners"

    name: Mapped[str] = mapped_column(String(128), primary_key=True)
    instance: Mapped[uuid.UUID]
    host: Mapped[str] = mapped_column(String(255))
    version: Mapped[str] = mapped_column(String(32))
    environments: Mapped[list[Any]]
    groups: Mapped[list[Any]]
    concurrency: Mapped[int]
    started_at: Mapped[datetime]
    heartbeat_at: Mapped[datetime]
    stopped_at: Mapped[datetime | None]
    drain_requested_at: Mapped[datetime | None]
    labels: Mapped[dict[str, Any] | None]
    #: What the host's kernel gives to keep bots apart; `runner.worker.isolation` says it.
    isolation: Mapped[dict[str, Any] | None]
    #: Where it stores logs and artefacts, as people may see it.
    log_store: Mapped[str | None] = mapped_column(Text)
    #: Which local values its host has, never what they are; `runner.local_values` says it.
    local_values: Mapped[dict[str, Any] | None]
    #: The ids of the private keys that it holds, by environment, the newest last; `None`: it did not say.
    keys: Mapped[dict[str, Any] | None]
