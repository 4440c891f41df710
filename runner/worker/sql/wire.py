"""Rows on their way to a bot: frames of columns, compact and with their types; the SDK reads them.

    frame    = length of what follows (4 bytes, big-endian), kind (1 byte), JSON in UTF-8
    C        ["name", …]                                         once, first
    B        [["tags, one letter a column"], [column, …]]        each batch; a column is a list of its values
    E        number of rows                                      once, last
    X        a sentence                                          instead of E: the source failed

| tag | a value is | in Python |
|---|---|---|
| (blank) | null, true, false, a number, a text | None, bool, int, float, str |
| `d` | text | Decimal |
| `D` `t` `T` | ISO 8601 | date, datetime (with its offset, where it has one), time |
| `i` | text: days, seconds, microseconds | timedelta |
| `b` | base64 | bytes |
| `u` | text | UUID |
| `J` | text | what that JSON holds |
| `s` | text | str |
| `m` | [tag, value] | each by its own tag |

Null is null under every tag. Columns, not rows: a tag is looked up once for a batch, and the loops are in C.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from base64 import b64encode
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

MEDIA_TYPE = "application/vnd.botkeep.rows"

COLUMNS, BATCH, END, FAILED = b"C", b"B", b"E", b"X"

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode

#: Types whose values JSON carries as they are.
_PLAIN = frozenset({type(None), bool, int, float, str})


def frame(kind: bytes, content: Any) -> bytes:  # noqa: ANN401 - anything that JSON can write
    """One frame."""
    body = _encode(content).encode("utf-8", "surrogatepass")
    return (len(body) + 1).to_bytes(4, "big") + kind + body


def batch(rows: Sequence[Sequence[Any]], tags: Sequence[str]) -> bytes:
    """The frame of some rows, at least one; `tags` are those that a driver gave."""
    letters: list[str] = []
    columns: list[Sequence[Any]] = []
    for column, given in zip(zip(*rows, strict=True), tags, strict=True):
        tag, values = (given, column) if given else _column(column)
        letters.append(tag or " ")
        columns.append(values)
    return frame(BATCH, [["".join(letters)], columns])


def _column(column: Sequence[Any]) -> tuple[str, Sequence[Any]]:
    """A tag for all values of a column, and what JSON carries for them."""
    kinds = set(map(type, column))
    if kinds <= _PLAIN:
        return "", column
    kinds.discard(type(None))
    if len(kinds) == 1:
        tag, convert = WRITTEN.get(kinds.pop(), ("s", str))
        return tag, [None if value is None else convert(value) for value in column]
    return "m", [_mixed(value) for value in column]


def _mixed(value: Any) -> list[Any]:  # noqa: ANN401
    if type(value) in _PLAIN:
        return [" ", value]
    tag, convert = WRITTEN.get(type(value), ("s", str))
    return [tag, convert(value)]


def _base64(value: bytes | bytearray | memoryview) -> str:
    return b64encode(value).decode()


def _span(value: dt.timedelta) -> str:
    return f"{value.days} {value.seconds} {value.microseconds}"


def _nested(value: Any) -> str:  # noqa: ANN401
    return json.dumps(value, ensure_ascii=False, default=str)


#: How a type is written, and the tag that says so; what is not here goes as its text.
WRITTEN: dict[type, tuple[str, Callable[[Any], Any]]] = {
    Decimal: ("d", str),
    dt.date: ("D", str),
    dt.datetime: ("t", str),
    dt.time: ("T", str),
    dt.timedelta: ("i", _span),
    bytes: ("b", _base64),
    bytearray: ("b", _base64),
    memoryview: ("b", _base64),
    uuid.UUID: ("u", str),
    dict: ("J", _nested),
    list: ("J", _nested),
}
