"""Jobs over HTTP: run a bot, see history, cancel, pause, resume, retry.

A job is announced to the runners after its transaction; where the broker is away the answer is the same,
since the job waits in the database. What people want of a running job is said to its runner after the transaction,
too, and found by it within seconds where the broker is away.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from console.api.job_item import JobAccepted, JobDetail, JobItem, WaitItem, attempt_item, job_item, reading_item
from console.deps import Allowed, Call, Limit, publish
from console.health import broker_answers
from console.paging import Page
from console.text import JsonObject, Text
from runner import history, jobs, orders, pauses, requests, results, signals, waiting
from runner.errors import Conflict, NotFound
from runner.history import Entry
from runner.jobs import Cause, Priority
from runner.narrowing import Filter
from runner.orders import Asker
from runner.states import State
from runner.waiting import Situation
from vault import audit
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


def narrowed(
    *,
    bot: Text | None = None,
    environment: str | None = None,
    state: Annotated[str | None, Query(description="A state, or `paused` for what waits to be resumed.")] = None,
    cause: Annotated[Text | None, Query(description="A kind, alone or with a name: `trigger:nightly`.")] = None,
    runner: Text | None = None,
    since: Annotated[AwareDatetime | None, Query(description="Made at this time or later.")] = None,
    until: Annotated[AwareDatetime | None, Query(description="Made before this time.")] = None,
    text: Annotated[
        Text | None,
        Query(max_length=200, description="In the bot's name, the cause, the detail, the parameters; or a job's id."),
    ] = None,
) -> Filter:
    """What a query says of the jobs that are wanted."""
    return Filter(bot, environment, state, cause, runner, since, until, text)


@router.get("", summary="List jobs")
def listed(
    call: Allowed,
    narrow: Annotated[Filter, Depends(narrowed)],
    *,
    limit: Limit = 50,
    after: Annotated[uuid.UUID | None, Query(description="The `next` of the page before.")] = None,
) -> Page[JobItem]:
    """History, the newest first. A page may hold fewer than asked for and still have a `next`."""
    with call.reading() as session:
        found = history.page(session, narrow, workspace_id=call.workspace_id, limit=limit, after=after)
        items = [job_item(entry) for entry in found.entries]
    return Page(items=items, next=None if found.next is None else str(found.next))


@router.post(
    "",
    status_code=201,
    summary="Run a bot",
    response_model=JobAccepted,
    responses={200: {"model": JobAccepted, "description": "The key made this job before."}},
)
def enqueue(call: Allowed, order: Order) -> Response:
    """Queue a job; a repeated idempotency key answers the job that it made.

    A group that no runner serves is taken, since its runner may come later; `waiting_for` says so.
    """
    call.require_environment(order.environment)
    item, new = place(call, order)
    accepted = JobAccepted(**dict(item), waiting_for=_in_its_group(call, order, item))
    # Written here: FastAPI would hand the answer to another thread, to check it once more.
    return Response(accepted.model_dump_json(), 201 if new else 200, media_type="application/json")


def _in_its_group(call: Call, order: Order, item: JobItem) -> WaitItem | None:
    """What keeps a job of a named group; the many jobs of the default group are not asked about."""
    if order.group is None:
        return None
    with call.reading() as session:
        job = history.entry(session, item.id, workspace_id=call.workspace_id).job
        situation = waiting.situation(session, job)
    return _waiting_for(call, situation)


@router.get("/{job_id}", summary="Show a job")
def show(call: Allowed, job_id: str) -> JobDetail:
    """A job, its attempts, and which numbers of which assets they were given."""
    with call.reading() as session:
        found = history.detail(session, parse_id(job_id), workspace_id=call.workspace_id)
        item, situation = job_item(found.entry), waiting.situation(session, found.entry.job)
        given = results.of_jobs(session, [item.id])[item.id]
    return JobDetail(
        **item.model_dump(),
        waiting_for=_waiting_for(call, situation),
        attempts=[attempt_item(attempt) for attempt in found.attempts],
        readings=[reading_item(reading) for reading in found.readings],
        results=given,
    )


@router.post("/{job_id}/cancellation", summary="Cancel a job")
def cancel(call: Allowed, job_id: str) -> JobItem:
    """Cancel a queued job at once; ask the runner of a running one to stop its bot."""
    with _changing(call, job_id) as (session, entry):
        jobs.cancel(session, entry.job, actor=call.actor, now=call.now)
        session.refresh(entry.job)
        item = job_item(entry)
    _tell_runner(call, item)
    return item


@router.put("/{job_id}/pause", summary="Pause a job")
def pause(call: Allowed, job_id: str) -> JobItem:
    """Keep a queued job from being started; let the bot of a running one stand still, with all its descendants."""
    with _changing(call, job_id) as (session, entry):
        pauses.pause(session, entry.job, actor=call.actor, now=call.now)
        item = job_item(entry)
    _tell_runner(call, item)
    return item


@router.delete("/{job_id}/pause", summary="Resume a job")
def resume(call: Allowed, job_id: str) -> JobItem:
    """Let a paused job go on where it stood; one that is not paused goes on anyway."""
    with _changing(call, job_id) as (session, entry):
        waits = pauses.resume(session, entry.job)
        item = job_item(entry)
    if waits:
        _announce(call, entry)
    _tell_runner(call, item)
    return item


@router.post("/{job_id}/retry", status_code=201, summary="Run a job again")
def retry(call: Allowed, job_id: str) -> JobItem:
    """Queue a new job like one that has ended, with the bot's newest version."""
    with call.reading() as session:
        old = history.entry(session, parse_id(job_id), workspace_id=call.workspace_id)
    call.require_environment(old.job.environment)
    if not jobs.is_final(old.job.state):
        raise Conflict(f"Job {old.job.id} has not ended ({old.job.state}); cancel it, or wait for its end.")
    order = requests.Order(
        call.workspace_id,
        Cause("retry", call.caller.name, str(old.job.id)),
        environment=old.job.environment,
        parameters=old.job.parameters,
        group=old.job.group_name,
        priority=Priority(old.job.priority),
        retry_of=old.job.id,
    )
    item, _ = _place(call, old.bot, order)
    return item


