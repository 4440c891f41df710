"""Tells followers of logs what bots print, over Redis, from a thread of its own.

Promises that nothing is sent when nobody follows, which costs a look into an empty dictionary, and that a bot never
waits for a follower or for Redis: what cannot be sent in time is not sent, and the follower reads the store.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from celery import Celery

from runner import live, signals
from runner.chunks import TEXT, Run
from runner.live import News
from runner.logging import logger

#: Bytes that wait to be sent, of all bots together; what comes on top is left to the store.
WAITING = 4 << 20

#: Seconds before another try where Redis is away.
PAUSE = 1.0

_log = logger()


@dataclass(frozen=True, slots=True)
class _Said:
    job_id: uuid.UUID
    attempt: int
    run: Run | None


class Telling:
    """Who is followed, and what is to be told; one for each worker."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        #: The instant of the monotonic clock up to which each followed job is.
        self._until: dict[uuid.UUID, float] = {}
        self._said: deque[_Said] = deque()
        self._size = 0
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="telling", daemon=True)

    def start(self) -> None:
        """Tell from now on."""
        self._thread.start()

    def close(self) -> None:
        """Tell no more; nobody needs to wait for the thread."""
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def follow(self, job_id: uuid.UUID) -> None:
        """Somebody follows this job's log, here or elsewhere."""
        now = time.monotonic()
        for other in [one for one, until in self._until.copy().items() if until < now]:
            self._until.pop(other, None)
        self._until[job_id] = now + live.HOLDS

    def of(self, job_id: uuid.UUID, attempt: int) -> Callable[[Run], bool]:
        """What tells a run of this attempt; it answers whether somebody follows."""

        def tell(run: Run) -> bool:
            return job_id in self._until and self._tell(_Said(job_id, attempt, run))

        return tell

    def ended(self, job_id: uuid.UUID, attempt: int) -> None:
        """The end of an attempt is in the database."""
        if job_id in self._until:
            self._tell(_Said(job_id, attempt, None))

    def _tell(self, said: _Said) -> bool:
        if self._until.get(said.job_id, 0.0) < time.monotonic():
            return False
        length = 0 if said.run is None else len(said.run.data)
        with self._changed:
            if self._size + length <= WAITING:
                self._size += length
                self._said.append(said)
                self._changed.notify()
        return True

    def _run(self) -> None:
        while not self._stopped:
            some = self._next()
            if not some:
                continue
            runs = [said.run for said in some if said.run is not None]
            news = News(some[0].attempt, runs, ended=some[-1].run is None)
            try:
                listeners = signals.publish(self._app, live.channel(some[0].job_id), live.message(news))
            except signals.AWAY as error:
                _log.warning("log.not_told", error=str(error).partition("\n")[0])
                self._forget()
            except Exception:
                _log.exception("telling.broken")
                self._forget()
            else:
                if not listeners:
                    self._until.pop(some[0].job_id, None)

    def _next(self) -> list[_Said]:
        """What one message can say: runs of one attempt that follow each other."""
        with self._changed:
            self._changed.wait_for(lambda: self._said or self._stopped)
            some: list[_Said] = []
            length = 0
            while self._said and length < TEXT and self._follows(some):
                said = self._said.popleft()
                some.append(said)
                length += 0 if said.run is None else len(said.run.data)
            self._size -= length
            return some

    def _follows(self, some: list[_Said]) -> bool:
        if not some:
            return True
        last, following = some[-1], self._said[0]
        if last.run is None or (last.job_id, last.attempt) != (following.job_id, following.attempt):
            return False
        return following.run is None or following.run.position == last.run.position + len(last.run.data)

    def _forget(self) -> None:
        with self._changed:
            self._said.clear()
            self._size = 0
            self._changed.wait_for(lambda: self._stopped, timeout=PAUSE)
