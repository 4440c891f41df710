"""Processes of ours without the second of a processor that loading takes: forked by one that has loaded everything.

    start(Program("scheduler"), env=stores.environment)         # as start(sys.executable, "-m", "scheduler", …)
    start(Program("runner.worker", code), "--name", "dies")     # `code` runs in the process before its `main`

`python -m tests.nursery` loads one program of ours, once for each process of tests that asks, and forks a process for
each start. Promises that such a process is like one that was executed, but for its command line and the environment in
/proc: a child of the test's own process, in its session, with its own memory, variables, folder, output and exit
status, and nothing of what the nursery holds. How programs are loaded is tested elsewhere, by processes that are
executed: the shared system's are.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

#: Bytes of the largest order: its variables, words and code.
LARGEST = 1 << 17
#: Descriptors that one order may pass on, its outputs among them.
DESCRIPTORS = 8

#: What each program loads besides, which it would load while it starts.
BESIDES = {"console": ("console.server",)}
#: Programs that are one module.
MODULES = {"runner.migrate"}


@dataclass(frozen=True, slots=True)
class Program:
    """A program of ours, by the name that `python -m` takes; `code` runs in its process before its `main`."""

    name: str
    code: str = ""

    @property
    def command(self) -> tuple[str, ...]:
        """What executes it, instead of forking."""
        if not self.code:
            return sys.executable, "-m", self.name
        return sys.executable, "-c", f"{self.code}\nimport sys\nfrom {_module(self.name)} import main\nsys.exit(main())"


class Forked:
    """A child of this process that it did not start itself, with what tests use of `subprocess.Popen`."""

    def __init__(self, pid: int, name: str) -> None:
        self.pid, self.args = pid, name
        self.returncode: int | None = None
        self._handle = os.pidfd_open(pid)
        self._collecting = threading.Lock()

    def poll(self) -> int | None:
        """The exit status where it has ended; negative: the signal that ended it."""
        return self._collected(0)

    def wait(self, timeout: float | None = None) -> int:
        """The exit status. Raises subprocess.TimeoutExpired after so many seconds."""
        found = self._collected(timeout)
        if found is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return found

    def send_signal(self, number: int) -> None:
        """Does nothing once it has ended."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, number)

    def _collected(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            ended = select.poll()
            ended.register(self._handle, select.POLLIN)
            if not ended.poll(None if timeout is None else timeout * 1000):
                return None
            with self._collecting:
                if self.returncode is None:
                    self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
                    os.close(self._handle)
        return self.returncode


@dataclass(frozen=True, slots=True)
class Nursery:
    """A process that has loaded one program, and waits for orders."""

    process: subprocess.Popen[bytes]
    orders: socket.socket


_nurseries: dict[str, Nursery] = {}
#: Held by whoever orders, until the answer is there.
_ordering = threading.Lock()


def fork(
    program: Program,
    words: Sequence[str],
    *,
    outputs: tuple[int, int],
    env: Mapping[str, str],
    cwd: Path = ROOT,
    fds: Sequence[int] = (),
) -> Forked:
    """Start a program; `env` is all that it has, `outputs` become 1 and 2, and `fds` keep their numbers."""
    order = {"code": program.code, "words": words, "env": dict(env), "cwd": str(cwd), "fds": fds}
    with _ordering:
        orders = _of(program.name).orders
        socket.send_fds(orders, [json.dumps(order).encode()], [*outputs, *fds])
        answer = orders.recv(64)
    assert answer, f"the nursery of {program.name} has ended"
    return Forked(int(answer), program.name)


def run(program: Program, *words: str, env: Mapping[str, str], timeout: float = 50) -> subprocess.CompletedProcess[str]:
    """A program at its end, as `subprocess.run` has it."""
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        forked = fork(program, words, outputs=(stdout.fileno(), stderr.fileno()), env=env)
        try:
            status = forked.wait(timeout)
        except subprocess.TimeoutExpired:
            forked.send_signal(signal.SIGKILL)
            forked.wait()
            raise
        said = [os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode() for file in (stdout, stderr)]
    return subprocess.CompletedProcess([program.name, *words], status, *said)


def _of(name: str) -> Nursery:
    if name not in _nurseries:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-m", "tests.nursery", name, str(theirs.fileno())]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, cwd=ROOT, pass_fds=[theirs.fileno()])
        _nurseries[name] = Nursery(process, ours)
    return _nurseries[name]


def pids() -> set[int]:
    """The nurseries of this process, which stay for as long as it does."""
    return {nursery.process.pid for nursery in _nurseries.values()}


def close() -> None:
    """End them; what they forked is no longer theirs."""
    for nursery in _nurseries.values():
        nursery.orders.close()
        nursery.process.wait(10)
    _nurseries.clear()


def main() -> int:
    """Load, then fork as long as somebody orders; in each fork this is the program's own main."""
    name, given = sys.argv[1:]
    orders = socket.socket(fileno=int(given))
    _load(name)
    assert len(os.listdir("/proc/self/task")) == 1, "a fork would have one thread of these only"  # noqa: PTH208
    while True:
        order, fds, *_ = socket.recv_fds(orders, LARGEST, DESCRIPTORS)
        if not order:
            return 0
        news, tell = os.pipe()
        gate, open_gate = os.pipe()
        between = os.fork()
        if not between:
            pid = os.fork()
            if pid:
                os._exit(os.write(tell, str(pid).encode()) == 0)
            for descriptor in (news, tell, open_gate, orders.detach()):
                os.close(descriptor)
            # The one between ends at once, so that this becomes a child of the tests' own process: that adopts orphans.
            assert os.read(gate, 1)
            os.close(gate)
            return _program(name, json.loads(order), fds)
        for descriptor in (tell, gate, *fds):
            os.close(descriptor)
        os.waitpid(between, 0)
        os.write(open_gate, b".")
        orders.send(os.read(news, 32))
        for descriptor in (news, open_gate):
            os.close(descriptor)


def _load(name: str) -> None:
    """Load a program as it loads itself when it is executed."""
    if name in {"runner.worker", "vault"}:
        import_module("vault.hardening").harden()
    if name == "runner.worker":
        import_module("runner.worker.memory").save()
    elif name in {"console", "scheduler"}:
        import_module("runner.loading").begin()
    for module in (_module(name), *BESIDES.get(name, ())):
        import_module(module)


def _module(name: str) -> str:
    return name if name in MODULES else f"{name}.__main__"


def _program(name: str, order: Mapping[str, Any], fds: Sequence[int]) -> int:
    outputs, passed = fds[:2], fds[2:]
    for number, output in enumerate(outputs, 1):
        os.dup2(output, number)
        os.close(output)
    for number, wanted in zip(passed, order["fds"], strict=True):
        if number != wanted:
            os.dup2(number, wanted)
            os.close(number)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    sys.argv[:] = [name, *order["words"]]
    if order["code"]:
        exec(order["code"], {"__name__": "__main__"})
    return int(import_module(_module(name)).main() or 0)


if __name__ == "__main__":
    sys.exit(main())