def wanted(call: Call, order: Order) -> requests.Order:
    """What a caller of the API orders. Raises `Invalid` for a priority that there is not."""
    return requests.Order(
        call.workspace_id,
        Cause("api", call.caller.name),
        environment=order.environment,
        parameters=order.parameters,
        group=order.group,
        priority=Priority.of(order.priority),
        idempotency_key=order.idempotency_key,
    )


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


def place(call: Call, order: Order) -> tuple[JobItem, bool]:
    """The job of an order, and whether it is new: a repeated idempotency key answers the job that it made."""
    return _place(call, order.bot, wanted(call, order))


def _place(call: Call, bot: str, order: requests.Order) -> tuple[JobItem, bool]:
    asker = Asker(call.actor, call.action)
    entry, new = orders.place(call.console.engine, bot, order, asker=asker, now=call.now)
    if new:
        _announce(call, entry)
    return job_item(entry), new


@contextmanager
def _changing(call: Call, job_id: str) -> Iterator[tuple[Session, Entry]]:
    """A transaction that changes one job, and the audit row of it."""
    with call.writing() as session:
        entry = history.entry(session, parse_id(job_id), workspace_id=call.workspace_id)
        call.require_environment(entry.job.environment)
        yield session, entry
        _record(session, call, entry)


def _tell_runner(call: Call, item: JobItem) -> None:
    if item.state == State.RUNNING:
        signals.look_at_job(call.console.transport, item.id)


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


def _waiting_for(call: Call, situation: Situation | None) -> WaitItem | None:
    """Outside any transaction, since a broker that is away takes a second to say nothing."""
    if situation is None:
        return None
    found = waiting.why(situation, broker=lambda: broker_answers(call.console))
    return WaitItem(code=found.code, sentence=found.sentence)
