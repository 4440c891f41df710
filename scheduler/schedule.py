"""A schedule: at which instants a trigger fires. Pure.

    cron = "0 7 * * mon-fri"           # 5 fields, or 6 with seconds first; or:
    every = "15m"                      # counted from `start`, or from when the trigger was made; or:
    at = "2027-01-31T08:00"            # once
    zone = "Europe/Berlin"             # for cron, windows, days, and times without an offset; default UTC
    missing = "next"                   # a wall time that does not exist: next, skip; default: see `scheduler.cron`
    repeated = "once"                  # a wall time that exists twice: once, last, both; default as above
    start = "2027-01-01"               # not before; inclusive
    end = "2027-12-31T18:00"           # not after; inclusive
    calendars = ["holidays"]           # named days on which it does not fire
    excluded_days = ["2027-05-02"]     # more such days
    windows = ["mon-fri 08:00-18:00"]  # only then
    forbidden_windows = ["12:00-13:00"]  # and not then
    jitter = "5m"                      # late by up to this much, the same for the same instant; at most 1 h
    misfire = "latest"                 # of instants that nobody could fire: latest, all, none
    misfire_limit = 100                # with all: the newest so many
    misfire_grace = "60s"              # an instant that is less late than this counts as on time

Promises that the same schedule gives the same instants everywhere and always, that they come in order, and that a
search for one ends. An instant that a day or a window excludes is left out, never moved.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import cache, lru_cache
from itertools import count
from typing import Annotated, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    field_validator,
    model_validator,
)

from runner.durations import Duration
from scheduler.cron import Cron, Missing, Repeated, cron
from scheduler.windows import Window, next_border, window

#: How often in a row a day or a window may exclude what comes next, before a schedule counts as one without an instant:
#: each time it goes on at the next border of a window or at midnight, so these are eleven years of a daily schedule.
_PATIENCE = 4000

_MICROSECOND = timedelta(microseconds=1)


class Misfire(StrEnum):
    """What happens with instants that passed while nobody could fire them."""

    LATEST = "latest"
    """The newest fires, the others are skipped."""

    ALL = "all"
    """The newest `misfire_limit` fire."""

    NONE = "none"
    """None fires."""


@cache
def zones() -> frozenset[str]:
    """Every zone that this machine or the tzdata package knows."""
    return frozenset(available_timezones())


def _zone(name: str) -> str:
    if name not in zones():
        raise ValueError(f"{name[:60]!r} is not a time zone; write one of the IANA database, such as Europe/Berlin")
    return name


def _moment(value: object) -> object:
    """A day is its beginning."""
    if isinstance(value, str) and len(value) == len("2027-01-31"):
        return f"{value}T00:00:00"
    return value


def _window(text: str) -> str:
    window(text)
    return text


Moment = Annotated[datetime, BeforeValidator(_moment), PlainSerializer(datetime.isoformat, return_type=str)]
Windows = tuple[Annotated[str, AfterValidator(_window)], ...]


class Schedule(BaseModel):
    """A checked schedule; the module's docstring explains the fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cron: str | None = None
    every: Duration | None = None
    at: Moment | None = None
    zone: Annotated[str, AfterValidator(_zone)] = "UTC"
    missing: Missing | None = None
    repeated: Repeated | None = None
    start: Moment | None = None
    end: Moment | None = None
    calendars: tuple[str, ...] = Field(default=(), max_length=20)
    excluded_days: tuple[date, ...] = Field(default=(), max_length=2000)
    windows: Windows = Field(default=(), max_length=50)
    forbidden_windows: Windows = Field(default=(), max_length=50)
    jitter: Duration = timedelta(0)
    misfire: Misfire = Misfire.LATEST
    misfire_limit: int = Field(default=100, ge=1, le=1000)
    misfire_grace: Duration = timedelta(seconds=60)

    @field_validator("cron")
    @classmethod
    def _expression(cls, given: str | None) -> str | None:
        if given is not None:
            _walker(given, "UTC", None, None)
        return given

    @model_validator(mode="after")
    def _one_rhythm(self) -> Self:
        if sum(given is not None for given in (self.cron, self.every, self.at)) != 1:
            raise ValueError("write exactly one of cron, every and at")
        if self.every is not None and self.every < timedelta(seconds=1):
            raise ValueError("every must be at least 1 second")
        if self.jitter > timedelta(hours=1):
            raise ValueError("jitter may be 1 hour at most")
        if self.misfire_grace > timedelta(hours=1):
            raise ValueError("misfire_grace may be 1 hour at most")
        if self.start and self.end and self.aware(self.start) > self.aware(self.end):
            raise ValueError("end is before start")
        return self

    def aware(self, moment: datetime) -> datetime:
        """A time of this schedule as an instant; without an offset it is one of its zone's wall clock."""
        return (moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(self.zone))).astimezone(UTC)

    def walker(self) -> Cron | None:
        """The cron expression with its rules."""
        return _walker(self.cron, self.zone, self.missing, self.repeated) if self.cron else None


