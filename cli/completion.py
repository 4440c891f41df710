"""What a shell is offered while a command line is typed: commands and options, and names that the console knows.

Names are asked for with the person's own token, and only while completing. A console that is away offers none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from typer.completion import completion_init  # type: ignore[attr-defined]

from cli.client import connected, path_of
from cli.errors import CliError

#: The variable by which the shell's lines ask for completions (the library's own name for a `botkeep`).
VARIABLE = "_BOTKEEP_COMPLETE"

#: How many names are looked through; a person types on where there are more.
MOST = 500


def wanted() -> bool:
    """Whether a shell asks for completions; the library then knows how to answer it."""
    if VARIABLE not in os.environ:
        return False
    completion_init()
    return True


def bots(incomplete: str) -> list[str]:
    """The bots whose names begin so."""
    return [name for name in _names("bots", "name") if name.startswith(incomplete)]


def assets(incomplete: str) -> list[str]:
    """The workspace's assets whose names begin so, in small letters where a person types such."""
    names = _names("assets", "asset")
    offered = (name.lower() for name in names) if incomplete.islower() else names
    return [name for name in offered if name.startswith(incomplete)]


def _names(resource: str, field: str) -> Iterator[str]:
    try:
        with connected() as client:
            answer = client.ask("GET", path_of(resource), query={"limit": MOST})
    except CliError:
        return
    yield from (str(item.get(field, "")) for item in answer.get("items", ()))
