"""The spawner: one small process per worker that forks its launchers.

Run by `process.Spawner` as `python -I -S spawner.py FD BOARD GROUND GROUP`; FD is its socket to the worker
(SOCK_SEQPACKET), BOARD the memory that launchers write to who their bot is (`board.py`), GROUND what every bot's domain
grants (JSON: Landlock's ABI, and paths with rights) or `null`, GROUP the control group below which each launcher has
its own, or nothing. Each message on the socket brings a link (`links.py`) that needs a launcher: the worker asks that
for one bot after another, and the spawner looks into the link when its launcher was killed.
Promises that it never holds a value or a key (the environment stays in its pipe), that nothing else of the worker's
is open in it, that nobody of the same user can look into it, and that it ends when its worker and its launchers
have. What a launcher that was killed leaves behind becomes the spawner's child: it kills that and reports in its
stead. Single threaded; beside the standard library it loads `launcher` and what that needs only.
"""

# pathlib would make the process larger that is copied for each attempt.
# ruff: noqa: PTH100, PTH118, PTH120

from __future__ import annotations

import _thread
import contextlib
import ctypes
import gc
import json
import os
import resource
import select
import signal
import socket
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
#: Bytes of stack for the thread that is a bot's parent (`starting.Cradle`); posix_spawn(3) gives its child another.
CRADLE_STACK = 256 * 1024
#: What a launcher does, from its link to the spawner.
Life = Callable[[socket.socket], None]
PR_SET_DUMPABLE = 4


class Launcher:
    """A launcher's process, and its end of its link to the worker."""

    __slots__ = ("life", "link", "pid", "second")

    def __init__(self, pid: int, link: socket.socket, *, second: bool) -> None:
        self.pid, self.link = pid, link
        #: Readable when the process is dead.
        self.life = os.pidfd_open(pid)
        #: Whether it was forked for what another one had not begun.
        self.second = second


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
    """Returns when the worker has closed its end and the last launcher has ended.

    It is not woken for an attempt, unless that needs one more launcher, but for the end of a launcher.
    """
    launchers: dict[int, Launcher] = {}
    poll = select.poll()
    poll.register(requests, select.POLLIN)
    working = True
    while working or launchers:
        ready = [file for file, _ in poll.poll()]
        for file in ready:
            if file in launchers:
                poll.unregister(file)
                finish(launchers.pop(file), launchers, poll, live=live, board=board, group=group)
        if requests.fileno() in ready:
            working = accept(requests, launchers, poll, live=live)
            if not working:
                poll.unregister(requests)


def accept(requests: socket.socket, launchers: dict[int, Launcher], poll: select.poll, *, live: Life) -> bool:
    """A launcher for one more link; False when the worker is gone."""
    try:
        message, files = launcher.receive(requests)
    except ConnectionResetError:
        return False
    if not message:
        return False
    if files:
        begin(socket.socket(fileno=files[0]), launchers, poll, live=live)
    return True


def begin(
    link: socket.socket, launchers: dict[int, Launcher], poll: select.poll, *, live: Life, second: bool = False
) -> None:
    """Forks a launcher, or refuses what it was to do first."""
    try:
        one = fork(link, [REQUESTS_FD, *foreign(launchers)], live=live, second=second)
    except OSError as error:
        refuse(link, error)
    else:
        launchers[one.life] = one
        poll.register(one.life, select.POLLIN)


def foreign(launchers: dict[int, Launcher]) -> list[int]:
    """What belongs to other launchers."""
    return [file for one in launchers.values() for file in (one.life, one.link.fileno())]


