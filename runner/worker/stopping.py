"""How a runner stops: claims nothing more, lets its bots end within the grace, then ends them.

The first SIGTERM (or a drain) begins; a second one shortens the grace to nothing. SIGKILL is another matter: the
launchers end the bots, and the rescuer ends the jobs. A signal's handler may interrupt itself, so it takes no lock and
writes nothing: it passes the request on to a thread.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from types import FrameType

from celery.worker import state

from runner.logging import logger
from runner.states import Reason

#: Seconds that bots get between the request to stop and their death once the runner's grace is over: their own
#: grace may be days, and a service manager kills the runner long before.
LAST_GRACE = 10.0

_log = logger()


class Stopping:
    """The one-way road from running to stopped."""

    def __init__(self, *, grace: float) -> None:
        #: Set from the first request to stop on: nothing is claimed any more.
        self.begun = threading.Event()
        self._grace = grace
        self._end_all: Callable[[Reason], None] = lambda _reason: None
        self._kill_all: Callable[[], None] = lambda: None
        self._requests: queue.SimpleQueue[int] = queue.SimpleQueue()
        threading.Thread(target=self._obey, name="stopping", daemon=True).start()

    def on_grace_over(self, end_all: Callable[[Reason], None], *, kill_all: Callable[[], None]) -> None:
        """Say how to end the bots that are left when the grace is over, and how to kill those that do not end."""
        self._end_all, self._kill_all = end_all, kill_all

    def drain(self) -> None:
        """Stop claiming and let the worker end when its bots have, without a limit in time."""
        self._begin()

    def signalled(self, number: int, _frame: FrameType | None) -> None:
        """Begin to stop; the second time, end the bots at once."""
        self._requests.put(number)  # the one that may be interrupted by itself: queue.SimpleQueue in the library

    def _obey(self) -> None:
        self._requests.get()
        self._begin()
        _after(self._grace, self._end)
        while True:
            self._requests.get()
            _after(0.0, self._end)

    def _end(self) -> None:
        self._end_all(Reason.RUNNER_STOPPED)
        _after(LAST_GRACE, self._kill_all)

    def _begin(self) -> None:
        if not self.begun.is_set():
            _log.info("runner.draining")
            self.begun.set()
        # Celery's own flag for a warm shutdown: its main loop ends, its pool waits for what runs.
        state.should_stop = 0


def _after(seconds: float, act: Callable[[], None]) -> None:
    timer = threading.Timer(seconds, act)
    timer.daemon = True
    timer.start()
