"""The log of an attempt as it is written: masked output in chunks, at most so much of it, cut in the middle.

Promises that what was printed `interval` seconds ago is in the store, that a writer holds less than 1 MiB, and that a
log beyond its limit keeps its beginning and its end. A position is a byte's place in all that was printed, also where
what lies between was cut out. The caller masks before.
"""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from enum import Enum, auto
from types import TracebackType
from typing import Self

from runner.chunks import CODES, TEXT, Chain, Run
from runner.stores import Store

#: Bytes of one line at most; longer ones are stored in pieces.
MAX_LINE = 64 * 1024

#: The end of a log beyond its limit is kept in about so many parts; the oldest is dropped when a new one is full.
_TAIL_PARTS = 4


class LogWriter:
    """Appends to the log of one attempt. Belongs to one thread; as a context manager it closes itself."""

    def __init__(
        self,
        store: Store,
        job_id: uuid.UUID,
        attempt: int,
        *,
        seen: Callable[[Run], bool] = lambda _run: False,
    ) -> None:
        """`seen` is told each run, at once, and answers whether somebody follows."""
        self._sink = store.sink(job_id, attempt)
        self._interval = store.interval
        self._seen = seen
        self._followed = False
        #: The place and the number of the next byte and line.
        self.position = self.line = 0
        self._runs: list[Run] = []
        self._pending = 0
        self._due: float | None = None
        self._chain: Chain | None = None
        self._sizes: dict[str, int] = {}
        self._cut: _Cut | None = None
        self._name = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def size(self) -> int:
        """Bytes that the log takes in the store."""
        return sum(self._sizes.values())

    @property
    def dropped(self) -> int:
        """Bytes of text that were cut out of the middle."""
        return 0 if self._cut is None else self._cut.dropped

    @property
    def lost(self) -> int:
        """Bytes of chunks that the store did not take."""
        return self._sink.lost

    def limit(self, limit: int) -> None:
        """Keep at most so many bytes from now on; before the bot's first byte."""
        self._cut = _Cut(max(2, limit))

    def write(self, stream: str, texts: Iterable[str], *, at: datetime) -> None:
        """Append one line a text, all with the same time."""
        lines = [text.encode("utf-8", "surrogateescape").replace(b"\n", b" ") + b"\n" for text in texts]
        if lines:
            self.append(stream, b"".join(lines), at=at)

    def append(self, stream: str, data: bytes, *, at: datetime) -> None:
        """Append whole lines, or a piece of a line."""
        if self._due is None:
            self._due = time.monotonic() + self._interval
        run = Run(CODES[stream], int(at.timestamp() * 1000), data, self.position, self.line)
        while len(run.data) > TEXT:
            first, run = run.split(_whole(run.data, TEXT) or TEXT)
            self._add(first)
        self._add(run)

    def _add(self, run: Run) -> None:
        self._runs.append(run)
        self.position += len(run.data)
        self.line = run.line + run.lines
        self._pending += len(run.data)
        followed = self._seen(run)
        if followed and not self._followed:
            self._due = 0.0  # who begins to follow finds what came before in the store
        self._followed = followed
        if self._pending >= TEXT:
            self._flush()

    def due(self) -> float | None:
        """Seconds until `settle` wants to be called; `None` where nothing waits for it."""
        return None if self._due is None else max(0.0, self._due - time.monotonic())

    def settle(self) -> None:
        """Make everything readable for others."""
        self._flush()
        self._sink.settle()
        self._due = None

    def close(self) -> None:
        """Store the rest; writing afterwards is an error."""
        self._flush()
        self._sink.close()

    def _flush(self) -> None:
        runs, self._runs, self._pending = self._runs, [], 0
        if not runs:
            return
        if self._cut is None or self._cut.takes(runs):
            self._store(runs, new=False)
            return
        for group, place in self._cut.divided(runs):
            self._store(group, new=place is _Place.NEW_PART)
            if place is not _Place.HEAD:
                self._cut.stored(self._name, group)
        for name in self._cut.leaving():
            self._sink.drop(name)
            self._sizes.pop(name, None)

    def _store(self, runs: list[Run], *, new: bool) -> None:
        if self._chain is None or new or self._sink.full:
            self._chain = Chain()
            self._name = self._sink.begin(runs[0].position, runs[0].line)
        self._sink.write(self._chain.next(runs))
        self._sizes[self._name] = self._chain.size


