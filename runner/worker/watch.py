"""Measures what an attempt uses of its host, all of its processes together, and names the limit that it is beyond.

Memory is what is resident and not shared with a file, from /proc/PID/statm: it needs no right to look into the
process, as the exact share (`Pss`) would. Pages that a fork still shares with its parent count for both.
Promises to look seldom enough that a look costs under one hundredth of the time, and never at a bot that ends within
the first `TICK`. Between two looks a bot can get beyond a limit; one process alone cannot, as `Bounds` says.
Standard library only: the spawner's process loads it.
"""

# pathlib would make the process larger that is copied for each attempt.
# ruff: noqa: PTH123

from __future__ import annotations

import contextlib
import os
import time

from runner.worker.descendants import Usage, descendants
from runner.worker.privileges import as_user
from runner.worker.starting import User

#: Seconds between two looks at the processes, and at the disk; 12 processes take 0.3 ms, 1,000 files 2 ms.
TICK = 0.25
DISK_TICK = 2.0
#: Files after which a look ends: 0.2 s, in which the launcher hears nothing else.
MOST_FILES = 100_000
#: The part of the time that looking may take.
SHARE = 0.01

PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")
#: How the limits of sizes are said.
MEGABYTE = 1 << 20


class Watch:
    """The looks at one attempt; `due` is the instant of the monotonic clock of the next, `None` for never."""

    __slots__ = ("disk_due", "due", "folders", "limits", "user")

    def __init__(self, limits: dict[str, int], folders: list[str], *, user: User | None = None) -> None:
        self.limits = limits
        self.folders = folders
        self.user = user
        now = time.monotonic()
        self.due = now + TICK if limits else None
        self.disk_due = now + DISK_TICK if "disk" in limits else None

    def look(self, launcher: int, usage: Usage) -> tuple[str, str] | None:
        """The name of the limit that is exceeded, and the sentence that says so."""
        began = time.monotonic()
        found = self._processes(launcher, usage)
        if found is None and self.disk_due is not None and began >= self.disk_due:
            found = self._disk()
            ended = time.monotonic()
            self.disk_due = ended + max(DISK_TICK, (ended - began) / SHARE)
        ended = time.monotonic()
        self.due = ended + max(TICK, (ended - began) / SHARE)
        return found

    def _processes(self, launcher: int, usage: Usage) -> tuple[str, str] | None:
        living = memory = 0
        cpu = usage.user_seconds + usage.system_seconds
        for pid in descendants(launcher):
            try:
                resident, shared, seconds = measure(pid)
            except (OSError, ValueError, IndexError):
                continue  # it ended just now
            living += 1
            memory += (resident - shared) * PAGE
            cpu += seconds
        return (
            self._beyond("processes", living, f"{living:,} processes")
            or self._beyond("memory", memory, f"{memory // MEGABYTE:,} MB of memory")
            or self._beyond("cpu_time", cpu, f"{cpu:.1f} s of CPU time")
        )

    def _disk(self) -> tuple[str, str] | None:
        with contextlib.nullcontext() if self.user is None else as_user(*self.user[:2]):
            used = sum(map(size_of, self.folders))
        return self._beyond("disk", used, f"{used // MEGABYTE:,} MB on disk")

    def _beyond(self, name: str, used: float, words: str) -> tuple[str, str] | None:
        limit = self.limits.get(name)
        return None if limit is None or used <= limit else (name, beyond(name, limit, words))


def beyond(name: str, limit: int, used: str) -> str:
    """The sentence for the job's detail."""
    number = f"{limit / MEGABYTE:,.6g} MB" if name in {"memory", "disk"} else f"{limit:,}"
    unit = " s" if name == "cpu_time" else ""
    return f"The bot used {used}, and its limit `{name}` is {number}{unit}."


def measure(pid: int) -> tuple[int, int, float]:
    """Resident pages, those shared with files, and CPU seconds of a living process (proc_pid_statm(5), ..._stat(5))."""
    with open(f"/proc/{pid}/statm", "rb") as file:
        _, resident, shared, *_ = file.read().split()
    with open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    # Children that it collected are counted with it, those that live are found on their own.
    return int(resident), int(shared), sum(map(int, fields[11:15])) / TICKS


def size_of(folder: str) -> int:
    """Bytes on disk below a folder, links not followed; what vanishes or cannot be read counts nothing."""
    total = seen = 0
    left = [folder]
    while left and seen < MOST_FILES:
        try:
            with os.scandir(left.pop()) as entries:
                for entry in entries:
                    seen += 1
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        left.append(entry.path)
        except OSError:
            continue
    return total
