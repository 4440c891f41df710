"""What a schedule will do next, with the nights marked in which the clock changes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from zoneinfo import ZoneInfo

from scheduler.misfire import Timing
from scheduler.schedule import changes_clock, instants


@dataclass(frozen=True, slots=True)
class Coming:
    """One instant: on the wall clock of the schedule's zone, when it is due, and what happens to the clock that day."""

    instant: datetime
    local: datetime
    due_at: datetime
    note: str


def preview(timing: Timing, *, now: datetime, count: int) -> list[Coming]:
    """The next `count` instants after `now`, fewer where the schedule ends."""
    zone = ZoneInfo(timing.schedule.zone)
    coming = instants(timing.schedule, after=now, made_at=timing.made_at, excluded=timing.excluded)
    return [
        Coming(one, one.astimezone(zone), timing.due_at(one), changes_clock(one, zone)) for one in islice(coming, count)
    ]
