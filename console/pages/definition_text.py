"""Definitions as text that people edit: written as TOML, read as TOML or JSON; pure.

Promises that what `written` gives is read by `read` as the same table. What TOML cannot say (a null) makes the whole
text JSON. Refuses a key that is given twice.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from datetime import date, datetime, time
from typing import Any

from runner.errors import Invalid
from vault.names import shown

#: Characters of a text that is read at most; the largest definition of any kind is smaller.
MAX_TEXT = 256 * 1024

#: Longest line that an inline table or list may make; a longer one is written a line an entry.
WIDTH = 100

#: Keys that hold durations, which are stored as seconds and written as people say them.
DURATIONS = frozenset(
    {"connect_timeout", "delay", "every", "expires", "interval", "jitter", "misfire_grace", "stable", "timeout"}
    | {"tolerance"}
)

_BARE = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_UNITS = ((86_400, "d"), (3600, "h"), (60, "m"))


def written(table: Mapping[str, Any]) -> str:
    """The table as TOML, plain values first; as JSON where it holds a null."""
    if _has_null(table):
        return json.dumps(table, indent=2, ensure_ascii=False) + "\n"
    return "\n".join(_lines(_worded(table), ())).strip("\n") + "\n"


def read(text: str) -> dict[str, Any]:
    """The table in a text; JSON where it begins with a brace.

    Raises:
        Invalid: for text that is neither, with the line where it can be told.
    """
    if len(text) > MAX_TEXT:
        raise Invalid(f"The text has {len(text):,} characters; it may have {MAX_TEXT:,}.")
    kind = "JSON" if text.lstrip().startswith("{") else "TOML"
    try:
        if kind == "TOML":
            plain = json.loads(json.dumps(tomllib.loads(text.replace("\r\n", "\n")), default=_time))
        else:
            plain = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError, TypeError) as error:
        raise Invalid(f"The text is not valid {kind}: {str(error)[:300].rstrip('.')}.") from None
    table: dict[str, Any] = plain
    return table


def words(seconds: float) -> str:
    """A duration as people write it: `90s`, `5m`, `1h`."""
    for size, unit in _UNITS:
        if seconds and seconds % size == 0:
            return f"{int(seconds // size)}{unit}"
    return f"{seconds:g}s" if seconds < 1_000_000 else f"{seconds:.0f}s"


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise ValueError(f"the key {shown(twice)} is given twice; remove one of the two")
    return dict(pairs)


def _time(value: object) -> str:
    """TOML has times, JSON has not."""
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    raise TypeError(f"it holds a {type(value).__name__}")


def _worded(table: Mapping[str, Any]) -> dict[str, Any]:
    """The table with its durations in words; what bots are given as parameters is left as it is."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        if key in DURATIONS and isinstance(value, int | float) and not isinstance(value, bool):
            found[key] = words(value)
        elif isinstance(value, Mapping) and not key.startswith("parameters"):
            found[key] = _worded(value)
        elif isinstance(value, list | tuple) and value and all(isinstance(each, Mapping) for each in value):
            found[key] = [_worded(each) for each in value]
        else:
            found[key] = value
    return found


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    plain, below = [], []
    # What holds nothing but tables, such as the steps of a workflow, is no line of its own.
    each_a_table = len(path) == 1 and all(isinstance(value, Mapping) for value in table.values())
    for key, value in table.items():
        inline = f"{_key(key)} = {_value(value)}"
        block = isinstance(value, str) and "\n" in value and '"""' not in value
        if isinstance(value, Mapping) and (not path or each_a_table or len(inline) > WIDTH or _deep(value)):
            below += _table(value, (*path, key), header="[{}]")
        elif _tables(value) and (not path or len(inline) > WIDTH):
            for each in value:
                below += _table(each, (*path, key), header="[[{}]]")
        elif isinstance(value, list | tuple) and len(inline) > WIDTH:
            plain += [f"{_key(key)} = [", *(f"    {_value(each)}," for each in value), "]"]
        else:
            plain.append(f"{_key(key)} = {_block(value)}" if block else inline)
    return plain + below


def _table(table: Mapping[str, Any], path: tuple[str, ...], *, header: str) -> list[str]:
    lines = _lines(table, path)
    # A table that only holds others needs no line of its own.
    if header == "[{}]" and lines[:1] == [""] and table:
        return lines
    return ["", header.format(".".join(map(_key, path))), *lines]


def _deep(table: Mapping[str, Any]) -> bool:
    """Whether a table holds something that a line of its own is better for."""
    return any(isinstance(value, Mapping) and value for value in table.values())


def _tables(value: object) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(each, Mapping) for each in value)


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _text(key)


def _value(value: Any) -> str:  # noqa: ANN401 - JSON without null
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{_key(key)} = {_value(each)}" for key, each in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value)


def _text(text: str) -> str:
    # JSON's escapes are TOML's, but for halves of characters and DEL.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


def _block(text: str) -> str:
    inner = "\n".join(_text(line)[1:-1] for line in text.split("\n"))
    return f'"""\n{inner}"""'


def _has_null(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(_has_null(each) for each in value.values())
    if isinstance(value, list | tuple):
        return any(_has_null(each) for each in value)
    return value is None
