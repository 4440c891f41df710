"""Jobs: the only module that changes a job's state.

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

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from runner import statements
from runner.errors import Conflict, Invalid
from runner.models import Attempt, Job
from runner.states import FINAL, Reason, State
from vault import db
from vault.audit import Actor
from vault.db import clock
from vault.direct import Direct, Row, Run
from vault.names import shown

#: How long a claim holds without a heartbeat; after it the rescuer may take the job from its runner.
LEASE = timedelta(seconds=60)


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
    #: Whether the bot may run only so many attempts at a time.
    limited: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """How an attempt ended."""

    state: State
    reason: Reason | None
    detail: str | None = None
    exit_code: int | None = None
    started_at: datetime | None = None
    survivors: int | None = None
    max_rss_kb: int | None = None
    cpu_seconds: float | None = None
    paused_seconds: float | None = None
    warnings: tuple[str, ...] = field(default=())


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
    job_id = uuid7()
    session.connection().execute(
        statements.ENQUEUE,
        {
            "id": job_id,
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
        },
    )
    return job_id


def not_published(session: Session, job_id: uuid.UUID) -> None:
    """Remember that the broker did not take this job, so that the rescuer publishes it as soon as it can."""
    session.execute(update(Job).where(Job.id == job_id, Job.state == State.QUEUED).values(published_at=None))


def mark_published(session: Session, job_ids: Sequence[uuid.UUID]) -> None:
    """Remember when these jobs were last announced, so that the rescuer leaves them alone for a while."""
    session.execute(update(Job).where(Job.id.in_(job_ids)).values(published_at=clock()))


def claim(direct: Direct, *, environment: str, group: str, runner: str, lease: timedelta = LEASE) -> Claim | None:
    """Take the next job of a lane for one attempt, as a transaction of its own; `None` when nothing can be taken.

    The order is that of `priority` and then `turn`, whichever job's message it was that woke the runner.

    Raises:
        Unavailable: when the database cannot be reached; whether it took the job is then unknown.
    """
    wanted = {"environment": environment, "group": group, "claimant": runner, "lease": lease.total_seconds()}
    if direct.dialect == "sqlite":
        with direct.transaction() as run:
            return _begin(run, run(statements.CLAIM, wanted), runner=runner)
    while rows := direct.write(statements.CLAIM_NEXT, wanted):
        if rows[0].id is not None:
            return _claimed(rows[0])
        bot = rows[0].limited_bot
        with direct.transaction() as run:
            run(statements.LOCK_BOT, {"bot": str(bot)})
            won = _begin(run, run(statements.CLAIM_OF_BOT, {**wanted, "bot_id": bot}), runner=runner)
        if won is not None:
            return won
    return None


def _begin(run: Run, rows: list[Row], *, runner: str) -> Claim | None:
    if not rows:
        return None
    won = rows[0]
    begun = {"job_id": won.id, "number": won.attempt, "runner": runner, "claimed_at": won.started_at}
    run(statements.BEGIN_ATTEMPT, begun)
    return _claimed(won)


def _claimed(row: Row) -> Claim:
    return Claim(
        row.id,
        row.attempt,
        row.workspace_id,
        row.bot_id,
        row.version_id,
        row.environment,
        row.parameters,
        row.concurrency is not None,
    )


def finish(direct: Direct, job_id: uuid.UUID, *, attempt: int, report: Report) -> bool:
    """End an attempt and its job, as a transaction of its own; false when the attempt is not the running one any
    more (the fence).

    Raises:
        Unavailable: when the database cannot be reached; asking again is safe.
    """
    end = {
        "job": job_id,
        "fence": attempt,
        "end": report.state,
        "why": report.reason,
        "words": _storable(report.detail),
        "status": report.exit_code,
    }
    job = {**end, "notes": [_storable(note) for note in report.warnings]}
    used = {
        "began": report.started_at,
        "left": report.survivors,
        "memory": report.max_rss_kb,
        "cpu": report.cpu_seconds,
        "stood": report.paused_seconds,
    }
    if direct.dialect == "sqlite":
        with direct.transaction() as run:
            accepted = bool(run(statements.FINISH, job))
            if accepted:
                run(statements.END_ATTEMPT, {**end, **used})
        return accepted
    return bool(direct.write(statements.FINISH_AT_ONCE, {**job, **used}))


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
    changed = db.changes(
        session,
        update(Job)
        .where(Job.id == job.id, Job.state == State.QUEUED)
        .values(
            state=State.CANCELLED,
            reason=Reason.CANCELLED,
            detail=f"Cancelled by {actor.name} before it started.",
            finished_at=clock(),
            cancel_requested_at=now,
            cancel_requested_by=actor.name,
        ),
    )
    if changed:
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


def lose_expired(session: Session, *, limit: int = 100) -> list[tuple[uuid.UUID, int, str]]:
    """End the attempts whose lease ran out, by the database's clock; answers job, attempt and runner."""
    expired = (
        select(Job.id).where(Job.state == State.RUNNING, Job.lease_expires_at < clock()).limit(limit).scalar_subquery()
    )
    rows = session.execute(
        update(Job)
        .where(Job.id.in_(expired), Job.state == State.RUNNING, Job.lease_expires_at < clock())
        .values(
            state=State.FAILED,
            reason=Reason.RUNNER_LOST,
            detail=Reason.RUNNER_LOST.sentence,
            finished_at=clock(),
            lease_expires_at=None,
            paused_at=None,
        )
        .returning(Job.id, Job.attempt, Job.runner)
    ).all()
    for row in rows:
        session.execute(
            update(Attempt)
            .where(Attempt.job_id == row.id, Attempt.number == row.attempt)
            .values(
                state=State.FAILED,
                reason=Reason.RUNNER_LOST,
                detail=Reason.RUNNER_LOST.sentence,
                finished_at=clock(),
            )
        )
    return [(row.id, row.attempt, row.runner) for row in rows]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A lane with queued jobs of which at least one is due to be announced again; `queued` counts all that wait."""

    environment: str
    group: str
    queued: int


def waiting_lanes(session: Session, *, older_than: timedelta) -> list[Waiting]:
    """The lanes in which a job was never announced, or so long ago that the message may be lost."""
    due = _due(older_than)
    if session.execute(select(Job.id).where(due).limit(1)).first() is None:
        return []  # the usual case costs one look into a small index
    rows = session.execute(
        select(Job.environment, Job.group_name, func.count())
        .where(Job.state == State.QUEUED, _ready())
        .group_by(Job.environment, Job.group_name)
    ).all()
    return [Waiting(*row) for row in rows]


def due_in_lane(session: Session, lane: Waiting, *, older_than: timedelta, limit: int = 500) -> Sequence[Row]:
    """The oldest jobs of a lane that are due to be announced again: their ids and their bots' ids."""
    return session.execute(
        select(Job.id, Job.bot_id)
        .where(_due(older_than), Job.environment == lane.environment, Job.group_name == lane.group)
        .order_by(Job.id)
        .limit(limit)
    ).all()


def _due(older_than: timedelta) -> ColumnElement[bool]:
    announced = or_(Job.published_at.is_(None), Job.published_at < clock(-older_than))
    return and_(Job.state == State.QUEUED, announced, _ready())


def _ready() -> ColumnElement[bool]:
    due = or_(Job.not_before.is_(None), Job.not_before <= clock())
    return and_(due, Job.pause_requested_at.is_(None))


def _storable(text: str | None) -> str | None:
    """Text as PostgreSQL can store it: without NUL (postgresql.org/docs/current/datatype-character.html)."""
    return None if text is None else text.replace("\0", "\ufffd")


def is_final(state: str) -> bool:
    """Whether nothing can change a job in this state."""
    return State(state) in FINAL
