"""A stored log as it is read: lines, ranges, its end, a search, its text, each from the chunk where it begins.

Promises that reading from anywhere costs a few chunks, whatever the length; that a torn or changed chunk is passed
over and told; and that a gap, where a log was cut in the middle, is told as a line of Botkeep's own. A position is a
byte's place in all that was printed.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

from runner import chunks
from runner.chunks import HEADER_SIZE, LARGEST_CHUNK, STREAMS, TRAILER_SIZE, Header, Run
from runner.stores import Part, Store

#: Text that one search passes over at most, in bytes, without a line that is wanted; 16 MiB take some 0.1 s.
SEARCHED = 16 << 20

_SYSTEM = STREAMS.index("system")


@dataclass(frozen=True, slots=True)
class Line:
    """One line, or a piece of a long one that goes on in the next of its stream (`continued`).

    `stream` is `stdout`, `stderr` or `system`; `number` counts from 0; `next` is the position after it. Bytes that are
    no UTF-8 are replaced in `text`.
    """

    number: int
    at: datetime
    stream: str
    text: str
    next: int
    continued: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """Some lines and the position to go on from."""

    lines: tuple[Line, ...]
    next: int


@dataclass(frozen=True, slots=True)
class Ask:
    """Which lines are wanted: from a position, to one, of one stream, those that hold a text; at most so many.

    `size` ends a page after so many bytes of text, at the end of a line.
    """

    after: int = 0
    until: int | None = None
    stream: str | None = None
    search: str | None = None
    limit: int = 1000
    size: int | None = None


@contextlib.contextmanager
def opened(store: Store, job_id: uuid.UUID, attempt: int) -> Iterator[Log]:
    """The log of an attempt for the time of the block; an empty one where there is none.

    Raises:
        Unavailable: when the store cannot be read.
    """
    with ExitStack() as stack:
        parts = store.parts(job_id, attempt)
        for part in parts:
            stack.callback(part.close)
        yield Log(parts)


class Log:
    """A log that is open for reading."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts

    def page(self, ask: Ask) -> Page:
        """The next lines that are wanted; `next` moves on also where none of those that were looked at was."""
        found: list[Line] = []
        position = ask.after
        wanted = None if ask.search is None else ask.search.casefold()
        for start, line in self._lines(ask.after):
            if len(found) == ask.limit or (ask.until is not None and start >= ask.until):
                break
            if ask.size is not None and position - ask.after >= ask.size:
                break
            position = line.next
            if ask.stream in {None, line.stream} and (wanted is None or wanted in line.text.casefold()):
                found.append(line)
            elif position - ask.after > SEARCHED:
                break
        return Page(tuple(found), position)

    def text(self, start: int = 0, end: int | None = None, *, stream: str | None = None) -> Iterator[bytes]:
        """What was printed from one position to another, of one stream or of all, as it was but for the masking."""
        code = None if stream is None else STREAMS.index(stream)
        for run in self._runs(start):
            if end is not None and run.position >= end:
                return
            if isinstance(run, _Gap):
                yield run.words.encode() + b"\n"
            elif code in {None, run.stream}:
                last = None if end is None else end - run.position
                yield run.data[max(0, start - run.position) : last]

    def end(self) -> tuple[int, int]:
        """The position after the last line, and how many lines were printed up to there."""
        for part in reversed(self._parts):
            last = _last(part)
            if last is not None:
                return last[1].end, last[1].end_line
        return 0, 0

    def position_of(self, line: int) -> int:
        """Where a line begins, by its number; the end where there are not so many."""
        earlier = [part for part in self._parts if part.line <= line]
        part = earlier[-1] if earlier else None
        place = None if part is None else _find(part, lambda header: header.line <= line)
        if part is None or place is None:
            return self.end()[0]
        header = chunks.header_of(part.read(place, HEADER_SIZE))
        for start, found in self._lines(0 if header is None else header.position):
            if found.number >= line:
                return start
        return self.end()[0]

    def _lines(self, after: int) -> Iterator[tuple[int, Line]]:
        """Lines that begin at a position or after it, each with where it begins."""
        for run in self._runs(after):
            if isinstance(run, _Gap):
                at = datetime.fromtimestamp(run.at / 1000, UTC)
                yield run.position, Line(run.line, at, STREAMS[_SYSTEM], run.words, run.end)
            else:
                yield from ((start, line) for start, line in lines_of(run) if start >= after)

    def _runs(self, after: int) -> Iterator[Run | _Gap]:
        """The runs from the one that holds a position on."""
        position, line = after, 0
        for chunk in self._chunks(after):
            for run in chunk:
                if run.position > position:
                    yield _Gap(position, run.position, line, run.line, run.at)
                position, line = max(position, run.position + len(run.data)), run.line + run.lines
                if position > after:
                    yield run

    def _chunks(self, after: int) -> Iterator[list[Run]]:
        earlier = sum(part.position <= after for part in self._parts)
        for part in self._parts[max(0, earlier - 1) :]:
            place = _find(part, lambda header: header.position <= after)
            while place is not None:
                header = chunks.header_of(part.read(place, HEADER_SIZE))
                if header is None:
                    break
                runs = chunks.unpack(header, part.read(place, header.size))
                if runs is not None:
                    yield runs
                place += header.size


