"""Rows as files: CSV, JSON lines and Parquet, made batch by batch.

| | CSV (RFC 4180, UTF-8, a header) | JSON lines | Parquet |
|---|---|---|---|
| null | an empty field | null | null |
| decimal | digits | text, so that no digit is lost | text |
| date, time | ISO 8601 | ISO 8601 | ISO 8601 |
| bytes | base64 | base64 | base64 |
| JSON | JSON | the object | JSON |
| true, false | true, false | true, false | boolean |

Parquet's columns have the types that the first batch shows: integers, floats, booleans, else text.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any

from runner.errors import Invalid
from runner.worker.failures import SourceFailed, Step
from runner.worker.sql.login import optional
from runner.worker.sql.wire import WRITTEN

Batches = Iterable[Sequence[Sequence[Any]]]
Rows = tuple[list[str], list[str], Batches]

#: Media types by the names that bots ask with.
MEDIA_TYPES = {
    "csv": "text/csv; charset=utf-8; header=present",
    "jsonl": "application/jsonl",
    "parquet": "application/vnd.apache.parquet",
}


def write(kind: str, names: list[str], tags: list[str], batches: Batches) -> Generator[bytes]:
    """The file's bytes as they come.

    Raises:
        Invalid: for another kind of file.
        SourceFailed: where `pyarrow` is missing, and whatever the batches raise.
    """
    writers: dict[str, Callable[[list[str], list[str], Batches], Generator[bytes]]] = {
        "csv": _csv,
        "jsonl": _jsonl,
        "parquet": _parquet,
    }
    if kind not in writers:
        raise Invalid(f"There is no format {kind[:40]!a}: choose rows, {', '.join(writers)}.")
    return writers[kind](names, tags, batches)


def _csv(names: list[str], _tags: list[str], batches: Batches) -> Generator[bytes]:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(names)
    for rows in batches:
        writer.writerows([[_cell(value) for value in row] for row in rows])
        yield _taken(text)
    yield _taken(text)


def _cell(value: Any) -> Any:  # noqa: ANN401 - whatever a database has
    if value is None or type(value) in {str, int, float}:
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return _written(value)


def _written(value: Any) -> Any:  # noqa: ANN401
    tag, convert = WRITTEN.get(type(value), ("s", str))
    return value.isoformat() if tag in {"t", "T"} else convert(value)


def _jsonl(names: list[str], tags: list[str], batches: Batches) -> Generator[bytes]:
    encode = json.JSONEncoder(ensure_ascii=False, default=_written).encode
    documents = [place for place, tag in enumerate(tags) if tag == "J"]
    for rows in batches:
        lines = []
        for row in rows:
            values = list(row)
            for place in documents:
                values[place] = None if values[place] is None else json.loads(values[place])
            lines.append(encode(dict(zip(names, values, strict=True))))
        yield ("\n".join(lines) + "\n").encode("utf-8", "surrogatepass")


def _parquet(names: list[str], _tags: list[str], batches: Batches) -> Generator[bytes]:
    arrow: Any = optional("pyarrow", extra="parquet")
    parquet: Any = optional("pyarrow.parquet", extra="parquet")
    target = _Taken()
    writer: Any = None
    for rows in batches:
        columns = [[_cell_of(value) for value in column] for column in zip(*rows, strict=True)]
        if writer is None:
            kinds = [_kind(arrow, column) for column in columns]
            schema = arrow.schema(list(zip(names, kinds, strict=True)))
            writer = parquet.ParquetWriter(arrow.PythonFile(target, mode="w"), schema)
        try:
            arrays = [
                arrow.array(
                    [str(value) if value is not None and kind == arrow.string() else value for value in column], kind
                )
                for column, kind in zip(columns, kinds, strict=True)
            ]
        except (arrow.ArrowInvalid, arrow.ArrowTypeError):
            why = "a column changes its type between batches, which Parquet cannot hold; ask for jsonl"
            raise SourceFailed(Step.QUERY, why, field="query") from None
        writer.write_table(arrow.table(arrays, schema=schema))
        yield target.taken()
    if writer is None:
        schema = arrow.schema([(name, arrow.string()) for name in names])
        writer = parquet.ParquetWriter(arrow.PythonFile(target, mode="w"), schema)
    writer.close()
    yield target.taken()


def _kind(arrow: Any, column: Sequence[Any]) -> Any:  # noqa: ANN401
    kinds = {type(value) for value in column} - {type(None)}
    plain = {int: arrow.int64(), float: arrow.float64(), bool: arrow.bool_()}
    return plain.get(kinds.pop(), arrow.string()) if len(kinds) == 1 else arrow.string()


def _cell_of(value: Any) -> Any:  # noqa: ANN401
    return value if value is None or type(value) in {bool, int, float, str} else _written(value)


class _Taken(io.RawIOBase):
    """A file whose bytes are taken out as they are written."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self._length = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._length

    def write(self, data: Any) -> int:  # noqa: ANN401
        part = bytes(data)
        self._parts.append(part)
        self._length += len(part)
        return len(part)

    def taken(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


def _taken(text: io.StringIO) -> bytes:
    """What was written, taken out."""
    content = text.getvalue()
    text.seek(0)
    text.truncate()
    return content.encode("utf-8", "surrogatepass")
