"""How answers look to a person: aligned columns, environment badges, times; pure.

What came from a bot or another person is shown with its control characters made visible, so that it cannot
steer the terminal of whoever reads it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

#: SGR colours: calm for dev, loud for prod.
COLOURS = {"dev": "32", "staging": "33", "prod": "1;31"}

#: SGR colours of words that say how something went.
WORDS = {
    **dict.fromkeys(("succeeded", "online", "set", "ok", "running", "ready"), "32"),
    **dict.fromkeys(("queued", "empty", "warn", "draining", "paused", "pausing", "resuming"), "33"),
    **dict.fromkeys(("failed", "missing", "fail", "lost", "stopped"), "31"),
}

_SGR = re.compile(r"\x1b\[[0-9;]*m")

#: C0 and C1 controls except the tab, and the marks that reorder text (Unicode TR 9).
_CONTROLS = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """The text with every control character written out, an escape for example as four characters."""
    return _CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def badge(environment: str, *, colour: bool) -> str:
    """The environment as a coloured word, or in brackets where there are no colours."""
    shown = plain(environment)
    if not colour:
        return f"[{shown}]"
    return f"\x1b[{COLOURS.get(environment, '36')}m{shown}\x1b[0m"


def word(text: str, *, colour: bool) -> str:
    """A state or a verdict, coloured where there are colours."""
    code = WORDS.get(text) if colour else None
    return f"\x1b[{code}m{text}\x1b[0m" if code else plain(text)


def parse_time(text: object) -> datetime | None:
    """The aware time in an ISO 8601 text; `None` when there is none."""
    if not isinstance(text, str):
        return None
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def moment(text: object, *, now: datetime) -> str:
    """A time, absolute in UTC and relative to now: `2026-08-01 12:00:05Z (2 h ago)`."""
    at = parse_time(text)
    if at is None:
        return "-"
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z ({distance(at - now)})"


def distance(difference: timedelta) -> str:
    """How far a time is away, in its largest whole unit."""
    seconds = difference.total_seconds()
    if abs(seconds) < 1:
        return "now"
    size = duration(abs(seconds))
    return f"in {size}" if seconds > 0 else f"{size} ago"


def duration(seconds: float) -> str:
    """A span in its largest whole unit; below ten seconds with one decimal."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{seconds:.1f} s" if seconds < 10 and seconds % 1 else f"{int(seconds)} s"


def table(titles: Sequence[str], pages: Iterable[Sequence[Sequence[str]]]) -> Iterator[str]:
    """Lines of an aligned table, page by page; a later page may widen a column."""
    widths = [len(title) for title in titles]
    begun = False
    for rows in pages:
        if not rows:
            continue
        for row in rows:
            widths = [max(width, _width(cell)) for width, cell in zip(widths, row, strict=True)]
        if not begun:
            yield _line(titles, widths)
            begun = True
        for row in rows:
            yield _line(row, widths)


def fields(pairs: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Lines of names and what they stand for, aligned; what is empty is left out."""
    shown = [(name, value) for name, value in pairs if value]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        yield f"{name:<{width}}  {value}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell + " " * (width - _width(cell)) for cell, width in zip(cells, widths, strict=True)]
    return "  ".join(padded).rstrip()


def _width(cell: str) -> int:
    shown = _SGR.sub("", cell)
    if shown.isascii():
        return len(shown)
    return sum(_columns(character) for character in shown)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
