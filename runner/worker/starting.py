"""From a request to the bot's program: what a launcher does to start it.

Promises that the program starts with nothing but what the request gives it (session, limits, environment, three
descriptors and, in mode `bootstrap`, the pipe of its environment), or not at all, with a sentence that says why
and holds no value.

Mode `bootstrap` is posix_spawn(3), which copies no memory and is 1 ms faster than fork(2); the limits follow while
the bot still waits for the end of its environment, since the launcher holds the pipe open. Mode `exec` forks: only
there a value is read outside worker and bot, by the very process that becomes the bot.

In both the bot is born in its Landlock domain, before its interpreter runs anything. A domain belongs to a thread, so
in mode `bootstrap` a thread of its own enters it and spawns the bot (0.14 ms, half of it CPU time of making the
ruleset; by fork it would be 0.7 ms). What is the same for every bot that thread inherits. Standard library only: the
spawner's process loads it.
"""

from __future__ import annotations

import _thread
import json
import os
import resource
import signal
from collections.abc import Callable

from runner.worker.landlock import Ground
from runner.worker.privileges import become

#: prctl(operation, argument), raising OSError.
Prctl = Callable[[int, int], None]

PR_SET_PDEATHSIG = 1
#: The number the bot finds its environment under. 0 to 2 are its input and outputs; it has no other descriptor.
ENVIRONMENT_FD = 3


#: Number, group and name of the user that an attempt has for itself.
User = tuple[int, int, str]


class Request:
    """What the worker asks for; the fields are those of `process.Launch`, durations in seconds."""

    __slots__ = (
        "argv",
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
        "readable",
        "sandbox",
        "user",
        "watched",
        "writable",
    )

    def __init__(self, message: bytes) -> None:
        raw = json.loads(message)
        self.argv: list[str] = raw["argv"]
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
        self.readable: list[str] = raw["readable"]
        self.sandbox: bool = raw["sandbox"]
        self.user: User | None = raw["user"]
        self.owned: list[str] = raw["owned"]
        self.watched: dict[str, int] = raw["watched"]
        self.writable: list[str] = raw["writable"]


class Descriptors:
    """The attempt's ends of what the worker made: its control socket, the bot's outputs, its environment's pipe;
    and the worker's journal of outcomes.

    `barrier` is the writing end of that pipe: while it is open the bot has not begun. Where the bot has a user of its
    own, the lock on that user follows them, and is the launcher's.
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


class Cradle:
    """The thread of the launcher that enters a domain and starts the bot in it.

    It stays until `release`, which is for after the bot's end: the bot's parent-death signal tells of the thread.
    """

    __slots__ = ("_ended", "_enter", "_spawn", "_tried", "bot", "error")

    def __init__(self, enter: Callable[[], None], spawn: Callable[[], int]) -> None:
        self.bot = 0
        self.error: BaseException | None = None
        self._enter, self._spawn = enter, spawn
        self._tried, self._ended = _thread.allocate_lock(), _thread.allocate_lock()
        self._tried.acquire()
        self._ended.acquire()

    def begin(self) -> None:
        """Starts the thread, with what the calling one is kept from."""
        try:
            _thread.start_new_thread(self._live, ())
        except RuntimeError as error:
            self.error = error
            self._tried.release()

    def wait(self) -> None:
        """Returns when the bot is there, or `error`."""
        self._tried.acquire()

    def release(self) -> None:
        self._ended.release()

    def _live(self) -> None:
        try:
            self._enter()
            self.bot = self._spawn()
        except BaseException as error:  # raised again where somebody can say it
            self.error = error
        self._tried.release()
        self._ended.acquire()


class Nursery:
    """The thread of the launcher that cradles are born of, from the first one on.

    A thread inherits what its parent is kept from; so what is the same for every bot is entered once, and not by each
    cradle: the kernel would compile the filter of system calls for each, and take it down with each.
    """

    __slots__ = ("_asked", "_cradle", "_error", "_settle", "_settled", "_started")

    def __init__(self, settle: Callable[[], None]) -> None:
        self._settle = settle
        self._started = False
        self._error: BaseException | None = None
        self._cradle: Cradle | None = None

    def bear(self, enter: Callable[[], None], spawn: Callable[[], int]) -> Cradle:
        """A cradle that has tried. Raises what kept it, or this thread, from its work; the next call tries anew."""
        if not self._started:
            self._begin()
        if self._error is not None:
            self._started = False
            raise self._error
        self._cradle = cradle = Cradle(enter, spawn)
        self._asked.release()
        cradle.wait()
        if cradle.error is not None:
            cradle.release()
            raise cradle.error
        return cradle

    def _begin(self) -> None:
        self._error = None
        self._settled, self._asked = _thread.allocate_lock(), _thread.allocate_lock()
        self._settled.acquire()
        self._asked.acquire()
        _thread.start_new_thread(self._live, ())
        self._started = True
        self._settled.acquire()

    def _live(self) -> None:
        try:
            self._settle()
        except BaseException as error:  # raised again where somebody can say it
            self._error = error
            self._settled.release()
            return
        self._settled.release()
        while True:
            self._asked.acquire()
            if self._cradle is not None:
                self._cradle.begin()


def spawn_bot(
    request: Request, files: Descriptors, *, nursery: Nursery | None, enter: Callable[[], None] | None
) -> tuple[int, Cradle | None]:
    """Mode `bootstrap`: the process id of the bot, which has begun nothing yet, and its cradle. Raises `NotStarted`."""
    actions = [
        (os.POSIX_SPAWN_DUP2, files.stdout, 1),
        (os.POSIX_SPAWN_DUP2, files.stderr, 2),
        (os.POSIX_SPAWN_DUP2, files.environment, ENVIRONMENT_FD),
    ]
    cradle: Cradle | None = None

    def spawn() -> int:
        return os.posix_spawnp(
            request.argv[0], request.argv, request.base_environment, file_actions=actions, setsid=True
        )

    doing = into_folder(request)
    try:
        os.chdir(request.cwd)
        doing = into_program(request)
        if nursery is None or enter is None:
            bot = spawn()
        else:
            cradle = nursery.bear(enter, spawn)
            bot = cradle.bot
        doing = INTO_LIMITS
        limit_spawned(request.limits, bot)
    except (OSError, ValueError) as error:
        if cradle is not None:
            cradle.release()
        raise NotStarted(sentence(doing, error)) from None
    finally:
        os.chdir("/")
    return bot, cradle


def limit_spawned(limits: dict[str, int], bot: int) -> None:
    """Limits for a bot that waits; one that cannot have them is ended."""
    try:
        set_limits(limits, bot)
    except ValueError:
        os.kill(bot, signal.SIGKILL)
        os.waitpid(bot, 0)
        raise


def make_ruleset(request: Request, ground: Ground | None) -> int | None:
    """The ruleset of the bot's domain; `None` where the kernel has none. Raises `NotStarted`."""
    if ground is None:
        return None
    try:
        return ground.scopes() if request.sandbox else ground.ruleset(request.readable, request.writable)
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
