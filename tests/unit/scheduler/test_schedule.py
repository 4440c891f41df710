"""Schedules: intervals, windows, days, jitter, misfires; pure."""

import uuid
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from scheduler.misfire import Timing, due
from scheduler.schedule import Schedule, changes_clock, delayed, instants
from scheduler.windows import window

#: A Monday.
MONDAY = datetime(2031, 3, 3, tzinfo=UTC)
TRIGGER = uuid.UUID(int=7)


def schedule(**fields: object) -> Schedule:
    return Schedule.model_validate(fields)


def first(
    count: int, given: Schedule, *, after: datetime = MONDAY, excluded: frozenset[date] = frozenset()
) -> list[str]:
    found = islice(instants(given, after=after, made_at=MONDAY, excluded=excluded), count)
    return [f"{one:%d %H:%M:%S}" for one in found]


def test_an_interval_is_counted_from_when_the_trigger_was_made_and_never_drifts() -> None:
    every = schedule(every="90m")
    assert first(3, every) == ["03 01:30:00", "03 03:00:00", "03 04:30:00"]
    assert first(1, every, after=MONDAY + timedelta(hours=4)) == ["03 04:30:00"]
    assert first(1, every, after=MONDAY + timedelta(hours=4, minutes=30)) == ["03 06:00:00"]


def test_an_interval_with_a_start_begins_there() -> None:
    assert first(2, schedule(every="1d", start="2031-03-05T06:00")) == ["05 06:00:00", "06 06:00:00"]


def test_one_instant_comes_once_and_an_offset_goes_before_the_zone() -> None:
    assert first(2, schedule(at="2031-03-04T08:00", zone="Europe/Berlin")) == ["04 07:00:00"]
    assert first(2, schedule(at="2031-03-04T08:00+05:00", zone="Europe/Berlin")) == ["04 03:00:00"]
    assert first(1, schedule(at="2031-03-02T08:00")) == []


def test_start_and_end_are_inclusive() -> None:
    daily = schedule(cron="0 7 * * *", start="2031-03-05T07:00", end="2031-03-06T07:00")
    assert first(9, daily) == ["05 07:00:00", "06 07:00:00"]


def test_seconds_come_first_in_six_fields() -> None:
    assert first(3, schedule(cron="*/20 0 7 * * *")) == ["03 07:00:00", "03 07:00:20", "03 07:00:40"]


def test_excluded_days_and_calendars_are_days_of_the_zone() -> None:
    late = schedule(cron="30 23 * * *", zone="America/New_York", excluded_days=["2031-03-03"])
    found = list(islice(instants(late, after=MONDAY + timedelta(hours=12), made_at=MONDAY), 1))
    assert found[0].astimezone(ZoneInfo("America/New_York")).date() == date(2031, 3, 4)
    assert first(1, schedule(cron="0 7 * * *"), excluded=frozenset({date(2031, 3, 3)})) == ["04 07:00:00"]


def test_windows_leave_out_and_never_move() -> None:
    office = schedule(cron="0 */4 * * *", windows=["mon-fri 08:00-18:00"], forbidden_windows=["12:00-13:00"])
    assert first(3, office) == ["03 08:00:00", "03 16:00:00", "04 08:00:00"]


def test_seconds_outside_of_a_window_and_weeks_of_free_days_are_passed_over_at_once() -> None:
    weekly = schedule(cron="* * * * * *", windows=["wed 10:00-10:01"])
    assert first(1, weekly, after=MONDAY + timedelta(days=3)) == ["12 10:00:00"]
    summer = [(date(2031, 3, 3) + timedelta(days=day)).isoformat() for day in range(25)]
    assert first(1, schedule(cron="* * * * * *", excluded_days=summer)) == ["28 00:00:00"]


