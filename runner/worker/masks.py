"""The masker of one attempt, which learns of further values while the bot runs.

Promises that a value is masked in the bot's output and in the worker's own log from the moment `learn` returns.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from runner.worker.censor import Censor
from runner.worker.masker import Masker


class Masks:
    """One attempt's values as far as they are known; threads may share it."""

    def __init__(self, censor: Censor) -> None:
        self.masker = Masker([])
        self._censor = censor
        self._used = ExitStack()
        self._follow: Callable[[Masker], None] = lambda _masker: None
        self._lock = threading.Lock()

    def learn(self, values: Sequence[tuple[str, bytes]]) -> tuple[str, ...]:
        """Mask these (label, value) too; answers the labels of those that are too weak to be masked."""
        with self._lock:
            known = self.masker.weak
            self.masker = Masker(values, beside=self.masker)
            former, self._used = self._used, ExitStack()
            self._used.enter_context(self._censor.using(self.masker))
            former.close()
            self._follow(self.masker)
            return self.masker.weak[len(known) :]

    def follow(self, use: Callable[[Masker], None]) -> None:
        """Call `use` with the masker now and whenever it has learned more; one at a time."""
        with self._lock:
            self._follow = use
            use(self.masker)

    def close(self) -> None:
        """The worker's log needs these values no more."""
        with self._lock:
            self._used.close()
