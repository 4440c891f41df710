"""Cron on wall clocks against a walk over every minute, over all changes of two years.

The suite samples zones, others on each day; with `EVERY_ZONE=1` it takes them all.
"""

import os
import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim

from scheduler.cron import Cron, Missing, Repeated, cron
from scheduler.schedule import zones

BEGIN, YEARS = datetime(2026, 1, 1, tzinfo=UTC), 2
SPAN = timedelta(days=365 * YEARS)
MINUTE = timedelta(minutes=1)

#: Zones in which something unusual happens, always among those that are walked.
UNUSUAL = (
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",  # half an hour
    "Africa/Casablanca",  # back for Ramadan
    "America/Santiago",  # at midnight
    "Africa/Cairo",
    "Asia/Kathmandu",
    "UTC",
)

EXPRESSIONS = (
    "30 2 * * *",
    "0 0 * * *",
    "15,45 0-3 * * *",
    "*/10 2 * * *",
    "*/15 * * * *",
    "59 23 * * sun",
    "5 */2 * * *",
    "0 1 L * *",
    "30 1 1,15 * mon",
)


def changes(zone: ZoneInfo) -> list[datetime]:
    """The minutes at which the zone's offset changes in these years."""
    found = []
    hour = BEGIN
    while hour < BEGIN + SPAN:
        if offset(hour, zone) != offset(hour + timedelta(hours=1), zone):
            minute = hour
            while offset(minute, zone) == offset(minute + MINUTE, zone):
                minute += MINUTE
            found.append(minute + MINUTE)
        hour += timedelta(hours=1)
    return found


def offset(instant: datetime, zone: ZoneInfo) -> timedelta:
    return instant.astimezone(zone).utcoffset() or timedelta(0)


def matches(expression: str, wall: datetime) -> bool:
    """Whether the expression names this minute of a wall clock."""
    return next(CronSim(expression, wall - timedelta(seconds=1))) == wall


def walked(expression: str, zone: ZoneInfo, around: datetime, rules: Cron) -> list[datetime]:
    """What the rules say, by looking at each minute of two days: which wall times it shows, and which it skips."""
    start, end = around - timedelta(days=1), around + timedelta(days=1)
    shown: dict[datetime, list[datetime]] = defaultdict(list)
    instant = start - timedelta(hours=3)
    while instant <= end + timedelta(hours=3):
        shown[instant.astimezone(zone).replace(tzinfo=None, fold=0)].append(instant)
        instant += MINUTE
    found: set[datetime] = set()
    walls = sorted(shown)
    wall, last = walls[0], walls[-1]
    while wall <= last:
        if matches(expression, wall):
            at = shown.get(wall, [])
            if not at and rules.missing is Missing.NEXT:
                found.add(shown[min(one for one in walls if one > wall)][0])
            elif at:
                chosen = {Repeated.ONCE: at[:1], Repeated.LAST: at[-1:], Repeated.BOTH: at}[rules.repeated]
                found.update(chosen)
        wall += MINUTE
    return sorted(one for one in found if start < one <= end)


def computed(rules: Cron, around: datetime, *, days: int = 1) -> list[datetime]:
    start, end = around - timedelta(days=1), around + timedelta(days=days)
    found = []
    for instant in rules.after(start):
        if instant > end:
            break
        found.append(instant)
    return found


def chosen_zones() -> list[str]:
    if os.environ.get("EVERY_ZONE"):
        return sorted(zones())
    return [*UNUSUAL, *random.Random(datetime.now(UTC).date().isoformat()).sample(sorted(zones()), 4)]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", chosen_zones())
def test_cron_fires_at_the_minutes_that_a_walk_over_the_clock_finds(name: str) -> None:
    zone = ZoneInfo(name)
    lot = random.Random(name)
    places = changes(zone) or [BEGIN]
    if not os.environ.get("EVERY_ZONE"):
        places = lot.sample(places, min(2, len(places)))
    for around in places:
        expression = lot.choice(EXPRESSIONS)
        missing, repeated = lot.choice([None, *Missing]), lot.choice([None, *Repeated])
        rules = cron(expression, zone, missing=missing, repeated=repeated)
        assert computed(rules, around) == walked(expression, zone, around, rules), (expression, around, rules)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Lord_Howe", "America/Santiago", "Africa/Casablanca"])
def test_going_on_from_any_minute_of_a_night_finds_the_same(zone: str) -> None:
    for around in changes(ZoneInfo(zone))[:2]:
        for expression in ("*/30 * * * *", "30 2 * * *", "30 0 * * *"):
            for repeated in Repeated:
                rules = cron(expression, ZoneInfo(zone), repeated=repeated)
                whole = computed(rules, around, days=3)
                for step in range(-180, 180, 20):
                    start = around + step * MINUTE
                    expected = next(one for one in whole if one > start)
                    assert next(rules.after(start)) == expected, (expression, repeated, start)