def test_windows_hold_in_a_night_in_which_the_clock_is_set_back() -> None:
    night = schedule(cron="*/15 * * * *", zone="Europe/Berlin", windows=["02:30-03:00"])
    found = islice(instants(night, after=datetime(2031, 10, 25, 12, tzinfo=UTC), made_at=MONDAY), 5)
    assert [f"{one:%d %H:%M}" for one in found] == ["26 00:30", "26 00:45", "26 01:30", "26 01:45", "27 01:30"]


def test_a_schedule_that_days_and_windows_leave_nothing_of_has_no_instant() -> None:
    assert first(1, schedule(cron="0 7 * * *", windows=["08:00-09:00"])) == []


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("mon-fri 08:00-18:00", ["03 08:00", "07 17:59"], ["03 07:59", "03 18:00", "08 12:00"]),
        ("sat,sun", ["08 00:00", "09 23:59"], ["07 23:59", "10 00:00"]),
        ("22:00-06:00", ["03 22:00", "04 05:59"], ["03 21:59", "04 06:00"]),
        ("fri 22:00-06:00", ["07 23:00", "08 05:00"], ["08 23:00", "07 05:00"]),
        ("sun-tue 10:00-24:00", ["09 23:59", "04 10:00"], ["05 10:00", "03 09:59"]),
    ],
)
def test_a_window_contains_what_it_says(text: str, inside: list[str], outside: list[str]) -> None:
    def wall(spot: str) -> datetime:
        return datetime.fromisoformat(f"2031-03-{spot}")

    assert all(window(text).contains(wall(spot)) for spot in inside)
    assert not any(window(text).contains(wall(spot)) for spot in outside)


@pytest.mark.parametrize("text", ["", "moon", "mon 8:00-9:00", "25:00-26:00", "mon-fri 08:00", "mon 08:00-09:00 x"])
def test_a_window_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write days"):
        window(text)


def test_jitter_depends_on_trigger_and_instant_alone_and_stays_below_its_bound() -> None:
    late = schedule(cron="0 7 * * *", jitter="10m")
    days = [MONDAY + timedelta(days=number) for number in range(200)]
    delays = [delayed(late, day, trigger_id=TRIGGER) - day for day in days]
    assert delays == [delayed(late, day, trigger_id=TRIGGER) - day for day in days]
    assert min(delays) >= timedelta(0)
    assert max(delays) < timedelta(minutes=10)
    assert max(delays) - min(delays) > timedelta(minutes=8)
    assert delays != [delayed(late, day, trigger_id=uuid.UUID(int=8)) - day for day in days]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"cron": "0 7 * * *", "every": "1h"},
        {"cron": "0 0 30 2 *"},
        {"cron": "0 7 * * *", "zone": "../../etc/passwd"},
        {"cron": "0 7 * * *", "zone": "Mars/Olympus"},
        {"every": "0s"},
        {"every": "1h", "jitter": "2h"},
        {"every": "1h", "start": "2031-03-04", "end": "2031-03-03"},
        {"every": "1h", "misfire": "some"},
        {"every": "1h", "misfire_grace": "2d"},
        {"at": "soon"},
    ],
)
def test_an_impossible_schedule_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Schedule.model_validate(fields)


def timing(**fields: object) -> Timing:
    return Timing(schedule(**fields), TRIGGER, MONDAY)


def seen(given: Timing, *, waited: timedelta, late: timedelta) -> tuple[list[str], bool, datetime | None]:
    now = MONDAY + waited + late
    found = due(given, waiting=MONDAY + waited, now=now)
    return [f"{one:%d %H:%M}" for one in found.fire], found.missed is not None, found.following


def test_on_time_means_less_late_than_the_grace_whatever_the_policy() -> None:
    for policy in ("latest", "all", "none"):
        each_second = timing(cron="* * * * * *", misfire=policy)
        found = due(each_second, waiting=MONDAY, now=MONDAY + timedelta(seconds=5))
        assert len(found.fire) == 6, policy
        assert found.missed is None
        assert found.following == MONDAY + timedelta(seconds=6)


