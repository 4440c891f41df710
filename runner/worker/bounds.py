"""What one attempt may use of its host, in the words of the kernel; pure."""

from __future__ import annotations

from dataclasses import dataclass

#: Threads that a bot with a user of its own may have for each process that it may have, and at least.
THREADS_IN_A_PROCESS, THREADS = 8, 256


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an attempt may use; `None` leaves what the worker has. Cores are always off.

    Each process gets `open_files`, and all that one alone may have of the others, by setrlimit(2). Their sums over
    all processes, and the size of the first writable folder, are measured by the launcher (`watch.py`).
    """

    open_files: int | None = None
    memory_bytes: int | None = None
    cpu_seconds: int | None = None
    processes: int | None = None
    disk_bytes: int | None = None

    def by_constant(self, *, alone: bool = False) -> dict[str, int]:
        """The limits of one process, by the names of the constants of setrlimit(2).

        A bot that is `alone` with its user has its threads bounded, too; the kernel counts them by the user.
        DATA and not AS: it counts what a process can write to, and not what it only reserves, as interpreters with a
        garbage collector do by the gigabyte.
        """
        named = {
            "NOFILE": self.open_files,
            "DATA": self.memory_bytes,
            "CPU": self.cpu_seconds,
            "FSIZE": self.disk_bytes,
        }
        if alone and self.processes is not None:
            named["NPROC"] = max(THREADS, THREADS_IN_A_PROCESS * self.processes)
        return {name: limit for name, limit in named.items() if limit is not None}

    def watched(self) -> dict[str, int]:
        """What is measured, by the words of `[limits]` in bot.toml."""
        named = {
            "memory": self.memory_bytes,
            "cpu_time": self.cpu_seconds,
            "processes": self.processes,
            "disk": self.disk_bytes,
        }
        return {name: limit for name, limit in named.items() if limit is not None}
