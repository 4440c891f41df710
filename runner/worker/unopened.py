"""The data sources of one attempt until its bot asks for one: most bots never do, and nothing of sources is loaded.

Promises what `attempt_sources` promises, from the first question on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from runner.errors import Conflict
from runner.worker.failures import SourceFailed
from runner.worker.questions import Asked, Question, Reply


class Sources(Asked, Protocol):
    """The data sources of one attempt, whoever has them."""

    def close(self, *, succeeded: bool) -> None:
        """End every connection."""


class Unopened:
    """Makes the attempt's sources when the bot first asks. Threads may share it."""

    def __init__(self, make: Callable[[], Sources]) -> None:
        self._make: Callable[[], Sources] | None = make
        self._made: Sources | None = None
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """The sources that the bot may use, sorted."""
        return self._sources().names()

    def ask(self, name: str, question: Question) -> Reply:
        """The answer of a source. Raises `Conflict` after the end of the attempt."""
        return self._sources().ask(name, question)

    def sentence(self, name: str, failure: SourceFailed) -> str:
        """What a failure is in words."""
        return self._sources().sentence(name, failure)

    def close(self, *, succeeded: bool) -> None:
        """End every connection; nothing is opened any more."""
        with self._lock:
            self._make = None
        if self._made is not None:
            self._made.close(succeeded=succeeded)

    def _sources(self) -> Sources:
        with self._lock:
            if self._made is None:
                if self._make is None:
                    raise Conflict("The attempt has ended; its data sources are closed.")
                self._made = self._make()
            return self._made
