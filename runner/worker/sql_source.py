"""Data sources of kind `sql`: one connection an attempt, one query a question, rows as the bot takes them.

| a bot asks | and is given |
|---|---|
| `GET /v1/sources/NAME` | rows with their types (`sql.wire`) |
| `GET /v1/sources/NAME?format=csv`, `jsonl`, `parquet` | a file (`sql.files`) |
| `GET /v1/sources/NAME/connection` | the connection itself, as JSON, where the bot declares it in `connections` |
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from runner import definitions
from runner.connections.parsed import System
from runner.errors import Invalid, NotFound
from runner.sql_definition import SqlDefinition
from runner.worker.failures import SourceFailed, Step
from runner.worker.filling import Values
from runner.worker.questions import Answer, Context, Opened, Question, Reply
from runner.worker.sql import drivers, files, wire
from runner.worker.sql.drivers import Driver, Row
from runner.worker.sql.login import Login, login, reach, written

#: Rows that a check reads at most: it says how many there are, and is no way to read a table.
CHECKED = 1000

#: How long a check waits for the server, below what a person waits for a check.
CHECKED_FOR = timedelta(seconds=30)

#: Rows of the first batch, and bytes of a batch above which the next has fewer rows.
_FIRST_BATCH, _LARGE = 10, 1 << 20

#: Seconds that the end of an attempt waits for the thread that is answering.
_PATIENCE = 5.0

#: Seconds between two tries to interrupt it.
_AGAIN = 0.1


def check(definition: Mapping[str, Any], values: Values, context: Context) -> Answer:
    """Connect, run the query, and count its first rows. Raises `SourceFailed`."""
    whole = definitions.load(SqlDefinition, definition)
    source = whole.model_copy(update={"timeout": min(whole.timeout, CHECKED_FOR)})
    told = login(source, values, context)
    _reach_any(told)
    driver = drivers.connect(told)
    try:
        query = _Query(driver, source, values)
        count = 0
        for rows in query.rows(limit=CHECKED + 1):
            count += len(rows)
    finally:
        driver.close()
    remarks = _remarks(source, told)
    return Answer(count=min(count, CHECKED), more=count > CHECKED, remarks=remarks)


def open(definition: Mapping[str, Any], values: Values, context: Context) -> Opened:  # noqa: A001 - the contract's word
    """Connect for one attempt. Raises `SourceFailed`."""
    source = definitions.load(SqlDefinition, definition)
    told = login(source, values, context)
    return _Open(drivers.connect(told), source, told, context)


@dataclass(slots=True)
class _Query:
    """One run of a source's query, in a transaction of its own."""

    driver: Driver
    source: SqlDefinition
    values: Values
    names: list[str]
    tags: list[str]
    _most: int

    def __init__(self, driver: Driver, source: SqlDefinition, values: Values) -> None:
        self.driver, self.source, self.values = driver, source, values
        filled = {
            name: values.fill(value, field=f"parameters.{name}") if isinstance(value, str) else value
            for name, value in source.parameters.items()
        }
        try:
            query, parameters = drivers.bound(source.query, filled, driver.PARAMSTYLE)
        except Invalid as error:
            raise SourceFailed(Step.QUERY, str(error), field="query") from None
        try:
            driver.begin(read_only=source.read_only)
            names, self.tags = driver.run(query, parameters)
        except SourceFailed:
            with suppress(SourceFailed):  # where the connection is lost, the first failure says more
                driver.end(commit=False)
            raise
        self.names = _told_apart(names)
        self._most = min(_FIRST_BATCH, source.batch_rows)

    def adapt(self, size: int) -> None:
        """Say how many bytes the last rows became, so that the next are as many as memory and speed can take."""
        if size > _LARGE:
            self._most = max(1, self._most // 2)
        elif size < _LARGE // 4:
            self._most = min(self.source.batch_rows, self._most * 2)

    def rows(self, *, limit: int = 0) -> Generator[list[Row]]:
        """The rows in batches, then the end of the transaction; `limit` ends it early without an error."""
        count, most, waited = 0, self.source.row_limit, 0.0
        done = False
        try:
            while self.names:
                since = time.monotonic()
                rows = self.driver.fetch(self._most)
                waited += time.monotonic() - since
                if not rows:
                    break
                count += len(rows)
                if most and count > most:
                    raise SourceFailed(Step.QUERY, f"it gives more than {most:,} rows", field="row_limit")
                if waited > self.source.timeout.total_seconds():
                    raise SourceFailed(Step.QUERY, f"no end within {self.source.timeout}", field="timeout")
                yield rows
                if limit and count >= limit:
                    break
            done = True
        finally:
            self.driver.end(commit=done and not self.source.read_only)


class _Open:
    """A source that is open for one attempt."""

    def __init__(self, driver: Driver, source: SqlDefinition, told: Login, context: Context) -> None:
        self._driver, self._source, self._told, self._context = driver, source, told, context
        self._busy = threading.Lock()
        self._closed = False

    def answer(self, question: Question) -> Reply:
        """See `runner.worker.sources`."""
        if question.method != "GET":
            raise Invalid("A data source of kind sql is only asked with GET.")
        if question.what == "connection":
            return self._connection()
        if question.what:
            raise NotFound(
                f"A data source of kind sql has no {question.what[:40]!a}; it has its rows and `connection`."
            )
        kind = question.options.get("format", "rows")
        if kind not in {"rows", *files.MEDIA_TYPES}:
            raise Invalid(f"There is no format {kind[:40]!a}: choose rows, {', '.join(files.MEDIA_TYPES)}.")
        return Reply(files.MEDIA_TYPES.get(kind, wire.MEDIA_TYPE), self._rows(kind))

    def close(self, *, succeeded: bool) -> None:
        """See `runner.worker.sources`; reading is all that this kind does, so it does not matter how the job ended."""
        del succeeded
        self._closed = True
        until = time.monotonic() + _PATIENCE
        while not (ended := self._busy.acquire(timeout=_AGAIN)) and time.monotonic() < until:
            self._driver.interrupt()  # again and again: the query may only just be about to begin
        try:
            self._driver.close()
        finally:
            if ended:
                self._busy.release()

    def _rows(self, kind: str) -> Generator[bytes]:
        with self._busy:
            if self._closed:
                raise SourceFailed(Step.QUERY, "the attempt has ended")
            query = _Query(self._driver, self._source, self._told.values)
            batches = query.rows()
            try:
                if kind == "rows":
                    yield from _frames(query, batches, self._sentence)
                else:
                    for part in files.write(kind, query.names, query.tags, batches):
                        query.adapt(len(part))
                        yield part
            finally:
                batches.close()

    def _sentence(self, failure: SourceFailed) -> str:
        return failure.sentence(self._context.source, self._context.environment)

    def _connection(self) -> Reply:
        name = self._context.source
        if not self._context.connection_allowed:
            raise Invalid(
                f'The bot does not declare that it needs the connection of {name} itself: add "{name}" to '
                "`connections` in its bot.toml, or read the rows."
            )
        connection = self._told.connection
        texts = {str(dialect): text for dialect, text in written(connection).items()}
        for text in texts.values():
            self._told.values.mask("connection", text)
        place = self._told.places[0] if self._told.places else None
        document = {
            "system": connection.system,
            "host": None if place is None else place.host,
            "address": None if place is None else place.address,
            "port": None if place is None else place.port,
            "user": connection.user,
            "password": connection.password,
            "database": connection.database,
            "options": dict(connection.options),
            "written": texts,
        }
        return Reply("application/json", (part for part in [json.dumps(document).encode()]))


def _frames(query: _Query, batches: Generator[list[Row]], sentence: Callable[[SourceFailed], str]) -> Generator[bytes]:
    """Rows as frames; a failure between them is a frame, too, since the answer's status was sent long before."""
    count = 0
    yield wire.frame(wire.COLUMNS, query.names)
    try:
        for rows in batches:
            count += len(rows)
            part = wire.batch(rows, query.tags)
            query.adapt(len(part))
            yield part
    except SourceFailed as failure:
        yield wire.frame(wire.FAILED, sentence(failure))
        return
    yield wire.frame(wire.END, count)


def _told_apart(names: list[str]) -> list[str]:
    """The columns' names, a second one of the same name with a number behind it."""
    taken: set[str] = set()
    apart: list[str] = []
    for name in names:
        chosen, number = name, 1
        while chosen in taken:
            number += 1
            chosen = f"{name}_{number}"
        taken.add(chosen)
        apart.append(chosen)
    return apart


def _reach_any(told: Login) -> None:
    failure: SourceFailed | None = None
    for place in told.places:
        if place.address.startswith("/"):
            return
        try:
            reach(place, told.connect_timeout).close()
        except SourceFailed as error:
            failure = error
        else:
            return
    if failure is not None:
        raise failure


def _remarks(source: SqlDefinition, told: Login) -> tuple[str, ...]:
    if source.read_only and told.connection.system is System.SQLSERVER:
        return ("SQL Server cannot be told that a transaction only reads: use a login that may only read",)
    return ()
