"""Data sources by name, through the job's endpoint: the runner holds the connection, and this side what it gives.

    for row in botkeep.source("orders"):           dictionaries, with Decimal, date, bytes … as the database has
    for row in botkeep.source("orders").tuples():  the same as tuples; faster for many rows
    botkeep.source("orders").save("orders.csv")    a file: .csv, .jsonl or .parquet
    botkeep.source("orders").connection()          the connection itself, where bot.toml has it in `connections`

Promises that rows come as they are read: a bot that takes its time lets the database wait, and neither this side nor
the runner keeps more than a batch. An answer that ends early is an error, never a shorter list. The errors of a source
are one kind of error whose sentence names the source.
"""

from __future__ import annotations

from botkeep.errors import SourceError, UnknownSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.client import HTTPResponse
    from os import PathLike
    from typing import Any

    from botkeep.mail import Message

#: The media type of what a mailbox answers.
_MAIL = "application/x-botkeep-mail"

#: Formats of files by the ends of their names.
_FORMATS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}


class Source:
    """One data source of this bot; nothing is opened before something is asked."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        """`name` as `botkeep source list` shows it."""
        self.name = name

    def ask(self, what: str = "", *, method: str = "GET", body: bytes = b"", **options: str) -> HTTPResponse:
        """The answer as it comes; read it to its end or close it before the next question.

        Raises:
            UnknownSource: when this bot may use no such source in this environment.
            SourceError: when the source cannot be used; the sentence says why.
            EndpointUnreachable: when the runner does not answer.
        """
        from urllib.parse import quote, urlencode  # noqa: PLC0415 - most bots never need it

        from botkeep import endpoint  # noqa: PLC0415

        path = "/v1/sources/" + "/".join(quote(part, safe="") for part in (self.name, what) if part)
        answer = endpoint.ask(f"{path}?{urlencode(options)}" if options else path, method=method, body=body)
        if answer.status == 200:
            return answer
        sentence = answer.read().decode(errors="replace")
        if answer.status == 404:
            raise UnknownSource(sentence)
        raise SourceError(sentence)

    def messages(self) -> Iterator[Message]:
        """The messages of a mailbox, as `botkeep.mail` says; raises what `ask` raises."""
        from botkeep.mail import messages  # noqa: PLC0415 - most bots never need it

        return messages(self.name, lambda: self.ask("next", method="POST"))

    def __iter__(self) -> Iterator[Any]:
        """The rows of a SQL source as dictionaries, or the messages of a mailbox; raises what `ask` raises, and when
        the rows end early.
        """
        from botkeep import local, rows  # noqa: PLC0415

        if (standing := local.stand()) is not None:
            yield from standing.rows(self.name)
            return
        answer = self.ask()
        if answer.headers.get("Content-Type") == _MAIL:
            answer.close()
            yield from self.messages()
            return
        columns, batches = rows.read(self.name, answer)
        for batch in batches:
            for row in batch:
                yield dict(zip(columns, row))  # noqa: B905 - as long as the columns by their making

    def tuples(self) -> Iterator[tuple[Any, ...]]:
        """The rows of a SQL source as tuples, in the order of the query's columns."""
        from botkeep import rows  # noqa: PLC0415

        for batch in rows.read(self.name, self.ask())[1]:
            yield from batch

    def save(self, path: str | PathLike[str], *, format: str | None = None) -> None:  # noqa: A002
        """Write the rows into a file, whole or not at all; `format` is csv, jsonl or parquet, else the name's end says.

        Raises:
            SourceError: also for a name that says no format.
        """
        import os  # noqa: PLC0415
        from http.client import HTTPException  # noqa: PLC0415

        target = os.fspath(path)
        chosen = format or _FORMATS.get(os.path.splitext(target)[1].lower())  # noqa: PTH122
        if chosen is None:
            raise SourceError(f"The name {target!r} says no format; give format='csv', 'jsonl' or 'parquet'.")
        answer = self.ask(format=chosen)
        partial = f"{target}.partial"
        try:
            with answer, open(partial, "wb") as file:  # noqa: PTH123
                while block := answer.read(1 << 16):
                    file.write(block)
            os.replace(partial, target)  # noqa: PTH105
        except (HTTPException, ConnectionError):
            os.unlink(partial)  # noqa: PTH108
            raise SourceError(f"{self.name}: the answer ended early; the runner's log says why.") from None

    def connection(self) -> dict[str, Any]:
        """The connection itself, with its password: host, address, port, user, password, database, and `written`.

        `written` holds it as a whole in each way that can carry it: `url`, `libpq`, `adonet`, `odbc`, `jdbc`. Connect
        to `address`, which the workspace's policy was asked about.

        Raises:
            SourceError: also where bot.toml does not have the source in `connections`.
        """
        import json  # noqa: PLC0415

        with self.ask("connection") as answer:
            found: dict[str, Any] = json.loads(answer.read())
        return found

    def __repr__(self) -> str:
        """The name only."""
        return f"<data source {self.name}>"


def source(name: str) -> Source:
    """The data source of that name, as the environment of this job has it."""
    return Source(name)
