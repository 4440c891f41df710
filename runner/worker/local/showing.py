"""Local values in words and in JSON: names, numbers and ages, never a value. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from runner.worker.local.document import Entry
from runner.worker.local.host import Row

#: Controls and marks that reorder text, which a description may hold (as `cli.render` has it).
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def plain(text: str) -> str:
    """The text with every control character written out."""
    return _CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def age(entry: Entry, now: datetime) -> str:
    """How old a value is: `3 d`, `5 min`, `0 s`."""
    seconds = max(0, int((now - entry.set_at).total_seconds()))
    size, unit = next((size, unit) for size, unit in _UNITS if seconds >= size or size == 1)
    return f"{seconds // size} {unit}"


def item(row: Row, environments: Sequence[str], *, now: datetime) -> dict[str, Any]:
    """One asset as JSON; an environment without a value is null."""
    return {
        "bot": row.definition.bot,
        "asset": str(row.definition.name),
        "description": row.definition.description,
        "orphan": row.orphan,
        "environments": {
            name: _value(row.entries.get(name), now=now)
            for name in environments
            if name in row.entries or not row.orphan
        },
    }


def _value(entry: Entry | None, *, now: datetime) -> dict[str, Any] | None:
    if entry is None:
        return None
    seconds = max(0, int((now - entry.set_at).total_seconds()))
    return {"number": entry.number, "set_at": entry.set_at.isoformat(), "age": seconds, "set_by": entry.set_by}


def lines(rows: Sequence[Row], environments: Sequence[str], *, now: datetime) -> Iterator[str]:
    """The list, grouped by bot."""
    width = max((len(str(row.definition.name)) for row in rows), default=0)
    bot = None
    for row in rows:
        if row.definition.bot != bot:
            bot = row.definition.bot
            yield plain(bot)
        yield f"  {row.definition.name!s:{width}}  {states(row, environments, now=now)}".rstrip()


def states(row: Row, environments: Sequence[str], *, now: datetime) -> str:
    """What is set where, and what the asset is for."""
    found = [
        f"{name} #{row.entries[name].number} {age(row.entries[name], now)} old"
        if name in row.entries
        else f"{name} missing"
        for name in environments
        if name in row.entries or not row.orphan
    ]
    said = "orphan: no longer declared" if row.orphan else plain(row.definition.description)
    return "  ".join([*found, *([f"({said})"] if said else [])])
