"""Hours of the week in which a schedule may fire, or may not: `mon-fri 08:00-18:00`, `sat,sun`, `22:00-06:00`. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, time, timedelta

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-(?:([01]\d|2[0-3]):([0-5]\d)|24:00)", re.ASCII)
_SYNTAX = "write days, hours or both, such as mon-fri 08:00-18:00 or sat,sun"


@dataclass(frozen=True, slots=True)
class Window:
    """Days of the week (0 is Monday) and hours of the day, the end excluded.

    One whose end is not after its start goes on past midnight and belongs to the day on which it began.
    """

    days: frozenset[int]
    start: time
    end: time | None

    def contains(self, wall: datetime) -> bool:
        """Whether a time on the wall clock lies in it."""
        now = wall.time()
        if self.end is None or self.end > self.start:
            return wall.weekday() in self.days and self.start <= now and (self.end is None or now < self.end)
        if now >= self.start:
            return wall.weekday() in self.days
        return now < self.end and (wall.weekday() - 1) % 7 in self.days


def next_border(wall: datetime, windows: Iterable[Window]) -> datetime:
    """The next time on the wall clock at which one of these may begin or end, midnight at the latest."""
    times = {one for some in windows for one in (some.start, some.end) if one is not None}
    later = [one for one in times if one > wall.time()]
    if later:
        return datetime.combine(wall.date(), min(later))
    return datetime.combine(wall.date() + timedelta(days=1), time())


def window(text: str) -> Window:
    """The window of a text; ValueError for one that is none."""
    words = text.lower().split()
    if not 1 <= len(words) <= 2:
        raise ValueError(f"holds {text[:60]!r}; {_SYNTAX}")
    hours = _HOURS.fullmatch(words[-1])
    if hours is None and len(words) == 2:
        raise ValueError(f"holds {words[-1][:60]!r}, which are no hours; {_SYNTAX}")
    days = _days(words[0]) if hours is None or len(words) == 2 else frozenset(range(7))
    if hours is None:
        return Window(days, time(), None)
    end = None if hours[3] is None else time(int(hours[3]), int(hours[4]))
    return Window(days, time(int(hours[1]), int(hours[2])), end)


def _days(text: str) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if first not in _DAYS or (dash and last not in _DAYS):
            raise ValueError(f"holds {part[:60]!r}, which is no day of the week; {_SYNTAX}")
        low, high = _DAYS.index(first), _DAYS.index(last if dash else first)
        found.update(day % 7 for day in range(low, high + 1 + (7 if high < low else 0)))
    return frozenset(found)
