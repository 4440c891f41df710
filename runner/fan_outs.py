"""Fan-outs: one job for each row of a data source, or for each batch of rows, each exactly once.

Only a runner can open a source, and only the scheduler makes jobs out of what nobody asked for one by one; so a fan-out
goes through three hands, each step one transaction that can be repeated.

| state | in when | out when |
|---|---|---|
| `waiting` | the console wrote the request | a runner of the environment took it (`claim`) |
| `reading` | a runner took it | it wrote down all batches at once (`deliver`), or its lease ran out |
| `starting` | all batches are there | the scheduler made the last of them a job (`start_some`) |
| `done` | every batch is a job | somebody cancels it |
| `failed` | the source failed, or `TRIES` runners were lost over it | as well |
| `cancelled` | somebody cancelled it, with all its jobs that had not ended | never |

A batch is deleted in the transaction that inserts its job: whoever dies in the middle leaves both or neither.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, delete, exists, func, insert, or_, select, tuple_, update
from sqlalchemy.orm import Session

from runner import dispatches, jobs, requests, sources
from runner.errors import Conflict, Invalid, NotFound
from runner.jobs import Cause, Priority, Request
from runner.models import Job
from runner.requests import Order
from runner.source_models import DataSource, FanOut, FanOutBatch
from vault import audit, db
from vault.audit import Actor
from vault.db import clock, database_time

#: How long a runner may read without saying that it still does.
LEASE = timedelta(seconds=60)

#: Runners that may be lost over one fan-out before it fails.
TRIES = 3

#: Jobs that one fan-out may start.
MOST_JOBS = 10_000

#: Batches that become jobs in one transaction.
AT_ONCE = 200

#: The parameter that holds the row of a job, and the one that holds its batch.
ROW, ROWS = "row", "rows"


_READ = (FanOut.finished_at.is_(None), FanOut.read_at.is_not(None))

#: Whether there is a fan-out whose batches are all there.
WAITING = exists().where(*_READ)

_LOST = (
    FanOut.finished_at.is_(None),
    FanOut.read_at.is_(None),
    FanOut.tries >= TRIES,
    FanOut.lease_expires_at < clock(),
)

#: Whether `end_lost` or `sweep` has anything to do.
LOST = or_(
    exists().where(*_LOST),
    exists().where(FanOutBatch.fan_out_id == FanOut.id, FanOut.cancelled_by.is_not(None)),
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What each job of a fan-out shall be; `rows_per_job` is 0 for one row each."""

    bot: str
    environment: str
    rows_per_job: int = 0
    parameters: dict[str, Any] = field(default_factory=dict)
    group: str | None = None
    priority: Priority = Priority.NORMAL


@dataclass(frozen=True, slots=True)
class Claim:
    """A fan-out that a runner has won; `tries` fences what it reports. `source` is None where it was removed."""

    id: uuid.UUID
    tries: int
    workspace_id: uuid.UUID
    name: str
    environment: str
    rows_per_job: int
    requested_by: str
    source: DataSource | None


def request(
    session: Session, name: str, wanted: Wanted, *, workspace_id: uuid.UUID, actor: Actor, now: datetime
) -> FanOut:
    """Ask for one job for each row (`wanted.rows_per_job` 0), or for each so many rows.

    Raises:
        NotFound: for an unknown source or bot.
        Conflict: for an environment that the source is not open in, or a bot that may not use it.
        Invalid, InvalidToken: as for one job; the bot must take the parameter `row`, or `rows`.
    """
    given = _given(session, name, wanted, workspace_id=workspace_id)
    order = Order(
        workspace_id,
        Cause("source", name),
        environment=wanted.environment,
        parameters={**wanted.parameters, given: [] if wanted.rows_per_job else {}},
        group=wanted.group,
        priority=wanted.priority,
    )
    prepared = requests.prepare(session, wanted.bot, order)
    row = FanOut(
        workspace_id=workspace_id,
        source=name,
        environment=wanted.environment,
        bot_id=prepared.bot_id,
        version_id=prepared.version_id,
        order={
            "group": prepared.group,
            "priority": int(prepared.priority),
            "concurrency": prepared.concurrency,
            "parameters": prepared.parameters,
        },
        rows_per_job=wanted.rows_per_job,
        requested_at=database_time(session),
        requested_by=actor.name,
    )
    session.add(row)
    session.flush()
    audit.record(
        session,
        actor,
        workspace_id=workspace_id,
        action="source.fan_out",
        target=f"source {name} to bot {wanted.bot}",
        environment=wanted.environment,
        now=now,
        details={"rows_per_job": wanted.rows_per_job},
    )
    return row


