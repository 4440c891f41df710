"""Firing: the unique row of a trigger and a key, in the transaction that inserts what it starts.

Promises that of any number of processes that fire the same trigger with the same key, whenever, one starts something;
the others are told what it was. A firing that was skipped stays so; one that failed is tried again when its key comes
again. Nothing is refused silently: a skipped and a failed firing say why.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from celery import Celery
from sqlalchemy import Engine, bindparam, insert, select, tuple_, update
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from runner import batches
from runner.jobs import FLOWS
from runner.logging import logger
from runner.models import Job
from runner.triggers import Firing, FiringState, storable_key
from scheduler.shots import Fired, Shot, decide, repeated
from vault import db
from vault.models import Model

_log = logger()

_firings = Model.metadata.tables[Firing.__tablename__]

#: Firings that one statement looks for: PostgreSQL takes 65,535 parameters, SQLite 32,766.
_AT_ONCE = 5000

#: A trigger and the key of one of its firings.
Place = tuple[uuid.UUID, str]


def fire(session: Session, shot: Shot, *, now: datetime) -> Fired:
    """Fire one trigger once; the caller announces what is queued after its transaction is committed."""
    return fire_all(session, [shot], now=now)[0]


def fire_all(session: Session, shots: Sequence[Shot], *, now: datetime) -> list[Fired]:
    """Fire many, in their order, each trigger's keys at most once.

    Raises:
        IntegrityError: when another process fired one of them a moment ago; asking again tells what it did.
    """
    places = [(shot.trigger.id, storable_key(shot.key)) for shot in shots]
    earlier = _earlier(session, places)
    fired: dict[Place, Fired] = {}
    wanted: dict[Place, tuple[uuid.UUID, Shot]] = {}
    for place, shot in zip(places, shots, strict=True):
        before = earlier.get(place)
        if before is not None and before.state != FiringState.FAILED:
            fired[place] = _told(before, shot)
        elif place not in wanted:
            wanted[place] = (uuid7() if before is None else before.id, shot)
    decided = dict(zip(wanted, decide(session, list(wanted.values()), now=now), strict=True))
    _insert(session, {place: one for place, one in decided.items() if place not in earlier}, now=now)
    settle(session, [one for place, one in decided.items() if place in earlier])
    return [{**fired, **decided}[place] for place in places]


def settle(session: Session, decided: Sequence[Fired]) -> None:
    """Write what firings came to that have a row already."""
    if decided:
        session.connection().execute(_SETTLE, [{"firing": one.id, **_outcome(one)} for one in decided])


def announce(engine: Engine, app: Celery, fired: Sequence[Fired]) -> None:
    """After the commit: say what is queued, and log what fired."""
    for one in fired:
        if one.new:
            _log.info(
                f"trigger.{'fired' if one.state == FiringState.STARTED else one.state}",
                trigger=one.shot.trigger.name,
                key=one.shot.key,
                started=None if one.started_id is None else str(one.started_id),
                why=one.why,
            )
    queued = [job for one in fired for job in one.queued]
    if queued and not batches.announce(app, queued):
        with db.writing(engine) as session:
            batches.not_announced(session, queued)


def depth_of(session: Session, started_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, int]:
    """How many firings led to each of these jobs or runs; those that no trigger started are missing.

    A job of a run was led to by what led to the run.
    """
    of_runs = session.execute(
        select(Job.id, Job.cause_id).where(Job.id.in_(started_ids), Job.cause_kind.in_(sorted(FLOWS)))
    ).all()
    runs = {row[0]: uuid.UUID(row[1]) for row in of_runs if row[1] is not None}
    wanted = [*started_ids, *runs.values()]
    rows = session.execute(select(Firing.started_id, Firing.depth).where(Firing.started_id.in_(wanted))).all()
    known = {row[0]: row[1] for row in rows if row[0] is not None}
    found = {one: known.get(runs.get(one, one)) for one in started_ids}
    return {one: depth for one, depth in found.items() if depth is not None}


_SETTLE = (
    update(_firings)
    .where(_firings.c.id == bindparam("firing"))
    .values({name: bindparam(name) for name in ("state", "why", "event", "started_kind", "started_id")})
)


def _outcome(fired: Fired) -> dict[str, Any]:
    failed = fired.state == FiringState.FAILED and fired.shot.event is not None
    return {
        "state": fired.state,
        "why": fired.why,
        "event": fired.shot.event if failed else None,
        "started_kind": fired.started_kind,
        "started_id": fired.started_id,
    }


def _earlier(session: Session, places: Sequence[Place]) -> dict[Place, Firing]:
    found: dict[Place, Firing] = {}
    for start in range(0, len(places), _AT_ONCE):
        some = tuple_(Firing.trigger_id, Firing.key).in_(places[start : start + _AT_ONCE])
        rows = session.scalars(select(Firing).where(some).with_for_update())
        found.update({(row.trigger_id, row.key): row for row in rows})
    return found


def _told(row: Firing, shot: Shot) -> Fired:
    return repeated(Fired(row.id, shot, FiringState(row.state), row.why, row.started_kind, row.started_id))


def _insert(session: Session, decided: dict[Place, Fired], *, now: datetime) -> None:
    if not decided:
        return
    rows = [
        {
            "id": one.id,
            "trigger_id": place[0],
            "key": place[1],
            "instant": one.shot.instant,
            "depth": one.shot.depth,
            "created_at": now,
            **_outcome(one),
        }
        for place, one in decided.items()
    ]
    session.connection().execute(insert(_firings), rows)
