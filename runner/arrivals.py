"""Arrivals: what a runner saw for a trigger, a file or a message, written down once as a pending firing.

The scheduler decides about it and queues the job; no runner may. Promises that of any number of runners that see the
same thing, whenever and however often, one firing results.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from runner.models import Job
from runner.started import RUNS
from runner.states import FINAL, State
from runner.triggers import Firing, FiringState, Kind, Trigger, storable_key
from vault.db import clock, database_time

_INSERTS = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an arrival: whether it is over, and whether what it started succeeded."""

    over: bool
    succeeded: bool


def watched(
    session: Session, kind: Kind, *, environments: Collection[str], groups: Collection[str]
) -> Sequence[Trigger]:
    """The triggers of this kind in use that runners of these environments and groups serve, paused ones, too."""
    return session.scalars(
        select(Trigger)
        .where(
            Trigger.kind == kind,
            Trigger.removed_at.is_(None),
            Trigger.environment.in_(environments),
            Trigger.group_name.in_(groups),
        )
        .order_by(Trigger.id)
    ).all()


def arrive(session: Session, trigger_id: uuid.UUID, key: str, *, event: Mapping[str, Any]) -> bool:
    """Write down what was seen; false where it was written down before. `event` is JSON, `key` tells it apart."""
    now = database_time(session)
    row = {
        "id": uuid7(),
        "trigger_id": trigger_id,
        "key": storable_key(key),
        "state": FiringState.PENDING,
        "instant": now,
        "event": dict(event),
        "depth": 0,
        "created_at": now,
    }
    make = _INSERTS.get(session.get_bind().dialect.name, insert)
    statement = make(Firing).values(row).on_conflict_do_nothing().returning(Firing.id)  # type: ignore[attr-defined]
    return session.execute(statement).first() is not None


def moved(session: Session, trigger_id: uuid.UUID, key: str) -> None:
    """Note that what arrived is out of the way, so that its firing need not be kept to keep it from firing again."""
    session.execute(
        update(Firing)
        .where(Firing.trigger_id == trigger_id, Firing.key == storable_key(key))
        .values(moved_at=clock())
        .execution_options(synchronize_session=False)
    )


def outcomes(session: Session, trigger_id: uuid.UUID, keys: Collection[str]) -> dict[str, Outcome]:
    """What came of these arrivals so far, by key; those that nobody has written down are missing.

    A firing that was skipped, or that could start nothing, is over and did not succeed.
    """
    stored = {storable_key(key): key for key in keys}
    rows = session.execute(
        select(Firing.key, Firing.state, func.coalesce(Job.state, RUNS.c.state))
        .outerjoin(Job, Job.id == Firing.started_id)
        .outerjoin(RUNS, RUNS.c.id == Firing.started_id)
        .where(Firing.trigger_id == trigger_id, Firing.key.in_(stored))
    ).all()
    return {stored[key]: _outcome(state, started) for key, state, started in rows}


def _outcome(state: str, started: str | None) -> Outcome:
    if state in {FiringState.SKIPPED, FiringState.FAILED}:
        return Outcome(over=True, succeeded=False)
    over = state == FiringState.STARTED and started in FINAL
    return Outcome(over=over, succeeded=over and started == State.SUCCEEDED)
