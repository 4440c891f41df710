"""The chunk: a piece of a bot's output, in the order in which it was printed, as a log stores it; pure.

Promises that a chunk says by itself what it holds (first byte, first line, first time), that a torn or changed one is
recognised, and that any chunk of a part is found from its last one in a logarithmic number of steps. Refuses to hold
more than `LARGEST` bytes. docs/LOGS.md specifies every byte.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

#: What a chunk begins with; the last byte is the version of the format.
MAGIC = b"BKL\x01"

#: Names of the streams, by their code.
STREAMS = ("stdout", "stderr", "system")
CODES = {name: code for code, name in enumerate(STREAMS)}

#: Text of one chunk that a writer collects before it stores it, in bytes. zlib takes 64 to 128 KiB faster than more.
TEXT = 128 * 1024

#: The most that a chunk's records may take, in bytes; what claims more is not read.
LARGEST = 4 * TEXT

#: Records that take less are stored as they are: compressing them saves no block of a disk.
_WORTH_COMPRESSING = 512

#: zlib's fastest level: 260 to 350 MB/s of log lines on one core, to a tenth of their size.
_LEVEL = 1

_STORED, _ZLIB = 0, 1
# magic, codec, stored, raw, first byte, text, lines, first line, first time, skip, number, checksum
_HEADER = struct.Struct("<4sB3xIIQIIQQQII")
_RUN = struct.Struct("<BQI")
_TRAILER = struct.Struct("<I")

#: Bytes before and after what a chunk stores.
HEADER_SIZE, TRAILER_SIZE = _HEADER.size, _TRAILER.size

#: Bytes that a chunk may take at most; zlib's worst case adds 5 bytes for each 16 KiB (RFC 1951).
LARGEST_CHUNK = HEADER_SIZE + LARGEST + LARGEST // 1024 + TRAILER_SIZE


@dataclass(frozen=True, slots=True)
class Run:
    """Bytes of one stream that arrived together: whole lines, or a piece of a line that goes on.

    `at` is in milliseconds since 1970; `position` and `line` are those of its first byte.
    """

    stream: int
    at: int
    data: bytes
    position: int
    line: int

    @property
    def lines(self) -> int:
        """How many lines and pieces it holds."""
        return self.data.count(b"\n") + (not self.data.endswith(b"\n"))

    def split(self, size: int) -> tuple[Run, Run]:
        """The first `size` bytes, which are not all, and the rest."""
        first = Run(self.stream, self.at, self.data[:size], self.position, self.line)
        rest = Run(self.stream, self.at, self.data[size:], self.position + size, self.line + first.lines)
        return first, rest


@dataclass(frozen=True, slots=True)
class Header:
    """What a chunk says of itself; `skip` is where the chunk numbered `number & (number - 1)` lies in its part."""

    codec: int
    stored: int
    raw: int
    position: int
    text: int
    lines: int
    line: int
    at: int
    skip: int
    number: int
    checksum: int

    @property
    def size(self) -> int:
        """Bytes that the whole chunk takes."""
        return HEADER_SIZE + self.stored + TRAILER_SIZE

    @property
    def end(self) -> int:
        """The position after its text."""
        return self.position + self.text

    @property
    def end_line(self) -> int:
        """The number of the line after its last one."""
        return self.line + self.lines


def pack(runs: Sequence[Run], *, number: int, skip: int, compressed: bool = True) -> bytes:
    """The bytes of a chunk of these runs, of which each begins where the one before ends."""
    raw = b"".join([part for run in runs for part in (_RUN.pack(run.stream, run.at, len(run.data)), run.data)])
    codec, stored = _STORED, raw
    if compressed and len(raw) >= _WORTH_COMPRESSING:
        smaller = zlib.compress(raw, _LEVEL)
        codec, stored = (_ZLIB, smaller) if len(smaller) < len(raw) else (_STORED, raw)
    first = runs[0]
    text, lines = len(raw) - _RUN.size * len(runs), sum([run.lines for run in runs])
    fields = (codec, len(stored), len(raw), first.position, text, lines, first.line, first.at, skip, number)
    unsigned = _HEADER.pack(MAGIC, *fields, 0)
    checksum = _checksum(unsigned, stored)
    header = _HEADER.pack(MAGIC, *fields, checksum)
    return b"".join((header, stored, _TRAILER.pack(len(header) + len(stored) + TRAILER_SIZE)))


def header_of(data: bytes) -> Header | None:
    """The header at the beginning of `data`; `None` where there is none that can be believed."""
    if len(data) < HEADER_SIZE:
        return None
    magic, *fields = _HEADER.unpack_from(data)
    header = Header(*fields)
    believable = magic == MAGIC and header.stored <= LARGEST_CHUNK and header.raw <= LARGEST
    return header if believable and header.text <= header.raw else None


def unpack(header: Header, data: bytes) -> list[Run] | None:
    """The runs of the chunk that `data` begins with; `None` where it is torn or was changed."""
    stored = data[HEADER_SIZE : HEADER_SIZE + header.stored]
    unsigned = data[: HEADER_SIZE - 4] + bytes(4)
    if len(data) < header.size or _checksum(unsigned, stored) != header.checksum:
        return None
    raw = stored
    if header.codec == _ZLIB:
        try:
            raw = zlib.decompressobj().decompress(stored, header.raw)
        except zlib.error:
            return None
    return list(_runs(raw, header)) if len(raw) == header.raw else None


def before(data: bytes) -> int:
    """How many bytes the chunk takes whose trailer `data` ends with."""
    return int(_TRAILER.unpack(data[-TRAILER_SIZE:])[0]) if len(data) >= TRAILER_SIZE else 0


def _runs(raw: bytes, header: Header) -> Iterator[Run]:
    place, position, line = 0, header.position, header.line
    while place + _RUN.size <= len(raw):
        stream, at, length = _RUN.unpack_from(raw, place)
        place += _RUN.size
        run = Run(stream, at, raw[place : place + length], position, line)
        place, position, line = place + length, position + length, line + run.lines
        yield run


def _checksum(header: bytes, stored: bytes) -> int:
    return zlib.crc32(stored, zlib.crc32(header[: HEADER_SIZE - 4]))


class Chain:
    """Numbers the chunks of a part, and knows where those lie that the next one points at."""

    def __init__(self) -> None:
        self._size = 0
        self._number = 0
        # Where the last chunk lies, and those that one comes to from it by clearing the lowest bits of its number.
        self._places: dict[int, int] = {}

    @property
    def size(self) -> int:
        """Bytes of the part so far."""
        return self._size

    def next(self, runs: Sequence[Run]) -> bytes:
        """The next chunk of the part."""
        target = self._number & (self._number - 1) if self._number else 0
        chunk = pack(runs, number=self._number, skip=self._places.get(target, 0))
        kept = {number: place for number, place in self._places.items() if number <= target}
        self._places = {**kept, self._number: self._size}
        self._size += len(chunk)
        self._number += 1
        return chunk
