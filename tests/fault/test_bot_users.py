"""Bots with users of their own: what a bot tries against another one where nothing but its user keeps it apart.

There is no Landlock, no filter of system calls and no sandbox in these tests, and nothing is granted or barred by paths.
"""

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from runner.worker import clearing, collection
from runner.worker.bounds import Bounds
from runner.worker.launch import Launch, SpawnerFailed, python_argv
from runner.worker.leases import BotUsers
from runner.worker.masker import Masker
from runner.worker.outcomes import Entry, Journal
from runner.worker.process import Process, Spawner
from runner.worker.removal import remove
from tests import own_users
from tests.process_bench import BOTS, Bench, ended, finish, launchers, wait_for_line
from tests.support import ROOT, ProcessId, wait_until

pytestmark = own_users.needs_root

CANARY = "c4n4ry-V4lu3"


class Yard:
    """A runner's processes with a pool of users, and a folder for each attempt."""

    def __init__(self, folder: Path, users: int = 2, locks: Path | None = None) -> None:
        self.folder = folder
        self.users = BotUsers(own_users.some(users), locks or folder)
        self.spawner = Spawner(users=self.users)
        self.journal = Journal(folder / "outcomes", instance=uuid.uuid4())
        self.entries: list[Entry] = []
        self.launched: list[Process] = []
        self.spawner.start()

    def own(self, name: str) -> Path:
        """An attempt's folder, as the runner makes it."""
        made = self.folder / name
        for one in (made, made / "output", made / "tmp"):
            one.mkdir(mode=0o700, exist_ok=True)
        return made

    def launch(
        self, bot: str | tuple[str, ...], folder: Path, *, bounds: Bounds | None = None, **variables: str
    ) -> Process:
        self.entries.append(self.journal.entry(uuid.uuid4(), 1))
        python = own_users.python()
        argv = python_argv(python, BOTS, f"{bot}.py", sdk=ROOT / "sdk") if isinstance(bot, str) else bot
        launch = Launch(
            argv=argv,
            cwd=folder,
            bounds=bounds or Bounds(),
            deadline=timedelta(seconds=50),
            grace=timedelta(seconds=5),
            entry=self.entries[-1],
            environment_fd_mode="bootstrap" if isinstance(bot, str) else "exec",
            base_environment={"PATH": "/usr/local/bin:/usr/bin:/bin"},
            writable=(folder,),
            owned=(folder,),
        )
        environment = {**variables, "OWN": str(folder), "TMPDIR": str(folder / "tmp")}
        self.launched.append(
            self.spawner.launch(launch, "".join(f"{name}={value}\0" for name, value in environment.items()).encode())
        )
        return self.launched[-1]

    def script(self, text: str, folder: Path, **variables: str) -> Process:
        return self.launch((str(own_users.python()), "-c", text), folder, **variables)

    def close(self) -> None:
        for process in self.launched:
            process.close()
        self.spawner.close()


@pytest.fixture
def passable() -> Iterator[Path]:
    """A folder that other users can pass through."""
    path = Path(tempfile.mkdtemp(prefix="bk-", dir="/tmp"))
    path.chmod(0o711)
    yield path
    remove(path)


@pytest.fixture
def yard(passable: Path) -> Iterator[Yard]:
    made = Yard(passable)
    yield made
    made.close()
    assert [number for number in own_users.numbers() if clearing.lives(number)] == []


def test_a_bot_runs_as_a_user_of_its_own_with_nothing_of_the_runners(yard: Yard) -> None:
    text = "import os; print(os.getresuid(), os.getresgid(), os.getgroups()); print(open('/proc/self/status').read())"
    outcome, stdout, stderr = finish(yard.script(text, yard.own("one")))
    assert outcome.exit_code == 0, (outcome, stderr)
    said = stdout.decode()
    number = own_users.numbers()[0]
    assert f"({number}, {number}, {number}) ({number}, {number}, {number}) []" in said
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert f"{name}:\t0000000000000000" in said
    assert "NoNewPrivs:\t1" in said
    assert outcome.user == str(number)
    assert outcome.survivors == 0
