"""Where a launcher's bots are born: threads in Landlock domains, each kept for the next bot of the same domain.

A domain belongs to a thread and can never be left, so a thread of its own enters it and starts the bot by
posix_spawn(3). To make a ruleset, the thread and the domain takes a third of a launcher's time for a bot; an attempt in
the same slot with the same virtual environment finds them ready.
Promises that a domain is used again only where each path of it still names the very file that it was made with, and by
one bot after another; and that bots begin with no signal blocked.
Standard library only: the spawner's process loads it.
"""

# pathlib would make the process larger that is copied for each attempt.
# ruff: noqa: PTH116

from __future__ import annotations

import _thread
import errno
import os
from collections.abc import Callable, Sequence

from runner.worker import landlock
from runner.worker.landlock import Ground

#: Domains that a launcher keeps: one for each slot it works for and virtual environment, three descriptors each.
KEPT = 8

#: Starts the bot and returns its process id.
Spawn = Callable[[], int]
#: The paths below which the bot reads, and those below which it writes.
Paths = tuple[tuple[str, ...], tuple[str, ...]]


def start(life: Callable[[], None]) -> None:
    """Starts a thread. Raises OSError where the host gives none, as for a process; Python's own error has no number."""
    try:
        _thread.start_new_thread(life, ())
    except RuntimeError:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from None


class Cradle:
    """A thread that enters a domain and starts bots there, one after another, until `release`.

    It must outlive its bots: a bot's parent-death signal tells of the thread.
    """

    __slots__ = ("_asked", "_bot", "_enter", "_error", "_spawn", "_tried", "entered")

    def __init__(self, enter: Callable[[], None]) -> None:
        #: Whether the thread got into its domain and waits there.
        self.entered = False
        self._enter = enter
        self._spawn: Spawn | None = None
        self._bot = 0
        self._error: BaseException | None = None
        self._asked, self._tried = _thread.allocate_lock(), _thread.allocate_lock()
        self._asked.acquire()
        self._tried.acquire()

    def begin(self) -> None:
        """Starts the thread, with what the calling one is kept from."""
        try:
            start(self._live)
        except OSError as error:
            self._error = error
            self._tried.release()

    def first(self, spawn: Spawn) -> None:
        """Says what to start as soon as the domain is entered; before `begin`."""
        self._spawn = spawn

    def bear(self, spawn: Spawn) -> int:
        """Starts a bot. Raises what kept it from that."""
        self._spawn = spawn
        self._asked.release()
        return self.born()

    def born(self) -> int:
        """The bot that was asked for last. Raises what kept the thread from its work."""
        self._tried.acquire()
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        return self._bot

    def release(self) -> None:
        """Lets the thread end."""
        self._spawn = None
        self._asked.release()

    def _live(self) -> None:
        try:
            self._enter()
        except BaseException as error:  # raised again where somebody can say it
            self._error = error
            self._tried.release()
            return
        self.entered = True
        while self._spawn is not None:
            try:
                self._bot = self._spawn()
            except BaseException as error:  # likewise
                self._error = error
            self._tried.release()
            self._asked.acquire()


class Domain:
    """A cradle with the files that its domain grants, held open: until then no other file can have their numbers."""

    __slots__ = ("_files", "_numbers", "cradle", "ruleset")

    def __init__(self, ground: Ground, paths: Paths) -> None:
        """Raises OSError."""
        # Before they are opened: of what is put in a path's place meanwhile, this is not true for ever.
        self._numbers = [(path, numbers(path)) for path in (*paths[0], *paths[1])]
        self._files = ground.opened(*paths)
        try:
            self.ruleset = ground.ruleset(self._files)
        except BaseException:
            landlock.close(self._files)
            raise
        self.cradle = Cradle(lambda: landlock.enter(self.ruleset))

    def stands(self) -> bool:
        """Whether every path still names the file that it named when the domain was made, or still none."""
        return all(numbers(path) == known for path, known in self._numbers)

    def close(self) -> None:
        if self.cradle.entered:
            self.cradle.release()
        landlock.close(self._files)


def numbers(path: str) -> tuple[int, int] | None:
    """By what the kernel tells a file from all others that are there; `None` where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


class Nursery:
    """The cradles of a launcher, and the thread that they are born of.

    A thread inherits what its parent is kept from; so what is the same for every bot is entered once, and not by each
    cradle: the kernel would compile the filter of system calls for each, and take it down with each.
    """

    __slots__ = ("_asked", "_cradle", "_error", "_ground", "_kept", "_settled", "_started")

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._started = False
        self._error: BaseException | None = None
        self._cradle: Cradle | None = None
        #: The one used last is the last one.
        self._kept: dict[Paths, Domain] = {}

    def bear(self, readable: Sequence[str], writable: Sequence[str], spawn: Spawn) -> int:
        """A bot, started in its domain. Raises what kept it, or a thread, from that; the next call tries anew."""
        paths = tuple(readable), tuple(writable)
        domain = self._kept.pop(paths, None)
        if domain is not None and domain.stands():
            self._kept[paths] = domain
            return domain.cradle.bear(spawn)
        if domain is not None:
            domain.close()
        return self._born_of_new(paths, spawn)

    def forget(self) -> None:
        """Uses no domain again: somebody who should not may live on in one."""
        for domain in self._kept.values():
            domain.close()
        self._kept.clear()

    def _born_of_new(self, paths: Paths, spawn: Spawn) -> int:
        self._settle()
        if len(self._kept) >= KEPT:
            self._kept.pop(next(iter(self._kept))).close()
        domain = Domain(self._ground, paths)
        try:
            self._cradle = domain.cradle
            domain.cradle.first(spawn)
            self._asked.release()
            return domain.cradle.born()
        finally:
            os.close(domain.ruleset)
            if domain.cradle.entered:
                self._kept[paths] = domain
            else:
                domain.close()

    def _settle(self) -> None:
        if not self._started:
            self._error = None
            self._settled, self._asked = _thread.allocate_lock(), _thread.allocate_lock()
            self._settled.acquire()
            self._asked.acquire()
            start(self._live)
            self._started = True
            self._settled.acquire()
        if self._error is not None:
            self._started = False
            raise self._error

    def _live(self) -> None:
        try:
            self._ground.settle()
        except BaseException as error:  # raised again where somebody can say it
            self._error = error
            self._settled.release()
            return
        self._settled.release()
        while True:
            self._asked.acquire()
            if self._cradle is not None:
                self._cradle.begin()
