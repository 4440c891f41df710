"""When the steps of an attempt began, as history shows them."""

from __future__ import annotations

import time
from collections.abc import Callable


class Timeline:
    """Steps in the order in which they first began, each with the seconds since the claim; an instant each costs 1 µs.

    A step that never began is not there, so the last one says how far an attempt came.
    """

    def __init__(self, *, since: float) -> None:
        """`since` is the instant of the monotonic clock at which the claim began."""
        self.since = since
        self._steps = {"claim": 0.0}
        self._at_end: Callable[[], object] = lambda: None

    def at_end(self, call: Callable[[], object]) -> None:
        """Say what to call when `end` begins."""
        self._at_end = call

    def begin(self, step: str) -> None:
        """A step begins now; its first beginning counts."""
        if step not in self._steps:
            self._steps[step] = round(time.monotonic() - self.since, 4)
            if step == "end":
                self._at_end()

    def steps(self) -> dict[str, float]:
        """Each step's name and when it began."""
        return dict(self._steps)
