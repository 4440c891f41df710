"""Which queued jobs are to be announced (again), and when they were last; changes no state.

Redis says look, the database says what: a message may be lost, the queued row is not. `published_at` is when a job was
last announced, and nothing there means at once.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, Row, and_, exists, func, or_, select, update
from sqlalchemy.orm import Session

from runner import saturation
from runner.models import Job
from runner.states import State
from vault import db
from vault.db import clock


@dataclass(frozen=True, slots=True)
class Waiting:
    """A lane with queued jobs of which at least one is due to be announced again; `queued` counts all that wait."""

    environment: str
    group: str
    queued: int


def waiting(*, older_than: timedelta) -> ColumnElement[bool]:
    """Whether there is a job that `waiting_lanes` tells of: one look into the index of queued jobs."""
    return exists().where(_due(older_than))


def waiting_lanes(session: Session, *, older_than: timedelta) -> list[Waiting]:
    """The lanes in which a job was never announced, or so long ago that the message may be lost."""
    if not session.scalar(select(waiting(older_than=older_than))):
        return []
    rows = session.execute(
        select(Job.environment, Job.group_name, func.count())
        .where(Job.state == State.QUEUED, _ready())
        .group_by(Job.environment, Job.group_name)
    ).all()
    return [Waiting(*row) for row in rows]


def due_in_lane(
    session: Session, lane: Waiting, *, older_than: timedelta, limit: int = 500
) -> Sequence[Row[uuid.UUID, uuid.UUID]]:
    """The oldest jobs of a lane that are due to be announced again: their ids and their bots' ids."""
    return session.execute(
        select(Job.id, Job.bot_id)
        .where(_due(older_than), Job.environment == lane.environment, Job.group_name == lane.group)
        .order_by(Job.id)
        .limit(limit)
    ).all()


def mark_published(session: Session, job_ids: Sequence[uuid.UUID]) -> None:
    """Remember when these jobs were last announced, so that the rescuer leaves them alone for a while."""
    session.execute(update(Job).where(Job.id.in_(job_ids)).values(published_at=clock()))


def unmark(session: Session, job_ids: Sequence[uuid.UUID]) -> None:
    """Let the rescuer announce these jobs at once, since the broker did not take them."""
    session.execute(update(Job).where(Job.id.in_(job_ids), Job.state == State.QUEUED).values(published_at=None))


def forget(session: Session) -> int:
    """Let every queued job be announced again at once, since the broker has lost what it was told."""
    return db.changes(
        session,
        update(Job).where(Job.state == State.QUEUED, Job.published_at.is_not(None)).values(published_at=None),
    )


def waiting_groups(session: Session, *, environment: str) -> list[str]:
    """The groups of an environment in which jobs wait."""
    query = select(Job.group_name).where(Job.state == State.QUEUED, Job.environment == environment).distinct()
    return list(session.scalars(query))


def limited_lanes(session: Session) -> list[tuple[str, str]]:
    """Environment and group of each lane in which a job with a limit waits."""
    return [(row.environment, row.group_name) for row in session.execute(saturation.LIMITED_LANES)]


def _due(older_than: timedelta) -> ColumnElement[bool]:
    announced = or_(Job.published_at.is_(None), Job.published_at < clock(-older_than))
    return and_(Job.state == State.QUEUED, announced, _ready())


def _ready() -> ColumnElement[bool]:
    due = or_(Job.not_before.is_(None), Job.not_before <= clock())
    return and_(due, Job.pause_requested_at.is_(None))
