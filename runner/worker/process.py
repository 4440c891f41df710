"""Bots as the worker sees them: what to launch, a running process, and its outcome.

    Spawner.launch(Launch, environment) -> Process; Process.drain(feed) or Process.wait() -> Outcome

Promises that a launch never blocks on the bot, that every launched process comes to an `Outcome`, and that closing
a `Process`, or the death of this worker by any signal, ends the bot with all its descendants. The environment
reaches the bot through a pipe only; neither the spawner nor the launcher reads it. A spawner that died is replaced
at the next launch; what runs goes on. Refuses to interpret what bots write and to start them by itself.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from runner.worker import cgroups, privileges
from runner.worker.board import PLACES, Place, Places
from runner.worker.launch import Launch, SpawnerFailed, no_descriptor
from runner.worker.launcher import MAX_NEWS
from runner.worker.leases import BotUsers, Lease
from runner.worker.links import GONE, Link, Links
from runner.worker.outcomes import Outcome
from runner.worker.pipes import CHUNK, give, pipes, readable, rest
from runner.worker.starting import Descriptors

#: How long the spawner may leave requests unread, in seconds. It takes one in less than a millisecond.
SPAWNER_PATIENCE = 10.0
HERE = Path(__file__).resolve().parent

#: Seconds between two looks of who waits for a bot's start.
LOOK = 0.005

#: Paths with the rights that are granted below them.
Grants = tuple[tuple[str, int], ...]
#: Landlock's ABI, what every bot's domain grants, and the wall around it: all that a bot may be granted at all.
Ground = tuple[int, Grants, Grants]


class Process:
    """A bot from its launch to its outcome. Owns its descriptors until `close`.

    `terminate`, `kill`, `pause` and `resume` may be called from any thread and at any time, also after the end;
    `wait` and `drain` belong to one thread. As a context manager it closes itself.
    """

    def __init__(
        self,
        control: socket.socket,
        stdout: int,
        stderr: int,
        *,
        launch: Launch,
        group: str | None,
        place: Place,
        lease: Lease | None = None,
    ) -> None:
        #: To its launcher, once that was asked and until it has recorded the end.
        self.link: Link | None = None
        self.stdout, self.stderr = stdout, stderr
        self.outcome: Outcome | None = None
        #: Called by `wait` and `drain` when the tree has come to a stand and when it goes on.
        self.on_pause: Callable[..., None] = lambda *, standing: None  # noqa: ARG005
        self._control, self._entry, self._kept_at = control, launch.entry, launch.kept_at
        #: The control group that launchers have theirs in.
        self._group = group
        self._place = place
        self._lease, self._owned = lease, launch.owned
        self._launched_at, self._launched_after = time.time(), time.monotonic() - launch.claimed
        self._closing = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The bot's process id, once its program was executed; for as long as this is not closed."""
        _, bot, executed = self._place.note
        return bot if executed else None

    def fileno(self) -> int:
        """Readable when `wait(0)` may have news."""
        return self._control.fileno()

    def terminate(self) -> None:
        """SIGTERM to the bot's process group; after the grace the whole tree is killed."""
        self._command(b"terminate")

    def kill(self) -> None:
        """SIGKILL to the whole tree, now."""
        self._command(b"kill")

    def pause(self) -> None:
        """Stops the whole tree. Its deadline does not run meanwhile; `terminate` continues it first."""
        self._command(b"pause")

    def resume(self) -> None:
        """Continues a paused tree."""
        self._command(b"resume")

    def keep(self, instant: float) -> None:
        """Says that the lease was extended after `instant` of the monotonic clock, unless the launcher knows."""
        if instant > self._kept_at:
            self._kept_at = instant
            self._command(f"keep {instant!r}".encode())

    def started(self, timeout: float | None = None) -> bool:
        """Whether the bot's program is or was running, waiting for it at most `timeout` seconds."""
        expires = None if timeout is None else time.monotonic() + timeout
        while self.pid is None and self.wait(LOOK) is None:
            if expires is not None and time.monotonic() >= expires:
                return False
        return self.pid is not None

    def wait(self, timeout: float | None = None) -> Outcome | None:
        """The outcome, or `None` when there is none after `timeout` seconds. Does not read the outputs."""
        expires = None if timeout is None else time.monotonic() + timeout
        while self.outcome is None:
            left = None if expires is None else max(0.0, expires - time.monotonic())
            if not readable(self._control.fileno(), left):
                break
            self._hear(self._receive())
        return self.outcome

    def drain(
        self,
        feed: Callable[[str, bytes], None],
        *,
        due: Callable[[], float | None] = lambda: None,
        settle: Callable[[], None] = lambda: None,
    ) -> Outcome:
        """Feeds whatever the bot writes as (`stdout` or `stderr`, bytes), until all is read and it has ended.

        Meanwhile calls `settle` whenever `due` answers 0; what it answers is the seconds until then.
        """
        poll = select.poll()
        names = {self.stdout: "stdout", self.stderr: "stderr"}
        for file in (*names, self.fileno()):
            poll.register(file, select.POLLIN)
        while self.outcome is None:
            wait = due()
            if wait == 0:
                settle()
                wait = due()
            for file, _ in poll.poll(None if wait is None else math.ceil(wait * 1000)):
                if file == self.fileno():
                    self._hear(self._receive())
                elif data := os.read(file, CHUNK):
                    feed(names[file], data)
                else:
                    poll.unregister(file)
        for file, _ in poll.poll(0):
            for data in rest(file) if file in names else ():
                feed(names[file], data)
        return self.outcome

    def close(self) -> None:
        """Lets go. A bot that still runs is killed with its whole tree, by its launcher."""
        with self._closing:
            if self._control.fileno() < 0:
                return
            self._control.close()
            if self.link is not None:
                self.link.close()
            os.close(self.stdout)
            os.close(self.stderr)
            self._place.release()
            if self._lease is not None:
                self._lease.close()

    def _command(self, word: bytes) -> None:
        with self._closing, contextlib.suppress(OSError):
            # OSError: it has ended, or was let go; a full buffer means that the same word is waiting there.
            self._control.send(word, socket.MSG_DONTWAIT)

    def _receive(self) -> bytes:
        for _ in range(2):
            # That the launcher closed without having read our last word is said first, and once.
            with contextlib.suppress(ConnectionResetError):
                return self._control.recv(MAX_NEWS)
        return b""

    def _hear(self, message: bytes) -> None:
        if not message:
            self.outcome = self._entry.read() or self._unreported()
            return
        event: dict[str, Any] = json.loads(message)
        if "event" in event:
            self.on_pause(standing=event["event"] == "paused")
        else:
            del event["job"], event["attempt"]
            self.outcome = Outcome(**event)
            if self.link is not None:
                self.link.release()
                self.link = None

    def _unreported(self) -> Outcome:
        never = "The spawner was killed before it had started the bot."
        launcher, _, executed = self._place.note
        swept = self._group is not None and launcher and cgroups.end(f"{self._group}/{launcher}")
        if self._lease is not None:
            swept = self._lease.clear(self._owned) == 0
        lost = "The bot's supervisor and the spawner were killed" + (
            ", and then all that was left of the bot." if swept else "; look for leftovers of the bot on this host."
        )
        return Outcome(
            exit_code=None,
            signal=None,
            reason="launcher_died" if executed else "spawner_died",
            detail=lost if executed else never,
            survivors=-1 if executed and not swept else 0,
            max_rss_kb=0,
            user_seconds=0.0,
            system_seconds=0.0,
            started_at=self._launched_at,
            ended_at=time.time(),
            started_after=self._launched_after,
            user=None if self._lease is None else self._lease.user.name,
        )


