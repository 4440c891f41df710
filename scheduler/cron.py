"""Cron expressions on a zone's wall clock: which instants they mean, also in nights when the clock changes. Pure.

`cronsim` walks the wall clock, without a zone; what a wall time means is decided here, since the rules for a time that
does not exist and for one that exists twice are the operator's:

| | `missing` | `repeated` |
|---|---|---|
| expression with fixed hours, by default | `next`: once, when the clock has jumped | `once`: the first time |
| expression whose hour begins with `*`, by default | `skip`: real hours go on | `both`: real hours go on |

Promises that instants come in order, each once, in UTC. Fields are those of Debian's cron: 5, or 6 with seconds first.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

_SECOND = timedelta(seconds=1)

#: What each field takes, by cronsim's names.
_FIELDS = {
    "second": "0-59",
    "minute": "0-59",
    "hour": "0-23",
    "day-of-month": "1-31, L for the last",
    "month": "1-12 or jan-dec",
    "day-of-week": "0-7 (0 and 7 are Sunday) or mon-sun",
}


class Missing(StrEnum):
    """What a wall time means that the clock jumped over."""

    NEXT = "next"
    """The instant after the jump; several such times are one instant."""

    SKIP = "skip"
    """Nothing."""


class Repeated(StrEnum):
    """What a wall time means that the clock shows twice."""

    ONCE = "once"
    """The first time."""

    LAST = "last"
    """The second time."""

    BOTH = "both"
    """Both times."""


@dataclass(frozen=True, slots=True)
class Cron:
    """An expression in a zone, with the rules for the nights when the clock changes."""

    expression: str
    zone: ZoneInfo
    missing: Missing
    repeated: Repeated

    def after(self, instant: datetime) -> Iterator[datetime]:
        """The instants after `instant`, in UTC; ends where the expression has no time in the next 50 years."""
        latest = instant
        for found in self._in_order(instant):
            if found > latest:
                latest = found
                yield found

    def _in_order(self, instant: datetime) -> Iterator[datetime]:
        waiting: list[datetime] = []
        for wall in self._walls(instant):
            meant = self._meant(wall)
            while waiting and meant and waiting[0] <= meant[0]:
                yield heapq.heappop(waiting)
            yield from meant[:1]
            for second in meant[1:]:
                heapq.heappush(waiting, second)
        yield from sorted(waiting)

    def _walls(self, instant: datetime) -> Iterator[datetime]:
        """Wall times without a zone that the clock shows after `instant`, those included that it shows again then."""
        local = instant.astimezone(self.zone)
        again = _offset(local.replace(fold=0)) - _offset(local.replace(fold=1))
        wall = local.replace(tzinfo=None, fold=0)
        return CronSim(self.expression, wall - again if again > timedelta(0) and not local.fold else wall)

    def _meant(self, wall: datetime) -> list[datetime]:
        first, second = (wall.replace(tzinfo=self.zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        if first == second:
            return [first]
        if first > second:
            return [_jump(self.zone, second, first)] if self.missing is Missing.NEXT else []
        return {Repeated.ONCE: [first], Repeated.LAST: [second], Repeated.BOTH: [first, second]}[self.repeated]


def cron(expression: str, zone: ZoneInfo, *, missing: Missing | None = None, repeated: Repeated | None = None) -> Cron:
    """The expression with its rules; where none is given they follow from its hours, as the table above says.

    Raises:
        ValueError: for an expression that is none, or that has no time at all, such as 31 February.
    """
    fields = expression.split()
    try:
        next(CronSim(expression, datetime(2024, 1, 1)))  # noqa: DTZ001 - a wall clock has no zone
    except CronSimError as error:
        raise ValueError(_complaint(fields, str(error))) from None
    except StopIteration:
        raise ValueError(f"{expression[:100]!r} has no day in the next 50 years; look at its day and month") from None
    every_hour = fields[-4].startswith("*")
    return Cron(
        expression,
        zone,
        missing or (Missing.SKIP if every_hour else Missing.NEXT),
        repeated or (Repeated.BOTH if every_hour else Repeated.ONCE),
    )


def _complaint(fields: list[str], word: str) -> str:
    """What is wrong with an expression, from cronsim's word for it."""
    shown = repr(" ".join(fields)[:100])
    name = word.removeprefix("Bad ")
    if name not in _FIELDS:
        return f"{shown} is no expression; write five fields (minute hour day month weekday), or six with seconds first"
    if name == "day-of-month" and _is_one([*fields[:-2], "*", fields[-1]]):
        return f"{shown} means a day that never comes: no such month has a day {fields[-3]}"
    return f"the {name} of {shown} is none; write {_FIELDS[name]}, lists (1,5), ranges (1-5), steps (*/5) or *"


def _is_one(fields: list[str]) -> bool:
    try:
        CronSim(" ".join(fields), datetime(2024, 1, 1))  # noqa: DTZ001 - a wall clock has no zone
    except CronSimError:
        return False
    return True


def _offset(local: datetime) -> timedelta:
    return local.utcoffset() or timedelta(0)


def _jump(zone: ZoneInfo, low: datetime, high: datetime) -> datetime:
    """When the clock jumped: the first instant after `low`, up to `high`, with the offset of `high`."""
    after = _offset(high.astimezone(zone))
    while high - low > _SECOND:
        middle = low + (high - low) // 2
        if _offset(middle.astimezone(zone)) == after:
            high = middle
        else:
            low = middle
    return high.replace(microsecond=0)  # clocks jump at whole seconds
