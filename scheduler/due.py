"""Schedules whose time has come: claimed, fired and wound on in one transaction.

Promises that each instant fires once, whoever else looks at the same time and wherever a process dies: the rows of the
claimed triggers are locked until the firings, the jobs and the next instants are committed together; SQLite has one
writer at a time anyway. Time is the database's.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from celery import Celery
from sqlalchemy import Engine, bindparam, exists, select, update
from sqlalchemy.orm import Session

from runner.logging import logger
from runner.triggers import Trigger
from scheduler import calendars, firing
from scheduler.damage import readable
from scheduler.misfire import due
from scheduler.shots import Fired, Shot
from scheduler.triggers import timing_of
from vault import db
from vault.db import moment
from vault.models import Model

#: Triggers in one transaction: enough that its cost is spread, few enough that another scheduler soon gets some.
BATCH = 500

_log = logger()

#: Whether a schedule is due: one look into a small index.
WAITING = exists().where(Trigger.next_fire_at <= moment())

_triggers = Model.metadata.tables[Trigger.__tablename__]


def fire_due(engine: Engine, app: Celery) -> int:
    """Fire every schedule that is due, batch by batch; answers how many firings there were."""
    count = 0
    while True:
        with db.reading(engine) as session:
            if not session.scalar(select(WAITING)):
                return count
        with db.writing(engine) as session:
            claimed, fired = fire_batch(session, now=db.database_time(session))
        firing.announce(engine, app, fired)
        count += len(fired)
        if claimed < BATCH:
            return count


def fire_batch(session: Session, *, now: datetime, limit: int = BATCH) -> tuple[int, list[Fired]]:
    """Claim and fire some schedules that are due at `now`; answers how many were claimed, and their firings."""
    waiting = select(Trigger).where(Trigger.next_fire_at <= now).order_by(Trigger.next_fire_at, Trigger.id)
    rows, unreadable = readable(session, waiting.with_for_update(skip_locked=True), limit=limit)
    if unreadable:
        _log.warning("triggers.damaged", count=unreadable)
    claimed = [trigger for (trigger,) in rows]
    shots, moves = _aimed(session, claimed, now=now)
    fired = firing.fire_all(session, shots, now=now) if shots else []
    if moves:
        session.connection().execute(_MOVE, moves)
    return len(claimed), fired


_MOVE = (
    update(_triggers)
    .where(_triggers.c.id == bindparam("trigger"))
    .values(
        next_instant=bindparam("following"),
        next_fire_at=bindparam("due_at"),
        enabled=bindparam("stays"),
    )
)


def _aimed(
    session: Session, claimed: Sequence[Trigger], *, now: datetime
) -> tuple[list[Shot], list[dict[str, object]]]:
    """What each of the claimed triggers fires now, and what it waits for next."""
    excluded = calendars.days_of_all(session, claimed)
    shots: list[Shot] = []
    moves: list[dict[str, object]] = []
    for trigger in claimed:
        timing = timing_of(trigger, excluded=excluded.get(trigger.id, frozenset()))
        waiting = trigger.next_instant
        assert waiting is not None  # noqa: S101 - set together with what was searched by
        found = due(timing, waiting=waiting, now=now)
        if found.missed is not None:
            shots.append(_shot(trigger, found.missed, skip=_missed(trigger, found.missed, now=now)))
        shots += [_shot(trigger, instant) for instant in found.fire]
        following = found.following
        moves.append(
            {
                "trigger": trigger.id,
                "following": following,
                "due_at": None if following is None else timing.due_at(following),
                # A schedule of one instant is over with it.
                "stays": timing.schedule.at is None,
            }
        )
    return shots, moves


def _shot(trigger: Trigger, instant: datetime, *, skip: str | None = None) -> Shot:
    return Shot(trigger, instant.isoformat(), instant, skip=skip)


def _missed(trigger: Trigger, first: datetime, *, now: datetime) -> str:
    policy = (trigger.definition["schedule"]).get("misfire", "latest")
    return (
        f"misfire: nothing could fire from {first:%Y-%m-%d %H:%M:%S}Z until {now:%Y-%m-%d %H:%M:%S}Z, and the policy "
        f"{policy} leaves such instants out."
    )
