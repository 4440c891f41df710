"""The processes below this one: collected, stopped, continued, killed to the last.

Promises of `sweep` that only children of this process are signalled and that nobody else collects them, so that
no number can belong to a stranger. The caller is a sub-reaper (prctl(2) PR_SET_CHILD_SUBREAPER): whatever is deeper
becomes its child when its parent dies. Without CONFIG_PROC_CHILDREN the whole of /proc is read instead.
Standard library only: the spawner's process loads it.
"""

# pathlib would make the process larger that is copied for each attempt.
# ruff: noqa: PTH123, PTH208

from __future__ import annotations

import ctypes
import os
import select
import signal
import struct
import time
from collections.abc import Callable, Iterator

#: How long killed processes may take to go (one in uninterruptible sleep does not die) before they are survivors.
SWEEP_PATIENCE = 30.0

_libc = ctypes.CDLL(None, use_errno=True)


class Usage:
    """What the collected processes cost, and how the bot among them ended (a wait status).

    `on_end` hears how the bot ended, before it is collected: from then on nobody else could find that out.
    """

    __slots__ = ("bot", "max_rss_kb", "on_end", "status", "system_seconds", "user_seconds")

    def __init__(self, on_end: Callable[[int], None] = lambda _code: None) -> None:
        self.bot = 0
        self.on_end = on_end
        self.status: int | None = None
        self.max_rss_kb = 0
        self.user_seconds = self.system_seconds = 0.0

    def collect(self, pid: int) -> bool:
        """Reaps one child if it is dead; its figures include those of the children it waited for itself."""
        if pid == self.bot:
            dead = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if dead is None:
                return False
            self.on_end(dead.si_status if dead.si_code == os.CLD_EXITED else -dead.si_status)
        found, status, used = os.wait4(pid, os.WNOHANG)
        if not found:
            return False
        if pid == self.bot:
            self.status = status
        self.max_rss_kb = max(self.max_rss_kb, used.ru_maxrss)
        self.user_seconds += used.ru_utime
        self.system_seconds += used.ru_stime
        return True


def sweep(spared: frozenset[int], usage: Usage) -> int:
    """Kills and collects all descendants but the children in `spared`; returns how many are left (0)."""
    give_up = time.monotonic() + SWEEP_PATIENCE
    while has_children():
        living = [pid for pid in children(os.getpid()) if pid not in spared and not usage.collect(pid)]
        if not living and (spared or not has_children()):
            return 0
        if time.monotonic() > give_up:
            return max(1, len(living))
        for pid in living:
            kill_group(pid)
        for pid in living:
            await_end(pid)
    return 0


def notice_deaths() -> int:
    """A descriptor that the death of a child makes readable, for a process that has one thread yet.

    SIGCHLD, which would interrupt poll(2) first, stays blocked in it, and in what it starts unless that is told
    otherwise.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    # A set of signals as the C library has it: 1024 bits.
    signals = struct.pack("@L", 1 << (signal.SIGCHLD - 1)).ljust(128, b"\0")
    file: int = _libc.signalfd(-1, signals, os.O_CLOEXEC | os.O_NONBLOCK)
    if file < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return file


def has_children() -> bool:
    """Whether there is any child, alive or dead, at the price of one system call."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def kill_group(pid: int) -> None:
    """Kills a child with its whole process group at once: one by one, a chain of forks would outrun us."""
    group = os.getpgid(pid)
    if group != os.getpgrp():
        send_group(group, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)


def await_end(pid: int) -> None:
    """Waits a moment for a killed child."""
    file = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(file, select.POLLIN)
    poll.poll(100)
    os.close(file)


def stop_all(pid: int) -> None:
    """Stops all below `pid`, parents first, until a whole pass finds nobody new: the stopped do not fork."""
    stopped: set[int] = set()
    before = -1
    while len(stopped) != before:
        before = len(stopped)
        for descendant in descendants(pid):
            if descendant not in stopped:
                stopped.add(descendant)
                send(descendant, signal.SIGSTOP)


def continue_all(pid: int) -> None:
    """Continues all below `pid`, leaves first: while its parent is stopped, no child's number is given away."""
    for descendant in reversed(list(descendants(pid))):
        send(descendant, signal.SIGCONT)


def send(pid: int, number: signal.Signals) -> None:
    """Signals a process that may have ended."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def send_group(group: int, number: signal.Signals) -> None:
    """Signals a process group that may have ended."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


def descendants(pid: int) -> Iterator[int]:
    """All below `pid`, each before its children, which are looked up only when the caller asks for the next."""
    for child in children(pid):
        yield child
        yield from descendants(child)


def children(pid: int) -> list[int]:
    """The children of a process; all of them only where it and they stand still."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found.extend(map(int, file.read().split()))
    except (FileNotFoundError, ProcessLookupError):
        # A thread that just ended, or a kernel without CONFIG_PROC_CHILDREN.
        return scan_children(pid)
    return found


def scan_children(pid: int) -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                # The name of a process may hold spaces and parentheses; state and parent follow the last one.
                parent = file.read().rpartition(b")")[2].split()[1]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(parent) == pid:
            found.append(int(name))
    return found
