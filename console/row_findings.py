"""`python -m console.row_findings [SECONDS]`: what no process can read of the rows in SQLite, as JSON on one line.

SQLite keeps anything anywhere. `damaged` names at most `MOST` values, by `table`, `column` and `rowid`, with `what`
they are not, and with the `value` of an id or time; that of a document is never told, as a person may have typed a
password there. Judged is by what our processes read with. `unseen` is the table in which SECONDS were over, and empty
where all rows were looked at, as they are without SECONDS. Changes nothing, and finds nothing in PostgreSQL.
"""

from __future__ import annotations

import json
import re
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, Column, Table, make_url

import console.models
import console.user_models
import runner.concurrency_models
import runner.flow_models
import runner.mail_messages
import runner.models
import runner.source_models
import runner.triggers
import scheduler.models
from vault import db
from vault.errors import VaultError
from vault.models import Id, Model, UtcDateTime
from vault.names import shown
from vault.settings import DatabaseSettings, load

#: Importing them is what fills the metadata.
MODELS = (
    console.models,
    console.user_models,
    runner.concurrency_models,
    runner.flow_models,
    runner.mail_messages,
    runner.models,
    runner.source_models,
    runner.triggers,
    scheduler.models,
)

#: Values that are named: `botkeep doctor` shows ten, and says that there are more.
MOST = 11

#: The types of columns that are looked at, what their values are, and which of these are plainly that: hardly any of a
#: million is otherwise, and to read them all as processes do would take twice as long.
_KINDS: Sequence[tuple[type, str, str]] = (
    (Id, "id", "[0-9a-f]{32}"),
    (
        UtcDateTime,
        "time",
        r"[12][0-9]{3}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8]) (?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{6}",
    ),
    (JSON, "JSON document", r"\{\}|\[\]|null"),
)


@dataclass(frozen=True, slots=True)
class Damage:
    """A value that no process can read; `value` is how it may be shown, `None` for a document."""

    table: str
    column: str
    rowid: int
    what: str
    value: str | None


class _Late(Exception):
    """The time is over; its argument is the table that was looked at."""


class _NoText(bytes):
    """What SQLite keeps as text and is not UTF-8."""


@dataclass(frozen=True, slots=True)
class _Judge:
    column: str
    what: str
    plain: Callable[[str], object]
    read: Callable[[Any], object]

    def refuses(self, stored: object) -> bool:
        if isinstance(stored, _NoText):
            return True
        try:
            self.read(stored)
        except Exception:
            return True
        return False


def main() -> int:
    try:
        seconds = float(sys.argv[1]) if len(sys.argv) > 1 else float("inf")
    except ValueError:
        sys.stderr.write("SECONDS must be a number.\n")
        return 1
    try:
        damaged, unseen = look(load(DatabaseSettings).database(), until=time.monotonic() + seconds)
    except VaultError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except sqlite3.Error as error:
        sys.stderr.write(f"The database cannot be read: {error}.\n")
        return 1
    sys.stdout.write(json.dumps({"damaged": [asdict(each) for each in damaged], "unseen": unseen}) + "\n")
    return 0


def look(url: str, *, until: float) -> tuple[list[Damage], str]:
    """The first damaged values, and the table at which it was `until`, a moment of the monotonic clock, or nothing.

    Raises:
        InvalidDatabase: for a database's address that nobody could use.
        sqlite3.Error: where its file cannot be read.
    """
    dialect = db.engine(url).dialect
    path = Path(make_url(url).database or "")
    if dialect.name != "sqlite" or not path.is_file():
        return [], ""
    found: list[Damage] = []
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)) as database:
        database.text_factory = _text
        try:
            for each in islice(_damaged(database, dialect, until=until), MOST):
                found.append(each)  # noqa: PERF402 - what was found before the time was over counts
        except _Late as late:
            return found, str(late)
    return found, ""


def _text(stored: bytes) -> str | _NoText:
    try:
        return stored.decode()
    except UnicodeDecodeError:
        return _NoText(stored)


def _damaged(database: sqlite3.Connection, dialect: Any, *, until: float) -> Iterator[Damage]:  # noqa: ANN401
    database.set_progress_handler(lambda: time.monotonic() > until, 10_000)
    for table in Model.metadata.sorted_tables:
        if time.monotonic() > until:
            raise _Late(table.name)
        try:
            yield from _damaged_of(database, table, dialect)
        except sqlite3.OperationalError:
            if time.monotonic() > until:
                raise _Late(table.name) from None
            raise


def _damaged_of(database: sqlite3.Connection, table: Table, dialect: Any) -> Iterator[Damage]:  # noqa: ANN401
    there = {name for _, name, *_ in database.execute(f'PRAGMA table_info("{table.name}")')}
    judges = [judge for column in table.columns if column.name in there for judge in _judges(column, dialect)]
    if not judges:
        return
    columns = ", ".join(f'"{judge.column}"' for judge in judges)
    for rowid, *values in database.execute(f"SELECT rowid, {columns} FROM {table.name}"):  # noqa: S608 - names of our own
        for judge, stored in zip(judges, values, strict=True):
            if stored is None or (type(stored) is str and judge.plain(stored)):
                continue
            if judge.refuses(stored):
                yield Damage(table.name, judge.column, rowid, judge.what, _value(judge, stored))


def _judges(column: Column[Any], dialect: Any) -> Iterator[_Judge]:  # noqa: ANN401
    for kind, what, plain in _KINDS:
        if isinstance(column.type, kind):
            read = column.type.dialect_impl(dialect).result_processor(dialect, None)
            assert read is not None  # noqa: S101 - each of these has one on SQLite
            yield _Judge(column.name, what, re.compile(plain, re.ASCII).fullmatch, read)


def _value(judge: _Judge, stored: object) -> str | None:
    if judge.what == "JSON document":
        return None
    return shown(stored.decode(errors="replace") if isinstance(stored, bytes) else str(stored))


if __name__ == "__main__":
    sys.exit(main())
