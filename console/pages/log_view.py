"""A part of a job's log as a page shows it: some lines, where they lie, and where to go on.

Promises a bounded page whatever a bot printed: of a long line its beginning is shown, or what surrounds the text that
was looked for, and the rest is counted. What steers terminals or hides is gone by then (`console.ansi`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from console import ansi, stream
from console.ansi import PLAIN, Pen, Piece
from console.deps import Call
from console.stream import LogOf
from runner import logs
from runner.logs import Ask, Line, Log

#: Lines of one page, and bytes of text that it passes over.
LINES, SIZE = 500, 1 << 20

#: Characters of one line that are shown.
WIDTH = 2000

#: Lines that one search shows.
HITS = 200

#: A style that `ansi` does not know: text that was looked for.
HIT = "hit"


@dataclass(frozen=True, slots=True)
class Shown:
    """One line: `cut` is how many of its characters are not shown."""

    number: int
    at: datetime
    stream: str
    pieces: list[Piece]
    cut: int
    continued: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for: of an attempt (the latest), from a line (the last ones), or what holds a text."""

    attempt: int | None = None
    line: int | None = None
    search: str = ""
    #: Where a search goes on.
    after: int = 0


@dataclass(frozen=True, slots=True)
class View:
    """A part of a log. `next` is the position after it, `total` the number of lines up to the end."""

    wanted: Wanted
    attempt: int
    latest: int
    lines: list[Shown]
    next: int
    total: int
    #: Whether the attempt will print nothing more, and whether this part reaches the end.
    ended: bool
    at_end: bool
    note: str | None

    @property
    def first(self) -> int:
        """The number of its first line."""
        return self.lines[0].number if self.lines else 1

    @property
    def last(self) -> int:
        """The number of its last line."""
        return self.lines[-1].number if self.lines else 0

    @property
    def before(self) -> int | None:
        """Where the part before it begins."""
        return max(1, self.first - LINES) if self.first > 1 else None

    @property
    def tail(self) -> bool:
        """Whether it is the end of the log, as far as it is printed."""
        return self.at_end and not self.wanted.search and self.wanted.line is None

    @property
    def live(self) -> bool:
        """Whether more lines can follow this part."""
        return self.tail and not self.ended


@dataclass(slots=True)
class Painter:
    """Paints lines in the order in which they were printed; colours go on from line to line of one stream."""

    search: str = ""
    _pens: dict[str, Pen] = field(default_factory=dict)

    def shown(self, line: Line) -> Shown:
        """A line with its pieces."""
        text, cut = _excerpt(line.text, self.search)
        pieces, self._pens[line.stream] = ansi.pieces(text, self._pens.get(line.stream, PLAIN))
        if self.search:
            pieces = list(_marked(pieces, self.search))
        return Shown(line.number + 1, line.at, line.stream, pieces, cut, line.continued)

    def item(self, line: Line) -> dict[str, Any]:
        """A line as the page's script reads it."""
        shown = self.shown(line)
        return {
            "number": shown.number,
            "at": shown.at.isoformat(),
            "stream": shown.stream,
            "pieces": [[piece.text, piece.style] for piece in shown.pieces],
            "cut": shown.cut,
            "continued": shown.continued,
        }


def view(call: Call, log: LogOf, wanted: Wanted) -> View:
    """The wanted part of a log.

    Raises:
        NotFound: when there is no such job or attempt.
        Unavailable: when the store cannot be read.
    """
    seen = stream.look(log)  # before the store: what has ended by now has written all it will
    with logs.opened(call.console.store, log.job_id, seen.attempt) as stored:
        end, total = stored.end()
        page = stored.page(_ask(wanted, stored))
    painter = Painter(wanted.search)
    why = None if total or not seen.attempt else stream.note(log, seen)
    return View(
        wanted=wanted,
        attempt=seen.attempt,
        latest=seen.progress.attempt,
        lines=[painter.shown(line) for line in page.lines],
        next=page.next,
        total=total,
        ended=seen.ended,
        at_end=page.next >= end,
        note=why,
    )


def _ask(wanted: Wanted, stored: Log) -> Ask:
    if wanted.search:
        return Ask(after=wanted.after, search=wanted.search, limit=HITS)
    if wanted.line is not None:
        return Ask(after=stored.position_of(wanted.line - 1), limit=LINES, size=SIZE)
    end, lines = stored.end()
    return Ask(after=max(stored.position_of(max(0, lines - LINES)), end - SIZE), limit=LINES)


def _excerpt(text: str, search: str) -> tuple[str, int]:
    """The shown part of a line, and how many characters are left out."""
    if len(text) <= WIDTH:
        return text, 0
    found = text.casefold().find(search.casefold()) if search else 0
    start = found - WIDTH // 4 if found > WIDTH // 2 else 0
    return text[start : start + WIDTH], len(text) - WIDTH


def _marked(pieces: Iterable[Piece], search: str) -> Iterator[Piece]:
    wanted = re.compile(re.escape(search), re.IGNORECASE)
    for piece in pieces:
        place = 0
        for hit in wanted.finditer(piece.text):
            if hit.start() > place:
                yield Piece(piece.text[place : hit.start()], piece.style)
            yield Piece(hit[0], f"{piece.style} {HIT}".strip())
            place = hit.end()
        if place < len(piece.text):
            yield Piece(piece.text[place:], piece.style)
