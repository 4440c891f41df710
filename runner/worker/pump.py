"""From a bot's pipes to its stored log: masked, cut into lines, timed.

Output is data: it is never parsed and never logged by the worker, and stored as it is, bytes that are no text included.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from runner.output import MAX_LINE, LogWriter
from runner.worker.masker import Masker, Stream


def wall_clock() -> datetime:
    """The time that log lines carry."""
    return datetime.fromtimestamp(time.time(), UTC)


class Pump:
    """Stores what a bot prints on both streams; `limit` bytes of it, from the beginning and from the end."""

    def __init__(
        self, writer: LogWriter, masker: Masker, *, limit: int, clock: Callable[[], datetime] = wall_clock
    ) -> None:
        self._writer = writer
        self._clock = clock
        writer.limit(limit)
        self._streams = {name: (Stream(masker), bytearray()) for name in ("stdout", "stderr")}

    @property
    def dropped(self) -> int:
        """Bytes that were not kept."""
        return self._writer.dropped

    def feed(self, name: str, data: bytes) -> None:
        """Take what was read from one stream."""
        stream, line = self._streams[name]
        self._store(name, line, stream.feed(data))

    def close(self) -> None:
        """Store what is unfinished."""
        for name, (stream, line) in self._streams.items():
            self._store(name, line, stream.flush())
            if line:
                self._writer.append(name, bytes(line), at=self._clock())
                line.clear()

    def say(self, text: str) -> None:
        """Add a line of Botkeep's own to the log."""
        self._writer.write("system", text.splitlines() or [""], at=self._clock())

    def _store(self, name: str, line: bytearray, masked: bytes) -> None:
        place = masked.rfind(b"\n") + 1
        if place:
            whole = masked[:place]
            self._writer.append(name, bytes(line) + whole if line else whole, at=self._clock())
            line.clear()
        line += masked[place:]
        if len(line) >= MAX_LINE:
            size = _whole_characters(line)
            self._writer.append(name, bytes(line[:size]), at=self._clock())
            del line[:size]


def _whole_characters(line: bytearray) -> int:
    """The length of a piece that cuts no character of UTF-8 in two (RFC 3629: the first byte of four at most)."""
    for back in range(1, 4):
        byte = line[-back]
        if byte < 0x80:
            break
        if byte >= 0xC0:
            return len(line) - back
    return len(line)