class Spawner:
    """The spawner process of this worker; started before the worker has threads, replaced when it died.

    `launch` may be called from any thread. `ground` is what each bot's Landlock domain grants (`isolation.ground`);
    with `None` bots run in no domain. `group` is the control group for launchers and bots (`cgroups.make`), `users`
    those of which each bot gets one for itself.
    """

    def __init__(
        self, ground: Ground | None = None, *, group: str | None = None, users: BotUsers | None = None
    ) -> None:
        self._ground, self.group, self.users = ground, group, users
        self._process: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None
        self._places = Places()
        self._links = Links()
        self._replacing = threading.Lock()

    @property
    def pid(self) -> int | None:
        """The spawner's process id; `None` before `start` and after `close`."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Starts the spawner. Raises `SpawnerFailed`."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(SPAWNER_PATIENCE)
        with theirs:
            # The program moves its socket to the one number it knows, and closes everything else.
            program = str(HERE / "spawner.py")
            argv, mine = [sys.executable, "-I", "-S", program], (theirs.fileno(), self._places.file)
            try:
                with privileges.passed_on(on=self.users is not None):
                    self._process = subprocess.Popen(
                        [*argv, *map(str, mine), json.dumps(self._ground), self.group or ""],
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL,
                        pass_fds=mine,
                        start_new_session=True,
                        cwd="/",
                        env={},
                    )
            except OSError as error:
                ours.close()
                raise SpawnerFailed(f"The spawner cannot be started: {error.strerror}. Check {program}.") from None
        self._requests = ours
        self._links.close()
        self._links = Links()

    def launch(self, launch: Launch, environment: bytes) -> Process:
        """Starts a bot; `environment` is its environment as `NAME=value` items, each ended by NUL.

        Raises `LaunchRefused` or `SpawnerFailed`. A bot that cannot be started is an outcome, not an exception.
        """
        try:
            place, lease = self._places.take(), None
        except OSError:
            raise SpawnerFailed(f"The runner has {PLACES:,} bots already; lower its concurrency.") from None
        try:
            lease = None if self.users is None else self.users.lease()
            return self._launch(launch, environment, place, lease)
        except BaseException:
            place.release()
            if lease is not None:
                lease.close()
            raise

    def _launch(self, launch: Launch, environment: bytes, place: Place, lease: Lease | None) -> Process:
        user = None if lease is None else lease.user.told
        request = launch.request(place.number, user, asked=time.time())
        try:
            (stdout, stdout_end), (stderr, stderr_end), (environment_end, values) = pipes(3)
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:
            raise no_descriptor(error) from None
        process = Process(ours, stdout, stderr, launch=launch, group=self.group, place=place, lease=lease)
        lock = () if lease is None else (lease.file,)
        try:
            with theirs:
                # First, and nobody is woken by it: all is there when a launcher hears of the request.
                socket.send_fds(ours, [Descriptors.WORD], (stdout_end, stderr_end, environment_end, values))
                process.link = self._ask(request, (theirs.fileno(), launch.entry.fileno(), *lock))
        except BaseException as error:
            process.close()
            os.close(values)
            if isinstance(error, OSError):  # what waits in sockets counts, too (unix(7), ETOOMANYREFS)
                raise no_descriptor(error) from None
            raise
        finally:
            for file in (stdout_end, stderr_end, environment_end):
                os.close(file)
        give(values, environment)
        return process

    def close(self, timeout: float = 10.0) -> None:
        """Lets the spawner go; it ends with its last launcher. Raises `SpawnerFailed` if it does not in time."""
        with self._replacing:
            if self._process is None or self._requests is None:
                return
            self._requests.close()
            self._links.close()
            try:
                self._process.wait(timeout)
            except subprocess.TimeoutExpired:
                raise SpawnerFailed(
                    f"The spawner (pid {self._process.pid}) still has bots to end after {timeout:g} s; "
                    "close their processes first."
                ) from None
            self._process = self._requests = None
        if self.group is not None:
            cgroups.end(self.group)

    def _ask(self, request: bytes, files: Sequence[int]) -> Link:
        """Asks a launcher that has nothing to do, or has the spawner fork one; answers the link to it."""
        requests = self._requests
        if self._process is not None and self._process.poll() is not None:
            self._replace(requests)  # nobody would end what its launchers leave if they were killed
        if (idle := self._links.ask(request, files)) is not None:
            return idle
        link, end = self._links.new()
        try:
            with end:
                link.ask(request, files)  # first: where no process can be forked, the spawner finds it there
                self._send(end.fileno())
        except BaseException:
            link.close()
            raise
        return link

    def _send(self, link: int) -> None:
        for _ in range(2):
            requests = self._requests or self._replace(None)
            try:
                socket.send_fds(requests, [b"link"], [link])
            except TimeoutError:
                break
            except OSError as error:
                if error.errno not in GONE:
                    raise SpawnerFailed(f"The spawner cannot be reached: {error.strerror}.") from None
                self._replace(requests)
            else:
                return
        raise SpawnerFailed(f"The spawner (pid {self.pid}) does not take requests; restart the runner.")

    def _replace(self, dead: socket.socket | None) -> socket.socket:
        with self._replacing:
            if self._process is None:
                raise SpawnerFailed("The spawner is not running; call start() before launch().")
            if self._requests is dead:
                self._requests = None
                if dead is not None:
                    dead.close()
                self._process.wait()
                self.start()
            assert self._requests is not None  # noqa: S101  (start() raises or sets it)
            return self._requests
