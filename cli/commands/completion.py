"""`botkeep completion`: the lines that make a shell complete commands, options, and names of bots and assets."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from typer.completion import get_completion_script  # type: ignore[attr-defined]

from cli.completion import VARIABLE
from cli.options import AsJson
from cli.screen import screen


class Shell(StrEnum):
    """A shell that can be taught."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")], *, as_json: AsJson = False
) -> None:
    """Print what makes a shell complete commands, options, and the names of bots and assets."""
    to = screen(as_json=as_json)
    script = get_completion_script(prog_name="botkeep", complete_var=VARIABLE, shell=shell)
    if as_json:
        to.item({"shell": str(shell), "script": script})
    else:
        to.line(script)
