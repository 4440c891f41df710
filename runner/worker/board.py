"""What launchers say of their bots without waking anybody: memory that worker, spawner and launchers share.

An attempt has a place on the board, which its launcher notes three numbers in: its own process id, the bot's, and
whether the bot's program was executed. They are read when a launcher is dead, or when somebody asks; a message for each
would wake worker and spawner while a bot's interpreter starts, 0.1 to 0.2 ms a job for what is hardly ever needed.
Promises that no two attempts have one place at the same time, and that a place stays as it is until it is given away
again, which a place that was just let go of is last.
Standard library only: the spawner's process loads it.
"""

from __future__ import annotations

import errno
import mmap
import os
import struct
import threading
import weakref

#: Places on a board: more than any runner has bots, so that a place is long out of use before it is given away again.
PLACES = 4096

#: Launcher, bot, and 1 for a program that was executed.
_NOTE = struct.Struct("=iii")
_NOTHING = (0, 0, 0)

#: A launcher's process id, the bot's, and whether the bot's program is or was running; 0 is for what was not noted.
Note = tuple[int, int, int]


class Board:
    """The memory behind a descriptor of `make`; it outlives that descriptor in whoever has it mapped."""

    __slots__ = ("_memory",)

    def __init__(self, file: int) -> None:
        self._memory = mmap.mmap(file, PLACES * _NOTE.size)

    def note(self, place: int, launcher: int, bot: int, *, executed: bool) -> None:
        """Says what is known of the bot of an attempt."""
        _NOTE.pack_into(self._memory, place * _NOTE.size, launcher, bot, executed)

    def read(self, place: int) -> Note:
        """What was noted last."""
        launcher, bot, executed = _NOTE.unpack_from(self._memory, place * _NOTE.size)
        return launcher, bot, executed

    def clear(self, place: int) -> None:
        """Nothing is known of the attempt that gets this place now."""
        _NOTE.pack_into(self._memory, place * _NOTE.size, *_NOTHING)


class Place:
    """One attempt's place, from `Places.take` to `release`."""

    __slots__ = ("_places", "number")

    def __init__(self, places: Places, number: int) -> None:
        self._places, self.number = places, number

    @property
    def note(self) -> Note:
        """What its launcher noted last; somebody else's after `release`."""
        return self._places.board.read(self.number)

    def release(self) -> None:
        """The attempt is over, or nobody asks for it any more."""
        self._places.release(self.number)


class Places:
    """The worker's side: which places are given away. May be used from any thread. Its descriptor goes with it."""

    def __init__(self) -> None:
        """Raises OSError."""
        self.file = os.memfd_create("botkeep-board")
        weakref.finalize(self, os.close, self.file)
        os.ftruncate(self.file, PLACES * _NOTE.size)
        self.board = Board(self.file)
        self._lock = threading.Lock()
        self._taken: set[int] = set()
        self._next = 0

    def take(self) -> Place:
        """A place for an attempt, with nothing noted in it. Raises OSError where none is left."""
        with self._lock:
            if len(self._taken) == PLACES:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            while self._next in self._taken:
                self._next = (self._next + 1) % PLACES
            number = self._next
            self._taken.add(number)
            self._next = (number + 1) % PLACES
        self.board.clear(number)
        return Place(self, number)

    def release(self, number: int) -> None:
        with self._lock:
            self._taken.discard(number)