class _Place(Enum):
    HEAD = auto()
    TAIL = auto()
    NEW_PART = auto()


class _Cut:
    """Decides what stays of a log that may be longer than its limit: half of the limit from its beginning, the rest
    from its end.
    """

    def __init__(self, limit: int) -> None:
        self._head = limit // 2
        self._room: int | None = self._head
        self._most = limit - self._head
        self._part = max(1, self._most // _TAIL_PARTS)
        self._tail: deque[tuple[str, int]] = deque()
        self._stale: list[str] = []
        self._kept = 0
        self.dropped = 0

    def takes(self, runs: list[Run]) -> bool:
        """Whether all of these runs belong to the beginning, as those of most logs do; then they count as stored."""
        length = _length(runs)
        if self._room is None or length > self._room:
            return False
        self._room -= length
        return True

    def divided(self, runs: list[Run]) -> Iterator[tuple[list[Run], _Place]]:
        """Groups of runs and where to store each; what need not be stored is left out."""
        rest = runs
        if self._room is not None:
            head, rest = _up_to(runs, self._room)
            if rest and not head and self._room == self._head:  # a first line that is longer than all of it
                head, rest = _cut_at(rest, self._room)
            self._room = None if rest else self._room - _length(head)
            if head:
                yield head, _Place.HEAD
        excess = _length(rest) - self._most
        if excess > 0:
            rest = _after(rest, excess)
            self.dropped += excess + self._most - _length(rest) + self._kept
            # What was the end before is not next to it any more.
            self._stale.extend(name for name, _ in self._tail)
            self._tail.clear()
            self._kept = 0
        while rest:
            group, rest = _up_to(rest, self._part)
            if not group:  # one line that is longer than a part
                group, rest = _cut_at(rest, self._part)
            fits = bool(self._tail) and self._tail[-1][1] + _length(group) <= self._part
            yield group, _Place.TAIL if fits else _Place.NEW_PART

    def stored(self, name: str, group: list[Run]) -> None:
        """A group of the end was stored in the part of this name."""
        length = _length(group)
        self._kept += length
        if self._tail and self._tail[-1][0] == name:
            length += self._tail.pop()[1]
        self._tail.append((name, length))

    def leaving(self) -> Iterator[str]:
        """Parts that are to be dropped now, oldest first."""
        while self._stale:
            yield self._stale.pop(0)
        while self._kept > self._most and len(self._tail) > 1:
            name, length = self._tail.popleft()
            self._kept -= length
            self.dropped += length
            yield name


def _length(runs: Iterable[Run]) -> int:
    return sum(len(run.data) for run in runs)


def _whole(data: bytes, size: int) -> int:
    """How many of the first `size` bytes are whole lines."""
    return data.rfind(b"\n", 0, size) + 1


def _up_to(runs: list[Run], size: int) -> tuple[list[Run], list[Run]]:
    """As many whole lines and pieces from the beginning as `size` bytes hold, and the rest."""
    for index, run in enumerate(runs):
        if len(run.data) <= size:
            size -= len(run.data)
            continue
        if place := _whole(run.data, size):
            first, rest = run.split(place)
            return [*runs[:index], first], [rest, *runs[index + 1 :]]
        return runs[:index], runs[index:]
    return runs, []


def _cut_at(runs: list[Run], size: int) -> tuple[list[Run], list[Run]]:
    """The first `size` bytes of the first run, and the rest."""
    first, rest = runs[0].split(size)
    return [first], [rest, *runs[1:]]


def _after(runs: list[Run], size: int) -> list[Run]:
    """What is left after the first `size` bytes and the rest of the line that they end in, if that is short."""
    for index, run in enumerate(runs):
        if len(run.data) <= size:
            size -= len(run.data)
            continue
        place = size if size == 0 or run.data[size - 1 : size] == b"\n" else run.data.find(b"\n", size) + 1
        if place == len(run.data):
            return runs[index + 1 :] or [run.split(size)[1]]
        if place == 0:
            place = size
        return [run.split(place)[1] if place else run, *runs[index + 1 :]]
    return []