def _given(session: Session, name: str, wanted: Wanted, *, workspace_id: uuid.UUID) -> str:
    """The parameter that the source fills in, where the bot may use it there."""
    source = sources.find(session, name, workspace_id=workspace_id)
    if wanted.environment not in source.environments:
        raise Conflict(
            f"The data source {name} is open in {', '.join(source.environments)} only, not in {wanted.environment}."
        )
    if source.bots is not None and wanted.bot not in source.bots:
        raise Conflict(f"The data source {name} is not open to the bot {wanted.bot}.")
    if not 0 <= wanted.rows_per_job <= 100_000:
        raise Invalid("A batch has 1 to 100,000 rows.")
    given = ROWS if wanted.rows_per_job else ROW
    if given in wanted.parameters:
        raise Invalid(f"The parameter {given!r} is what the source fills in; leave it out.")
    return given


def find(session: Session, fan_out_id: uuid.UUID, *, source: str, workspace_id: uuid.UUID) -> FanOut:
    """A fan-out of a source.

    Raises:
        NotFound: when there is no such one.
    """
    row = session.get(FanOut, fan_out_id)
    if row is None or (row.workspace_id, row.source) != (workspace_id, source):
        raise NotFound(f"The data source {source} has no such fan-out.")
    return row


def recent(session: Session, source: str, *, workspace_id: uuid.UUID, limit: int) -> Sequence[FanOut]:
    """The newest fan-outs of a source, newest first."""
    return session.scalars(
        select(FanOut)
        .where(FanOut.workspace_id == workspace_id, FanOut.source == source)
        .order_by(FanOut.id.desc())
        .limit(limit)
    ).all()


def state(row: FanOut) -> str:
    """The state of a fan-out, as people see it."""
    if row.cancelled_by is not None:
        return "cancelled"
    if row.finished_at is not None:
        return "done" if row.ok else "failed"
    if row.read_at is not None:
        return "starting"
    return "waiting" if row.runner is None else "reading"


def waiting(session: Session, environments: Iterable[str]) -> uuid.UUID | None:
    """The oldest fan-out that a runner of these environments could read."""
    return session.scalar(
        select(FanOut.id)
        .where(FanOut.finished_at.is_(None), FanOut.environment.in_(list(environments)), _free())
        .order_by(FanOut.id)
        .limit(1)
    )


def claim(session: Session, fan_out_id: uuid.UUID, *, runner: str) -> Claim | None:
    """Take a fan-out to read; `None` when another runner was faster."""
    row = session.execute(
        update(FanOut)
        .where(FanOut.id == fan_out_id, FanOut.finished_at.is_(None), _free())
        .values(runner=runner, tries=FanOut.tries + 1, lease_expires_at=clock(LEASE))
        .returning(
            FanOut.tries,
            FanOut.workspace_id,
            FanOut.source,
            FanOut.environment,
            FanOut.rows_per_job,
            FanOut.requested_by,
        )
    ).one_or_none()
    if row is None:
        return None
    source = session.scalar(
        select(DataSource).where(DataSource.workspace_id == row.workspace_id, DataSource.name == row.source)
    )
    return Claim(
        fan_out_id,
        row.tries,
        row.workspace_id,
        row.source,
        row.environment,
        row.rows_per_job,
        row.requested_by,
        source,
    )


def keep(session: Session, claim: Claim) -> bool:
    """Say that the runner still reads; false when the fan-out is not its own any more."""
    return bool(db.changes(session, update(FanOut).where(*_own(claim)).values(lease_expires_at=clock(LEASE))))


def deliver(session: Session, claim: Claim, batches: Sequence[Any]) -> bool:
    """Write down what each job is given, all at once; false when the fan-out is not the runner's any more."""
    if not db.changes(session, update(FanOut).where(*_own(claim)).values(read_at=clock(), lease_expires_at=None)):
        return False
    rows = [{"fan_out_id": claim.id, "number": number, "content": each} for number, each in enumerate(batches)]
    if rows:
        session.execute(insert(FanOutBatch), rows)
    return True


def fail(session: Session, claim: Claim, detail: str) -> bool:
    """End a fan-out that cannot be read; `detail` is a sentence without a value."""
    ended = {"finished_at": clock(), "ok": False, "detail": detail}
    return bool(db.changes(session, update(FanOut).where(*_own(claim)).values(**ended)))


