"""The thread that hears signals: it passes on that something is to be looked at, and never what.

Promises to live as long as the worker: a Redis that is away is tried again with a growing pause, and whenever it is
back everything is looked at, since nobody knows what was said meanwhile. Refuses to touch the database.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable

from celery import Celery

from runner import signals
from runner.logging import logger

#: First and longest pause before another try to reach Redis, in seconds.
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0

_log = logger()


class Listener:
    """Hears for one runner; `look` is told a job's id, `look_at_all` that anything may have been missed, and
    `look_at_checks` that a check of a data source may wait.
    """

    def __init__(
        self,
        app: Celery,
        name: str,
        *,
        look: Callable[[uuid.UUID], None],
        look_at_all: Callable[[], None],
        look_at_checks: Callable[[], None] = lambda: None,
    ) -> None:
        self._app, self._name = app, name
        self._look, self._look_at_all, self._look_at_checks = look, look_at_all, look_at_checks
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)

    def start(self) -> None:
        """Hear from now on."""
        self._thread.start()

    def close(self) -> None:
        """Hear no more; the thread ends by itself within moments, and nobody needs to wait for it."""
        self._stopped.set()

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while not self._stopped.is_set():
            try:
                with signals.subscription(self._app) as subscription:
                    _log.info("signals.heard")
                    self._look_at_all()
                    self._look_at_checks()
                    pause = FIRST_PAUSE
                    while not self._stopped.is_set():
                        self._pass_on(subscription.next())
            except signals.AWAY as error:
                _log.warning("signals.lost", error=str(error).partition("\n")[0])
            except Exception:
                # Without this thread people would wait for the next poll: whatever it was, it is tried again.
                _log.exception("listener.broken")
            self._stopped.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _pass_on(self, signal: signals.Signal | None) -> None:
        if signal is None:
            return
        if signal.job_id is not None:
            self._look(signal.job_id)
        elif signal.environment is not None:
            self._look_at_checks()
        elif signal.runner == self._name:
            self._look_at_all()
