"""From a request to the bot's program: what a launcher does to start it.

Promises that the program starts with nothing but what the request gives it (session, limits, environment, three
descriptors and, in mode `bootstrap`, the pipe of its environment), or not at all, with a sentence that says why
and holds no value.

Mode `bootstrap` is posix_spawn(3), which copies no memory and is 1 ms faster than fork(2); the limits follow while
the bot still waits for the end of its environment, since the launcher holds the pipe open. Mode `exec` forks: only
there a value is read outside worker and bot, by the very process that becomes the bot.

In both the bot is born in its Landlock domain, before its interpreter runs anything: in mode `bootstrap` of a thread
that is in it already (`nursery.py`). Standard library only: the spawner's process loads it.
"""

from __future__ import annotations

import json
import os
import resource
import signal
from collections.abc import Callable

from runner.worker import landlock
from runner.worker.landlock import Ground
from runner.worker.nursery import Nursery
from runner.worker.privileges import become

#: prctl(operation, argument), raising OSError.
Prctl = Callable[[int, int], None]

PR_SET_PDEATHSIG = 1
#: The number the bot finds its environment under. 0 to 2 are its input and outputs; it has no other descriptor.
ENVIRONMENT_FD = 3


_decoder = json.JSONDecoder()

#: Number, group and name of the user that an attempt has for itself.
User = tuple[int, int, str]


class Request:
    """What the worker asks for; the fields are those of `process.Launch`, durations in seconds."""

    __slots__ = (
        "argv",
        "asked",
        "attempt",
        "base_environment",
        "claimed",
        "cwd",
        "deadline",
        "grace",
        "job",
        "kept_at",
        "limits",
        "mode",
        "owned",
        "patience",
        "place",
        "readable",
        "sandbox",
        "user",
        "watched",
        "writable",
    )

    def __init__(self, message: bytes) -> None:
        raw, _ = _decoder.raw_decode(message.decode())  # `json.loads` would look for an encoding, and what follows
        self.argv: list[str] = raw["argv"]
        self.asked: float = raw["asked"]
        self.base_environment: dict[str, str] = raw["base_environment"]
        self.claimed: float = raw["claimed"]
        self.cwd: str = raw["cwd"]
        self.deadline: float | None = raw["deadline"]
        self.grace: float = raw["grace"]
        self.limits: dict[str, int] = raw["limits"]
        self.mode: str = raw["mode"]
        self.job: str = raw["job"]
        self.attempt: int = raw["attempt"]
        self.kept_at: float = raw["kept_at"]
        self.patience: float | None = raw["patience"]
        self.place: int = raw["place"]
        self.readable: list[str] = raw["readable"]
        self.sandbox: bool = raw["sandbox"]
        self.user: User | None = raw["user"]
        self.owned: list[str] = raw["owned"]
        self.watched: dict[str, int] = raw["watched"]
        self.writable: list[str] = raw["writable"]


class Descriptors:
    """The attempt's ends of what the worker made: its control socket, the bot's outputs, its environment's pipe;
    and the worker's journal of outcomes.

    `barrier` is the writing end of that pipe: while it is open the bot has not begun.
    """

    __slots__ = ("barrier", "control", "environment", "journal", "stderr", "stdout")
    #: Of these, the first are the launcher's own. Where the bot has a user of its own, the lock on that user is, too.
    KEPT = 2
    #: The others are the bot's, and are the first message on the control socket, with this word.
    PIPES, WORD = 4, b"pipes"

    def __init__(self, *files: int) -> None:
        self.control, self.journal, self.stdout, self.stderr, self.environment, self.barrier = files

    def begin(self) -> None:
        """Closes the environment's pipe, and with it the barrier: the bot begins, or was not started."""
        os.close(self.environment)
        os.close(self.barrier)

    def close(self) -> None:
        """Closes all others.

        The outputs with them, and not before: their end would wake the worker, which hears of the bot's end anyhow.
        """
        for file in (self.stdout, self.stderr, self.journal, self.control):
            os.close(file)


class NotStarted(Exception):
    """The bot does not run; the sentence says why."""


