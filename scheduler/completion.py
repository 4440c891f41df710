"""Completion triggers: what has ended, derived from the rows of jobs and runs, fires once.

Nothing is told at the end of a job, so nothing can be lost there: every second the ends since `watched_until` are
compared with the firings, which are unique. An end counts by the database's clock of the statement that wrote it, and
may be committed later than ends after it; so each look goes back by `OVERLAP`, longer than any transaction may wait
(`vault.db.FROZEN_AFTER`). An end that cannot be read is passed over.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from celery import Celery
from sqlalchemy import ColumnElement, Engine, ScalarSelect, and_, exists, or_, select
from sqlalchemy.orm import Session

from runner.logging import logger
from runner.triggers import Kind, Trigger
from scheduler import firing
from scheduler.damage import readable
from scheduler.definitions import Completion
from scheduler.shots import Fired, Shot
from scheduler.sources import Ends, Watched, ended_since, key_of, source
from vault import db
from vault.errors import DamagedRow, Unavailable

_log = logger()

#: How far each look goes back behind the one before.
OVERLAP = timedelta(seconds=2 * db.FROZEN_AFTER)

#: Ends of one look; the rest follows at once.
BATCH = 500

#: More completion triggers than anybody has.
_MOST = 1_000_000

#: How rarely a trigger without ends is written to.
_STEP = timedelta(seconds=30)


def waiting() -> ColumnElement[bool]:
    """Whether `fire_ended` may have something to do, for all triggers at once: a look for each bot and flow.

    No trigger watches from longer ago than `_STEP` where the first half does not hold, so no end before is news.
    """
    behind = exists().where(*_ACTIVE, Trigger.watched_until < _ago(_STEP))
    return or_(behind, and_(exists().where(*_ACTIVE), ended_since(_ago(_STEP + OVERLAP))))


def fire_ended(engine: Engine, app: Celery) -> int:
    """Fire every completion trigger for what has ended; answers how many firings there were.

    A trigger that cannot fire is told to the log, and holds up no other.

    Raises:
        Unavailable: when the database cannot be reached.
    """
    return sum(_fire(engine, app, trigger_id) for trigger_id in _with_news(engine))


def _with_news(engine: Engine) -> list[uuid.UUID]:
    found: list[uuid.UUID] = []
    with db.reading(engine) as session:
        now = db.database_time(session)
        rows, unreadable = readable(session, select(Trigger).where(*_ACTIVE).order_by(Trigger.id), limit=_MOST)
        if unreadable:
            _log.warning("triggers.damaged", count=unreadable)
        for (trigger,) in rows:
            with _alone(trigger.id):
                if _news(session, trigger, now=now):
                    found.append(trigger.id)
    return found


def _fire(engine: Engine, app: Celery, trigger_id: uuid.UUID) -> int:
    count = 0
    more = True
    while more:
        fired: list[Fired] = []
        more = False
        with _alone(trigger_id), db.writing(engine) as session:
            fired, more = fire_batch(session, trigger_id, now=db.database_time(session))
        firing.announce(engine, app, fired)
        count += len(fired)
    return count


@contextmanager
def _alone(trigger_id: uuid.UUID) -> Iterator[None]:
    """What goes wrong with one trigger is logged here, and does not hold up the others."""
    try:
        yield
    except Unavailable:
        raise
    except DamagedRow as error:
        _log.warning("trigger.damaged", trigger_id=str(trigger_id), error=str(error))
    except Exception:
        _log.exception("trigger.broken", trigger_id=str(trigger_id))


def fire_batch(session: Session, trigger_id: uuid.UUID, *, now: datetime) -> tuple[list[Fired], bool]:
    """Fire one trigger for some ends; whether there may be more. Nothing where another scheduler does it now."""
    trigger = session.scalars(
        select(Trigger).where(Trigger.id == trigger_id, *_ACTIVE).with_for_update(skip_locked=True)
    ).one_or_none()
    if trigger is None:
        return [], False
    found = _ended(session, trigger)
    if found.unreadable:
        _log.warning("trigger.ends_damaged", trigger_id=str(trigger_id), count=found.unreadable)
    ended = found.ends
    depths = firing.depth_of(session, [one.id for one in ended])
    shots = [
        Shot(trigger, key_of(one.id), one.finished_at, event=one.event, depth=depths.get(one.id, -1) + 1)
        for one in ended
    ]
    fired = firing.fire_all(session, shots, now=now) if shots else []
    full = len(ended) == BATCH
    trigger.watched_until = max(_watched(trigger), ended[-1].finished_at if full else now)
    session.flush()
    return fired, full


_ACTIVE = (
    Trigger.kind == Kind.COMPLETION,
    Trigger.removed_at.is_(None),
    Trigger.enabled,
    Trigger.paused_at.is_(None),
)


def _ago(span: timedelta) -> ScalarSelect[datetime]:
    return select(db.clock(-span)).scalar_subquery()


def _news(session: Session, trigger: Trigger, *, now: datetime) -> bool:
    return now - _watched(trigger) > _STEP or bool(_ended(session, trigger, limit=1).ends)


def _ended(session: Session, trigger: Trigger, *, limit: int = BATCH) -> Ends:
    wanted = Completion.model_validate(trigger.definition["completion"])
    kind, name = wanted.source
    watched = Watched(
        trigger.id, trigger.workspace_id, name, wanted.environment, wanted.states, _watched(trigger) - OVERLAP
    )
    return source(kind).ended(session, watched, limit=limit)


def _watched(trigger: Trigger) -> datetime:
    assert trigger.watched_until is not None  # noqa: S101 - a completion trigger has it from the start
    return trigger.watched_until
