"""What is true of a home while `botkeep up` runs in it: the lock, the process id, the noted processes.

Whoever holds the lock is the one `up` of the home; the kernel lets go of it when that process dies, however
it does.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cli.errors import Refused
from cli.home import Home, write_private

#: Seconds that processes left by a killed `up` get to end by themselves, then to end after a signal; a runner kills
#: what ignores its end after 10.
LEFTOVER_PATIENCE = 15.0

#: Tries for the lock: whoever merely asks whether it is held (`is_running`) holds it for microseconds.
LOCK_TRIES = 5


@dataclass(frozen=True, slots=True)
class Running:
    """One noted process: `began` tells it from a later one with the same id (proc(5), starttime in ticks).

    `drained`: it ended because it was asked to, and is not started again.
    """

    name: str
    pid: int | None
    began: int | None
    restarts: int
    drained: bool = False


@contextlib.contextmanager
def locked(home: Home) -> Iterator[None]:
    """Hold the home's lock, with our process id beside it.

    Raises:
        Refused: when another `up` holds it.
    """
    descriptor = os.open(home.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not _taken(descriptor, tries=LOCK_TRIES):
            raise Refused(
                f"Botkeep already runs in {home.path} as process {holder(home) or 'unknown'}.",
                hint="Stop it with `botkeep down`, or choose another folder with --home.",
                code="conflict",
            )
        write_private(home.pid, f"{os.getpid()}\n")
        try:
            yield
        finally:
            home.pid.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def is_running(home: Home) -> bool:
    """Whether an `up` holds the home's lock."""
    try:
        descriptor = os.open(home.lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _taken(descriptor, tries=1)
    finally:
        os.close(descriptor)


def _taken(descriptor: int, *, tries: int) -> bool:
    for left in reversed(range(tries)):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if left:
                time.sleep(0.05)
        else:
            return True
    return False


def holder(home: Home) -> int | None:
    """The process id that the running `up` left; meaningful only while the lock is held."""
    try:
        return int(home.pid.read_text())
    except (OSError, ValueError):
        return None


def note(home: Home, *, url: str, processes: list[Running]) -> None:
    """Note address and processes, for `status` and for an `up` that comes after a killed one."""
    content = {"url": url, "components": [asdict(process) for process in processes]}
    write_private(home.components, json.dumps(content) + "\n")


def noted(home: Home) -> tuple[str, list[Running]]:
    """Address and processes as last noted; empty when there is no note."""
    try:
        content: dict[str, Any] = json.loads(home.components.read_text())
        return str(content["url"]), [Running(**entry) for entry in content["components"]]
    except (OSError, ValueError, KeyError, TypeError):
        return "", []


def began(pid: int) -> int | None:
    """When a process began, in clock ticks since boot; `None` when it is gone (or without procfs)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The command in parentheses may itself hold spaces and parentheses.
    fields = stat[stat.rindex(")") + 2 :].split()
    return None if fields[0] == "Z" else int(fields[19])


def alive(process: Running) -> bool:
    """Whether a noted process still runs."""
    return process.pid is not None and process.began is not None and began(process.pid) == process.began


def end_leftovers(home: Home) -> int:
    """End what a killed `up` left running; call with the lock held. Answers how many there were.

    They are on a leash and drain by themselves, so they are given time before they are signalled.
    """
    left = [process for process in noted(home)[1] if alive(process)]
    count = len(left)
    for number in (None, signal.SIGTERM, signal.SIGKILL):
        for process in left:
            if number is not None and process.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, number)
        left = _still_there(left, deadline=time.monotonic() + LEFTOVER_PATIENCE)
        if not left:
            break
    return count


def _still_there(processes: list[Running], *, deadline: float) -> list[Running]:
    while (left := [process for process in processes if alive(process)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left
