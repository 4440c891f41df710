"""What a person sees is aligned, says when in two ways, and marks the environment."""

from datetime import UTC, datetime, timedelta

import pytest

from cli.render import badge, distance, duration, fields, moment, plain, table

NOW = datetime(2026, 8, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("at", "shown"),
    [
        ("2026-08-01T12:00:00Z", "2026-08-01 12:00:00Z (now)"),
        ("2026-08-01T11:59:15+00:00", "2026-08-01 11:59:15Z (45 s ago)"),
        ("2026-08-01T13:00:00+02:00", "2026-08-01 11:00:00Z (1 h ago)"),
        ("2026-07-29T12:00:00", "2026-07-29 12:00:00Z (3 d ago)"),
        ("2026-08-01T12:05:00Z", "2026-08-01 12:05:00Z (in 5 min)"),
        (None, "-"),
        ("yesterday", "-"),
    ],
)
def test_a_time_is_absolute_and_relative(at: str | None, shown: str) -> None:
    assert moment(at, now=NOW) == shown


def test_a_span_is_told_in_its_largest_unit() -> None:
    assert [duration(seconds) for seconds in (0, 2.49, 9.99, 30, 60, 3599, 3600, 86400 * 2)] == [
        "0 s", "2.5 s", "10.0 s", "30 s", "1 min", "59 min", "1 h", "2 d",
    ]  # fmt: skip
    assert distance(timedelta(seconds=-0.5)) == "now"


def test_a_badge_is_bracketed_without_colours_and_coloured_with_them() -> None:
    assert badge("prod", colour=False) == "[prod]"
    assert badge("prod", colour=True) == "\x1b[1;31mprod\x1b[0m"


def test_columns_align_over_colours_wide_letters_and_pages() -> None:
    pages = [[("a", badge("dev", colour=True), "x")], [], [("日本", "staging", "x"), ("longer", "", "")]]
    lines = list(table(("NAME", "ENV", "LAST"), pages))
    assert lines[0].startswith("NAME  ENV")
    assert lines[1] == "a     \x1b[32mdev\x1b[0m  x"
    assert lines[2] == "日本    staging  x"
    assert lines[3] == "longer"


def test_a_table_is_shown_as_its_pages_arrive() -> None:
    def pages() -> object:
        yield [("one",)]
        raise AssertionError("the second page is not needed to show the first")

    lines = table(("NAME",), pages())  # type: ignore[arg-type]
    assert [next(lines), next(lines)] == ["NAME", "one"]


def test_controls_are_written_out_and_text_stays() -> None:
    assert plain("tab\tis fine, Ä 日本") == "tab\tis fine, Ä 日本"
    assert plain("\x1b]0;title\x07 \x9b31m \r\n \u202e") == "\\x1b]0;title\\x07 \\x9b31m \\r\\n \\u202e"


def test_fields_leave_out_what_is_empty() -> None:
    assert list(fields((("a", "1"), ("bcd", ""), ("ef", "2")))) == ["a   1", "ef  2"]
