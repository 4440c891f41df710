"""Jobs: the only module, with `runner.ends`, `runner.succession` and `runner.unreadable`, that changes a job's state.

Each transition is one guarded statement with the expected state, and for a report the attempt's number, in its
WHERE; a statement that matches nothing is an expected loss and answers `None` or `False`. Leases are measured by
the database's clock.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any, Self

from sqlalchemy import ColumnElement, case, select, update
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from runner import statements
from runner.artefacts import Kept
from runner.errors import Conflict, Invalid
from runner.models import Job
from runner.states import FINAL, Reason, State
from vault import db
from vault.audit import Actor
from vault.db import clock
from vault.direct import Direct, Row, Run, within
from vault.names import shown

#: How long a claim holds without a heartbeat unless a runner's settings say otherwise; after it the rescuer may take
#: the job from its runner.
LEASE = timedelta(seconds=60)


#: The kinds of causes that are runs of several jobs; their `Cause.id` is the run's.
FLOWS = frozenset({"queue", "workflow"})


class Priority(IntEnum):
    """Which of the jobs of a lane start first; within one priority bots take turns."""

    HIGH = 0
    NORMAL = 1
    LOW = 2

    @property
    def word(self) -> str:
        """As people write it: `high`, `normal` or `low`."""
        return self.name.lower()

    @classmethod
    def of(cls, word: str) -> Self:
        """The priority of a word.

        Raises:
            Invalid: for any other word.
        """
        for one in cls:
            if one.word == word:
                return one
        raise Invalid(f"A priority is high, normal or low, not {shown(word)}.")


@dataclass(frozen=True, slots=True)
class Cause:
    """What started a job: its kind (`api`, `retry`, later `trigger` …), its name, and its id where it has one."""

    kind: str
    name: str
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """What a person or a trigger asks for; checked by `runner.requests` before it becomes a job."""

    workspace_id: uuid.UUID
    bot_id: uuid.UUID
    version_id: uuid.UUID
    environment: str
    group: str
    parameters: dict[str, Any]
    cause: Cause
    priority: Priority = Priority.NORMAL
    concurrency: int | None = None
    idempotency_key: str | None = None
    retry_of: uuid.UUID | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """What a runner holds after it won a job; `attempt` fences everything it reports later."""

    job_id: uuid.UUID
    attempt: int
    workspace_id: uuid.UUID
    bot_id: uuid.UUID
    version_id: uuid.UUID
    environment: str
    parameters: dict[str, Any]
    #: Whether the end of the job may let another begin, since they share a limit.
    limited: bool = False
    #: The run of a queue or workflow that the job is part of, if it is.
    run_id: uuid.UUID | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """How an attempt ended."""

    state: State
    reason: Reason | None
    detail: str | None = None
    exit_code: int | None = None
    started_after: float | None = None
    survivors: int | None = None
    #: The user of the operating system that the bot had for itself, where it had one.
    user: str | None = None
    max_rss_kb: int | None = None
    cpu_seconds: float | None = None
    paused_seconds: float | None = None
    warnings: tuple[str, ...] = field(default=())
    #: When each step began, in seconds after the claim.
    steps: Mapping[str, float] | None = None
    #: Who or what ended the attempt, where it did not end by itself.
    ended_by: str | None = None
    #: What its log takes in the store, and what it left there besides.
    log_bytes: int | None = None
    artefacts: tuple[Kept, ...] = ()


@dataclass(frozen=True, slots=True)
class Wish:
    """What people want of a running job, by its row."""

    job_id: uuid.UUID
    cancel: bool
    pause: bool


def enqueue(session: Session, request: Request, *, now: datetime) -> uuid.UUID:
    """Insert a queued job; the caller publishes it after its transaction is committed.

    The row counts as published from the start, which saves a transaction a job; a caller whose publication
    fails says so with `not_published`, and for one that dies in between the rescuer waits its usual while.
    """
    row = row_of(request, now=now)
    within(session)(statements.ENQUEUE, row)
    job_id: uuid.UUID = row["id"]
    return job_id


def row_of(request: Request, *, now: datetime) -> dict[str, Any]:
    """The columns of a new job, by `statements.COLUMNS`."""
    return {
        "id": uuid7(),
        "workspace_id": request.workspace_id,
        "bot_id": request.bot_id,
        "version_id": request.version_id,
        "environment": request.environment,
        "group_name": request.group,
        "priority": request.priority,
        "concurrency": request.concurrency,
        "parameters": request.parameters,
        "cause_kind": request.cause.kind,
        "cause_name": request.cause.name,
        "cause_id": request.cause.id,
        "idempotency_key": request.idempotency_key,
        "retry_of": request.retry_of,
        "created_at": now,
    }


def not_published(session: Session, job_id: uuid.UUID) -> None:
    """Remember that the broker did not take this job, so that the rescuer publishes it as soon as it can."""
    session.execute(update(Job).where(Job.id == job_id, Job.state == State.QUEUED).values(published_at=None))


def claim(direct: Direct, *, environment: str, group: str, runner: str, lease: timedelta = LEASE) -> Claim | None:
    """Take the next job of a lane for one attempt, as a transaction of its own; `None` when nothing can be taken.

    The order is that of `priority` and then `turn`, whichever job's message it was that woke the runner.

    Raises:
        Unavailable: when the database cannot be reached; whether it took the job is then unknown.
    """
    wanted = {"environment": environment, "group": group, "claimant": runner, "lease": lease.total_seconds()}
    if direct.dialect == "sqlite":
        with direct.transaction() as run:
            return begin(run, run(statements.CLAIM, wanted), runner=runner)
    for _ in range(2):  # another claimer may hold what there was when the statement began, and the next one came since
        while rows := direct.write(statements.CLAIM_NEXT, wanted):
            if rows[0].id is not None:
                return claimed(rows[0])
            workspace = rows[0].limited_in
            with direct.transaction() as run:
                run(statements.LOCK_LIMITS, {"workspace": str(workspace)})
                won = begin(run, run(statements.CLAIM_LIMITED, {**wanted, "workspace_id": workspace}), runner=runner)
            if won is not None:
                return won
    return None


def begin(run: Run, rows: list[Row], *, runner: str) -> Claim | None:
    """Write the attempt of a claim into its transaction; nothing where the claim's statement answered nothing."""
    if not rows:
        return None
    won = rows[0]
    begun = {"job_id": won.id, "number": won.attempt, "runner": runner, "claimed_at": won.started_at}
    run(statements.BEGIN_ATTEMPT, begun)
    return claimed(won)


