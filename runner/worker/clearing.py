"""What is left of a bot that had a user of its own: its processes, what it made elsewhere, and its folders.

Promises that all processes of that user are ended, whoever started them and whatever they are descended from, and that
it says how many live nonetheless (by the user, the strongest count there is); that nothing of that user is left where
everybody may leave something: shared memory, message queues, System V IPC, /tmp; and that the folders are the runner's
again. Signals and removes as that user only, so that it can reach nothing of anybody else.
Standard library only: the spawner's process loads it.
"""

# pathlib would make the process larger that is copied for each attempt.
# ruff: noqa: PTH123, PTH208

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator

from runner.worker import belongings, privileges
from runner.worker.removal import remove

#: Seconds within which killed processes are gone, looked for so many seconds apart.
PATIENCE, PAUSE = 30.0, 0.002

#: Where everybody may make files, by a name of his own.
SHARED_PLACES = ("/dev/shm", "/dev/mqueue", "/tmp", "/var/tmp")  # noqa: S108 - looked at, not written to

#: System V IPC: the list of each kind in /proc/sysvipc, the call that removes one, and whether that takes a number
#: within the set before the command (semctl(2)).
IPC = {"shm": ("shmctl", False), "msg": ("msgctl", False), "sem": ("semctl", True)}
IPC_RMID = 0

_libc = ctypes.CDLL(None, use_errno=True)


def clear(user: int, group: int, trees: Iterable[str]) -> int:
    """Ends and removes all that is that user's and takes the trees back; the number of its processes that live on.

    While one lives, the trees stay that user's. Call it for a user that is leased, when its bot is dead.
    """
    survivors = end(user, group)
    leave_nothing(user, group)
    if not survivors:
        belongings.take_back(trees, user)
    return survivors


def lives(user: int) -> bool:
    """Whether there is a process of that (real) user: one system call where there is none, which is not deceived by a
    /proc that hides some. What is dead and not collected yet does not count.
    """
    try:
        os.getpriority(os.PRIO_USER, user)
    except ProcessLookupError:
        return False
    found = processes(user)
    return not found or any(found.values())


def end(user: int, group: int) -> int:
    """Kills all processes of that user, one word for all of them, which no chain of forks outruns."""
    give_up = time.monotonic() + PATIENCE
    while lives(user):
        if time.monotonic() > give_up:
            return max(1, sum(processes(user).values()))
        _as_process_of(user, group, lambda: _kill_all(user, group))
        if lives(user):
            time.sleep(PAUSE)
    return 0


def processes(user: int) -> dict[int, bool]:
    """The processes of that user, as far as /proc shows them, and whether each is alive."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/status", "rb") as status:
                text = status.read()
                # "Uid:" and the real, effective, saved and file system's user
                if text.partition(b"\nUid:")[2].split(maxsplit=1)[0] == b"%d" % user:
                    found[int(name)] = text.partition(b"\nState:")[2].split(maxsplit=1)[0] not in {b"Z", b"X"}
    return found


def leave_nothing(user: int, group: int) -> None:
    """Removes what that user owns in places for everybody; what cannot be removed stays."""
    with contextlib.suppress(OSError), privileges.as_user(user, group):
        for place in SHARED_PLACES:
            with contextlib.suppress(OSError):
                _empty(place, user)
    kept = list(_ipc(user))
    if kept:
        _as_process_of(user, group, lambda: _remove_ipc(kept))


def _empty(place: str, user: int) -> None:
    with os.scandir(place) as entries:
        mine = [entry.path for entry in entries if _owner(entry) == user]
    for path in mine:
        with contextlib.suppress(OSError):
            remove(path)


def _owner(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_uid
    except OSError:
        return -1


def _ipc(user: int) -> Iterator[tuple[str, int]]:
    """Kind and number of all that this user made or was given (proc_sysvipc(5))."""
    for kind in IPC:
        with contextlib.suppress(OSError), open(f"/proc/sysvipc/{kind}", "rb") as file:
            head, *lines = [line.split() for line in file]
            for line in lines:
                row = dict(zip(head, map(int, line), strict=False))
                if user in {row[b"uid"], row[b"cuid"]}:
                    yield kind, row[b"msqid" if kind == "msg" else kind.encode() + b"id"]


def _remove_ipc(kept: Iterable[tuple[str, int]]) -> None:
    for kind, number in kept:
        name, of_set = IPC[kind]
        call = getattr(_libc, name)
        call(number, 0, IPC_RMID, 0) if of_set else call(number, IPC_RMID, None)


def _kill_all(user: int, group: int) -> None:
    # As anybody else, or with a capability, this would end the host.
    privileges.require(user, group)
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)


def _as_process_of(user: int, group: int, work: Callable[[], None]) -> None:
    """Does something in a process of that user, and waits for its end; nothing where it cannot become that."""
    pid = os.fork()
    if pid == 0:
        try:
            privileges.become(user, group)
            work()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
