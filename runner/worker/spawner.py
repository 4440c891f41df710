"""The spawner: one small process per worker that forks a launcher for each attempt.

Run by `process.Spawner` as `python -I -S spawner.py FD BOARD GROUND GROUP`; FD is its socket to the worker
(SOCK_SEQPACKET), BOARD the memory that launchers write to who their bot is (`board.py`), GROUND what every bot's domain
grants (JSON: Landlock's ABI, and paths with rights) or `null`, GROUP the control group below which each launcher has
its own, or nothing. Each message on the socket is one request (JSON)
with descriptors (SCM_RIGHTS), those of `starting.Descriptors`, and the lock on the bot's user if it has one of its own.
Promises that it never holds a value or a key (the environment stays in its pipe), that nothing else of the worker's
is open in it, that nobody of the same user can look into it, and that it ends when its worker and its launchers
have. What a launcher that was killed leaves behind becomes the spawner's child: it kills that and reports in its
stead. Single threaded; beside the standard library it loads `launcher` and what that needs only.
"""

# pathlib would make the process larger that is copied for each attempt.
# ruff: noqa: PTH100, PTH118, PTH120

from __future__ import annotations

import _thread
import ctypes
import gc
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable

if __name__ == "__main__":
    # It is run by path and without site-packages: the folder of our packages comes last, for these imports.
    sys.path.append(os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..")))

from runner.worker import cgroups, launcher, privileges, tenancy
from runner.worker.board import Board
from runner.worker.descendants import Usage, sweep
from runner.worker.endlines import line_of, outcome, report, tell
from runner.worker.landlock import Ground
from runner.worker.starting import Descriptors, Prctl, Request, why

#: Where the spawner keeps its socket, so that it can close all other descriptors.
REQUESTS_FD = 3
#: Launchers kept for the next attempts; each has 2 MB of its own. How often others are looked for, in milliseconds.
IDLE, IDLE_LOOK = 4, 1000
#: Bytes of stack for the thread that is a bot's parent (`starting.Cradle`); posix_spawn(3) gives its child another.
CRADLE_STACK = 256 * 1024
#: What a launcher does, from its link to the spawner.
Life = Callable[[socket.socket], None]
PR_SET_DUMPABLE = 4


class Launcher:
    """A launcher's process and, while it is at work, what it takes to report in its stead."""

    __slots__ = ("control", "journal", "link", "lock", "message", "pid", "started_at")

    def __init__(self, pid: int, link: socket.socket) -> None:
        self.pid = pid
        self.link = link
        self.control = self.journal = self.lock = -1
        self.message = b""
        self.started_at = 0.0

    @property
    def idle(self) -> bool:
        return self.control < 0

    def give(self, message: bytes, files: list[int]) -> None:
        """Hands a request on, descriptors and all. Raises OSError when the launcher is gone."""
        packed = struct.pack(f"{len(files)}i", *files)
        self.link.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, packed)])
        self.control, self.journal = files[: Descriptors.KEPT]
        self.lock = files[-1] if len(files) > Descriptors.COUNT else -1
        self.message, self.started_at = message, time.time()

    def listen(self) -> bool:
        """Hears, without waiting, that it has done its work; false where it is gone."""
        try:
            word = self.link.recv(16, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        if word:
            self.rest()
        return bool(word)

    def free(self) -> bool:
        """Whether it can take a request."""
        return self.idle or (self.listen() and self.idle)

    def rest(self) -> None:
        os.close(self.control)
        os.close(self.journal)
        if self.lock >= 0:
            os.close(self.lock)
        self.control = self.journal = self.lock = -1


def main() -> None:
    board = Board(int(sys.argv[2]))  # which needs no descriptor any more
    os.dup2(int(sys.argv[1]), REQUESTS_FD, inheritable=False)
    os.closerange(REQUESTS_FD + 1, 2**31 - 1)
    prctl = load_prctl()
    prctl(PR_SET_DUMPABLE, 0)
    prctl(launcher.PR_SET_CHILD_SUBREAPER, 1)
    privileges.take_up()
    if os.geteuid() == 0:
        privileges.drop_bounds()
    forget_signals()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core would hold the values
    _thread.stack_size(CRADLE_STACK)
    ground = read_ground(sys.argv[3])
    gc.disable()
    gc.freeze()  # fewer pages are touched, hence copied, after each fork
    group = sys.argv[4] or None

    def live(link: socket.socket) -> None:
        cgroups.join(group, str(os.getpid()))
        launcher.serve(link, board=board, ground=ground, prctl=prctl)

    serve(socket.socket(fileno=REQUESTS_FD), live, board=board, group=group)


def read_ground(text: str) -> Ground | None:
    told = json.loads(text)
    return None if told is None else Ground(*told)


def load_prctl() -> Prctl:
    libc = ctypes.CDLL(None, use_errno=True)

    def prctl(operation: int, argument: int) -> None:
        rest = [ctypes.c_ulong(0)] * 3
        if libc.prctl(operation, ctypes.c_ulong(argument), *rest) != 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))

    return prctl