def claimed(row: Row) -> Claim:
    """What a runner holds, by the row that the claim's statement answered."""
    return Claim(
        row.id,
        row.attempt,
        row.workspace_id,
        row.bot_id,
        row.version_id,
        row.environment,
        row.parameters,
        bool(row.limited),
        _run_of(row) if row.cause_kind in FLOWS else None,
    )


def _run_of(row: Row) -> uuid.UUID | None:
    try:
        return uuid.UUID(row.cause_id or "")
    except ValueError:  # a row that was written by hand; the scheduler's tick looks at its runs anyway
        return None


def finish(direct: Direct, job_id: uuid.UUID, *, attempt: int, report: Report) -> bool:
    """End an attempt and its job, as a transaction of its own; false when the attempt is not the running one any
    more (the fence).

    Raises:
        Unavailable: when the database cannot be reached; asking again is safe.
    """
    job, used = end_of_job(job_id, attempt, report, final=True), end_of_attempt(job_id, attempt, report)
    if direct.dialect == "sqlite":
        with direct.transaction() as run:
            accepted = bool(run(statements.FINISH, job))
            if accepted:
                run(statements.END_ATTEMPT, used)
        return accepted
    return bool(direct.write(statements.FINISH_AT_ONCE, {**job, **used}))


def refer(direct: Direct, job_id: uuid.UUID, *, attempt: int, parameters: Mapping[str, Any]) -> None:
    """Put references in the places of values that were typed into the parameters of a running attempt.

    Raises:
        Unavailable: when the database cannot be reached.
    """
    direct.write(statements.REFER, {"job": job_id, "fence": attempt, "written": dict(parameters)})


def end_of_job(job_id: uuid.UUID, attempt: int, report: Report, *, final: bool = False) -> dict[str, Any]:
    """The parameters of a statement that ends a job's attempt; `final` where it ends the job, too."""
    return {
        "job": job_id,
        "fence": attempt,
        "why": report.reason,
        "words": storable(report.detail),
        "status": report.exit_code,
        "notes": [storable(note) for note in report.warnings],
    } | ({"end": report.state} if final else {})


