"""Supervises attempts, one at a time: starts the bot, keeps its time, and lets nothing of it survive.

Promises that an attempt ends, for whatever reason, only when no descendant of the bot is alive (the count of survivors
is in the outcome), and that the outcome is durable (a line of the worker's journal) before anybody is told. Holds no
value: the environment's pipe is read by the bot, or by the very process that becomes it. Refuses to outlive its
worker, or its worker's lease: the end of the control socket kills the tree, and so does a worker that has not said for
too long that it keeps the lease (it may be frozen, and the next attempt about to begin elsewhere). A launcher that is
itself killed is finished by the spawner.

It is forked from `spawner.py`, never executed, and serves many attempts, asked for on its link (`links.py`): the pages
that a fork must copy cost 2 ms each time. It imports little beside the standard library for the same reason. On the
control socket (SOCK_SEQPACKET) it takes the words terminate, kill, pause, resume and `keep INSTANT`, and sends the JSON
events `paused` and `resumed` and, at last, the line of the journal; who the bot is stands on the `board`.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Callable
from functools import partial

from runner.worker import tenancy
from runner.worker.board import Board
from runner.worker.descendants import Usage, continue_all, descendants, notice_deaths, send, send_group, stop_all, sweep
from runner.worker.endlines import append, is_gone, line_of, outcome, record, tell
from runner.worker.landlock import Ground
from runner.worker.nursery import Nursery
from runner.worker.starting import (
    ENVIRONMENT_FD,
    Descriptors,
    NotStarted,
    Prctl,
    Request,
    User,
    become_bot,
    make_ruleset,
    spawn_bot,
)
from runner.worker.watch import Watch

PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
#: Longest request in bytes; the worker refuses longer ones. It fits the kernel's default socket buffer (208 KiB).
MAX_REQUEST = 128 * 1024

#: No event has more bytes. Memory of more than 128 KiB would be mapped, and given back, for each.
MAX_NEWS = 64 * 1024
#: Of a bot whose worker died.
ALONE = "The runner's process ended while the bot ran, so the bot was killed."
#: Where a request is received: new memory for each would be mapped, and given back, each time.
_room = memoryview(bytearray(MAX_REQUEST))
#: The same for descriptors.
ROOM = socket.CMSG_SPACE(Descriptors.PIPES * struct.calcsize("i"))


def serve(link: socket.socket, *, board: Board, ground: Ground | None, prctl: Prctl) -> None:
    """The life of a launcher, just forked: attempts, until the worker has closed its end of the link."""
    os.setsid()
    os.dup2(0, ENVIRONMENT_FD, inheritable=False)  # keeps the number free of anything else
    os.umask(0o077)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    deaths = notice_deaths()
    nursery = None if ground is None else Nursery(ground)
    while True:
        message, kept = receive(link, socket.MSG_PEEK)
        if not message:
            return
        files, lock = Descriptors(*kept[: Descriptors.KEPT], *take_pipes(kept[0])), kept[Descriptors.KEPT :]
        run(message, files, lock, deaths, link=link, board=board, ground=ground, nursery=nursery, prctl=prctl)


def receive(source: socket.socket, flags: int = 0) -> tuple[bytes, list[int]]:
    """One message with its descriptors. `socket.recv_fds` drops the flag that keeps them from the bots (3.11)."""
    length, extras, _, _ = source.recvmsg_into([_room], ROOM, socket.MSG_CMSG_CLOEXEC | flags)
    return bytes(_room[:length]), [number for _, _, data in extras for (number,) in struct.iter_unpack("i", data)]


def take_pipes(control: int) -> list[int]:
    """The bot's ends of its pipes: from now on the bot counts as begun."""
    source = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, control)
    try:
        return receive(source)[1]
    finally:
        source.detach()


def run(
    message: bytes,
    files: Descriptors,
    lock: list[int],
    deaths: int,
    *,
    link: socket.socket,
    board: Board,
    ground: Ground | None,
    nursery: Nursery | None,
    prctl: Prctl,
) -> None:
    """One attempt, from request to outcome.

    The request stays in the link until its outcome is recorded: from then on the spawner has nothing to do for it.
    """
    request = Request(message)
    attempt = Attempt(request, files.control, files.journal, board=board)
    failure = attempt.start(files, ground=ground, nursery=nursery, prctl=prctl)
    attempt.supervise(failure, deaths)
    found = attempt.end()
    tenancy.release(lock)
    line = record(request, files.journal, found)
    link.recv(1)
    tell(files.control, line)
    files.close()
    if nursery is not None and found["survivors"]:
        nursery.forget()