@lru_cache(maxsize=4096)
def _walker(expression: str, zone: str, missing: Missing | None, repeated: Repeated | None) -> Cron:
    return cron(expression, ZoneInfo(zone), missing=missing, repeated=repeated)


def instants(
    schedule: Schedule, *, after: datetime, made_at: datetime, excluded: frozenset[date] = frozenset()
) -> Iterator[datetime]:
    """The instants after `after`, in order; `made_at` is where an interval without a start begins.

    `excluded` are the days of the calendars. It ends when the schedule does, or when so many candidates in a row are
    excluded that none can be hoped for.
    """
    if schedule.start is not None:
        after = max(after, schedule.aware(schedule.start) - _MICROSECOND)
    end = schedule.aware(schedule.end) if schedule.end is not None else None
    gate = _gate(schedule, excluded)
    refused = 0
    while refused <= _PATIENCE:
        for instant in _candidates(schedule, after=after, made_at=made_at):
            if end is not None and instant > end:
                return
            if gate is not None and not gate.allows(instant):
                refused += 1
                after = gate.skipped(instant)
                break
            refused = 0
            yield instant
        else:
            return


def delayed(schedule: Schedule, instant: datetime, *, trigger_id: uuid.UUID) -> datetime:
    """When an instant is due: later by a part of the jitter that depends on the trigger and the instant alone."""
    if not schedule.jitter:
        return instant
    digest = hashlib.sha256(trigger_id.bytes + instant.isoformat().encode()).digest()
    return instant + schedule.jitter * (int.from_bytes(digest[:8], "big") / 2**64)


def changes_clock(instant: datetime, zone: ZoneInfo) -> str:
    """What happens to the zone's clock on the day of an instant, in words; empty on most days."""
    midnight = instant.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    next_day = (midnight.replace(tzinfo=None) + timedelta(days=1)).replace(tzinfo=zone)
    before, after = midnight.utcoffset() or timedelta(0), next_day.utcoffset() or timedelta(0)
    if before == after:
        return ""
    minutes = int(abs(after - before).total_seconds() // 60)
    return f"clock goes {'forward' if after > before else 'back'} by {minutes} min"


def _candidates(schedule: Schedule, *, after: datetime, made_at: datetime) -> Iterator[datetime]:
    walker = schedule.walker()
    if walker is not None:
        return walker.after(after)
    if schedule.at is not None:
        at = schedule.aware(schedule.at)
        return iter([at] if at > after else [])
    every = schedule.every
    assert every is not None  # noqa: S101 - one of the three is there
    begin = schedule.aware(schedule.start) if schedule.start is not None else made_at
    # The first one after `after`, and never before the first of all: where no start is given, one interval later.
    first = max((after - begin) // every + 1, 0 if schedule.start is not None else 1)
    return (begin + step * every for step in count(first))


@dataclass(frozen=True, slots=True)
class _Gate:
    """The days and windows that let instants through."""

    zone: ZoneInfo
    days: frozenset[date]
    only: tuple[Window, ...]
    never: tuple[Window, ...]

    def allows(self, instant: datetime) -> bool:
        wall = instant.astimezone(self.zone).replace(tzinfo=None)
        if wall.date() in self.days or any(one.contains(wall) for one in self.never):
            return False
        return not self.only or any(one.contains(wall) for one in self.only)

    def skipped(self, instant: datetime) -> datetime:
        """From where to go on after an instant that is not allowed: nothing in between is."""
        border = next_border(instant.astimezone(self.zone).replace(tzinfo=None), (*self.only, *self.never))
        # Where the clock is set back the border may lie before the instant.
        return max(border.replace(tzinfo=self.zone).astimezone(UTC) - _MICROSECOND, instant)


def _gate(schedule: Schedule, excluded: frozenset[date]) -> _Gate | None:
    days = excluded.union(schedule.excluded_days)
    only, never = _windows(schedule.windows), _windows(schedule.forbidden_windows)
    return _Gate(ZoneInfo(schedule.zone), days, only, never) if days or only or never else None


@lru_cache(maxsize=1024)
def _windows(texts: tuple[str, ...]) -> tuple[Window, ...]:
    return tuple(map(window, texts))
