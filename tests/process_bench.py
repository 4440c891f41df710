"""What the tests of a bot's processes share: launching the tiny bots of tests/bots and looking at what runs.

A module of tests imports the fixtures `spawner` and `bench` and names them in `__all__`.
"""

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytest

from runner.worker import descendants as tree
from runner.worker import isolation
from runner.worker.bounds import Bounds
from runner.worker.launch import Launch, python_argv
from runner.worker.outcomes import Entry, Journal, Outcome
from runner.worker.process import Process, Spawner
from tests.support import ROOT, ProcessId, read_stat

BOTS = ROOT / "tests/bots"
BASE = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
PYTHON = Path(sys.executable)


def new_spawner(*own: Path, readable: Sequence[Path] = (), barred: Path = isolation.OUR_SETTINGS) -> Spawner:
    """A spawner as a runner has it, with the domains that this kernel gives; `own` is what no bot may reach."""
    facts = isolation.examine()
    reached = [*isolation.system(PYTHON, sdk=ROOT / "sdk/botkeep"), *readable]
    grants = isolation.granted(facts, readable=reached, writable=(), own=own)
    return Spawner(isolation.ground(facts, grants, isolation.wall(facts, barred)))


@pytest.fixture
def spawner() -> Iterator[Spawner]:
    spawner = new_spawner()
    spawner.start()
    yield spawner
    spawner.close()


@dataclass(slots=True)
class Bench:
    """Launches the tiny bots of tests/bots and closes what a test left open."""

    spawner: Spawner
    folder: Path
    journal: Journal
    launched: list[Process]
    entries: list[Entry]

    def launch(
        self,
        bot: str | tuple[str, ...],
        *,
        variables: Mapping[str, str | int | Path] | None = None,
        mode: Literal["bootstrap", "exec"] | None = None,
        deadline: float | None = 30.0,
        grace: float = 5.0,
        bounds: Bounds | None = None,
        cwd: Path | None = None,
        entry: Entry | None = None,
        patience: float | None = None,
        package: Path = BOTS,
    ) -> Process:
        python = isinstance(bot, str)
        self.entries.append(entry or self.journal.entry(uuid.uuid4(), 1))
        launch = Launch(
            argv=python_argv(PYTHON, package, f"{bot}.py", sdk=ROOT / "sdk") if isinstance(bot, str) else bot,
            cwd=cwd or self.folder,
            bounds=bounds or Bounds(),
            deadline=None if deadline is None else timedelta(seconds=deadline),
            grace=timedelta(seconds=grace),
            entry=self.entries[-1],
            environment_fd_mode=mode or ("bootstrap" if python else "exec"),
            base_environment=BASE,
            kept_at=time.monotonic(),
            patience=None if patience is None else timedelta(seconds=patience),
            readable=(BOTS, ROOT / ".venv"),
            writable=(self.folder,),
        )
        environment = "".join(f"{name}={value}\0" for name, value in (variables or {}).items())
        self.launched.append(self.spawner.launch(launch, environment.encode()))
        return self.launched[-1]


@pytest.fixture
def bench(spawner: Spawner, tmp_path: Path) -> Iterator[Bench]:
    folder = tmp_path / "attempt"
    folder.mkdir()
    bench = Bench(spawner, folder, Journal(tmp_path / "outcomes", instance=uuid.uuid4()), [], [])
    yield bench
    for process in bench.launched:
        process.close()


@pytest.fixture
def unconfined(tmp_path: Path) -> Iterator[Bench]:
    """As `bench`, on a kernel without Landlock."""
    bench = Bench(Spawner(), tmp_path, Journal(tmp_path / "outcomes", instance=uuid.uuid4()), [], [])
    bench.spawner.start()
    yield bench
    for process in bench.launched:
        process.close()
    bench.spawner.close()


def finish(process: Process) -> tuple[Outcome, bytes, bytes]:
    """Reads all that the bot writes until it has ended."""
    written: dict[str, list[bytes]] = {"stdout": [], "stderr": []}
    outcome = process.drain(lambda name, data: written[name].append(data))
    return outcome, b"".join(written["stdout"]), b"".join(written["stderr"])


def ended(process: Process, within: float = 10.0) -> Outcome:
    """The outcome, which must come in time."""
    outcome = process.wait(within)
    assert outcome is not None, f"no outcome in {within:g} s"
    return outcome


def wait_for_line(process: Process) -> bytes:
    """The first line of a bot that then goes on."""
    return os.read(process.stdout, 4096)


def facts(process: Process) -> dict[str, Any]:
    """What tests/bots/facts.py prints."""
    outcome, stdout, stderr = finish(process)
    assert outcome.exit_code == 0, (outcome, stderr)
    found: dict[str, Any] = json.loads(stdout)
    return found


def family(process: Process, pids: Path, size: int = 4) -> list[ProcessId]:
    """The processes of tests/bots/forks.py, by identity, while all of them live."""
    wait_for_line(process)
    found = [ProcessId.of(int(pid)) for pid in pids.read_text().split()]
    living = [one for one in found if one is not None]
    assert len(living) == size, "every member has to live, or the test proves nothing"
    return living


def all_dead(processes: list[ProcessId]) -> bool:
    return not any(process.alive for process in processes)


def state_of(process: ProcessId) -> str:
    found = read_stat(process.pid)
    return "" if found is None else found.state


def open_descriptors(pid: int | None) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def launchers(spawner: Spawner) -> list[ProcessId]:
    return [ProcessId(pid, found.started) for pid in tree.children(spawner.pid or 0) if (found := read_stat(pid))]


def holds(pid: int, wanted: bytes) -> bool:
    """Whether the bytes are anywhere in the writable memory of a process, its environment at exec included."""
    try:
        return found_in_memory(pid, wanted)
    except PermissionError:
        assert not privileged(), "root may look into any process"
        return False


def privileged() -> bool:
    """Whether this process has capabilities, as root's usually have."""
    return "CapEff:\t0000000000000000" not in Path("/proc/self/status").read_text()


def found_in_memory(pid: int, wanted: bytes) -> bool:
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, permissions, *_ = line.split()
            if not permissions.startswith("rw"):
                continue
            begin, end = (int(bound, 16) for bound in span.split("-"))
            memory.seek(begin)
            if wanted in memory.read(end - begin):
                return True
    return False


def unprivileged() -> list[str]:
    """The words before a command that take away root's capabilities, for which nothing is closed."""
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if privileged() else []


def can_be_read(pid: int | None) -> bool:
    """Whether a process of this user without capabilities may read the environment of another."""
    done = subprocess.run([*unprivileged(), "cat", f"/proc/{pid}/environ"], capture_output=True, check=False)
    assert done.returncode == 0 or b"Permission denied" in done.stderr
    return done.returncode == 0
