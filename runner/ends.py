"""Ends of attempts beside the usual one (`jobs.finish`): in a larger transaction, with a further attempt, lost, late.

As in `runner.jobs` each is one guarded statement with the expected state and the attempt's number in its WHERE, and
answers false where it matches nothing. `runner.conclusion` decides which one it is.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from datetime import timedelta

from sqlalchemy import Float, Row, exists, func, literal, select, update
from sqlalchemy.orm import Session

from runner import jobs, statements
from runner.jobs import Report
from runner.models import Attempt, Job
from runner.states import Reason, State
from vault import db
from vault.db import clock

#: Whether `overdue` has an answer.
LOST = exists().where(Job.state == State.RUNNING, Job.lease_expires_at < clock())


def end(session: Session, job_id: uuid.UUID, *, attempt: int, report: Report) -> bool:
    """As `finish`, in a transaction with what was looked at before."""
    job = jobs.end_of_job(job_id, attempt, report, final=True)
    if session.connection().execute(statements.FINISH, job).one_or_none() is None:
        return False
    _end_attempt(session, job_id, attempt, report)
    return True


def repeat(session: Session, job_id: uuid.UUID, *, attempt: int, report: Report, after: timedelta) -> bool:
    """End an attempt and queue its job again, not before `after`; false as for `finish`, and where it is cancelled."""
    job = jobs.end_of_job(job_id, attempt, report)
    if session.connection().execute(statements.REPEAT, {**job, "wait": after.total_seconds()}).rowcount == 0:
        return False
    _end_attempt(session, job_id, attempt, report)
    return True


def lose(session: Session, job_id: uuid.UUID, *, attempt: int, report: Report, after: timedelta | None) -> bool:
    """End a lost attempt for its runner: `repeat` where `after` is a time, else `finish`."""
    job = jobs.end_of_job(job_id, attempt, report)
    del job["status"]  # nobody knows it, and the scheduler may not write it
    statement, more = (
        (statements.LOSE, {"end": report.state})
        if after is None
        else (statements.REPEAT_LOST, {"wait": after.total_seconds()})
    )
    connection = session.connection()
    if connection.execute(statement, {**job, **more}).rowcount == 0:
        return False
    connection.execute(
        statements.LOSE_ATTEMPT,
        {
            "job": job_id,
            "fence": attempt,
            "why": Reason.RUNNER_LOST,
            "words": jobs.storable(report.detail),
            "who": report.ended_by,
        },
    )
    return True


def finish_late(session: Session, job_id: uuid.UUID, *, attempt: int, report: Report) -> bool:
    """End a job by the report of a lost attempt, as long as nobody has claimed the next one."""
    changed = db.changes(
        session,
        update(Job)
        .where(
            Job.id == job_id,
            Job.state == State.QUEUED,
            Job.attempt == attempt,
            Job.reason == Reason.RUNNER_LOST,
        )
        .values(
            state=report.state,
            reason=report.reason,
            detail=jobs.storable(report.detail),
            exit_code=report.exit_code,
            finished_at=clock(),
            not_before=None,
            warnings=[jobs.storable(note) for note in report.warnings],
        ),
    )
    if changed:
        _end_attempt(session, job_id, attempt, report)
    return changed > 0


def record_late(session: Session, job_id: uuid.UUID, *, attempt: int, report: Report) -> None:
    """Write what is known after all of a lost attempt into its row; its job goes on as it does."""
    how = f"{report.state} ({report.reason})" if report.reason else str(report.state)
    session.execute(
        update(Attempt)
        .where(
            Attempt.job_id == job_id,
            Attempt.number == attempt,
            Attempt.reason == Reason.RUNNER_LOST,
            Attempt.survivors.is_(None),
        )
        .values(
            detail=func.coalesce(Attempt.detail, "") + f" Known later, too late to count: it {how}.",
            exit_code=report.exit_code,
            started_at=db.later(Attempt.claimed_at, literal(report.started_after, Float())),
            survivors=report.survivors,
            user=report.user,
            max_rss_kb=report.max_rss_kb,
            cpu_seconds=report.cpu_seconds,
            log_bytes=func.coalesce(report.log_bytes, Attempt.log_bytes),
        )
    )


def mark_adopted(session: Session, job_id: uuid.UUID, *, attempt: int) -> None:
    """Remember that somebody else than its worker reported this attempt."""
    session.execute(
        update(Attempt).where(Attempt.job_id == job_id, Attempt.number == attempt).values(adopted_at=clock())
    )


def overdue(session: Session, *, recent: timedelta, limit: int) -> Sequence[Row[uuid.UUID, int, bool]]:
    """Job and attempt where the lease ran out by the database's clock, and whether that was less than `recent` ago."""
    return session.execute(
        select(Job.id, Job.attempt, (Job.lease_expires_at > clock(-recent)).label("recent"))
        .where(Job.state == State.RUNNING, Job.lease_expires_at < clock())
        .order_by(Job.id)
        .limit(limit)
    ).all()


def expired(
    session: Session, *, limit: int, among: Collection[uuid.UUID] | None = None
) -> Sequence[Row[uuid.UUID, int, str | None]]:
    """Job, attempt and runner where the lease ran out by the database's clock; no other rescuer looks at these now.

    Of these jobs, or of all.
    """
    return session.execute(
        select(Job.id, Job.attempt, Job.runner)
        .where(
            Job.state == State.RUNNING,
            Job.lease_expires_at < clock(),
            *(() if among is None else (Job.id.in_(among),)),
        )
        .order_by(Job.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()


def _end_attempt(session: Session, job_id: uuid.UUID, attempt: int, report: Report) -> None:
    session.connection().execute(statements.END_ATTEMPT, jobs.end_of_attempt(job_id, attempt, report))
