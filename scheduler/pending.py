"""Firings that runners left pending, of files and messages: decided, each once.

A runner writes down what it saw and goes on; here the policies are asked and the job is queued, in one transaction
with the firing's end. What waits for a paused trigger waits until it is resumed.
"""

from __future__ import annotations

from celery import Celery
from sqlalchemy import Engine, Select, and_, exists, or_, select
from sqlalchemy.orm import Session

from runner.triggers import Firing, FiringState, Trigger
from scheduler import firing
from scheduler.shots import Fired, Shot, decide
from vault import db

#: Firings of one transaction.
BATCH = 500

_FIRES = and_(Trigger.enabled, Trigger.paused_at.is_(None))

_UNDECIDED = (
    Trigger.id == Firing.trigger_id,
    Firing.state == FiringState.PENDING,
    or_(Trigger.removed_at.is_not(None), _FIRES),
)

#: Whether there is a firing to decide about.
WAITING = exists().where(*_UNDECIDED)


def decide_pending(engine: Engine, app: Celery) -> int:
    """Decide about every pending firing whose trigger fires at all; answers how many there were."""
    count = 0
    while True:
        with db.reading(engine) as session:
            if not session.scalar(select(WAITING)):
                return count
        with db.writing(engine) as session:
            fired = decide_batch(session)
        firing.announce(engine, app, fired)
        count += len(fired)
        if len(fired) < BATCH:
            return count


def decide_batch(session: Session) -> list[Fired]:
    """Decide about some, the oldest first; others leave these alone meanwhile."""
    rows = session.execute(
        _pending().order_by(Firing.id).limit(BATCH).with_for_update(of=Firing, skip_locked=True)
    ).all()
    shots = [(row.id, _shot(row, trigger)) for row, trigger in rows]
    fired = decide(session, shots, now=db.database_time(session)) if shots else []
    firing.settle(session, fired)
    return fired


def _pending() -> Select[Firing, Trigger]:
    return select(Firing, Trigger).where(*_UNDECIDED)


def _shot(row: Firing, trigger: Trigger) -> Shot:
    skip = "The trigger was removed." if trigger.removed_at is not None else None
    return Shot(trigger, row.key, row.instant, event=row.event, depth=row.depth, skip=skip)