def read(session: Session) -> Sequence[uuid.UUID]:
    """The fan-outs whose batches are all there, the oldest first."""
    return session.scalars(select(FanOut.id).where(*_READ).order_by(FanOut.id)).all()


def start_some(
    session: Session, fan_out_id: uuid.UUID, *, now: datetime
) -> tuple[list[tuple[uuid.UUID, Request]], bool]:
    """Make the next batches jobs, in their order; the jobs to be published after the commit, and whether it was all."""
    row = session.get(FanOut, fan_out_id, with_for_update=True)
    if row is None or row.finished_at is not None:
        return [], True
    numbers = session.scalars(
        select(FanOutBatch.number)
        .where(FanOutBatch.fan_out_id == fan_out_id)
        .order_by(FanOutBatch.number)
        .limit(AT_ONCE)
    ).all()
    taken = session.execute(
        delete(FanOutBatch)
        .where(tuple_(FanOutBatch.fan_out_id, FanOutBatch.number).in_([(fan_out_id, number) for number in numbers]))
        .returning(FanOutBatch.number, FanOutBatch.content)
    ).all()
    started = []
    for _, content in sorted((each.number, each.content) for each in taken):
        order = _request(row, content)
        started.append((jobs.enqueue(session, order, now=now), order))
    dispatches.record(session, started, now=now)
    row.jobs += len(started)
    ended = not session.scalar(
        select(func.count()).select_from(FanOutBatch).where(FanOutBatch.fan_out_id == fan_out_id)
    )
    if ended:
        row.finished_at, row.ok = database_time(session), True
    session.flush()
    return started, ended


def cancel(session: Session, row: FanOut, *, actor: Actor, now: datetime) -> list[uuid.UUID]:
    """Let it start nothing more, and cancel its jobs; answers those that run, whose runners are to be told.

    A scheduler that makes jobs of it holds its row meanwhile, so that no job escapes. A second time changes nothing.
    """
    changed = db.changes(
        session,
        update(FanOut)
        .where(FanOut.id == row.id, FanOut.cancelled_by.is_(None))
        .values(
            cancelled_by=actor.name,
            finished_at=func.coalesce(FanOut.finished_at, clock()),
            ok=False,
            detail=f"Cancelled by {actor.name}.",
        ),
    )
    running = jobs.cancel_all(
        session,
        and_(Job.bot_id == row.bot_id, Job.cause_kind == "source", Job.cause_id == str(row.id)),
        actor=actor,
        now=now,
    )
    session.refresh(row)
    if changed:
        audit.record(
            session,
            actor,
            workspace_id=row.workspace_id,
            action="source.fan_out_cancelled",
            target=f"fan-out {row.id} of source {row.source}",
            environment=row.environment,
            now=now,
        )
    return running


def sweep(session: Session) -> int:
    """Remove what cancelled fan-outs would have given to jobs; answers how much."""
    cancelled = select(FanOut.id).where(FanOut.cancelled_by.is_not(None))
    return db.changes(session, delete(FanOutBatch).where(FanOutBatch.fan_out_id.in_(cancelled)))


def end_lost(session: Session) -> int:
    """End the fan-outs over which too many runners were lost; answers how many."""
    return db.changes(
        session,
        update(FanOut)
        .where(*_LOST)
        .values(finished_at=clock(), ok=False, detail=f"{TRIES} runners were lost while they read the data source."),
    )


def _free() -> Any:  # noqa: ANN401 - SQLAlchemy's expression
    lost = and_(FanOut.lease_expires_at < clock(), FanOut.tries < TRIES)
    return and_(FanOut.read_at.is_(None), or_(FanOut.runner.is_(None), lost))


def _own(claim: Claim) -> tuple[Any, ...]:
    return FanOut.id == claim.id, FanOut.tries == claim.tries, FanOut.read_at.is_(None), FanOut.finished_at.is_(None)


def _request(row: FanOut, content: Any) -> Request:  # noqa: ANN401 - a row, or a list of rows
    order = row.order
    return Request(
        workspace_id=row.workspace_id,
        bot_id=row.bot_id,
        version_id=row.version_id,
        environment=row.environment,
        group=order["group"],
        priority=Priority(order["priority"]),
        concurrency=order["concurrency"],
        parameters={**order["parameters"], (ROWS if row.rows_per_job else ROW): content},
        cause=Cause("source", row.source, str(row.id)),
    )
