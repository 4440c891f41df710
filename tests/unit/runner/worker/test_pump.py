"""What a bot prints becomes masked lines, whole or in pieces, up to a limit."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runner.output import MAX_TEXT, LogWriter, read_page
from runner.worker.masker import Masker
from runner.worker.pump import Pump

JOB = uuid.UUID(int=7)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
VALUE = b"Tr0ub4dor-canary"


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[LogWriter]:
    with LogWriter(tmp_path, JOB, 1) as made:
        yield made


def pump(writer: LogWriter, *, limit: int = 1_000_000) -> Pump:
    return Pump(writer, Masker([("SAP.PASSWORD", VALUE)]), limit=limit, clock=lambda: NOW)


def lines(tmp_path: Path, stream: str | None = None) -> list[str]:
    page = read_page(tmp_path, JOB, 1, limit=100_000)
    return [line.text for line in page.lines if stream in {None, line.stream}]


def test_output_becomes_lines_with_their_stream_and_time(writer: LogWriter, tmp_path: Path) -> None:
    made = pump(writer)
    made.feed("stdout", b"one\ntwo\r\n\nla")
    made.feed("stderr", b"problem\n")
    made.feed("stdout", b"st")
    made.close()
    assert lines(tmp_path, "stdout") == ["one", "two", "", "last"]
    assert lines(tmp_path, "stderr") == ["problem"]
    assert {line.at for line in read_page(tmp_path, JOB, 1).lines} == {NOW}


def test_a_value_is_masked_however_it_is_cut(writer: LogWriter, tmp_path: Path) -> None:
    made = pump(writer)
    for place in range(len(VALUE) + 1):
        made.feed("stdout", b"<" + VALUE[:place])
        made.feed("stdout", VALUE[place:] + b">\n")
    for byte in b"[" + VALUE + b"]\n":
        made.feed("stdout", bytes([byte]))
    made.close()
    assert lines(tmp_path) == ["<***>"] * (len(VALUE) + 1) + ["[***]"]


def test_a_value_at_the_very_end_is_masked(writer: LogWriter, tmp_path: Path) -> None:
    made = pump(writer)
    made.feed("stdout", b"end " + VALUE)
    made.close()
    assert lines(tmp_path) == ["end ***"]


def test_the_two_outputs_are_not_mixed(writer: LogWriter, tmp_path: Path) -> None:
    made = pump(writer)
    made.feed("stdout", b"half ")
    made.feed("stderr", b"other\n")
    made.feed("stdout", b"line\n")
    made.close()
    assert lines(tmp_path, "stdout") == ["half line"]


def test_a_line_without_end_is_stored_in_pieces(writer: LogWriter, tmp_path: Path) -> None:
    made = pump(writer)
    for _ in range(10):
        made.feed("stdout", b"x" * 40_000)
    made.close()
    pieces = lines(tmp_path)
    assert "".join(pieces) == "x" * 400_000
    assert len(pieces) > 3
    assert max(map(len, pieces)) <= 2 * MAX_TEXT


def test_what_is_over_the_limit_is_counted_and_not_kept(writer: LogWriter, tmp_path: Path) -> None:
    made = pump(writer, limit=100)
    for _ in range(50):
        made.feed("stdout", b"123456789\n")
    made.close()
    assert lines(tmp_path, "stdout") == ["123456789"] * 10
    assert lines(tmp_path, "system") == ["The output is longer than its limit; 400 more bytes were not kept."]


def test_the_limit_is_kept_whatever_the_size_of_what_arrives(writer: LogWriter, tmp_path: Path) -> None:
    made = pump(writer, limit=100)
    made.feed("stdout", b"123456789\n" * 50)
    made.close()
    kept = sum(len(text) + 1 for text in lines(tmp_path, "stdout"))
    assert kept <= 101, "one large piece is no way past the limit"
    assert lines(tmp_path, "system") == ["The output is longer than its limit; 400 more bytes were not kept."]


@pytest.mark.parametrize("limit", range(len(VALUE) + 2))
def test_a_value_that_the_limit_cuts_through_leaves_no_half_in_the_log(
    writer: LogWriter, tmp_path: Path, limit: int
) -> None:
    made = pump(writer, limit=limit)
    made.feed("stdout", VALUE + b"\n" + VALUE)
    made.close()
    assert "".join(lines(tmp_path, "stdout")) in {"", "***"}


def test_the_other_output_keeps_its_end_when_one_was_cut(writer: LogWriter, tmp_path: Path) -> None:
    made = pump(writer, limit=20)
    made.feed("stderr", b"ends in Tr0")
    made.feed("stdout", b"x" * 100)
    made.close()
    assert lines(tmp_path, "stderr") == ["ends in Tr0"]


def test_bytes_that_are_no_text_are_kept_leniently(writer: LogWriter, tmp_path: Path) -> None:
    made = pump(writer)
    made.feed("stdout", b"\xff\xfe bad\x00\n\xc3")
    made.feed("stdout", b"\xa4\n")
    made.close()
    assert lines(tmp_path) == ["\ufffd\ufffd bad\x00", "ä"]


def test_botkeeps_own_words_are_a_stream_of_their_own(writer: LogWriter, tmp_path: Path) -> None:
    made = pump(writer)
    made.say("one\ntwo")
    made.say("")
    made.close()
    assert lines(tmp_path, "system") == ["one", "two", ""]


def test_without_output_there_is_no_line(writer: LogWriter, tmp_path: Path) -> None:
    made = pump(writer)
    made.feed("stdout", b"")
    made.close()
    assert lines(tmp_path) == []
