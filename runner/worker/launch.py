"""What the worker asks its spawner for: a program with its limits, its time and what it may reach.

ProcessError
├── LaunchRefused     the request can never be started; nothing was
└── SpawnerFailed     the spawner cannot be started or dies at once; nothing was started
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

from runner.worker.bounds import Bounds
from runner.worker.launcher import MAX_REQUEST
from runner.worker.outcomes import Entry
from runner.worker.starting import ENVIRONMENT_FD, User

HERE = Path(__file__).resolve().parent
_BOOTSTRAP = str(HERE / "bootstrap.py")


class ProcessError(Exception):
    """A bot was not launched."""


class LaunchRefused(ProcessError):
    """The request can never be started."""


class SpawnerFailed(ProcessError):
    """The spawner process does not start or does not stay."""


def no_descriptor(error: OSError) -> SpawnerFailed:
    """What to raise where the runner may open, or send, no further descriptor."""
    return SpawnerFailed(
        f"The runner has no descriptors left ({error.strerror}); raise its limit of open files or lower "
        "its concurrency."
    )


@dataclass(frozen=True, slots=True)
class Launch:
    """What to start and how long it may take. Nothing in it is confidential: it may appear in `ps`.

    `entry` is the attempt's place in the journal of outcomes, `claimed` an instant of the monotonic clock before its
    claim. `patience` is how long after `kept_at`, an instant of the
    monotonic clock that `Process.keep` moves on, the bot is killed; `None` is for ever. `environment_fd_mode` says who
    reads the environment: `bootstrap` the program itself, from descriptor `ENVIRONMENT_FD`, so that its
    `/proc/PID/environ` holds no value; `exec` the launcher's last child, just before the program is executed.
    `base_environment` is what the program is executed with in both cases. A `deadline` of `None` is no limit.
    `readable` and `writable` are the files and folders that the bot's domain grants beyond the spawner's ground;
    what is not there grants nothing. `sandbox` says that the program is bubblewrap with the bot inside, which needs a
    domain that leaves files alone. `owned` are the folders that are given to the bot's own user, where it has one.
    """

    argv: tuple[str, ...]
    cwd: Path
    bounds: Bounds
    deadline: timedelta | None
    grace: timedelta
    entry: Entry
    environment_fd_mode: Literal["bootstrap", "exec"]
    base_environment: dict[str, str]
    claimed: float = 0.0
    kept_at: float = 0.0
    patience: timedelta | None = None
    readable: tuple[Path, ...] = ()
    writable: tuple[Path, ...] = ()
    sandbox: bool = False
    owned: tuple[Path, ...] = ()

    def request(self, place: int, user: User | None = None, *, asked: float) -> bytes:
        """The message to a launcher; `place` is the attempt's on the board, `user` the one that is the bot's own, and
        `asked` the time since the epoch.
        """
        message = json.dumps(
            {
                "argv": self.argv,
                "asked": asked,
                "cwd": str(self.cwd),
                "limits": self.bounds.by_constant(alone=user is not None),
                "watched": self.bounds.watched(),
                "deadline": None if self.deadline is None else self.deadline.total_seconds(),
                "grace": self.grace.total_seconds(),
                "job": str(self.entry.job_id),
                "attempt": self.entry.attempt,
                "claimed": self.claimed,
                "kept_at": self.kept_at,
                "patience": None if self.patience is None else self.patience.total_seconds(),
                "mode": self.environment_fd_mode,
                "place": place,
                "base_environment": self.base_environment,
                "owned": [str(path) for path in self.owned],
                "user": user,
                "readable": [str(path) for path in self.readable],
                "sandbox": self.sandbox,
                "writable": [str(path) for path in self.writable],
            }
        ).encode()
        if len(message) > MAX_REQUEST:
            raise LaunchRefused(
                f"The bot's command line takes {len(message):,} bytes of at most {MAX_REQUEST:,}; "
                "pass long input through its parameters file."
            )
        return message


def python_argv(python: Path, package: Path, entry: str, *, sdk: Path) -> tuple[str, ...]:
    """The command line of a Python bot in mode `bootstrap`; see `bootstrap.py`."""
    return (str(python), "-I", "-X", "utf8", _BOOTSTRAP, str(ENVIRONMENT_FD), str(package), entry, str(sdk))
