"""The pool of Celery's worker: as many threads as bots may run at the same time, each asleep behind a lock of its own.

Work goes to the thread that fell asleep last, whose memory is warmest, and wakes no other. The threads of the library
(`concurrent.futures`) share one queue: work wakes two of them, which then dispute the interpreter with the thread that
gave it, at the moment when the job is to be claimed. Refuses nothing: what no thread is free for waits for one.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from celery.concurrency.base import BasePool

from runner.logging import logger

_log = logger()

Work = Callable[[], object]


class _Slot:
    """One thread: what it is to do next, and the lock behind which it sleeps."""

    def __init__(self) -> None:
        self.work: Work | None = None
        self.asleep = threading.Lock()
        self.asleep.acquire()


class Pool(BasePool):  # type: ignore[misc]  # Celery's has no annotations
    """Threads that are made when they are first needed, and end in `stop`, which waits for what they do."""

    body_can_be_buffer = True
    signal_safe = False

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - Celery's own signature
        super().__init__(*arguments, **options)
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._idle: list[_Slot] = []
        self._waiting: deque[Work] = deque()
        self._stopped = False

    @property
    def idle(self) -> int:
        """How many threads sleep."""
        return len(self._idle)

    @property
    def crowded(self) -> bool:
        """Whether work waits for a thread."""
        return bool(self._waiting)

    def begin(self, work: Work) -> None:
        """Let a thread do this, as soon as one is free; nothing is begun any more after `stop`."""
        with self._lock:
            if self._stopped:
                return
            slot = self._idle.pop() if self._idle else self._another()
            if slot is None:
                self._waiting.append(work)
                return
            slot.work = work
        slot.asleep.release()

    def on_apply(self, target: Callable[..., object], *arguments: Any, **_options: object) -> None:  # noqa: ANN401
        """Celery's own way to give work, which nothing of ours goes."""
        positional, named = arguments
        self.begin(lambda: target(*positional, **named))

    def on_stop(self) -> None:
        """Let the threads end once they have done what they do; what waits for one is dropped."""
        with self._lock:
            self._stopped = True
            self._waiting.clear()
            idle, self._idle = self._idle, []
        for slot in idle:
            slot.asleep.release()
        for thread in self._threads:
            thread.join()

    def on_terminate(self) -> None:
        """As a stop: what ends bots before their time is not Celery's matter."""
        self.on_stop()

    def _another(self) -> _Slot | None:
        """One more thread; nothing where there are as many as there may be, and where the host gives none now."""
        if len(self._threads) >= self.limit:
            return None
        slot = _Slot()
        thread = threading.Thread(target=self._run, args=(slot,), name=f"slot-{len(self._threads)}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # in Celery's loop, which would end the worker with all its bots
            _log.error("thread.refused", error=str(error), threads=len(self._threads))
            return None
        self._threads.append(thread)
        return slot

    def _run(self, slot: _Slot) -> None:
        while True:
            slot.asleep.acquire()
            work, slot.work = slot.work, None
            while work is not None:
                try:
                    work()
                except Exception:
                    _log.exception("work.broken")
                with self._lock:
                    work = self._waiting.popleft() if self._waiting else None
                    if work is None and not self._stopped:
                        self._idle.append(slot)
            if self._stopped:
                return