@pytest.mark.parametrize(
    ("fields", "fires", "misses"),
    [
        ({"misfire": "latest"}, ["04 22:00"], 1),
        ({"misfire": "none"}, [], 1),
        ({"misfire": "all", "misfire_limit": 3}, ["04 20:00", "04 21:00", "04 22:00"], 1),
        ({"misfire": "all", "misfire_limit": 1000}, 47, 0),
    ],
)
def test_what_was_missed_fires_by_the_policy(fields: dict[str, object], fires: list[str] | int, misses: int) -> None:
    found, missed, following = seen(
        timing(cron="0 * * * *", **fields), waited=timedelta(0), late=timedelta(hours=46, minutes=30)
    )
    assert (found if isinstance(fires, list) else len(found)) == fires
    assert missed == bool(misses)
    assert following == MONDAY + timedelta(hours=47)


def test_an_instant_on_time_leaves_the_late_ones_out_with_latest() -> None:
    found, missed, _ = seen(timing(cron="0 * * * *"), waited=timedelta(0), late=timedelta(hours=5, seconds=10))
    assert found == ["03 05:00"]
    assert missed


def test_a_month_of_missed_minutes_costs_no_walk_over_them() -> None:
    given = timing(cron="* * * * *")
    found = due(given, waiting=MONDAY, now=MONDAY + timedelta(days=300, seconds=90))
    assert found.fire[-1] == MONDAY + timedelta(days=300, minutes=1)
    assert found.missed == MONDAY


def test_jitter_delays_what_is_due() -> None:
    given = timing(cron="0 * * * *", jitter="10m")
    at = given.due_at(MONDAY)
    assert due(given, waiting=MONDAY, now=at - timedelta(seconds=1)).fire == ()
    assert due(given, waiting=MONDAY, now=at).fire == (MONDAY,)


def test_nights_in_which_the_clock_changes_are_marked() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    assert changes_clock(datetime(2031, 3, 30, 1, 0, tzinfo=UTC), berlin) == "clock goes forward by 60 min"
    assert changes_clock(datetime(2031, 10, 26, 12, 0, tzinfo=UTC), berlin) == "clock goes back by 60 min"
    assert changes_clock(MONDAY, berlin) == ""


@pytest.mark.parametrize(
    ("zone", "after", "expression", "found"),
    [
        ("Europe/Berlin", "2031-03-29T12:00", "30 2 * * *", "2031-03-30T01:00"),
        ("Australia/Lord_Howe", "2031-10-04T00:00", "15 2 * * *", "2031-10-04T15:30"),
        ("America/Santiago", "2031-09-06T12:00", "0 0 * * *", "2031-09-07T04:00"),
    ],
)
def test_a_time_that_the_clock_jumps_over_is_the_instant_after_the_jump(
    zone: str, after: str, expression: str, found: str
) -> None:
    begin = datetime.fromisoformat(after).replace(tzinfo=UTC)
    instant = next(instants(schedule(cron=expression, zone=zone), after=begin, made_at=MONDAY))
    assert instant == datetime.fromisoformat(found).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "sentence"),
    [
        ("0 0 31 2 *", "'0 0 31 2 *' means a day that never comes: no such month has a day 31"),
        ("0 25 * * *", "the hour of '0 25 * * *' is none; write 0-23, lists (1,5), ranges (1-5), steps (*/5) or *"),
        ("0 0 * * 9", "the day-of-week of '0 0 * * 9' is none; write 0-7 (0 and 7 are Sunday) or mon-sun, lists"),
        ("0 0 0 2 *", "the day-of-month of '0 0 0 2 *' is none; write 1-31"),
        ("hello", "'hello' is no expression; write five fields (minute hour day month weekday)"),
    ],
)
def test_an_expression_that_cannot_be_used_is_refused_in_words_that_say_what_to_write(
    expression: str, sentence: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        Schedule.model_validate({"cron": expression})
    (problem,) = refused.value.errors()
    assert problem["loc"] == ("cron",)
    assert sentence in problem["msg"]
