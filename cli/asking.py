"""Asking a person on a terminal before something is gone for good; scripts are asked nothing."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cli.errors import CliError

#: What a command takes that asks.
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Remove without asking; nobody is asked without a terminal.")]


def agreed(question: str, *, yes: bool) -> None:
    """Go on only where the answer is yes. Nobody is asked with `yes`, or where input or errors are no terminal.

    Raises:
        CliError: for any other answer.
    """
    if yes or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise CliError("Nothing was removed.", code="cancelled")
