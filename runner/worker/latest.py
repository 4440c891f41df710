"""Stores the latest of what comes faster than it is worth storing.

Promises that what came last is stored within `EVERY` or at the end, and that a bot which says something a thousand
times a second costs two statements in it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from runner.errors import RunnerError
from runner.logging import logger
from vault.errors import VaultError

#: Seconds between two that are stored.
EVERY = 0.5

_log = logger()

T = TypeVar("T")


def _nothing(_value: object) -> None:
    """What comes after the end is not stored."""


class Latest(Generic[T]):
    """Calls `store` with the latest, never twice at the same time. Threads may share it."""

    def __init__(self, store: Callable[[T], None]) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._waiting: list[T] = []
        self._stored_at = float("-inf")
        self._timer: threading.Timer | None = None
        self._closed = False

    def put(self, value: T) -> None:
        """Store it now where the last is old enough, else soon; raises what `store` raises."""
        with self._lock:
            if self._closed:
                return
            wait = self._stored_at + EVERY - time.monotonic()
            if wait <= 0:
                self._stored_at = time.monotonic()
                self._waiting.clear()
                self._store(value)
                return
            self._waiting[:] = [value]
            if self._timer is None:
                self._timer = threading.Timer(wait, self._flush)
                self._timer.daemon = True
                self._timer.start()

    def close(self) -> None:
        """Store what waits; nothing is taken any more."""
        with self._lock:
            self._closed = True
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
            timer.join()
            self._flush()
        self._store = _nothing  # whose it was has this one: neither would go before the collector comes

    def _flush(self) -> None:
        with self._lock:
            self._timer = None
            if not self._waiting:
                return
            value = self._waiting.pop()
            self._stored_at = time.monotonic()
            try:
                self._store(value)
            except (RunnerError, VaultError) as error:
                _log.warning("progress.lost", error=str(error))
