"""Prints lines of a log: as they were for a file or a pipe, without what could steer a terminal for a terminal."""

from __future__ import annotations

from cli.client import Item
from cli.render import parse_time, plain
from cli.screen import Screen


class Printer:
    """Prints lines one after the other; a piece of a long line is printed without its end, until the end comes."""

    def __init__(self, to: Screen, *, timestamps: bool = False) -> None:
        self._to, self._timestamps = to, timestamps
        self._open: str | None = None

    def show(self, line: Item) -> None:
        """Print a line of the log."""
        if self._to.json:
            self._to.item(line)
            return
        stream = str(line.get("stream"))
        text = str(line.get("text", "")).rstrip("\n")
        if self._open != stream:
            self.finish()
            text = self._begun(line, text)
        if self._to.out.isatty():
            text = plain(text)
        self._open = stream if line.get("continued") else None
        self._to.out.write(text if self._open else f"{text}\n")

    def finish(self) -> None:
        """End a line that has no end of its own."""
        if self._open is not None:
            self._to.line("")
            self._open = None

    def _begun(self, line: Item, text: str) -> str:
        if line.get("stream") == "system":
            text = f"-- {text}"
        at = parse_time(line.get("at")) if self._timestamps else None
        return text if at is None else f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03} {text}"
