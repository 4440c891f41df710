"""History: what ran, where, with which environment and which values. Reads only, never a value."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Row, Select, bindparam, select
from sqlalchemy.orm import Session

from runner import narrowing
from runner.errors import Invalid, NotFound
from runner.models import Attempt, Bot, Job, PackageVersion, Runner
from runner.narrowing import PAUSED, Filter
from runner.states import State
from vault.models import Reading
from vault.names import ENVIRONMENTS

#: The longest page of a list.
MAX_LIMIT = 500


@dataclass(frozen=True, slots=True)
class Found:
    """A page of a list; `next` is the id to go on after, also where fewer were found than asked for."""

    entries: Sequence[Entry]
    next: uuid.UUID | None


@dataclass(frozen=True, slots=True)
class Entry:
    """A job with the bot's name and the version's number."""

    job: Job
    bot: str
    version: int


@dataclass(frozen=True, slots=True)
class Detail:
    """An entry with its attempts, oldest first, and the readings of all of them, by asset."""

    entry: Entry
    attempts: Sequence[Attempt]
    readings: Sequence[Reading]


@dataclass(frozen=True, slots=True)
class Progress:
    """State, reason, exit code and number of the latest attempt of a job."""

    state: str
    reason: str | None
    exit_code: int | None
    attempt: int


@dataclass(frozen=True, slots=True)
class Stored:
    """What is known of an attempt's log without looking into the store; all empty before the first attempt."""

    log_bytes: int | None = None
    pruned_at: datetime | None = None
    pruned_by: str | None = None
    #: Where its runner stores logs, and the runner's name.
    store: str | None = None
    runner: str | None = None


def page(
    session: Session,
    narrow: Filter,
    *,
    workspace_id: uuid.UUID,
    limit: int,
    after: uuid.UUID | None = None,
) -> Found:
    """The newest jobs before `after`, newest first, at most `limit`; each page costs the same (keyset).

    Where no index leads to all that is asked for, a page looks at `narrowing.LOOKED_AT` jobs, and the next one goes on.

    Raises:
        Invalid: for an unknown state or environment.
    """
    _check(narrow)
    asked = min(limit, MAX_LIMIT)
    looked_at = narrowing.narrowed(session, narrow, workspace_id=workspace_id, after=after, limit=asked + 1)
    identity = looked_at.jobs.c.id
    ids = session.scalars(select(identity).where(*looked_at.wanted).order_by(identity.desc()).limit(asked + 1)).all()
    following = ids[asked - 1] if len(ids) > asked else None
    if following is None and looked_at.wanted:
        following = session.scalar(select(identity).order_by(identity.desc()).offset(narrowing.LOOKED_AT - 1).limit(1))
    rows = session.execute(_entries().where(Job.id.in_(ids[:asked])).order_by(Job.id.desc())).all()
    return Found([_entry(row) for row in rows], following)


def entry(session: Session, job_id: uuid.UUID, *, workspace_id: uuid.UUID) -> Entry:
    """One job.

    Raises:
        NotFound: when this workspace has no such job.
    """
    row = session.execute(_ENTRY, {"job": job_id, "workspace": workspace_id}).one_or_none()
    if row is None:
        raise NotFound(f"There is no job {job_id}; see `botkeep job list`.")
    return _entry(row)


def detail(session: Session, job_id: uuid.UUID, *, workspace_id: uuid.UUID) -> Detail:
    """One job with its attempts and readings.

    Raises:
        NotFound: when this workspace has no such job.
    """
    found = entry(session, job_id, workspace_id=workspace_id)
    attempts = session.scalars(select(Attempt).where(Attempt.job_id == job_id).order_by(Attempt.number)).all()
    readings = session.scalars(
        select(Reading).where(Reading.job_id == job_id).order_by(Reading.attempt, Reading.asset, Reading.number)
    ).all()
    return Detail(found, attempts, readings)


def progress(session: Session, job_id: uuid.UUID, *, workspace_id: uuid.UUID) -> Progress:
    """How far a job is, without its parameters: for those who ask again and again.

    Raises:
        NotFound: when this workspace has no such job.
    """
    row = session.execute(
        select(Job.state, Job.reason, Job.exit_code, Job.attempt).where(
            Job.id == job_id, Job.workspace_id == workspace_id
        )
    ).one_or_none()
    if row is None:
        raise NotFound(f"There is no job {job_id}; see `botkeep job list`.")
    return Progress(row.state, row.reason, row.exit_code, row.attempt)


def stored(session: Session, job_id: uuid.UUID, *, attempt: int) -> Stored:
    """Where the log of an attempt is, or went."""
    row = session.execute(
        select(Attempt.log_bytes, Attempt.pruned_at, Attempt.pruned_by, Runner.log_store, Attempt.runner)
        .outerjoin(Runner, Runner.name == Attempt.runner)
        .where(Attempt.job_id == job_id, Attempt.number == attempt)
    ).one_or_none()
    return Stored() if row is None else Stored(*row)


def by_idempotency_key(session: Session, key: str, *, workspace_id: uuid.UUID) -> uuid.UUID | None:
    """The job that this key made, if any."""
    return session.scalar(select(Job.id).where(Job.workspace_id == workspace_id, Job.idempotency_key == key))


def _entries() -> Select[Job, str, int]:
    return (
        select(Job, Bot.name, PackageVersion.number)
        .join(Bot, Bot.id == Job.bot_id)
        .join(PackageVersion, PackageVersion.id == Job.version_id)
    )


#: One job; built once, since each order is answered with it.
_ENTRY = _entries().where(Job.id == bindparam("job"), Job.workspace_id == bindparam("workspace"))


def _entry(row: Row[Job, str, int]) -> Entry:
    job, bot, version = row
    return Entry(job, bot, version)


def _check(narrow: Filter) -> None:
    if narrow.state is not None and narrow.state not in {*State, PAUSED}:
        raise Invalid(f"There is no state {narrow.state!r}; use one of {', '.join(State)}, {PAUSED}.")
    if narrow.environment is not None and narrow.environment not in ENVIRONMENTS:
        raise Invalid(f"There is no environment {narrow.environment!r}; use one of {', '.join(ENVIRONMENTS)}.")
