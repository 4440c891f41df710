"""Instants on a line: where each is drawn between now and the last, and the days on which the clock changes; pure.

Lengths are units of the drawing, whose width is `WIDTH`; a page shows it as wide as there is room.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from scheduler.preview import Coming
from scheduler.schedule import changes_clock

#: The drawing's size, its margins, and how near to each other two labels may stand.
WIDTH, HEIGHT, LEFT, RIGHT, NEAREST = 640, 96, 24, 24, 104

#: Days that are looked at for changes of the clock; every zone that has any has one within a year.
MAX_DAYS = 800


@dataclass(frozen=True, slots=True)
class Mark:
    """An instant: its place, what a pointer or a reader is told, and a label where there is room for one."""

    x: int
    title: str
    label: str
    day: str
    changes: bool


@dataclass(frozen=True, slots=True)
class Band:
    """A day on which the zone's clock changes."""

    x: int
    width: int
    title: str


@dataclass(frozen=True, slots=True)
class TimeLine:
    """What is drawn, and the sentence that says it."""

    marks: tuple[Mark, ...]
    bands: tuple[Band, ...]
    zone: str
    sentence: str


def time_line(coming: Sequence[Coming], *, now: datetime, zone: str) -> TimeLine:
    """The drawing of these instants, which are in order."""
    if not coming:
        return TimeLine((), (), zone, "Nothing comes any more.")
    place = ZoneInfo(zone)
    end = max(coming[-1].instant, now + timedelta(minutes=1))
    length = (end - now) / timedelta(seconds=1)

    def at(instant: datetime) -> int:
        share = max(0.0, min(1.0, (instant - now) / timedelta(seconds=1) / length))
        return LEFT + round(share * (WIDTH - LEFT - RIGHT))

    marks, last, day = [], -NEAREST, ""
    for one in coming:
        x = at(one.instant)
        shown = x - last >= NEAREST
        words = f"{one.local:%Y-%m-%d %H:%M:%S %Z}"
        marks.append(
            Mark(
                x,
                f"{words}; {one.note}" if one.note else words,
                f"{one.local:%H:%M}" if shown else "",
                f"{one.local:%a %d %b}" if shown and f"{one.local:%x}" != day else "",
                bool(one.note),
            )
        )
        if shown:
            last, day = x, f"{one.local:%x}"
    bands = tuple(_band(midnight, note, at) for midnight, note in _changes(now, end, place))
    sentence = (
        f"{len(coming)} instants from {coming[0].local:%Y-%m-%d %H:%M} to {coming[-1].local:%Y-%m-%d %H:%M} {zone}"
    )
    nights = "; ".join(f"{midnight:%Y-%m-%d}: {note}" for midnight, note in _changes(now, end, place))
    return TimeLine(tuple(marks), bands, zone, f"{sentence}. {nights}." if nights else f"{sentence}.")


def _band(midnight: datetime, note: str, at: Callable[[datetime], int]) -> Band:
    left, right = at(midnight), at(midnight + timedelta(days=1))
    return Band(left, max(right - left, 4), f"{midnight:%Y-%m-%d}: {note}")


def _changes(now: datetime, end: datetime, zone: ZoneInfo) -> Iterator[tuple[datetime, str]]:
    midnight = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    for _ in range(MAX_DAYS):
        if midnight > end:
            return
        if note := changes_clock(midnight, zone):
            yield midnight, note
        midnight = (midnight.replace(tzinfo=None) + timedelta(days=1)).replace(tzinfo=zone)
