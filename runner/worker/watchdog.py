"""Notices a runner that is alive and receives nothing, and ends it in order, so that it is started again.

A stall: at every look for `after` seconds a lane of this runner held messages, this runner had a free slot, and it
received none. Then it claims nothing more, lets its bots end as in a drain, and ends with `STALLED`, which is a
failure to whoever supervises it. Where Celery's loop does not even stop when the last bot has ended, the process ends
itself: there is nothing left that could be lost.
Refuses to judge while Redis cannot be asked, or over a time in which this process itself did not run.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from celery import Celery
from celery.exceptions import OperationalError as CeleryOperationalError
from kombu.exceptions import KombuError
from redis import RedisError

from runner import lanes
from runner.logging import logger
from runner.worker.settings import RunnerSettings

#: Exit status of a runner that stalled (EX_SOFTWARE, sysexits.h(3head)); a new start is worth a try.
STALLED = 70

#: Looks in the time after which a stall counts as one.
LOOKS = 6

#: Seconds that Celery gets to end by itself once no bot runs any more.
LAST = 10.0

#: What a broker that is away raises.
_AWAY = (CeleryOperationalError, KombuError, RedisError, OSError)

_log = logger()


class Watchdog:
    """Looks every few seconds; `stalled` says afterwards whether it ended the runner."""

    def __init__(
        self, waiting: Callable[[], bool], *, slots: int, after: float, drain: Callable[[], None], stop: threading.Event
    ) -> None:
        """`waiting` says whether a lane holds messages and raises where nobody can say; `stop` ends the watch."""
        self.stalled = False
        self._waiting, self._slots, self._after, self._drain, self._stop = waiting, slots, after, drain, stop
        self._lock = threading.Lock()
        self._busy = self._received = 0
        self._idle_since: float | None = None
        self._idle_received = 0
        self._looked = 0.0

    def start(self) -> None:
        """Watch from now on, in a thread of its own; not at all where `after` is 0."""
        if self._after:
            threading.Thread(target=self._run, name="watchdog", daemon=True).start()

    @contextmanager
    def receiving(self) -> Iterator[None]:
        """A message was received; its slot is taken for the time of the block."""
        with self._lock:
            self._received += 1
            self._busy += 1
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1

    def look(self, now: float) -> bool:
        """Whether this runner has stalled, at `now` of the monotonic clock; called `LOOKS` times in `after`."""
        with self._lock:
            received, free = self._received, self._busy < self._slots
        # A look that comes late: this process was frozen, or starved, and nobody could receive anything.
        late, self._looked = now - self._looked > 2 * self._after / LOOKS, now
        if late:
            self._idle_since = None
        if not (free and received == self._idle_received and self._is_waiting()):
            self._idle_since, self._idle_received = None, received
            return False
        if self._idle_since is None:
            self._idle_since = now
        return now - self._idle_since >= self._after

    def _is_waiting(self) -> bool:
        try:
            return self._waiting()
        except _AWAY:
            return False

    def _run(self) -> None:
        while not self._stop.wait(self._after / LOOKS):
            now = time.monotonic()
            if self.look(now):
                self._give_up(now)

    def _give_up(self, now: float) -> None:
        _log.error("runner.stalled", seconds=round(now - (self._idle_since or now), 1), running=self._busy)
        self.stalled = True
        self._drain()
        while self._busy:
            time.sleep(min(1.0, self._after))
        time.sleep(LAST)
        # Still here: Celery's loop hangs. The kernel tells spawner and launchers that we ended.
        _log.error("runner.abandoned")
        os._exit(STALLED)


def messages_wait(app: Celery, settings: RunnerSettings) -> bool:
    """Whether a lane of this runner holds messages; raises what the broker's library raises."""
    return any(
        lanes.depth(app, environment=environment, group=group) > 0
        for environment in settings.environments
        for group in settings.groups
    )