def forget_signals() -> None:
    """Drops dispositions and mask of the thread that started us. What would end us, or a launcher, only wakes us.

    Not ignored but caught, since execve(2) gives a caught signal its default back: bots start with all defaults.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    caught = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE}
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, shrug if number in caught else signal.SIG_DFL)


def shrug(_number: int, _frame: object) -> None:
    """A signal to a whole service must not end what ends the bots; our end is the end of the socket."""


def serve(requests: socket.socket, live: Life, *, board: Board, group: str | None) -> None:
    """Returns when the worker has closed its end and the last attempt is over.

    That a launcher has done its work wakes nobody while there is a worker: it is heard of when one is needed, or when
    there may be too many. That a launcher is gone does.
    """
    launchers: dict[int, Launcher] = {}
    poll = select.poll()
    poll.register(requests, select.POLLIN)
    working = True
    while working or not all(one.idle for one in launchers.values()):
        ready = [file for file, _ in poll.poll(IDLE_LOOK if working and len(launchers) > IDLE else None)]
        gone = [file for file in ready if file in launchers and not launchers[file].listen()]
        for file in gone or (() if ready else spare(launchers)):
            poll.unregister(file)
            finish(launchers.pop(file), launchers, board=board, group=group)
        if requests.fileno() in ready:
            working = accept(requests, launchers, poll, live=live)
            if not working:
                poll.unregister(requests)
                for file in launchers:
                    poll.modify(file, select.POLLIN)


def spare(launchers: dict[int, Launcher]) -> list[int]:
    """Those that are idle and not needed for the next attempts."""
    idle = [file for file, one in launchers.items() if one.free()]
    return idle[IDLE:]


def accept(requests: socket.socket, launchers: dict[int, Launcher], poll: select.poll, *, live: Life) -> bool:
    """Gives one request to an idle launcher or a new one; False when the worker is gone."""
    try:
        message, files = launcher.receive(requests)
    except ConnectionResetError:
        return False
    if not message:
        return False
    try:
        hand_on(message, files, launchers, poll, live=live)
    except (OSError, struct.error) as error:
        refuse(message, files, error)
        return True
    for file in files[Descriptors.KEPT : Descriptors.COUNT]:
        os.close(file)
    return True


def hand_on(
    message: bytes,
    files: list[int],
    launchers: dict[int, Launcher],
    poll: select.poll,
    *,
    live: Life,
) -> None:
    # Those known to be idle first: to ask the others takes a system call each.
    for one in sorted(launchers.values(), key=lambda one: not one.idle):
        if one.free():
            try:
                one.give(message, files)
            except BrokenPipeError:
                continue  # killed while idle; `serve` is about to learn of it
            return
    one = fork(requests_and(launchers), files, live=live)
    launchers[one.link.fileno()] = one
    poll.register(one.link, 0)
    one.give(message, files)


def requests_and(launchers: dict[int, Launcher]) -> list[int]:
    """What belongs to the spawner and to other attempts."""
    theirs = [file for one in launchers.values() for file in (one.link.fileno(), one.control, one.journal, one.lock)]
    return [REQUESTS_FD, *(file for file in theirs if file >= 0)]


def fork(foreign: list[int], files: list[int], *, live: Life) -> Launcher:
    """A new launcher, which has closed what is not its own."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            ours.close()
            for file in (*foreign, *files):
                os.close(file)
            live(theirs)
            status = 0
        finally:
            os._exit(status)
    theirs.close()
    return Launcher(pid, ours)


