"""Which instants of a schedule fire now, which were missed, and which comes next. Pure."""

from __future__ import annotations

import uuid
from collections import deque
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from scheduler.schedule import Misfire, Schedule, delayed, instants

#: How far back the first look for missed instants goes; each further one eight times as far.
_FIRST_LOOK = timedelta(hours=1)

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Due:
    """`fire` in order; `missed` is the first instant that is left out for being late; `following` comes next."""

    fire: tuple[datetime, ...]
    missed: datetime | None
    following: datetime | None


@dataclass(frozen=True, slots=True)
class Timing:
    """A trigger's schedule with what it depends on besides."""

    schedule: Schedule
    trigger_id: uuid.UUID
    made_at: datetime
    excluded: frozenset[date] = frozenset()

    def due_at(self, instant: datetime) -> datetime:
        """When an instant is due, its jitter included."""
        return delayed(self.schedule, instant, trigger_id=self.trigger_id)

    def following(self, after: datetime) -> datetime | None:
        """The first instant after `after`."""
        return next(instants(self.schedule, after=after, made_at=self.made_at, excluded=self.excluded), None)


def due(timing: Timing, *, waiting: datetime, now: datetime) -> Due:
    """What is to be done about the instants from `waiting` on, of which that one has come.

    An instant that is less late than the grace is on time and fires whatever the policy says. Costs depend on how many
    instants fire, not on how long nobody looked.
    """
    policy = timing.schedule.misfire
    wanted = {Misfire.LATEST: 1, Misfire.ALL: timing.schedule.misfire_limit, Misfire.NONE: 0}[policy]
    back = max(_FIRST_LOOK, timing.schedule.misfire_grace) + timing.schedule.jitter
    while True:
        begin = max(waiting, now - back)
        passed, following = _passed(timing, begin=begin, now=now)
        if begin == waiting or len(passed) >= max(wanted, 1):
            break
        back *= 8
    on_time = [one for one in passed if now - timing.due_at(one) <= timing.schedule.misfire_grace]
    late = passed[: len(passed) - len(on_time)]
    kept = max(wanted - len(on_time), 0) if policy is not Misfire.NONE else 0
    fire = (*late[len(late) - kept if kept < len(late) else 0 :], *on_time) if kept else tuple(on_time)
    # What was waited for may be no instant any more, where the zone's rules have changed.
    stands = begin > waiting or waiting in passed
    return Due(fire, waiting if stands and waiting not in fire else None, following)


def _passed(timing: Timing, *, begin: datetime, now: datetime) -> tuple[list[datetime], datetime | None]:
    """The instants from `begin` on whose time has come, the newest few of them, and the next one."""
    newest: deque[datetime] = deque(maxlen=_most(timing.schedule))
    rest = instants(timing.schedule, after=begin - _MICROSECOND, made_at=timing.made_at, excluded=timing.excluded)
    for instant in rest:
        if timing.due_at(instant) > now:
            return list(newest), instant
        newest.append(instant)
    return list(newest), None


def _most(schedule: Schedule) -> int:
    """No schedule fires more often than each second, so this many hold all that are on time."""
    return schedule.misfire_limit + int(schedule.misfire_grace.total_seconds()) + 1
