"""Jobs over HTTP: run a bot, see history, cancel, retry.

A job is announced to the runners after its transaction; where the broker is away the answer is the same,
since the job waits in the database.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from console.deps import Allowed, Call, Limit, publish
from console.paging import Page
from console.text import JsonObject, Text
from runner import history, jobs, requests
from runner.errors import Conflict, NotFound
from runner.history import Entry, Filter
from runner.jobs import Cause, Priority
from runner.models import Attempt
from runner.states import State
from vault import audit
from vault.models import Reading
from vault.names import ENVIRONMENTS, shown

router = APIRouter(prefix="/api/v1/jobs", tags=["jobs"])


class Order(BaseModel):
    """What is asked for; parameters may hold references to assets, which stay references."""

    model_config = ConfigDict(extra="forbid")

    bot: Text
    environment: Text = ENVIRONMENTS[0]
    parameters: JsonObject = Field(default_factory=dict)
    idempotency_key: Text | None = None
    group: Text | None = None
    priority: Text = Priority.NORMAL.word


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
    max_rss_kb: int | None
    cpu_seconds: float | None
    steps: dict[str, float] | None = Field(description="When each step began, in seconds after the claim.")
    ended_by: str | None = Field(description="Who or what ended it, where it did not end by itself.")
    adopted_at: datetime | None = Field(description="When its end was found in its launcher's record.")


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
    runner: str | None
    cause: CauseItem
    parameters: dict[str, Any]
    warnings: list[Any]
    retry_of: uuid.UUID | None


class JobDetail(JobItem):
    """A job with its attempts and the values they were given."""

    attempts: list[AttemptItem]
    readings: list[ReadingItem]


@router.get("", summary="List jobs")
def listed(
    call: Allowed,
    *,
    bot: str | None = None,
    environment: str | None = None,
    state: str | None = None,
    limit: Limit = 50,
    after: Annotated[uuid.UUID | None, Query(description="The `next` of the page before.")] = None,
) -> Page[JobItem]:
    """History, the newest first."""
    narrow = Filter(bot=bot, environment=environment, state=state)
    with call.reading() as session:
        entries = history.page(session, narrow, workspace_id=call.workspace_id, limit=limit, after=after)
        items = [job_item(entry) for entry in entries]
    return Page(items=items, next=str(items[-1].id) if len(items) == limit else None)


@router.post(
    "",
    status_code=201,
    summary="Run a bot",
    responses={200: {"model": JobItem, "description": "The key made this job before."}},
)
def enqueue(call: Allowed, order: Order, response: Response) -> JobItem:
    """Queue a job; a repeated idempotency key answers the job that it made."""
    call.require_environment(order.environment)
    try:
        item, new = _enqueue(call, order)
    except IntegrityError:
        if order.idempotency_key is None:
            raise
        item, new = _enqueue(call, order)  # another request used the key a moment ago
    if not new:
        response.status_code = 200
    return item


@router.get("/{job_id}", summary="Show a job")
def show(call: Allowed, job_id: str) -> JobDetail:
    """A job, its attempts, and which numbers of which assets they were given."""
    with call.reading() as session:
        found = history.detail(session, parse_id(job_id), workspace_id=call.workspace_id)
        item = job_item(found.entry)
    return JobDetail(
        **item.model_dump(),
        attempts=[_attempt(attempt) for attempt in found.attempts],
        readings=[_reading(reading) for reading in found.readings],
    )


@router.post("/{job_id}/cancellation", summary="Cancel a job")
def cancel(call: Allowed, job_id: str) -> JobItem:
    """Cancel a queued job at once; ask the runner of a running one to stop its bot."""
    with call.writing() as session:
        entry = history.entry(session, parse_id(job_id), workspace_id=call.workspace_id)
        call.require_environment(entry.job.environment)
        jobs.cancel(session, entry.job, actor=call.actor, now=call.now)
        _record(session, call, entry)
        session.refresh(entry.job)
        return job_item(entry)


@router.post("/{job_id}/retry", status_code=201, summary="Run a job again")
def retry(call: Allowed, job_id: str) -> JobItem:
    """Queue a new job like one that has ended, with the bot's newest version."""
    with call.writing() as session:
        old = history.entry(session, parse_id(job_id), workspace_id=call.workspace_id)
        call.require_environment(old.job.environment)
        if not jobs.is_final(old.job.state):
            raise Conflict(f"Job {old.job.id} has not ended ({old.job.state}); cancel it, or wait for its end.")
        request = requests.prepare(
            session,
            old.bot,
            workspace_id=call.workspace_id,
            cause=Cause("retry", call.caller.name, str(old.job.id)),
            environment=old.job.environment,
            parameters=old.job.parameters,
            group=old.job.group_name,
            priority=Priority(old.job.priority),
            retry_of=old.job.id,
        )
        entry = _insert(session, call, request)
        item = job_item(entry)
    _announce(call, entry)
    return item