def refuse(message: bytes, files: list[int], error: Exception) -> None:
    """No descriptor, no process: tells the worker, if at least its control socket arrived."""
    if len(files) >= Descriptors.KEPT:
        detail = f"The bot was not started: this host gave no further process or descriptor ({why(error)})."
        found = stand_in(message, ("start_failed", detail), time.time(), survivors=0)
        report(Request(message), files[1], files[0], found)
    for file in files:
        os.close(file)


def finish(ended: Launcher, launchers: dict[int, Launcher], *, board: Board, group: str | None) -> None:
    """Lets go of a launcher. One that did not end as it should is finished and reported for."""
    ended.link.close()
    _, status = os.waitpid(ended.pid, 0)
    if group is not None:
        cgroups.end(f"{group}/{ended.pid}")
    if status != 0:
        usage = Usage()
        if not ended.idle:
            usage.bot = board.read(Request(ended.message).place)[1]
        survivors = sweep(frozenset(other.pid for other in launchers.values()), usage)
        if not ended.idle:
            survivors = max(survivors, tenancy.end_of(Request(ended.message)))
            detail = f"The bot's supervisor ended early ({describe(status)}); the bot and all below it were killed."
            known, final = recorded(ended.message, ended.journal)
            if known and final:
                request = Request(ended.message)
                tell(ended.control, line_of(known, job=request.job, attempt=request.attempt))
            else:
                found = (
                    {**known, "survivors": survivors}
                    if known
                    else stand_in(
                        ended.message, ("launcher_died", detail), ended.started_at, survivors=survivors, usage=usage
                    )
                )
                report(Request(ended.message), ended.journal, ended.control, found)
    if not ended.idle:
        ended.rest()


def describe(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"signal {-code}" if code < 0 else f"exit status {code}"


def recorded(message: bytes, journal: int) -> tuple[dict[str, object], bool]:
    """What a launcher lived to record, and whether that was all it had to say: then it stands."""
    request = Request(message)
    noted: dict[str, object] = {}
    for line in os.pread(journal, os.fstat(journal).st_size, 0).splitlines():
        if request.job.encode() in line:
            found: dict[str, object] = json.loads(line)
            if (found.pop("job"), found.pop("attempt")) == (request.job, request.attempt):
                if found.pop("final", True):
                    return found, True
                noted = found
    return noted, False


def stand_in(
    message: bytes, reason: tuple[str, str], started_at: float, *, survivors: int, usage: Usage | None = None
) -> dict[str, object]:
    """The outcome of an attempt whose launcher cannot say it.

    A bot that had ended by itself before we came to kill it has ended so, whatever became of its launcher.
    """
    request, now, code = Request(message), time.time(), None
    if usage is not None and usage.status is not None and os.WIFEXITED(usage.status):
        reason, code = ("exit", ""), os.WEXITSTATUS(usage.status)
    return outcome(
        *reason,
        survivors,
        usage=usage or Usage(),
        code=code,
        started_at=started_at,
        ended_at=now,
        mode=request.mode,
        started_after=time.monotonic() - (now - started_at) - request.claimed,
        user=None if request.user is None else request.user[2],
    )


if __name__ == "__main__":
    main()
