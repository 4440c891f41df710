"""How many jobs were asked for in each hour, by what became of them: counts over ranges of ids, for charts.

Ids are UUIDv7, so an hour is a range of `ix_jobs_state`, and counting reads the index alone. What a past hour counts
changes only while one of its jobs is still open.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Integer, Uuid, column, func, select, values
from sqlalchemy.orm import Session

from runner.jobs import first_id
from runner.models import Job
from runner.states import State

#: From the bottom of a bar to its top.
STATES: tuple[State, ...] = (State.SUCCEEDED, State.FAILED, State.CANCELLED, State.RUNNING, State.QUEUED)


@dataclass(frozen=True, slots=True)
class Bucket:
    """The jobs that were asked for from `begin` on, until the next bucket begins."""

    begin: datetime
    counts: dict[str, int]

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.counts.values())


def jobs_over_time(
    session: Session, *, workspace_id: uuid.UUID, now: datetime, width: timedelta, count: int
) -> Sequence[Bucket]:
    """The last `count` buckets of this `width`, the oldest first; the last one holds `now`.

    They begin at whole multiples of the width since 1970, so that hours are hours.
    """
    seconds = int(width.total_seconds())
    last = int(now.timestamp()) // seconds * seconds
    begins = [datetime.fromtimestamp(last - seconds * back, UTC) for back in range(count - 1, -1, -1)]
    ranges = (
        values(column("place", Integer), column("low", Uuid), column("high", Uuid), name="ranges")
        .data([(place, first_id(begin), first_id(begin + width)) for place, begin in enumerate(begins)])
        .cte("ranges")
    )
    counted = [
        select(func.count())
        .select_from(Job)
        .where(
            Job.workspace_id == workspace_id,
            Job.state == state,
            Job.id >= ranges.c.low,
            Job.id < ranges.c.high,
        )
        .correlate(ranges)
        .scalar_subquery()
        .label(state)
        for state in STATES
    ]
    rows = session.execute(select(ranges.c.place, *counted).order_by(ranges.c.place)).all()
    return [Bucket(begins[row[0]], dict(zip(STATES, row[1:], strict=True))) for row in rows]