def fork(link: socket.socket, foreign: list[int], *, live: Life, second: bool) -> Launcher:
    """A new launcher, which has closed what is not its own. Raises OSError."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            for file in foreign:
                os.close(file)
            live(link)
            status = 0
        finally:
            os._exit(status)
    try:
        return Launcher(pid, link, second=second)
    except OSError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def refuse(link: socket.socket, error: Exception) -> None:
    """No descriptor, no process: tells the worker, if at least its control socket arrived."""
    left = Left(link)
    if left.message:
        request, (control, journal) = Request(left.message), left.files[: Descriptors.KEPT]
        detail = f"The bot was not started: this host gave no further process or descriptor ({why(error)})."
        report(request, journal, control, stand_in(request, ("start_failed", detail), survivors=0))
    left.close()


class Left:
    """What is asked for in a link and not recorded: a request with its files. The message is empty where there is none,
    or no descriptor was left for them. The link takes nothing more, which the worker hears when it asks next.
    """

    __slots__ = ("files", "message")

    def __init__(self, link: socket.socket) -> None:
        self.message, self.files = b"", list[int]()
        with link, contextlib.suppress(OSError):  # there is nothing, or the worker is gone
            link.shutdown(socket.SHUT_RDWR)
            message, self.files = launcher.receive(link, socket.MSG_DONTWAIT)
            self.message = message if len(self.files) >= Descriptors.KEPT else b""

    @property
    def begun(self) -> bool:
        """Whether the launcher took the bot's ends of its pipes, and so may have started it."""
        with socket.socket(fileno=os.dup(self.files[0])) as control, contextlib.suppress(OSError):
            return control.recv(len(Descriptors.WORD), socket.MSG_PEEK | socket.MSG_DONTWAIT) != Descriptors.WORD
        return True

    def close(self) -> None:
        for file in self.files:
            os.close(file)


def finish(
    ended: Launcher,
    launchers: dict[int, Launcher],
    poll: select.poll,
    *,
    live: Life,
    board: Board,
    group: str | None,
) -> None:
    """Lets go of a launcher. One that did not end as it should is finished and reported for."""
    _, status = os.waitpid(ended.pid, 0)
    os.close(ended.life)
    if group is not None:
        cgroups.end(f"{group}/{ended.pid}")
    if status == 0:
        ended.link.close()
        return
    left, usage = Left(ended.link), Usage()
    if left.message:
        usage.bot = board.read(Request(left.message).place)[1]
    survivors = sweep(frozenset(other.pid for other in launchers.values()), usage)
    link = None if ended.second else asked_again(left)
    if left.message and link is None:
        stand_in_for(left, describe(status), usage, survivors)
    left.close()
    if link is not None:
        begin(link, launchers, poll, live=live, second=True)


def asked_again(left: Left) -> socket.socket | None:
    """A link in which what was not begun is asked for, and nothing more, of a launcher that ends with it."""
    try:
        if not left.message or left.begun:
            return None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    except OSError:  # no descriptor is left
        return None
    with ours:
        socket.send_fds(ours, [left.message], left.files)
    return theirs


def stand_in_for(left: Left, how: str, usage: Usage, survivors: int) -> None:
    """Tells the worker of the attempt of a launcher that was killed; what there was of its bot is dead."""
    request, (control, journal) = Request(left.message), left.files[: Descriptors.KEPT]
    survivors = max(survivors, tenancy.end_of(request))
    known, final = recorded(request, journal)
    if known and final:
        tell(control, line_of(known, job=request.job, attempt=request.attempt))
        return
    detail = f"The bot's supervisor ended early ({how}); the bot and all below it were killed."
    found = (
        {**known, "survivors": survivors}
        if known
        else stand_in(request, ("launcher_died", detail), survivors=survivors, usage=usage)
    )
    report(request, journal, control, found)


def describe(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"signal {-code}" if code < 0 else f"exit status {code}"


def recorded(request: Request, journal: int) -> tuple[dict[str, object], bool]:
    """What a launcher lived to record, and whether that was all it had to say: then it stands."""
    noted: dict[str, object] = {}
    for line in os.pread(journal, os.fstat(journal).st_size, 0).splitlines():
        if request.job.encode() in line:
            try:
                found: dict[str, object] = json.loads(line)
            except ValueError:  # a full disk tore it
                continue
            if (found.pop("job"), found.pop("attempt")) == (request.job, request.attempt):
                if found.pop("final", True):
                    return found, True
                noted = found
    return noted, False


def stand_in(
    request: Request, reason: tuple[str, str], *, survivors: int, usage: Usage | None = None
) -> dict[str, object]:
    """The outcome of an attempt whose launcher cannot say it.

    A bot that had ended by itself before we came to kill it has ended so, whatever became of its launcher.
    """
    now, code = time.time(), None
    if usage is not None and usage.status is not None and os.WIFEXITED(usage.status):
        reason, code = ("exit", ""), os.WEXITSTATUS(usage.status)
    return outcome(
        *reason,
        survivors,
        usage=usage or Usage(),
        code=code,
        started_at=request.asked,
        ended_at=now,
        mode=request.mode,
        started_after=time.monotonic() - (now - request.asked) - request.claimed,
        user=None if request.user is None else request.user[2],
    )


if __name__ == "__main__":
    main()
