"""Files that describe something to be saved, TOML or JSON, and calendars as text or iCalendar.

Refuses what cannot be read, with the line; what the content means is said by the server.
"""

from __future__ import annotations

import json
import re
import tomllib
from datetime import date, datetime, time, timedelta
from pathlib import Path

from cli import values
from cli.client import Item
from cli.errors import Refused

#: Largest file, in bytes: a definition has a few hundred, a calendar of ten years some hundred thousand.
LIMIT = 1024 * 1024

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def definition(path: Path) -> Item:
    """The object in a TOML file, or in a JSON file by its ending.

    Raises:
        NotFound, Refused: when there is no such file, or it is neither.
    """
    text = _text(path)
    try:
        found = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise Refused(f"{path} is not valid {kind}: {error}.", hint="Mend the file and try again.") from None
    if not isinstance(found, dict):
        raise Refused(f"{path} holds no object.", hint='Write one, such as {"bot": "report"}.')
    plain: Item = json.loads(json.dumps(found, default=_time))
    return plain


def days(path: Path) -> list[str]:
    """The days in a calendar: an iCalendar file's events (RFC 5545) by its ending, else one day a line.

    An event of several days counts with each of them; one that repeats is refused, since its days are not written down.

    Raises:
        NotFound, Refused: when there is no such file, or it cannot be read.
    """
    text = _text(path)
    found = _events(text, path) if path.suffix.lower() == ".ics" else _lines(text, path)
    return sorted(day.isoformat() for day in found)


def _text(path: Path) -> str:
    content = values.from_file(path)
    if len(content) > LIMIT:
        raise Refused(f"{path} has more than {LIMIT:,} bytes.", hint="Is it the right file?")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Refused(f"{path} is not UTF-8.", hint="Save it as UTF-8.") from None


def _time(value: object) -> str:
    """TOML has times, JSON has not."""
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    raise TypeError(type(value).__name__)


def _lines(text: str, path: Path) -> set[date]:
    found = set()
    for number, line in enumerate(text.splitlines(), 1):
        word = line.partition("#")[0].strip()
        if not word:
            continue
        try:
            found.add(date.fromisoformat(word if _DAY.fullmatch(word) else ""))
        except ValueError:
            raise Refused(f"{path}, line {number}: {word[:40]!r} is no day.", hint="Write 2027-12-25.") from None
    return found


def _events(text: str, path: Path) -> set[date]:
    found: set[date] = set()
    begin = end = None
    for number, line in enumerate(re.sub(r"\r?\n[ \t]", "", text).splitlines(), 1):
        name, _, value = line.partition(":")
        key = name.partition(";")[0].upper()
        if key in {"RRULE", "RDATE"}:
            raise Refused(
                f"{path}, line {number}: an event repeats.",
                hint="Export the calendar with single events, and try again.",
            )
        if key == "DTSTART":
            begin = _ics_day(value, path, number)
        elif key == "DTEND":
            end = _ics_day(value, path, number)
        elif key == "END" and value.strip().upper() == "VEVENT" and begin is not None:
            # The end of a whole-day event is the day after it.
            length = max((end - begin).days, 1) if end is not None else 1
            found.update(begin + timedelta(days=step) for step in range(length))
            begin = end = None
    return found


def _ics_day(value: str, path: Path, number: int) -> date:
    try:
        return datetime.strptime(value.strip()[:8], "%Y%m%d").date()  # noqa: DTZ007 - a day has no zone
    except ValueError:
        raise Refused(f"{path}, line {number}: {value[:40]!r} is no day.", hint="Write 20271225.") from None
