"""What a command prints into a file, handed on while it runs.

Promises whole lines, in order, each once, and no more than a limit of bytes: where there are more, those at the end,
which say why it failed, instead of those before. Refuses nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

#: The part of the limit that is kept for the end.
_LAST = 4


class Told:
    """Hands on the whole lines of a file that have come since the last look."""

    def __init__(self, tell: Callable[[str], None], *, limit: int) -> None:
        """`limit` is how many bytes are handed on."""
        self._tell, self._at = tell, 0
        self._last = limit // _LAST
        self._first = limit - self._last

    def look(self, output: Path) -> None:
        """Hand on what is new in the file, an empty text where nothing is."""
        with output.open("rb") as file:
            file.seek(self._at)
            lines = file.read(self._first - self._at)
        lines = lines[: lines.rfind(b"\n") + 1]
        self._at += len(lines)
        self._tell(lines.decode(errors="replace"))

    def end(self, output: Path) -> None:
        """Hand on the end of a file that nobody writes to any more, and say how much before it is left out."""
        with output.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            begin = max(self._at, size - self._last)
            file.seek(begin)
            rest = file.read()
        if begin > self._at:
            cut = rest.find(b"\n") + 1 or len(rest)  # a line that begins in the middle would be masked in part
            rest = b"[%d bytes are left out]\n" % (begin - self._at + cut) + rest[cut:]
        self._at = size
        if rest:
            self._tell(rest.decode(errors="replace"))
