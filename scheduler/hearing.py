"""The thread that hears that a job of a run ended, so that its next step does not wait for the tick."""

from __future__ import annotations

import threading
from collections.abc import Callable
from uuid import UUID

from celery import Celery

from runner import signals
from vault.errors import Unavailable


class Hearing:
    """Hears for one scheduler; `look` is told a run's id."""

    def __init__(self, app: Celery, *, look: Callable[[UUID], None]) -> None:
        self._app, self._look = app, look
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hearing", daemon=True)

    def start(self) -> None:
        """Hear from now on."""
        self._thread.start()

    def close(self) -> None:
        """Hear no more; the thread ends by itself within moments, and nobody needs to wait for it."""
        self._stopped.set()

    def _run(self) -> None:
        signals.hear(self._app, signals.RUNS, stopped=self._stopped, connected=lambda: None, heard=self._pass_on)

    def _pass_on(self, signal: signals.Signal) -> None:
        if signal.run_id is None:
            return
        try:
            self._look(signal.run_id)
        except Unavailable:
            return  # the tick looks again when the database is back