def end_of_attempt(job_id: uuid.UUID, attempt: int, report: Report) -> dict[str, Any]:
    """The parameters of the statement that ends the attempt itself."""
    return {
        "job": job_id,
        "fence": attempt,
        "end": report.state,
        "why": report.reason,
        "words": storable(report.detail),
        "status": report.exit_code,
        "began": report.started_after,
        "left": report.survivors,
        "user": report.user,
        "memory": report.max_rss_kb,
        "log_bytes": report.log_bytes,
        "artefact_bytes": sum(kept.size for kept in report.artefacts) or None,
        "cpu": report.cpu_seconds,
        "stood": report.paused_seconds,
        "steps": None if report.steps is None else dict(report.steps),
        "who": report.ended_by,
    }


def extend_leases(session: Session, held: Mapping[uuid.UUID, int], *, lease: timedelta = LEASE) -> list[Wish]:
    """Keep the leases of running attempts (job to number); answers which are still held, and what is wanted of them.

    An attempt that is missing in the answer was taken away: its runner must kill the bot at once.
    """
    if not held:
        return []
    rows = session.execute(
        update(Job)
        .where(Job.id.in_(held), Job.state == State.RUNNING)
        .values(lease_expires_at=clock(lease))
        .returning(*_WISHED)
    ).all()
    return _wishes(rows, held)


def wishes(session: Session, held: Mapping[uuid.UUID, int]) -> list[Wish]:
    """What people want of these running attempts (job to number)."""
    rows = session.execute(select(*_WISHED).where(Job.id.in_(held), Job.state == State.RUNNING)).all()
    return _wishes(rows, held)


_WISHED = (Job.id, Job.attempt, Job.cancel_requested_at, Job.pause_requested_at)


def _wishes(rows: Sequence[Row], held: Mapping[uuid.UUID, int]) -> list[Wish]:
    return [
        Wish(job_id, cancel=cancelled is not None, pause=paused is not None)
        for job_id, attempt, cancelled, paused in rows
        if held[job_id] == attempt
    ]


def cancel(session: Session, job: Job, *, actor: Actor, now: datetime) -> State:
    """Cancel a queued job at once, or ask the runner of a running one; answers the state after it.

    Raises:
        Conflict: when the job is final.
    """
    # Twice: between the two looks a running job may have been queued again for its next attempt.
    for _ in range(2):
        if _cancel_queued(session, job, actor=actor, now=now):
            return State.CANCELLED
        changed = db.changes(
            session,
            update(Job)
            .where(Job.id == job.id, Job.state == State.RUNNING)
            .values(cancel_requested_at=now, cancel_requested_by=actor.name),
        )
        if changed:
            return State.RUNNING
    raise Conflict(f"Job {job.id} has ended ({job.state}); only queued and running jobs can be cancelled.")


def cancel_all(session: Session, where: ColumnElement[bool], *, actor: Actor, now: datetime) -> list[uuid.UUID]:
    """Cancel the queued among these jobs, and ask the runners of the running ones, whose ids it answers."""
    quiet = {"synchronize_session": False}
    # Twice, as for a single one.
    for _ in range(2):
        session.execute(
            update(Job)
            .where(where, Job.state == State.QUEUED)
            .values(_cancelled(actor, now))
            .execution_options(**quiet)
        )
        running = session.scalars(
            update(Job)
            .where(where, Job.state == State.RUNNING)
            .values(cancel_requested_at=now, cancel_requested_by=actor.name)
            .returning(Job.id)
            .execution_options(**quiet)
        ).all()
    return list(running)


def _cancel_queued(session: Session, job: Job, *, actor: Actor, now: datetime) -> int:
    queued = update(Job).where(Job.id == job.id, Job.state == State.QUEUED)
    return db.changes(session, queued.values(_cancelled(actor, now)))


def _cancelled(actor: Actor, now: datetime) -> dict[str, Any]:
    return {
        "state": State.CANCELLED,
        "reason": Reason.CANCELLED,
        "detail": case(
            (Job.attempt == 0, f"Cancelled by {actor.name} before it started."),
            else_=f"Cancelled by {actor.name} before its next attempt.",
        ),
        "finished_at": clock(),
        "cancel_requested_at": now,
        "cancel_requested_by": actor.name,
    }


def storable(text: str | None) -> str | None:
    """Text as PostgreSQL can store it: without NUL (postgresql.org/docs/current/datatype-character.html)."""
    return None if text is None else text.replace("\0", "\ufffd")


def is_final(state: str) -> bool:
    """Whether nothing can change a job in this state."""
    return State(state) in FINAL
