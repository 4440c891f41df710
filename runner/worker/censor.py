"""The masker in front of the worker's own log.

Events never carry values by design; exceptions of libraries might. Each finished line passes the maskers of all
attempts that run at that moment, whatever thread wrote it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from runner.worker.masker import Masker


class Censor:
    """Masks lines with the maskers in use; one per worker process."""

    def __init__(self) -> None:
        self._maskers: dict[int, Masker] = {}
        self._lock = threading.Lock()

    @contextmanager
    def using(self, masker: Masker) -> Iterator[None]:
        """Mask with this masker too, for the time of the block."""
        with self._lock:
            self._maskers[id(masker)] = masker
        try:
            yield
        finally:
            with self._lock:
                del self._maskers[id(masker)]

    def __call__(self, line: str) -> str:
        """The line with every value of a running attempt masked."""
        with self._lock:
            maskers = list(self._maskers.values())
        for masker in maskers:
            line = masker.mask_text(line)
        return line
