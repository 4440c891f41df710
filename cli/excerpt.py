"""A part of a job's log: read line by line, or written to a file as it is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from cli.client import Client, Query, path_of
from cli.errors import Refused
from cli.printing import Printer
from cli.screen import Screen

#: Lines of a log asked for at once.
LINES = 1000


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Which part is wanted; lines are numbered from 1, bytes from 0, and the last line that is named belongs to it."""

    attempt: int | None = None
    stream: str | None = None
    search: str | None = None
    tail: int | None = None
    from_line: int | None = None
    to_line: int | None = None
    from_byte: int | None = None
    to_byte: int | None = None


def show_log(client: Client, job_id: str, to: Screen, wanted: Excerpt, *, timestamps: bool = False) -> None:
    """Show the part of the log that is wanted, as far as there is one by now."""
    whole: Query = {
        "attempt": wanted.attempt,
        "stream": wanted.stream,
        "search": wanted.search,
        "to_line": wanted.to_line,
        "until": wanted.to_byte,
        "limit": LINES,
    }
    place: Query = {"tail": wanted.tail, "from_line": wanted.from_line, "after": wanted.from_byte}
    printer = Printer(to, timestamps=timestamps)
    while True:
        page = client.ask("GET", path_of("jobs", job_id, "log"), query={**whole, **place})
        lines = page.get("items") or []
        for line in lines:
            printer.show(line)
        if page.get("note"):
            to.remark(str(page["note"]))
        following = page.get("next")
        if page.get("complete") or following is None or (not lines and following == place.get("after")):
            break
        if not lines and not wanted.search and not wanted.stream:
            break
        place = {"after": following}
    printer.finish()
    to.out.flush()


def save(client: Client, job_id: str, file: Path, wanted: Excerpt) -> int:
    """Write the text of the log to a new file; answers how many bytes.

    Raises:
        Refused: where there is a file already, or none can be made.
    """
    query: Query = {
        "attempt": wanted.attempt,
        "stream": wanted.stream,
        "after": wanted.from_byte,
        "until": wanted.to_byte,
    }
    blocks = client.blocks(path_of("jobs", job_id, "log", "text"), query=query)
    with new_file(file) as output:
        return sum(output.write(block) for block in blocks)


def new_file(path: Path) -> BinaryIO:
    """A new file, open for writing; nothing is written over and no link is followed.

    Raises:
        Refused: where something has the name, or no file can be made.
    """
    try:
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb")
    except FileExistsError:
        raise Refused(f"There is already a {path}.", hint="Choose another name, or remove it first.") from None
    except OSError as error:
        raise Refused(f"{path} cannot be written: {error.strerror}.") from None
