"""Hosts with local values for tests: one on a folder, and the command on the host of a running system."""

import contextlib
import io
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

from runner.local_values import Definition
from runner.worker.local import known
from runner.worker.local.__main__ import main
from runner.worker.local.custody import Custody
from runner.worker.local.host import Host
from runner.worker.local.known import Resident
from runner.worker.local.settings import LocalSettings
from tests.support import clean_environment
from vault.names import AssetName

NOW = datetime(2026, 11, 26, 1, 2, 3, tzinfo=UTC)
PASSPHRASE = "correct horse battery staple"
WORKSPACE = uuid.UUID(int=1)


def asset(name: str, bot: str = "invoices", *, number: int = 0) -> Definition:
    """A declared asset; another `number` is another declaration of the same name."""
    made = uuid.uuid5(WORKSPACE, f"{bot} {name} {number}")
    return Definition(made, WORKSPACE, bot, AssetName.parse(name), f"what {name} is for")


def make(folder: Path, *definitions: Definition, environments: tuple[str, ...] = ("dev", "prod")) -> Host:
    """A host of its own below a folder."""
    memory = folder / "memory"
    memory.mkdir(mode=0o700, parents=True, exist_ok=True)
    host = Host(folder / "local", Custody(LocalSettings(home=folder), memory=[memory]), actor="alice")
    known.write(host.folder, definitions, resident=("r1", Resident(environments, str(memory))))
    return host


def revealed(host: Host, definition: Definition, environment: str = "dev") -> bytes:
    """The plaintext."""
    return host.reveal(definition.bot, definition.name, environment, now=NOW).reveal()


@dataclass(frozen=True, slots=True)
class Said:
    """What a command said."""

    status: int
    out: bytes
    err: str

    @property
    def items(self) -> list[dict[str, Any]]:
        """The lines of its JSON."""
        return [json.loads(line) for line in self.out.splitlines()]


def local(env: Mapping[str, str], *words: str | Path, given: bytes = b"") -> Said:
    """`botkeep local WORDS` with something to read, in this process: a process of its own takes a second to start."""
    out, err = io.TextIOWrapper(io.BytesIO()), io.StringIO()
    with (
        mock.patch.dict(os.environ, {**clean_environment(), **env}, clear=True),
        mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(given))),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        status = main([str(word) for word in words])
    out.flush()
    content = out.buffer
    assert isinstance(content, io.BytesIO)
    return Said(status, content.getvalue(), err.getvalue())


def local_process(env: Mapping[str, str], *words: str | Path, given: bytes = b"", limit: int | None = None) -> Said:
    """The same as a real process; `limit` is the largest file that it may write, in KiB."""
    command = [sys.executable, "-m", "runner.worker.local", *map(str, words)]
    if limit is not None:
        command = ["prlimit", f"--fsize={limit * 1024}", *command]
    own = {**clean_environment(), **env}
    done = subprocess.run(command, input=given, capture_output=True, env=own, timeout=50, check=False)
    return Said(done.returncode, done.stdout, done.stderr.decode())