def spawn_bot(request: Request, files: Descriptors, nursery: Nursery | None) -> int:
    """Mode `bootstrap`: the process id of the bot, which has begun nothing yet. Raises `NotStarted`."""
    actions = [
        (os.POSIX_SPAWN_DUP2, files.stdout, 1),
        (os.POSIX_SPAWN_DUP2, files.stderr, 2),
        (os.POSIX_SPAWN_DUP2, files.environment, ENVIRONMENT_FD),
    ]

    def spawn() -> int:
        return os.posix_spawnp(
            request.argv[0], request.argv, request.base_environment, file_actions=actions, setsid=True, setsigmask=()
        )

    doing = into_folder(request)
    try:
        os.chdir(request.cwd)
        doing = into_program(request)
        bot = spawn() if nursery is None else nursery.bear(request.readable, request.writable, spawn)
        doing = INTO_LIMITS
        limit_spawned(request.limits, bot)
    except (OSError, ValueError) as error:
        raise NotStarted(sentence(doing, error)) from None
    finally:
        os.chdir("/")
    return bot


def limit_spawned(limits: dict[str, int], bot: int) -> None:
    """Limits for a bot that waits; one that cannot have them is ended."""
    try:
        set_limits(limits, bot)
    except ValueError:
        os.kill(bot, signal.SIGKILL)
        os.waitpid(bot, 0)
        raise


def make_ruleset(request: Request, ground: Ground | None) -> int | None:
    """The ruleset of the domain of a bot that is forked; `None` where the kernel has none. Raises `NotStarted`."""
    if ground is None:
        return None
    try:
        if request.sandbox:
            return ground.scopes()
        rules = ground.opened(request.readable, request.writable)
        try:
            return ground.ruleset(rules)
        finally:
            landlock.close(rules)
    except OSError as error:
        raise NotStarted(sentence("its Landlock domain cannot be made", error)) from None


def become_bot(
    request: Request,
    files: Descriptors,
    failure: int,
    enter: Callable[[], None] | None,
    *,
    launcher: int,
    prctl: Prctl,
) -> None:
    """In the last child, for mode `exec`, a sandbox, and a user of the bot's own: session, limits, user, descriptors,
    then the program. Never returns.

    No signal is ignored here, and those with a handler get their default back by execve(2).
    """
    doing = "it could not be prepared"
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.setsid()
        doing = INTO_LIMITS
        set_limits(request.limits, 0)
        if request.user is not None:
            doing = "it cannot become its own user"
            become(*request.user[:2])
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # which the change of user would take away
        if os.getppid() != launcher:
            os._exit(1)
        os.dup2(files.stdout, 1)
        os.dup2(files.stderr, 2)
        os.close(files.barrier)
        doing = into_folder(request)
        os.chdir(request.cwd)
        doing = "its environment could not be read"
        environment = read_environment(request, files.environment)
        if enter is not None:
            doing = "its Landlock domain cannot be entered"
            enter()
        close_others(failure, first=ENVIRONMENT_FD + (request.mode == "bootstrap"))
        doing = into_program(request)
        os.execvpe(request.argv[0], request.argv, environment)  # noqa: S606  (no shell: that is the point)
    except BaseException as error:  # whatever it is, this must not run on as a second launcher
        os.write(failure, sentence(doing, error).encode(errors="replace"))
    finally:
        os._exit(127)


def read_environment(request: Request, pipe: int) -> dict[bytes, bytes]:
    """The environment at exec: what the request says, and on top, unless the bot reads it, what the pipe holds."""
    environment = {os.fsencode(name): os.fsencode(value) for name, value in request.base_environment.items()}
    if request.mode == "bootstrap":
        os.dup2(pipe, ENVIRONMENT_FD)
        return environment
    with open(pipe, "rb", buffering=0) as values:
        for pair in values.readall().split(b"\0"):
            name, equals, value = pair.partition(b"=")
            if equals:
                environment[name] = value
    return environment


def close_others(kept: int, *, first: int) -> None:
    """Closes all from `first` on but `kept`, which closes at exec. The others would, too; this is sure."""
    os.closerange(first, kept)
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
