"""Where answers go: stdout for what was asked for, stderr for remarks and errors; text or JSON.

A list is written page by page as it arrives. With JSON, stdout holds JSON and nothing else.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TextIO

from cli.client import Item
from cli.errors import CliError
from cli.render import table


@dataclass(frozen=True, slots=True)
class Screen:
    """Where one command writes, and how."""

    out: TextIO
    err: TextIO
    json: bool
    colour: bool
    now: datetime

    def line(self, text: str) -> None:
        """One line of what was asked for."""
        self.out.write(text + "\n")

    def lines(self, texts: Iterable[str]) -> None:
        """Lines of what was asked for."""
        for text in texts:
            self.line(text)
        self.out.flush()

    def item(self, content: Item) -> None:
        """One JSON object on one line, written at once."""
        self.out.write(json.dumps(content, ensure_ascii=False, default=str) + "\n")
        self.out.flush()

    def remark(self, text: str) -> None:
        """A remark that is not part of the answer."""
        self.out.flush()
        self.err.write(text + "\n")
        self.err.flush()


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a list: its title, and the cell of an item."""

    title: str
    cell: Callable[[Item], str]


def screen(*, as_json: bool) -> Screen:
    """The screen of this process; colours when stdout is a terminal that wants them."""
    return Screen(sys.stdout, sys.stderr, as_json, colours(sys.stdout, os.environ), datetime.now(UTC))


def colours(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether a stream shows colours: a terminal, not a dumb one, and no NO_COLOR (https://no-color.org)."""
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def show_list(to: Screen, pages: Iterable[list[Item]], columns: Sequence[Column], *, empty: str) -> int:
    """Show a list as it arrives; answers how many items there were. An empty one says what to do next."""
    count = 0

    def counted() -> Iterator[list[Item]]:
        nonlocal count
        for page in pages:
            count += len(page)
            yield page

    if to.json:
        for page in counted():
            for item in page:
                to.item(item)
        return count
    rows = ([[column.cell(item) for column in columns] for item in page] for page in counted())
    for line in table([column.title for column in columns], rows):
        to.line(line)
    to.out.flush()
    if not count:
        to.remark(empty)
    return count


def show_error(to: Screen, error: CliError) -> None:
    """One sentence on stderr; with JSON also the error object on stdout."""
    to.remark(error.sentence if error.message.startswith("Usage:") else f"botkeep: {error.sentence}")
    if to.json:
        to.item({"error": {"code": error.code, "message": error.message, "hint": error.hint}})
