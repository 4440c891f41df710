"""A stored log against the bytes that were written: any ranges, any lines, any cut, any tear."""

import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from runner import chunks, logs
from runner.chunks import Chain, Run
from runner.logs import Ask, Log
from runner.output import LogWriter
from runner.stores import directory

JOB = uuid.UUID(int=7)
NOW = datetime(2026, 1, 1, tzinfo=UTC)

LINES = st.binary(max_size=60).map(lambda data: data.replace(b"\n", b" ") + b"\n")
WRITES = st.one_of(
    st.lists(LINES, min_size=1, max_size=5).map(b"".join),
    st.binary(min_size=1, max_size=40).map(lambda data: data.replace(b"\n", b" ") + b"."),
    LINES.map(lambda line: line * 300),
)
LOGS = st.lists(st.tuples(st.sampled_from(["stdout", "stderr", "system"]), WRITES, st.booleans()), max_size=25)


@contextmanager
def written(writes: Sequence[tuple[str, bytes, bool]], *, limit: int | None = None) -> Iterator[tuple[Log, LogWriter]]:
    """A log of these writes, settled where they say so, open for reading."""
    with tempfile.TemporaryDirectory() as folder:
        store = directory(Path(folder))
        with LogWriter(store, JOB, 1) as writer:
            if limit is not None:
                writer.limit(limit)
            for stream, data, settled in writes:
                writer.append(stream, data, at=NOW)
                if settled:
                    writer.settle()
        with logs.opened(store, JOB, 1) as log:
            yield log, writer


def everything(log: Log) -> list[logs.Line]:
    return list(log.page(Ask(limit=1_000_000)).lines)


@given(LOGS, st.data())
@settings(max_examples=60)
def test_any_range_of_bytes_is_that_slice_of_what_was_written(
    writes: list[tuple[str, bytes, bool]], data: st.DataObject
) -> None:
    whole = b"".join(text for _, text, _ in writes)
    with written(writes) as (log, writer):
        assert b"".join(log.text()) == whole
        assert log.end()[0] == writer.position == len(whole)
        for stream in ("stdout", "stderr"):
            assert b"".join(log.text(stream=stream)) == b"".join(text for name, text, _ in writes if name == stream)
        for _ in range(5):
            start = data.draw(st.integers(0, len(whole) + 5))
            end = data.draw(st.integers(start, len(whole) + 10))
            assert b"".join(log.text(start, end)) == whole[start:end]


@given(LOGS, st.data())
@settings(max_examples=60)
def test_lines_are_numbered_and_found_by_number_and_position(
    writes: list[tuple[str, bytes, bool]], data: st.DataObject
) -> None:
    with written(writes) as (log, writer):
        lines = everything(log)
        assert [line.number for line in lines] == list(range(writer.line))
        if not lines:
            return
        number = data.draw(st.integers(0, len(lines) - 1))
        start = log.position_of(number)
        assert start == (lines[number - 1].next if number else 0)
        assert log.page(Ask(after=start, limit=3)).lines == tuple(lines[number : number + 3])
        end = data.draw(st.integers(number, len(lines)))
        page = log.page(Ask(after=start, until=log.position_of(end), limit=1_000_000))
        assert page.lines == tuple(lines[number:end])


@given(LOGS, st.integers(2, 30_000))
@settings(max_examples=100)
def test_a_log_beyond_its_limit_keeps_beginning_and_end_and_counts_the_rest(
    writes: list[tuple[str, bytes, bool]], limit: int
) -> None:
    whole = b"".join(text for _, text, _ in writes)
    with written(writes, limit=limit) as (log, writer):
        told = [line for line in everything(log) if "are left out here" in line.text]
        kept = len(whole) - writer.dropped
        assert kept <= limit or len(whole) <= limit
        assert (writer.dropped > 0) == (len(whole) > limit) or writer.dropped > 0
        assert len(told) == (writer.dropped > 0)
        text = b"".join(log.text())
        if not told:
            assert text == whole
            return
        words = told[0].text.encode() + b"\n"
        head, _, tail = text.partition(words)
        assert whole.startswith(head)
        assert whole.endswith(tail)
        assert told[0].text.startswith(f"{writer.dropped:,} bytes")
        assert len(head) + len(tail) == kept


@given(st.lists(WRITES, min_size=1, max_size=20), st.data())
@settings(max_examples=60)
def test_a_torn_end_loses_its_own_chunk_only(writes: list[bytes], data: st.DataObject) -> None:
    chain, parts, position, line = Chain(), list[bytes](), 0, 0
    for text in writes:
        run = Run(0, 1, text, position, line)
        parts.append(chain.next([run]))
        position, line = position + len(text), line + run.lines
    torn = data.draw(st.integers(1, len(parts[-1]) - 1))
    with tempfile.TemporaryDirectory() as folder:
        store = directory(Path(folder))
        sink = store.sink(JOB, 1)
        sink.begin(0, 0)
        sink.write(b"".join(parts)[:-torn])
        sink.close()
        with logs.opened(store, JOB, 1) as log:
            assert b"".join(log.text()) == b"".join(writes[:-1])
            assert log.end()[0] == len(b"".join(writes[:-1]))


@given(st.binary(max_size=300))
def test_bytes_that_are_no_chunk_are_none(data: bytes) -> None:
    header = chunks.header_of(chunks.MAGIC + data)
    assert header is None or chunks.unpack(header, chunks.MAGIC + data) is None


@given(LINES, st.data())
def test_a_changed_chunk_is_not_believed(line: bytes, data: st.DataObject) -> None:
    chunk = bytearray(Chain().next([Run(0, 5, line, 0, 0)]))
    place = data.draw(st.integers(0, len(chunk) - chunks.TRAILER_SIZE - 1))
    chunk[place] ^= data.draw(st.integers(1, 255))
    header = chunks.header_of(bytes(chunk))
    assert header is None or chunks.unpack(header, bytes(chunk)) is None
