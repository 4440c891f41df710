"""The masker in front of the worker's own log, and of all that Python itself would write beside it.

Events never carry values by design; exceptions of libraries might. Each finished line passes the maskers of all
attempts that run at that moment, whatever thread wrote it.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runner.logging import logger
from runner.worker.masker import Masker, mask_text

if TYPE_CHECKING:
    from types import TracebackType

_log = logger()


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
        return mask_text(line, maskers)


def catch_stderr() -> None:
    """Make log events of what Python prints on its own: errors that end a thread or the process, and warnings.

    Their tracebacks may quote a value, and would reach the worker's log past every formatter.
    """

    def ended(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, Exception):
            _log.error("process.broken", exc_info=(kind, error, trace))
        else:
            sys.__excepthook__(kind, error, trace)  # KeyboardInterrupt and the like quote nothing

    def thread_ended(found: threading.ExceptHookArgs) -> None:
        if found.exc_type is not SystemExit and found.exc_value is not None:
            _log.error("thread.broken", exc_info=(found.exc_type, found.exc_value, found.exc_traceback))

    def ignored(found: sys.UnraisableHookArgs) -> None:
        error = found.exc_value
        _log.error("error.ignored", exc_info=None if error is None else (found.exc_type, error, found.exc_traceback))

    sys.excepthook, threading.excepthook, sys.unraisablehook = ended, thread_ended, ignored
    logging.captureWarnings(capture=True)
