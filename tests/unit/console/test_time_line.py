"""The time line: where instants stand between now and the last, and which nights the clock changes in."""

import uuid
from datetime import UTC, datetime
from itertools import pairwise

from console.pages.time_line import LEFT, NEAREST, RIGHT, WIDTH, time_line
from scheduler.misfire import Timing
from scheduler.preview import Coming, preview
from scheduler.schedule import Schedule


def coming(now: datetime, count: int, **schedule: str) -> list[Coming]:
    timing = Timing(Schedule.model_validate(schedule), uuid.UUID(int=1), now, frozenset())
    return preview(timing, now=now, count=count)


def test_instants_stand_in_order_and_labels_have_room() -> None:
    now = datetime(2027, 1, 4, tzinfo=UTC)
    line = time_line(coming(now, 40, cron="0 7 * * *"), now=now, zone="UTC")
    places = [mark.x for mark in line.marks]
    assert places == sorted(places)
    assert (places[0] > LEFT, places[-1]) == (True, WIDTH - RIGHT)
    labelled = [mark.x for mark in line.marks if mark.label]
    assert all(right - left >= NEAREST for left, right in pairwise(labelled))
    assert line.bands == ()


def test_the_night_in_which_the_clock_changes_is_marked_also_where_nothing_fires_in_it() -> None:
    now = datetime(2027, 3, 26, 12, tzinfo=UTC)
    line = time_line(coming(now, 5, cron="30 2 * * *", zone="Europe/Berlin"), now=now, zone="Europe/Berlin")
    (band,) = line.bands
    assert band.title == "2027-03-28: clock goes forward by 60 min"
    assert [mark.changes for mark in line.marks].count(True) == 1
    assert "2027-03-28: clock goes forward" in line.sentence
    weekly = time_line(coming(now, 2, cron="0 9 * * mon", zone="Europe/Berlin"), now=now, zone="Europe/Berlin")
    assert [band.title for band in weekly.bands] == [band.title]
    assert not any(mark.changes for mark in weekly.marks)


def test_nothing_to_come_is_said() -> None:
    assert time_line([], now=datetime(2027, 1, 1, tzinfo=UTC), zone="UTC").sentence == "Nothing comes any more."
