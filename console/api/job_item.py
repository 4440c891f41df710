"""A job, its attempts and its readings as the API answers them: their own words, never a value."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from runner import progress
from runner.history import Entry
from runner.jobs import Priority
from runner.models import Attempt
from runner.states import State
from runner.waiting import Obstacle
from vault.models import Reading


class CauseItem(BaseModel):
    """What started a job."""

    kind: str
    name: str
    id: str | None


class AttemptItem(BaseModel):
    """One process that was started for a job."""

    number: int
    runner: str
    state: str
    reason: str | None
    detail: str | None
    exit_code: int | None
    claimed_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    survivors: int | None
    user: str | None = Field(description="The user of the operating system that its bot had for itself, if it had one.")
    max_rss_kb: int | None
    cpu_seconds: float | None
    paused_seconds: float | None
    steps: dict[str, float] | None = Field(description="When each step began, in seconds after the claim.")
    ended_by: str | None = Field(description="Who or what ended it, where it did not end by itself.")
    adopted_at: datetime | None = Field(description="When its end was found in its launcher's record.")
    log_bytes: int | None = Field(description="What its log takes in the store.")
    artefact_bytes: int | None = Field(description="What the files take that it left.")
    pruned_at: datetime | None = Field(description="When its log and its files were removed from the store.")
    pruned_by: str | None = Field(description="By which rule.")


class ProgressItem(BaseModel):
    """How far a bot says it is."""

    fraction: float | None = Field(description="From 0 to 1, where it says so.")
    text: str
    at: datetime


class ReadingItem(BaseModel):
    """A value that an attempt was given, by its number."""

    asset: str
    scope: str
    number: int
    attempt: int


class JobItem(BaseModel):
    """A job as lists show it."""

    id: uuid.UUID
    bot: str
    version: int
    environment: str
    group: str
    priority: str
    state: str
    reason: str | None
    detail: str | None
    exit_code: int | None
    attempt: int
    not_before: datetime | None = Field(description="When the next attempt of a queued job may begin.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None
    pause_requested_at: datetime | None
    pause_requested_by: str | None
    paused_at: datetime | None
    runner: str | None
    cause: CauseItem
    parameters: dict[str, Any]
    warnings: list[Any]
    retry_of: uuid.UUID | None
    progress: ProgressItem | None = Field(description="Of a running job whose bot calls `botkeep.progress`.")


class WaitItem(BaseModel):
    """What a queued job waits for: a code for programs, and a sentence that says what to do about it."""

    code: Obstacle
    sentence: str


class JobAccepted(JobItem):
    """A new job; where it names a group of runners, also what it waits for."""

    waiting_for: WaitItem | None = None


class JobDetail(JobItem):
    """A job with its attempts and the values they were given, and what it waits for while it is queued."""

    waiting_for: WaitItem | None
    attempts: list[AttemptItem]
    readings: list[ReadingItem]
    results: dict[str, Any] = Field(description="What the last attempt gave with `botkeep.output`, masked.")


def job_item(entry: Entry) -> JobItem:
    """A job as lists show it; inside the transaction that read it."""
    job = entry.job
    return JobItem(
        id=job.id,
        bot=entry.bot,
        version=entry.version,
        environment=job.environment,
        group=job.group_name,
        priority=Priority(job.priority).word,
        state=job.state,
        reason=job.reason,
        detail=job.detail,
        exit_code=job.exit_code,
        attempt=job.attempt,
        not_before=job.not_before if job.state == State.QUEUED else None,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        cancel_requested_at=job.cancel_requested_at,
        pause_requested_at=job.pause_requested_at,
        pause_requested_by=job.pause_requested_by,
        paused_at=job.paused_at,
        runner=job.runner,
        cause=CauseItem(kind=job.cause_kind, name=job.cause_name, id=job.cause_id),
        parameters=job.parameters,
        warnings=job.warnings,
        retry_of=job.retry_of,
        progress=None if (said := progress.of(job)) is None else ProgressItem(**said),
    )


def attempt_item(attempt: Attempt) -> AttemptItem:
    """An attempt; its steps in the order of their times."""
    given = {name: getattr(attempt, name) for name in AttemptItem.model_fields}
    if attempt.steps is not None:  # PostgreSQL keeps no order of keys
        given["steps"] = dict(sorted(attempt.steps.items(), key=lambda step: step[1]))
    return AttemptItem(**given)


def reading_item(reading: Reading) -> ReadingItem:
    """A reading: which number of which asset, never more."""
    return ReadingItem(asset=reading.asset, scope=reading.scope, number=reading.number, attempt=reading.attempt)
