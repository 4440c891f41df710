"""From a bot's pipes to its stored log: masked, split into lines, timed, capped.

Output is data: it is decoded leniently, never parsed and never logged by the worker.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from runner.output import MAX_TEXT, LogWriter
from runner.worker.masker import Masker, Stream

#: Bytes of an unfinished line kept before it is stored in pieces.
_LINE_BYTES = MAX_TEXT


def wall_clock() -> datetime:
    """The time that log lines carry."""
    return datetime.fromtimestamp(time.time(), UTC)


class Pump:
    """Stores what a bot prints on both streams, at most `limit` bytes of it."""

    def __init__(
        self, writer: LogWriter, masker: Masker, *, limit: int, clock: Callable[[], datetime] = wall_clock
    ) -> None:
        self._writer = writer
        self._clock = clock
        self._left = limit
        #: Bytes that were not kept.
        self.dropped = 0
        self._cut: set[str] = set()
        self._streams = {name: (Stream(masker), bytearray()) for name in ("stdout", "stderr")}

    def use(self, masker: Masker) -> None:
        """Mask with another masker from the next byte on; another thread may say so."""
        for stream, _ in self._streams.values():
            stream.masker = masker

    def feed(self, name: str, data: bytes) -> None:
        """Take what was read from one stream."""
        kept = data[: self._left]
        if len(kept) < len(data):
            self.dropped += len(data) - len(kept)
            self._cut.add(name)
        self._left -= len(kept)
        stream, line = self._streams[name]
        self._store(name, line, stream.feed(kept))

    def close(self) -> None:
        """Store what is unfinished; says how much was not kept."""
        for name, (stream, line) in self._streams.items():
            # Where output was cut off, what the stream holds back may be the first half of a value.
            self._store(name, line, b"" if name in self._cut else stream.flush())
            if line:
                self._writer.write(name, [_text(line)], at=self._clock())
                line.clear()
        if self.dropped:
            self.say(f"The output is longer than its limit; {self.dropped:,} more bytes were not kept.")

    def say(self, text: str) -> None:
        """Add a line of Botkeep's own to the log."""
        self._writer.write("system", text.splitlines() or [""], at=self._clock())

    def _store(self, name: str, line: bytearray, masked: bytes) -> None:
        if not masked:
            return
        line += masked
        *whole, rest = line.split(b"\n")
        if len(rest) > _LINE_BYTES:
            whole.append(rest)
            rest = bytearray()
        if whole:
            self._writer.write(name, [_text(one) for one in whole], at=self._clock())
        line[:] = rest


def _text(line: bytearray) -> str:
    return line.decode("utf-8", "replace").removesuffix("\r")