def parse_id(text: str) -> uuid.UUID:
    """The id of a job.

    Raises:
        NotFound: for text that can be none, since there is no such job.
    """
    try:
        parsed = uuid.UUID(text)
    except ValueError:
        parsed = None
    if parsed is None or str(parsed) != text.lower():
        raise NotFound(f"There is no job {shown(text)}; see `botkeep job list`.")
    return parsed


def _enqueue(call: Call, order: Order) -> tuple[JobItem, bool]:
    with call.writing() as session:
        former = _former(session, call, order)
        if former is not None:
            return job_item(former), False
        request = requests.prepare(
            session,
            order.bot,
            workspace_id=call.workspace_id,
            cause=Cause("api", call.caller.name),
            environment=order.environment,
            parameters=order.parameters,
            group=order.group,
            priority=Priority.of(order.priority),
            idempotency_key=order.idempotency_key,
        )
        entry = _insert(session, call, request)
        item = job_item(entry)
    _announce(call, entry)
    return item, True


def _former(session: Session, call: Call, order: Order) -> Entry | None:
    """The job that the order's key made; a key that was used for something else is refused."""
    if order.idempotency_key is None:
        return None
    job_id = history.by_idempotency_key(session, order.idempotency_key, workspace_id=call.workspace_id)
    if job_id is None:
        return None
    former = history.entry(session, job_id, workspace_id=call.workspace_id)
    given = order.parameters.items()
    if (former.bot, former.job.environment) != (order.bot, order.environment) or any(
        former.job.parameters.get(name) != value for name, value in given
    ):
        raise Conflict(
            f"This idempotency key made job {job_id}, which runs {former.bot} in {former.job.environment} and is "
            "not what is asked for now; use another key."
        )
    return former


def _insert(session: Session, call: Call, request: jobs.Request) -> Entry:
    job_id = jobs.enqueue(session, request, now=call.now)
    entry = history.entry(session, job_id, workspace_id=call.workspace_id)
    _record(session, call, entry)
    return entry


def _announce(call: Call, entry: Entry) -> None:
    job = entry.job
    publish(call, job.id, environment=job.environment, group=job.group_name, bot_id=job.bot_id)


def _record(session: Session, call: Call, entry: Entry) -> None:
    audit.record(
        session,
        call.actor,
        workspace_id=call.workspace_id,
        action=call.action,
        target=f"job {entry.job.id} of bot {entry.bot}",
        environment=entry.job.environment,
        now=call.now,
    )


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
        runner=job.runner,
        cause=CauseItem(kind=job.cause_kind, name=job.cause_name, id=job.cause_id),
        parameters=job.parameters,
        warnings=job.warnings,
        retry_of=job.retry_of,
    )


def _attempt(attempt: Attempt) -> AttemptItem:
    given = {name: getattr(attempt, name) for name in AttemptItem.model_fields}
    if attempt.steps is not None:  # PostgreSQL keeps no order of keys
        given["steps"] = dict(sorted(attempt.steps.items(), key=lambda step: step[1]))
    return AttemptItem(**given)


def _reading(reading: Reading) -> ReadingItem:
    return ReadingItem(asset=reading.asset, scope=reading.scope, number=reading.number, attempt=reading.attempt)
