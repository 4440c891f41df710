"""What a command prints into a file, handed on while it runs.

Promises whole lines, in order, each once, and no more than a limit of bytes. Refuses nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


class Told:
    """Hands on the whole lines of a file that have come since the last look."""

    def __init__(self, tell: Callable[[str], None], *, limit: int) -> None:
        """`limit` is how many bytes are handed on; what comes then is not."""
        self._tell, self._limit, self._at = tell, limit, 0

    def look(self, output: Path) -> None:
        """Hand on what is new in the file, an empty text where nothing is."""
        with output.open("rb") as file:
            file.seek(self._at)
            lines = file.read(self._limit - self._at)
        lines = lines[: lines.rfind(b"\n") + 1]
        self._at += len(lines)
        self._tell(lines.decode(errors="replace"))
