"""Pauses: what people ask of a job that has not ended, and since when its bot stands still.

A pause is no state: a queued job that is paused is not claimed, a running one keeps its runner and its lease while its
processes stand still. What is wanted (`pause_requested_at`) is the console's, what is so (`paused_at`) its runner's.
"""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import ColumnElement, and_, update
from sqlalchemy.orm import Session

from runner.errors import Conflict
from runner.models import Job
from runner.states import FINAL, State
from vault import db
from vault.audit import Actor
from vault.db import clock

#: States in which a job can be paused and resumed.
OPEN = (State.QUEUED, State.RUNNING)


def wanted() -> ColumnElement[bool]:
    """Whether a job of a query is paused, or is about to be."""
    return and_(Job.state.in_(OPEN), Job.pause_requested_at.is_not(None))


def pause(session: Session, job: Job, *, actor: Actor, now: datetime) -> None:
    """Keep a queued job from being claimed, or ask the runner of a running one to let its bot stand still.

    Pausing a paused job changes nothing: whoever paused it first is remembered.

    Raises:
        Conflict: when the job is final, or is being cancelled.
    """
    changed = db.changes(
        session,
        update(Job)
        .where(
            Job.id == job.id,
            Job.state.in_(OPEN),
            Job.cancel_requested_at.is_(None),
            Job.pause_requested_at.is_(None),
        )
        .values(pause_requested_at=now, pause_requested_by=actor.name),
    )
    session.refresh(job)
    if not changed and (job.state in FINAL or job.pause_requested_at is None):
        how = f"has ended ({job.state})" if job.state in FINAL else "is being cancelled"
        raise Conflict(f"Job {job.id} {how}; only queued and running jobs can be paused.")


def resume(session: Session, job: Job) -> bool:
    """Take a pause back; answers whether the job waits for a runner now and must be announced after the commit.

    Resuming a job that is not paused changes nothing.

    Raises:
        Conflict: when the job is final.
    """
    changed = db.changes(
        session,
        update(Job)
        .where(Job.id == job.id, wanted())
        # Its message may have been taken while it was paused; the rescuer waits its usual while for the new one.
        .values(pause_requested_at=None, pause_requested_by=None, published_at=clock()),
    )
    session.refresh(job)
    if job.state in FINAL:
        raise Conflict(f"Job {job.id} has ended ({job.state}); there is nothing to resume.")
    return bool(changed) and job.state == State.QUEUED


def note(session: Session, job_id: uuid.UUID, *, attempt: int, standing: bool) -> None:
    """Remember that the bot of a running attempt stands still, or goes on."""
    session.execute(
        update(Job)
        .where(
            Job.id == job_id,
            Job.state == State.RUNNING,
            Job.attempt == attempt,
            Job.paused_at.is_(None) if standing else Job.paused_at.is_not(None),
        )
        .values(paused_at=clock() if standing else None)
    )
