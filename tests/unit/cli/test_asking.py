"""What removes asks on a terminal, and nobody else."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cli.asking import agreed
from cli.errors import CliError


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch, typed: str) -> Iterator[int]:
    """A terminal on which something is typed; what it shows can be read from the descriptor."""
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "r") as typing, os.fdopen(os.dup(theirs), "w") as shown:
        monkeypatch.setattr(sys, "stdin", typing)
        monkeypatch.setattr(sys, "stderr", shown)
        os.write(ours, typed.encode())
        yield ours
    os.close(ours)


@pytest.mark.parametrize("typed", ["y\n", "Yes\n"])
def test_a_yes_goes_on(monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    with terminal(monkeypatch, typed) as shown:
        agreed("Remove it?", yes=False)
        seen = b""
        while b"Remove it? [y/N]" not in seen:  # the echo of what was typed may come by itself
            seen += os.read(shown, 1000)


@pytest.mark.parametrize("typed", ["\n", "n\n", "yesterday\n", "\x04"])
def test_anything_else_does_not(monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    with terminal(monkeypatch, typed), pytest.raises(CliError, match="Nothing was removed"):
        agreed("Remove it?", yes=False)


def test_neither_a_script_nor_a_hurried_person_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch, "n\n"):
        agreed("Remove it?", yes=True)
        monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
        agreed("Remove it?", yes=False)