@dataclass(frozen=True, slots=True)
class _Gap:
    position: int
    end: int
    line: int
    end_line: int
    at: int

    @property
    def words(self) -> str:
        lines = f" ({self.end_line - self.line:,} lines)" if 0 < self.line < self.end_line else ""
        return (
            f"{self.end - self.position:,} bytes{lines} are left out here: the output is longer than its limit, or "
            "could not be stored."
        )


def lines_of(run: Run) -> Iterator[tuple[int, Line]]:
    """The lines of a run, each with the position where it begins."""
    position, at, stream = run.position, datetime.fromtimestamp(run.at / 1000, UTC), _stream(run)
    whole = run.data.split(b"\n")
    last = whole.pop()
    for number, raw in enumerate(whole, run.line):
        start, position = position, position + len(raw) + 1
        yield start, Line(number, at, stream, _decoded(raw.removesuffix(b"\r")), position)
    if last:
        yield position, Line(run.line + len(whole), at, stream, _decoded(last), position + len(last), continued=True)


def _decoded(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _stream(run: Run) -> str:
    return STREAMS[run.stream] if run.stream < len(STREAMS) else STREAMS[_SYSTEM]


def _find(part: Part, holds: Callable[[Header], bool]) -> int | None:
    """Where the last chunk lies that `holds`, or the first one of the part; `None` for an empty part."""
    found = _last(part)
    if found is None:
        return None
    place, header = found
    while not holds(header) and header.number:
        further = chunks.header_of(part.read(header.skip, HEADER_SIZE))
        if further is not None and not holds(further):
            place, header = header.skip, further
            continue
        previous = place - chunks.before(part.read(place - TRAILER_SIZE, TRAILER_SIZE))
        nearer = chunks.header_of(part.read(previous, HEADER_SIZE)) if 0 <= previous < place else None
        if nearer is None:
            return 0  # what lies before was changed: read on from the beginning
        place, header = previous, nearer
    return place


def _last(part: Part) -> tuple[int, Header] | None:
    """Where the last chunk lies that is whole."""
    size = part.size
    place = size - chunks.before(part.read(max(0, size - TRAILER_SIZE), TRAILER_SIZE))
    if 0 <= place < size:
        header = chunks.header_of(part.read(place, HEADER_SIZE))
        if header is not None and place + header.size == size:
            return place, header
    # Its writer was killed while it wrote, or is writing now.
    begin = max(0, size - 2 * LARGEST_CHUNK)
    window = part.read(begin, size - begin)
    at = window.rfind(chunks.MAGIC)
    while at >= 0:
        header = chunks.header_of(window[at:])
        if header is not None and chunks.unpack(header, window[at : at + header.size]) is not None:
            return begin + at, header
        at = window.rfind(chunks.MAGIC, 0, at)
    return None
