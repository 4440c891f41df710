"""From a request to the bot's program: what a launcher does to start it.

Promises that the program starts with nothing but what the request gives it (session, limits, environment, three
descriptors and, in mode `bootstrap`, the pipe of its environment), or not at all, with a sentence that says why
and holds no value.

Mode `bootstrap` is posix_spawn(3), which copies no memory and is 1 ms faster than fork(2); the limits follow while
the bot still waits for the end of its environment, since the launcher holds the pipe open. Mode `exec` forks: only
there a value is read outside worker and bot, by the very process that becomes the bot.
Standard library only: the spawner's process loads it.
"""

from __future__ import annotations

import json
import os
import resource
import signal
from collections.abc import Callable

#: prctl(operation, argument), raising OSError.
Prctl = Callable[[int, int], None]

PR_SET_PDEATHSIG = 1
#: The number the bot finds its environment under. 0 to 2 are its input and outputs; it has no other descriptor.
ENVIRONMENT_FD = 3


class Request:
    """What the worker asks for; the fields are those of `process.Launch`, durations in seconds."""

    __slots__ = (
        "argv",
        "attempt",
        "base_environment",
        "cwd",
        "deadline",
        "grace",
        "job",
        "kept_at",
        "limits",
        "mode",
        "patience",
    )

    def __init__(self, message: bytes) -> None:
        raw = json.loads(message)
        self.argv: list[str] = raw["argv"]
        self.base_environment: dict[str, str] = raw["base_environment"]
        self.cwd: str = raw["cwd"]
        self.deadline: float | None = raw["deadline"]
        self.grace: float = raw["grace"]
        self.limits: dict[str, int] = raw["limits"]
        self.mode: str = raw["mode"]
        self.job: str = raw["job"]
        self.attempt: int = raw["attempt"]
        self.kept_at: float = raw["kept_at"]
        self.patience: float | None = raw["patience"]


class Descriptors:
    """The attempt's ends of what the worker made: its control socket, the bot's outputs, its environment's pipe;
    and the worker's journal of outcomes.

    `barrier` is the writing end of that pipe: while it is open the bot has not begun.
    """

    __slots__ = ("barrier", "control", "environment", "journal", "stderr", "stdout")
    #: How many there are.
    COUNT = 6
    #: Of these, the first are the launcher's own, and the others the bot's.
    KEPT = 2

    def __init__(self, *files: int) -> None:
        self.control, self.journal, self.stdout, self.stderr, self.environment, self.barrier = files

    def close(self) -> None:
        """Closes all that is the bot's."""
        for file in (self.stdout, self.stderr, self.environment, self.barrier):
            os.close(file)


class NotStarted(Exception):
    """The bot does not run; the sentence says why."""


def spawn_bot(request: Request, files: Descriptors) -> int:
    """Mode `bootstrap`: returns the process id of the bot, which has begun nothing yet. Raises `NotStarted`."""
    actions = [
        (os.POSIX_SPAWN_DUP2, files.stdout, 1),
        (os.POSIX_SPAWN_DUP2, files.stderr, 2),
        (os.POSIX_SPAWN_DUP2, files.environment, ENVIRONMENT_FD),
    ]
    doing = into_folder(request)
    try:
        os.chdir(request.cwd)
        doing = into_program(request)
        bot = os.posix_spawnp(
            request.argv[0], request.argv, request.base_environment, file_actions=actions, setsid=True
        )
    except (OSError, ValueError) as error:
        raise NotStarted(sentence(doing, error)) from None
    finally:
        os.chdir("/")
    try:
        set_limits(request.limits, bot)
    except ValueError as error:
        os.kill(bot, signal.SIGKILL)
        os.waitpid(bot, 0)
        raise NotStarted(sentence(INTO_LIMITS, error)) from None
    return bot


def become_bot(request: Request, files: Descriptors, failure: int, *, launcher: int, prctl: Prctl) -> None:
    """Mode `exec`, in the last child: session, limits and descriptors, then the bot's program. Never returns.

    No signal is ignored here, and those with a handler get their default back by execve(2).
    """
    doing = "it could not be prepared"
    try:
        os.setsid()
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != launcher:
            os._exit(1)
        os.dup2(files.stdout, 1)
        os.dup2(files.stderr, 2)
        os.close(files.barrier)
        doing = into_folder(request)
        os.chdir(request.cwd)
        doing = "its environment could not be read"
        environment = read_environment(request, files.environment)
        doing = INTO_LIMITS
        set_limits(request.limits, 0)
        close_others(failure)
        doing = into_program(request)
        os.execvpe(request.argv[0], request.argv, environment)  # noqa: S606  (no shell: that is the point)
    except BaseException as error:  # whatever it is, this must not run on as a second launcher
        os.write(failure, sentence(doing, error).encode(errors="replace"))
    finally:
        os._exit(127)


def read_environment(request: Request, pipe: int) -> dict[bytes, bytes]:
    """The environment at exec: what the request says, and on top what the pipe holds."""
    environment = {os.fsencode(name): os.fsencode(value) for name, value in request.base_environment.items()}
    with open(pipe, "rb", buffering=0) as values:
        for pair in values.readall().split(b"\0"):
            name, equals, value = pair.partition(b"=")
            if equals:
                environment[name] = value
    return environment


def close_others(kept: int) -> None:
    """Closes all but 0 to 2 and `kept`, which closes at exec. The others would, too; this is sure."""
    os.closerange(3, kept)
    os.closerange(kept + 1, 2**31 - 1)


def set_limits(limits: dict[str, int], pid: int) -> None:
    """Limits by prlimit(2), by the names of its constants; the spawner has forbidden cores for all."""
    for name, limit in limits.items():
        # At the soft limit of CPU time SIGXCPU says why; at the hard one SIGKILL would not.
        hard = limit + 1 if name == "CPU" else limit
        try:
            resource.prlimit(pid, getattr(resource, f"RLIMIT_{name}"), (limit, hard))
        except (OSError, ValueError, OverflowError) as error:
            raise ValueError(f"RLIMIT_{name} = {limit}: {error}") from None


INTO_LIMITS = "its limits cannot be set on this host"


def into_folder(request: Request) -> str:
    return f"its working directory {request.cwd} cannot be entered"


def into_program(request: Request) -> str:
    return f"its program {request.argv[0]} cannot be executed"


def sentence(doing: str, error: BaseException) -> str:
    return f"The bot was not started: {doing} ({why(error)})."


def why(error: BaseException) -> str:
    """An error in words that cannot hold a value: of our own and the system's making only."""
    if isinstance(error, OSError) and error.errno is not None:
        return f"{os.strerror(error.errno)}, errno {error.errno}"
    return str(error) if isinstance(error, ValueError) else type(error).__name__
