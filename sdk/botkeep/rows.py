"""Rows as the runner sends them: frames of columns with their types (`runner/worker/sql/wire.py` says the format).

Promises the values that the database has, in Python's own types, and an error instead of an end where the rows broke
off. What Python has no value for (a date before the year 1, `infinity`) stays the text that it is.
"""

from __future__ import annotations

import json
from base64 import b64decode
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from http.client import HTTPException
from uuid import UUID, SafeUUID

from botkeep.errors import SourceError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from http.client import HTTPResponse
    from typing import Any


#: How a UUID's slots are filled; its own `__setattr__` refuses.
_set_int, _set_safe = (vars(UUID)[slot].__set__ for slot in ("int", "is_safe"))


def read(name: str, answer: HTTPResponse) -> tuple[list[str], Iterator[list[tuple[Any, ...]]]]:
    """The names of the columns, and the rows batch by batch.

    Raises:
        SourceError: for an answer that breaks off, also while batches are read.
    """
    kind, columns = _frame(name, answer)
    if kind != b"C":
        answer.close()
        raise SourceError(columns if kind == b"X" else _broken(name))
    return columns, _batches(name, answer)


def _batches(name: str, answer: HTTPResponse) -> Iterator[list[tuple[Any, ...]]]:
    count = 0
    with answer:
        while True:
            kind, content = _frame(name, answer)
            if kind == b"B":
                (tags,), columns = content
                read = [column if tag == " " else _column(tag, column) for tag, column in zip(tags, columns)]  # noqa: B905
                rows = list(zip(*read))  # noqa: B905
                count += len(rows)
                yield rows
            elif kind == b"E" and content == count:
                return
            else:
                raise SourceError(content if kind == b"X" else _broken(name))


def _frame(name: str, answer: HTTPResponse) -> tuple[bytes, Any]:
    try:
        head = answer.read(4)
        length = int.from_bytes(head, "big") if len(head) == 4 else 0
        body = answer.read(length) if length else b""
    except (HTTPException, OSError):
        length, body = 0, b""
    if not length or len(body) != length:
        raise SourceError(_broken(name))
    return body[:1], json.loads(body[1:])


def _broken(name: str) -> str:
    return f"{name}: the rows ended early; the job was ended, or the runner's log says why."


def _column(tag: str, column: list[Any]) -> list[Any]:
    if tag == "m":
        return [value if kind == " " else _READ[kind](value) for kind, value in column]
    convert = _READ[tag]
    if None in column:
        return [None if value is None else convert(value) for value in column]
    try:
        return list(map(_QUICK.get(tag, convert), column))
    except ValueError:
        return list(map(convert, column))


def _uuid(text: str) -> UUID:
    """A UUID of a text that is one, without the constructor's search for what else it could be: half of the time."""
    made = object.__new__(UUID)
    _set_int(made, int(text.replace("-", ""), 16))
    _set_safe(made, SafeUUID.unknown)
    return made


def _or_text(convert: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:  # noqa: ANN401 - a value of any type
        try:
            return convert(text)
        except ValueError:
            return text

    return read


def _span(text: str) -> timedelta:
    return timedelta(*map(int, text.split()))


#: What a tag means.
_READ: dict[str, Callable[[str], Any]] = {
    "d": Decimal,
    "D": _or_text(date.fromisoformat),
    "t": _or_text(datetime.fromisoformat),
    "T": _or_text(time.fromisoformat),
    "i": _span,
    "b": b64decode,
    "u": _uuid,
    "J": json.loads,
    "s": str,
}

#: The same for columns in which everything has a value; what they refuse is read one by one.
_QUICK: dict[str, Callable[[str], Any]] = {
    "D": date.fromisoformat,
    "t": datetime.fromisoformat,
    "T": time.fromisoformat,
}
