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


class Listener:
    """Hears for one runner; `look` is told a job's id, `look_at_all` that anything may have been missed, `follow` the
    id of a job whose log somebody follows, and `look_at_checks` that a check of a data source may wait.
    """

    def __init__(
        self,
        app: Celery,
        name: str,
        *,
        look: Callable[[uuid.UUID], None],
        look_at_all: Callable[[], None],
        follow: Callable[[uuid.UUID], None],
        look_at_checks: Callable[[], None] = lambda: None,
    ) -> None:
        self._app, self._name = app, name
        self._look, self._look_at_all, self._follow = look, look_at_all, follow
        self._look_at_checks = look_at_checks
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)

    def start(self) -> None:
        """Hear from now on."""
        self._thread.start()

    def close(self) -> None:
        """Hear no more; the thread ends by itself within moments, and nobody needs to wait for it."""
        self._stopped.set()

    def _run(self) -> None:
        signals.hear(
            self._app,
            signals.JOBS,
            signals.RUNNERS,
            signals.CHECKS,
            signals.FOLLOWERS,
            stopped=self._stopped,
            connected=self._connected,
            heard=self._pass_on,
        )

    def _connected(self) -> None:
        self._look_at_all()
        self._look_at_checks()

    def _pass_on(self, signal: signals.Signal) -> None:
        if signal.followed is not None:
            self._follow(signal.followed)
        elif signal.job_id is not None:
            self._look(signal.job_id)
        elif signal.environment is not None:
            self._look_at_checks()
        elif signal.runner == self._name:
            self._look_at_all()
