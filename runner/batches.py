"""Many jobs at once: inserted by few statements, announced in one go.

Promises the same rows as `jobs.enqueue`: a bot's jobs take their turns behind each other, beside those of other bots.
Turns are computed once for each bot and lane of the batch, and a batch of another process that is not committed yet
is not seen, exactly as with single jobs.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from celery import Celery
from sqlalchemy import ColumnElement, bindparam, func, insert, select, tuple_, update
from sqlalchemy.orm import Session

from runner import jobs, lanes, statements
from runner.jobs import Request
from runner.models import Job
from runner.states import State
from vault.db import clock
from vault.models import Model

_jobs = Model.metadata.tables[Job.__tablename__]

#: As `statements.ENQUEUE`, with the turn given.
_ENQUEUE = insert(_jobs).values(
    {name: bindparam(name) for name in (*statements.COLUMNS, "turn")}
    | {"state": State.QUEUED, "attempt": 0, "published_at": clock(), "warnings": []}
)

#: Ids in one statement: PostgreSQL takes 65,535 parameters, SQLite 32,766.
_AT_ONCE = 10_000

#: One lane and priority: environment, group, priority.
Lane = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Queued:
    """A job that was inserted and is to be announced after the commit."""

    id: uuid.UUID
    bot_id: uuid.UUID
    environment: str
    group: str


def enqueue(session: Session, requests: Sequence[Request], *, now: datetime) -> list[Queued]:
    """Insert a queued job for each request, in their order."""
    if not requests:
        return []
    turns = _Turns(session, requests)
    rows = [_row(request, turns=turns, now=now) for request in requests]
    session.connection().execute(_ENQUEUE, rows)
    return [Queued(row["id"], row["bot_id"], row["environment"], row["group_name"]) for row in rows]


def announce(app: Celery, queued: Iterable[Queued]) -> bool:
    """Say that these jobs may be ready; false when the broker cannot be reached, as `lanes.publish`."""
    return lanes.publish_many(app, [(job.id, job.environment, job.group, job.bot_id) for job in queued])


def not_announced(session: Session, queued: Iterable[Queued]) -> None:
    """Remember that the broker did not take these, so that the rescuer announces them as soon as it can."""
    ids = [job.id for job in queued]
    for start in range(0, len(ids), _AT_ONCE):
        some = Job.id.in_(ids[start : start + _AT_ONCE])
        session.execute(update(Job).where(some, Job.state == State.QUEUED).values(published_at=None))


class _Turns:
    """The next turn of each bot in each lane, counted on from what waits there."""

    def __init__(self, session: Session, requests: Sequence[Request]) -> None:
        lanes_of: dict[uuid.UUID, set[Lane]] = defaultdict(set)
        for request in requests:
            lanes_of[request.bot_id].add(_lane(request))
        every = sorted({lane for some in lanes_of.values() for lane in some})
        first = self._bounds(session, func.min(Job.turn), every)
        self._next = {(bot, lane): first.get((None, lane), 0) for bot, some in lanes_of.items() for lane in some}
        last = self._bounds(session, func.max(Job.turn), every, bots=list(lanes_of))
        self._next |= {place: turn + 1 for place, turn in last.items() if place in self._next}

    def take(self, request: Request) -> int:
        place = (request.bot_id, _lane(request))
        turn = self._next[place]
        self._next[place] = turn + 1
        return turn

    @staticmethod
    def _bounds(
        session: Session, bound: ColumnElement[int], every: Sequence[Lane], *, bots: Sequence[uuid.UUID] = ()
    ) -> dict[tuple[uuid.UUID | None, Lane], int]:
        place = (Job.environment, Job.group_name, Job.priority)
        query = select(bound, *place).where(Job.state == State.QUEUED, tuple_(*place).in_(every))
        if not bots:
            return {(None, (row[1], row[2], row[3])): row[0] for row in session.execute(query.group_by(*place))}
        mine = query.add_columns(Job.bot_id).where(Job.bot_id.in_(bots)).group_by(*place, Job.bot_id)
        return {(row[4], (row[1], row[2], row[3])): row[0] for row in session.execute(mine)}


def _lane(request: Request) -> Lane:
    return request.environment, request.group, int(request.priority)


def _row(request: Request, *, turns: _Turns, now: datetime) -> dict[str, Any]:
    return {**jobs.row_of(request, now=now), "turn": turns.take(request)}
