"""Starts other parts of Botkeep as processes, never by import: no key or store ever enters this one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

#: Variables for the client alone: no process of ours has a use for a person's token.
CLIENT_ONLY = ("BOTKEEP_URL", "BOTKEEP_TOKEN")

#: Seconds that one may take to answer.
PATIENCE = 30

#: Characters of its sentence that are shown.
_SHOWN = 300


def module(name: str, *arguments: str) -> tuple[str, ...]:
    """The command line that runs a package of this installation.

    `-P` keeps the working directory off the import path: a folder called `console` there is not ours.
    """
    return (sys.executable, "-P", "-m", name, *arguments)


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process of ours: this one's, without what is the client's alone."""
    return {key: value for key, value in environ.items() if key not in CLIENT_ONLY}


def become(name: str, arguments: Sequence[str]) -> NoReturn:
    """Replace this process by a package of this installation."""
    argv = module(name, *arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(argv[0], argv, environment(os.environ))  # noqa: S606 - no shell is wanted


def answer_of(name: str, *words: str, home: Path, environ: Mapping[str, str]) -> Any:  # noqa: ANN401 - JSON
    """What a module of ours says, run as a process of its own; `None` where it says nothing."""
    return answer_or_reason(name, *words, home=home, environ=environ)[0]


def answer_or_reason(name: str, *words: str, home: Path, environ: Mapping[str, str]) -> tuple[Any, str]:
    """As `answer_of`; where it says nothing, its own sentence on why, and an empty one where it broke."""
    own = {**environment(environ), "BOTKEEP_HOME": str(home)}
    argv = module(name, *words)
    try:
        done = subprocess.run(
            argv, env=own, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return None, f"It took more than {PATIENCE} s."
    except OSError as error:
        return None, f"It cannot be started: {error.strerror}."
    try:
        return json.loads(done.stdout.splitlines()[0]), ""
    except (ValueError, IndexError):
        return None, _sentence(done.stderr.decode(errors="replace").splitlines())


def _sentence(said: Sequence[str]) -> str:
    """The last line of what a process of ours said as it ended; nothing of a traceback, which may quote anything."""
    if not said or any(line.startswith("Traceback") for line in said):
        return ""
    return "".join(char if char.isprintable() else "?" for char in said[-1][:_SHOWN])
