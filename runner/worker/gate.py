"""A gate that is opened once. Threads may wait at it."""

from __future__ import annotations

import threading


class Gate:
    """Closed until `open`. As `threading.Event`, which makes a queue for those who wait, and is used up faster."""

    __slots__ = ("_closed",)

    def __init__(self) -> None:
        self._closed = threading.Lock()
        self._closed.acquire()

    def open(self) -> None:
        """Let everybody pass from now on; called once."""
        self._closed.release()

    def passed(self, timeout: float) -> bool:
        """Whether it is open, waiting for that at most `timeout` seconds."""
        if not self._closed.acquire(timeout=timeout):
            return False
        self._closed.release()
        return True