class Attempt:
    """The bot and everything below it, from its fork to its outcome."""

    __slots__ = (
        "begun",
        "board",
        "bot",
        "control",
        "detail",
        "ended_at",
        "expires",
        "journal",
        "kept_at",
        "kill_at",
        "paused_at",
        "paused_seconds",
        "reason",
        "request",
        "started",
        "started_at",
        "tenant",
        "usage",
        "watch",
    )

    def __init__(self, request: Request, control: int, journal: int, *, board: Board) -> None:
        self.request = request
        self.board = board
        self.control, self.journal = control, journal
        self.bot = 0
        self.reason = "exit"
        self.detail = ""
        self.started = False
        self.tenant: User | None = None  # the user that is the bot's own
        self.started_at = self.ended_at = time.time()
        self.begun = time.monotonic()
        # Instants of the monotonic clock: the deadline, the end of the grace, and the begin of a pause.
        self.expires: float | None = None
        self.kill_at: float | None = None
        self.paused_at: float | None = None
        self.paused_seconds = 0.0
        # When the worker last extended the lease.
        self.kept_at: float = request.kept_at
        self.usage = Usage(self.note_end)
        self.watch = Watch(request.watched, request.writable, user=request.user)

    def start(self, files: Descriptors, *, ground: Ground | None, nursery: Nursery | None, prctl: Prctl) -> int | None:
        """Starts the bot; returns the pipe on which one that was forked says if it could not start."""
        failure = ruleset = None
        try:
            if self.request.user is not None:
                self.tenant = tenancy.begin(self.request.user, self.request.owned, (files.stdout, files.stderr))
            if self.request.mode == "bootstrap" and not self.request.sandbox and self.tenant is None:
                self.bot = self.usage.bot = spawn_bot(self.request, files, nursery)
                self.hear_of_start("")
            else:
                ruleset = make_ruleset(self.request, ground)
                enter = None
                if ground is not None and ruleset is not None:
                    enter = partial(ground.enter, ruleset, walled=not self.request.sandbox)
                failure = self.fork(files, enter, prctl)
        except NotStarted as reason:
            self.hear_of_start(str(reason))
        finally:
            files.begin()
            if ruleset is not None:
                os.close(ruleset)
        if self.request.deadline is not None:
            self.expires = time.monotonic() + self.request.deadline
        return failure

    def fork(self, files: Descriptors, enter: Callable[[], None] | None, prctl: Prctl) -> int:
        failure, failure_end = os.pipe()
        launcher = os.getpid()
        self.bot = self.usage.bot = os.fork()
        if self.bot == 0:
            become_bot(self.request, files, failure_end, enter, launcher=launcher, prctl=prctl)
        os.close(failure_end)
        self.note(executed=False)
        return failure

    def note(self, *, executed: bool) -> None:
        """Says who the bot is, for those who have to look for its end in our stead."""
        self.board.note(self.request.place, os.getpid(), self.bot, executed=executed)

    def supervise(self, failure: int | None, deaths: int) -> None:
        """Returns when the bot has ended or must be killed."""
        poll = select.poll()
        for file in (self.control, deaths) if failure is None else (self.control, deaths, failure):
            poll.register(file, select.POLLIN)
        while self.bot:
            ready = {file for file, _ in poll.poll(self.patience())}
            if failure is not None and failure in ready:
                poll.unregister(failure)
                self.hear_of_start(os.read(failure, 4096).decode(errors="replace"))
                os.close(failure)
                failure = None
            if deaths in ready and self.collect(deaths):
                break
            if (self.control in ready and not self.obey()) or not self.in_time():
                break
        self.ended_at = time.time()
        if failure is not None:
            os.close(failure)

    def patience(self) -> float | None:
        """Milliseconds until the clock wants something, rounded up so that it then really does."""
        watch = None if self.kill_at is not None else self.watch.due
        own: tuple[float | None, ...] = (self.expires, self.kill_at, watch) if self.paused_at is None else ()
        instants = [instant for instant in (*own, self.lease_over) if instant is not None]
        if not instants:
            return None
        # poll(2) takes at most 2**31 ms; an hour is as good as for ever, since the clock is looked at again.
        return min(max(0.0, min(instants) - time.monotonic()), 3600.0) * 1000 + 1

    @property
    def lease_over(self) -> float | None:
        """When the tree must be dead because somebody else may begin soon; no pause stops this clock."""
        patience = self.request.patience
        return None if patience is None else self.kept_at + patience

    def hear_of_start(self, failure: str) -> None:
        """Nothing means that the bot's program was executed."""
        if failure:
            self.reason, self.detail = "start_failed", failure
            return
        self.started = True
        self.started_at, self.begun = time.time(), time.monotonic()
        self.note(executed=True)

    def obey(self) -> bool:
        """Follows one command of the worker; False when the tree is to be killed now."""
        try:
            command = os.read(self.control, 64)
        except ConnectionResetError:
            command = b""
        if command in {b"", b"kill"}:
            if self.reason == "exit":
                ordered = "killed", "The bot was killed by order of its runner."
                self.reason, self.detail = ordered if command else ("worker_died", ALONE)
            return False
        if command == b"terminate" and self.kill_at is None:
            self.reason, self.detail = "killed", "The bot was ended by order of its runner."
            return self.terminate()
        if command == b"pause":
            self.pause()
        elif command == b"resume":
            self.resume()
        elif command.startswith(b"keep "):
            self.kept_at = max(self.kept_at, float(command[5:]))
        return True

    def in_time(self) -> bool:
        """Ends a bot that is out of time; False when its grace is over as well."""
        now = time.monotonic()
        if self.lease_over is not None and now >= self.lease_over:
            if self.reason == "exit":
                self.reason = "lease_over"
                self.detail = "The runner did not extend its lease in time, so the bot was killed before it ran out."
            return False
        if self.paused_at is not None:
            return True
        if self.kill_at is not None:
            return now < self.kill_at
        if self.expires is not None and now >= self.expires:
            self.reason = "timeout"
            self.detail = f"The bot ran longer than its limit of {self.request.deadline:g} s."
            return self.terminate()
        return self.in_bounds(now)

    def in_bounds(self, now: float) -> bool:
        """Looks, when it is due, at what the bot uses; one beyond a limit is ended, False for at once."""
        if self.watch.due is None or now < self.watch.due:
            return True
        found = self.watch.look(os.getpid(), self.usage)
        if found is None:
            return True
        self.reason, self.detail = "limit", found[1]
        # What grows by the moment does not get its grace.
        return found[0] not in {"memory", "processes"} and self.terminate()

    def terminate(self) -> bool:
        """Asks the bot's process group to end; False when there is nobody yet who could understand."""
        if not self.started:
            return False
        self.resume()
        self.kill_at = time.monotonic() + self.request.grace
        if self.request.sandbox:
            # The first two are bubblewrap's: with them the bot would be killed, and have no grace.
            for pid in list(descendants(self.bot))[1:]:
                send(pid, signal.SIGTERM)
        else:
            send_group(self.bot, signal.SIGTERM)
        return True

    def pause(self) -> None:
        if self.paused_at is None and self.kill_at is None:
            self.paused_at = time.monotonic()
            stop_all(os.getpid())
            tell(self.control, b'{"event": "paused"}')

    def resume(self) -> None:
        if self.paused_at is None:
            return
        self.count_pause()
        continue_all(os.getpid())
        tell(self.control, b'{"event": "resumed"}')

    def count_pause(self) -> None:
        """Ends the pause for the clocks: its time is none of the bot's."""
        if self.paused_at is not None:
            stood = time.monotonic() - self.paused_at
            self.paused_at = None
            self.paused_seconds += stood
            if self.expires is not None:
                self.expires += stood

    def collect(self, deaths: int) -> bool:
        """Collects the dead that were re-parented to us; True when the bot is dead, which keeps its pid until `end`."""
        os.read(deaths, 4096)
        while (dead := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
            if dead.si_pid == self.bot:
                if self.reason == "exit" and dead.si_status and is_gone(self.control):
                    # What it wrote to, or asked, was gone: that may be why it failed.
                    self.reason, self.detail = "worker_died", ALONE
                return True
            self.usage.collect(dead.si_pid)
        return False

    def end(self) -> dict[str, object]:
        """Kills and collects whatever is left and returns the outcome."""
        if self.bot:
            self.usage.collect(self.bot)
        self.count_pause()
        survivors = sweep(frozenset(), self.usage)
        if self.tenant is not None:
            survivors = max(survivors, tenancy.end(self.tenant, self.request.owned))
        status = None if self.reason == "start_failed" else self.usage.status
        return self.found(None if status is None else os.waitstatus_to_exitcode(status), survivors)

    def note_end(self, code: int) -> None:
        """Leaves word of how the bot ended, about to be collected: whoever kills us now does not make it run again.

        It waits for no disk, since only a death of ours makes it count, and not one of the host.
        """
        if self.reason != "start_failed":
            with contextlib.suppress(OSError):
                note = {**self.found(code, -1), "final": False}
                append(self.journal, line_of(note, job=self.request.job, attempt=self.request.attempt))

    def found(self, code: int | None, survivors: int) -> dict[str, object]:
        known = outcome(
            self.reason,
            self.detail,
            survivors,
            usage=self.usage,
            code=None if code is None else self.exit_code(code),
            started_at=self.started_at,
            ended_at=self.ended_at,
            mode=self.request.mode,
            started_after=self.begun - self.request.claimed,
            user=None if self.tenant is None else self.tenant[2],
        )
        return {**known, "paused_seconds": round(self.paused_seconds, 3)}

    def exit_code(self, code: int) -> int:
        return 128 - code if self.request.sandbox and code > 128 and code - 128 in signal.valid_signals() else code
