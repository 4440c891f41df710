"""Times, durations, sizes and counts in words."""

from datetime import UTC, datetime, timedelta

import pytest

from console.pages import words
from console.pages.charts import BOTTOM, HEIGHT, chart, nice
from runner.series import Bucket

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


AGES = {0: "now", 4.9: "now", 5: "5 s ago", 59.4: "59 s ago", 60: "1 min ago", 3599: "59 min ago", 7200: "2 h ago"}
FAR = {86_400 * 3: "3 d ago", -90: "in 1 min", 86_400 * 61: "2026-09-26"}
SPANS = {0: "0.0 s", 0.44: "0.4 s", 12: "12 s", 60: "1 min", 200: "3 min 20 s", 7500: "2 h 5 min", 90_000: "1 d 1 h"}


@pytest.mark.parametrize(("seconds", "said"), [*AGES.items(), *FAR.items()])
def test_a_time_is_said_by_how_far_away_it_is(seconds: float, said: str) -> None:
    assert words.relative(NOW - timedelta(seconds=seconds), NOW) == said


@pytest.mark.parametrize(("seconds", "said"), [*SPANS.items(), (59.9, "60 s"), (-1, "0.0 s")])
def test_a_duration_is_said_in_its_two_largest_units(seconds: float, said: str) -> None:
    assert words.lasting(seconds) == words.lasting(timedelta(seconds=seconds)) == said


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (31_400_000, "31 MB"), (5 * 10**13, "50000 GB")]
)
def test_a_size_is_said_in_thousands(count: int, said: str) -> None:
    assert words.size(count) == said


def test_a_number_has_its_word() -> None:
    assert words.count(1, "bot") == "1 bot"
    assert words.count(12_300, "job") == "12,300 jobs"
    assert words.count(0, "entry", "entries") == "0 entries"


def test_times_are_said_in_utc() -> None:
    elsewhere = NOW.astimezone(tz=None)
    assert words.absolute(elsewhere) == "2026-11-26 12:00:00 UTC"
    assert words.machine(elsewhere) == "2026-11-26T12:00:00Z"


def test_the_scale_of_a_chart_is_round_and_high_enough() -> None:
    assert [nice(number) for number in (0, 2, 3, 5, 11, 41, 999)] == [2, 2, 4, 10, 20, 100, 1000]


def test_bars_stand_on_the_floor_and_inside_the_drawing() -> None:
    counts = [{"succeeded": 0}, {"succeeded": 980, "failed": 1, "queued": 3}, {"failed": 7}]
    made = chart([Bucket(NOW, each) for each in counts], label="%H", every=2)
    assert [len(bar.parts) for bar in made.bars] == [0, 3, 1]
    assert [bar.label for bar in made.bars] == ["12", "", "12"]
    assert made.total == 991
    for bar in made.bars:
        floor = float(HEIGHT - BOTTOM)
        for part in bar.parts:
            assert part.y + part.height == pytest.approx(floor, abs=0.02)
            assert part.height >= 1.5
            floor = part.y
        assert floor >= 0
