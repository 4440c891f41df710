"""The users that bots run as, where the runner may switch: each attempt has one for itself while it lives.

Promises that no two attempts of this host have one user at the same time, whoever runs them: a user is leased by an
flock(2) on a file with its number, which worker, spawner and launcher share, so that it lasts until the last of them
has let go; and a user as whom anybody else runs a process is passed over.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from runner.worker import privileges
from runner.worker.clearing import lives
from runner.worker.launch import HERE, SpawnerFailed
from runner.worker.starting import User

#: Seconds that a bot waits for a user, looked for so many seconds apart: another runner may have taken one.
PATIENCE, PAUSE = 10.0, 0.01

#: Seconds within which a program that acts for the worker must be done; it may have to wait for processes to die.
VALET_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class BotUser:
    """One user of the pool, by number and group; its name is the number where the host has no name for it."""

    number: int
    group: int
    name: str

    @property
    def told(self) -> User:
        """As the launcher is told of it."""
        return self.number, self.group, self.name


@dataclass(slots=True)
class Lease:
    """A user that is one attempt's; `file` holds the lock."""

    user: BotUser
    file: int

    def close(self) -> None:
        """Let go; the lock lasts until the attempt's launcher has, too."""
        if self.file >= 0:
            os.close(self.file)
            self.file = -1

    def clear(self, trees: Iterable[Path]) -> int:
        """Do what the launcher and the spawner could not any more (`clearing.clear`); -1 where it is unknown."""
        done = valet("clear", *self.user.told[:2], *trees)
        return int(done.stdout) if done.returncode == 0 else -1


class BotUsers:
    """The pool of one runner. `lease` may be called from any thread."""

    def __init__(
        self, users: Sequence[BotUser], locks: Path, *, occupied: Callable[[str], object] = lambda _name: None
    ) -> None:
        """`occupied` hears once of each user as whom others run processes."""
        self.users, self._locks, self._occupied = tuple(users), locks, occupied
        self._turn = count()
        self._warned: set[int] = set()

    def __len__(self) -> int:
        return len(self.users)

    def lease(self, patience: float = PATIENCE) -> Lease:
        """A user whom nobody else has, each in turn.

        Raises `SpawnerFailed` where there is none for so many seconds, or no descriptor for the lock.
        """
        give_up = time.monotonic() + patience
        while True:
            first = next(self._turn) % len(self.users)
            for user in (*self.users[first:], *self.users[:first]):
                if (found := self._try(user)) is not None:
                    return found
            if time.monotonic() >= give_up:
                raise SpawnerFailed(
                    f"The bot was not started: for {patience:g} s none of the {len(self.users)} users of "
                    "BOTKEEP_BOT_USERS was free. Other runners of this host have them, or processes that are not "
                    "Botkeep's run as them: the runner's log and `botkeep doctor` name these."
                )
            time.sleep(PAUSE)

    def take_back(self, tree: Path) -> None:
        """Make what a dead worker has left there the runner's again."""
        valet("take-back", tree, *(user.number for user in self.users))

    def _try(self, user: BotUser) -> Lease | None:
        try:
            file = lock_file(self._locks, user)
        except OSError as error:
            raise SpawnerFailed(
                f"The bot was not started: the lock of user {user.name} cannot be opened ({error.strerror})."
            ) from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return None
        if not lives(user.number):
            return Lease(user, file)
        os.close(file)
        if user.number not in self._warned:
            self._warned.add(user.number)
            self._occupied(user.name)
        return None


def lock_file(folder: Path, user: BotUser) -> int:
    """The descriptor of a user's file, to be locked. Raises OSError."""
    path, flags = folder / str(user.number), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        # Only now: with this flag another runner's file might not be opened (proc_sys_fs(5), protected_regular).
        return os.open(path, flags | os.O_CREAT, 0o660)


def valet(command: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs `valet.py`, which has the privileges that the worker itself has laid aside."""
    argv = [sys.executable, "-I", "-S", str(HERE / "valet.py"), command, *map(str, arguments)]
    with privileges.passed_on():
        return subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=VALET_PATIENCE,
            cwd="/",
            env={"PATH": "/usr/local/bin:/usr/bin:/bin"},
        )
