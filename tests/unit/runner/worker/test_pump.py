"""What a bot prints becomes masked lines, whole or in pieces, up to a limit."""

import tracemalloc
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runner import logs
from runner.logs import Ask
from runner.output import MAX_LINE, LogWriter
from runner.stores import directory
from runner.worker.masker import Masker
from runner.worker.pump import Pump

JOB = uuid.UUID(int=7)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
VALUE = b"Tr0ub4dor-canary"


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[LogWriter]:
    with LogWriter(directory(tmp_path), JOB, 1) as made:
        yield made


def pump(writer: LogWriter, *, limit: int = 1_000_000) -> Pump:
    return Pump(writer, Masker([("SAP.PASSWORD", VALUE)]), limit=limit, clock=lambda: NOW)


def stored(tmp_path: Path, stream: str | None = None) -> tuple[logs.Line, ...]:
    with logs.opened(directory(tmp_path), JOB, 1) as log:
        return log.page(Ask(stream=stream, limit=100_000)).lines


def lines(tmp_path: Path, stream: str | None = None) -> list[str]:
    return [line.text for line in stored(tmp_path, stream)]


def test_output_becomes_lines_with_their_stream_and_time(writer: LogWriter, tmp_path: Path) -> None:
    made = pump(writer)
    made.feed("stdout", b"one\ntwo\r\n\nla")
    made.feed("stderr", b"problem\n")
    made.feed("stdout", b"st")
    made.close()
    writer.settle()
    assert lines(tmp_path, "stdout") == ["one", "two", "", "last"]
    assert lines(tmp_path, "stderr") == ["problem"]
    assert {line.at for line in stored(tmp_path)} == {NOW}


def test_a_value_is_masked_however_it_is_cut(writer: LogWriter, tmp_path: Path) -> None:
    made = pump(writer)
    for place in range(len(VALUE) + 1):
        made.feed("stdout", b"<" + VALUE[:place])
        made.feed("stdout", VALUE[place:] + b">\n")
    for byte in b"[" + VALUE + b"]\n":
        made.feed("stdout", bytes([byte]))
    made.close()
    writer.settle()
    assert lines(tmp_path) == ["<***>"] * (len(VALUE) + 1) + ["[***]"]


def test_a_value_at_the_very_end_is_masked(writer: LogWriter, tmp_path: Path) -> None:
    made = pump(writer)
    made.feed("stdout", b"end " + VALUE)
    made.close()
    writer.settle()
    assert lines(tmp_path) == ["end ***"]


def test_the_two_outputs_are_not_mixed(writer: LogWriter, tmp_path: Path) -> None:
    made = pump(writer)
    made.feed("stdout", b"half ")
    made.feed("stderr", b"other\n")
    made.feed("stdout", b"line\n")
    made.close()
    writer.settle()
    assert lines(tmp_path, "stdout") == ["half line"]


def test_a_line_without_end_is_stored_in_pieces(writer: LogWriter, tmp_path: Path) -> None:
    made = pump(writer)
    for _ in range(10):
        made.feed("stdout", b"x" * 40_000)
    made.close()
    writer.settle()
    pieces = lines(tmp_path)
    assert "".join(pieces) == "x" * 400_000
    assert len(pieces) > 3
    assert max(map(len, pieces)) <= 2 * MAX_LINE
    assert all(line.continued for line in stored(tmp_path))


def left_out(tmp_path: Path) -> list[str]:
    return lines(tmp_path, "system")


def test_what_is_over_the_limit_is_cut_out_of_the_middle_and_counted(writer: LogWriter, tmp_path: Path) -> None:
    made = pump(writer, limit=100)
    for number in range(50):
        made.feed("stdout", b"line %04d\n" % number)
    made.close()
    writer.settle()
    kept = lines(tmp_path, "stdout")
    assert kept[:5] == [f"line {number:04}" for number in range(5)]
    assert kept[-4:] == [f"line {number:04}" for number in range(46, 50)]
    assert len(kept) <= 10
    assert made.dropped == 500 - 10 * len(kept)
    (words,) = left_out(tmp_path)
    assert words.startswith(f"{made.dropped:,} bytes ({50 - len(kept)} lines) are left out here")
    assert [line.number for line in stored(tmp_path, "stdout")][-1] == 49


@pytest.mark.parametrize("rest", [b"", b"x" * 200, b"y\n" * 50, b"\n"])
def test_the_limit_is_kept_whatever_the_size_of_what_arrives(writer: LogWriter, tmp_path: Path, rest: bytes) -> None:
    made = pump(writer, limit=100)
    made.feed("stdout", b"123456789\n" * 50)
    made.feed("stderr", rest)
    made.close()
    writer.settle()
    whole = (line for line in stored(tmp_path) if line.stream != "system")
    kept = sum(len(line.text) + (not line.continued) for line in whole)
    assert kept <= 100, "one large piece is no way past the limit"
    assert len(left_out(tmp_path)) == 1


@pytest.mark.parametrize("limit", range(len(VALUE) + 2))
def test_a_value_that_the_limit_cuts_through_leaves_no_half_in_the_log(
    writer: LogWriter, tmp_path: Path, limit: int
) -> None:
    made = pump(writer, limit=limit)
    made.feed("stdout", VALUE + b"\n" + VALUE)
    made.close()
    writer.settle()
    assert set("".join(lines(tmp_path, "stdout"))) <= {"*"}


def test_bytes_that_are_no_text_are_kept_leniently(writer: LogWriter, tmp_path: Path) -> None:
    made = pump(writer)
    made.feed("stdout", b"\xff\xfe bad\x00\n\xc3")
    made.feed("stdout", b"\xa4\n")
    made.close()
    writer.settle()
    assert lines(tmp_path) == ["\ufffd\ufffd bad\x00", "ä"]
    with logs.opened(directory(tmp_path), JOB, 1) as log:
        assert b"".join(log.text()) == b"\xff\xfe bad\x00\n\xc3\xa4\n"


def test_a_piece_of_a_line_cuts_no_character(writer: LogWriter, tmp_path: Path) -> None:
    made = pump(writer)
    for _ in range(5):
        made.feed("stdout", "€".encode() * 13_001 + b"\xe2")
        made.feed("stdout", b"\x82\xac")
    made.close()
    writer.settle()
    pieces = lines(tmp_path)
    assert len(pieces) > 1
    assert "".join(pieces) == "€" * 5 * 13_002


def test_botkeeps_own_words_are_a_stream_of_their_own(writer: LogWriter, tmp_path: Path) -> None:
    made = pump(writer)
    made.say("one\ntwo")
    made.say("")
    made.close()
    writer.settle()
    assert lines(tmp_path, "system") == ["one", "two", ""]


def test_without_output_there_is_no_line(writer: LogWriter, tmp_path: Path) -> None:
    made = pump(writer)
    made.feed("stdout", b"")
    made.close()
    writer.settle()
    assert lines(tmp_path) == []


@pytest.mark.parametrize(
    "flood", [b"x" * 65536, b"line of a bot that talks\n" * 2500, b"\n" * 65536, b"\x00\xff" * 32768]
)
def test_a_flood_takes_little_memory(writer: LogWriter, flood: bytes) -> None:
    made = pump(writer, limit=8 << 20)
    for _ in range(20):
        made.feed("stdout", flood)
    tracemalloc.start()
    for _ in range(600):
        made.feed("stdout", flood)
        made.feed("stderr", flood)
    made.close()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20
    assert writer.size < 9 << 20
