"""The log of an attempt on its way to a store of objects: kept in memory, stored by a thread of its own.

A part is one object of at most `PART` bytes, written again while it grows: objects cannot be appended to. Promises that
a store which is away, or which takes a connection and never answers, keeps no bot waiting: what cannot be written is
tried again after `PAUSE`, kept up to `HELD` bytes, and then lost, oldest first, which the log's reader and the job's
warnings say. Where the store is only slower than the bot, the bot waits for it, `STALLED` at most for each object. The
end of an attempt waits `CLOSING` for what is left.
"""

from __future__ import annotations

import threading
from typing import Any

from runner.directory import part_name
from runner.logging import logger

#: Bytes of a part: few enough to write it again every few seconds, and to read as a whole.
PART = 1 << 20

#: Bytes of parts that wait for a store that is away.
HELD = 4 << 20

#: Seconds before another try to write.
PAUSE = 10.0

#: Seconds without any progress of a full buffer after which a store counts as away.
STALLED = 5.0

#: Seconds that the end of an attempt waits for its log to be stored.
CLOSING = 30.0

_log = logger()


class ObjectSink:
    """Writes the last part again when it has grown, and a full one for good. All but the thread is one thread's."""

    def __init__(self, files: Any, folder: str, *, shown: str) -> None:  # noqa: ANN401 - fsspec has no types
        self._files, self._folder, self._shown = files, folder, shown
        self._changed = threading.Condition()
        self._name = ""
        # What is not stored yet, by part, oldest first, of the last part all of it; and how much of each is stored.
        self._held: dict[str, bytearray] = {}
        self._stored: dict[str, int] = {}
        self._leaving: list[str] = []
        self._given_up: dict[str, int] = {}
        self._asked = self._closing = self._away = False
        self._thread: threading.Thread | None = None

    @property
    def full(self) -> bool:
        """Whether the part has its size."""
        with self._changed:
            return len(self._held.get(self._name, b"")) >= PART

    @property
    def lost(self) -> int:
        """Bytes that the store did not take, and that are given up."""
        with self._changed:
            return sum(self._given_up.values())

    def begin(self, position: int, line: int) -> str:
        """Begin a part; the one before is complete."""
        self.settle()
        with self._changed:
            before, self._name = self._name, part_name(position, line)
            self._forget(before)
            self._held[self._name], self._stored[self._name] = bytearray(), 0
            while not self._has_room():
                held = len(self._held)
                # A store that is away is not waited for again until it has taken something.
                if self._away or not self._changed.wait_for(lambda: self._away or len(self._held) < held, STALLED):  # noqa: B023
                    self._away = True
                    self._give_up(next(iter(self._held)))
            return self._name

    def write(self, chunk: bytes) -> None:
        """Add a chunk; `settle` lets it be stored."""
        with self._changed:
            self._held[self._name] += chunk

    def settle(self) -> None:
        """Let what is there be stored soon; waits for nothing."""
        with self._changed:
            if self._waits():
                self._ask()

    def drop(self, name: str) -> None:
        """Let a part be removed, stored or not."""
        with self._changed:
            self._held.pop(name, None)
            self._stored.pop(name, None)
            self._given_up.pop(name, None)
            self._leaving.append(name)
            self._ask()

    def close(self) -> None:
        """Store the rest, or lose it."""
        with self._changed:
            self._closing = True
            if self._waits():
                self._ask()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(CLOSING)
        with self._changed:
            for name in list(self._held):
                self._forget(name)
                if name in self._held:
                    self._give_up(name)
            if self._given_up:
                _log.warning("log.lost", store=self._shown, bytes=sum(self._given_up.values()))

    def _has_room(self) -> bool:
        return len(self._held) == 1 or sum(map(len, self._held.values())) <= HELD

    def _waits(self) -> bool:
        grown = any(len(content) > self._stored[name] for name, content in self._held.items())
        return grown or bool(self._leaving)

    def _ask(self) -> None:
        self._asked = True
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="log-store", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _forget(self, name: str) -> None:
        """Keep a part no longer that is stored as a whole."""
        if name in self._held and self._stored[name] == len(self._held[name]):
            del self._held[name], self._stored[name]

    def _give_up(self, name: str) -> None:
        self._given_up[name] = len(self._held.pop(name)) - self._stored.pop(name)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._asked or self._closing)
                self._asked, last = False, self._closing
            whole = self._store_held()
            with self._changed:
                if last:
                    return
                if not whole:
                    self._changed.wait_for(lambda: self._closing, PAUSE)
                    self._asked = True

    def _store_held(self) -> bool:
        """Store and remove what waits, once; false where the store refused."""
        with self._changed:
            names, leaving = list(self._held), list(self._leaving)
        try:
            for name in names:
                self._store_one(name)
            for name in leaving:
                self._remove_one(name)
        except Exception as error:
            _log.warning("log.delayed", store=self._shown, error=type(error).__name__)
            with self._changed:
                self._away = True
                self._changed.notify_all()
            return False
        return True

    def _store_one(self, name: str) -> None:
        with self._changed:
            if name not in self._held or self._stored[name] == len(self._held[name]):
                return
            content = bytes(self._held[name])
        self._files.pipe_file(f"{self._folder}/{name}", content)
        with self._changed:
            self._away = False
            self._given_up.pop(name, None)  # it was stored after all
            if name in self._held:
                self._stored[name] = len(content)
                if name != self._name:
                    self._forget(name)
            self._changed.notify_all()

    def _remove_one(self, name: str) -> None:
        try:
            self._files.rm_file(f"{self._folder}/{name}")
        except FileNotFoundError:
            pass
        finally:
            with self._changed:  # what stays is removed with the rest of the log
                self._leaving.remove(name)
