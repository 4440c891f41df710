"""The step with which a stopping worker lets go of its lanes: what it fetched and did not take up goes back at once.

Celery would keep the connection until the last bot has ended, which may take hours, and with it every hint that it had
fetched ahead. Closing the channel cancels the consumer, waits for an answer of Redis that is under way (a second at
most), and puts back what was not acknowledged, first in its lane. A hint that goes back although a thread has just
taken it up is there twice, which changes nothing: the claim decides.
"""

from __future__ import annotations

from typing import Any

from celery import Celery, bootsteps
from celery.worker import state
from celery.worker.consumer.tasks import Tasks

from runner import signals
from runner.logging import logger

_log = logger()


class Returning(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery's has no annotations
    """Starts after the consumer of lanes, so it stops before it, and long before the pool has waited for the bots."""

    requires = (Tasks,)

    def start(self, parent: Any) -> None:  # noqa: ANN401 - Celery's Consumer
        """There is nothing to start."""

    def stop(self, parent: Any) -> None:  # noqa: ANN401 - Celery's Consumer
        """Let go of the lanes; a Redis that is away has lost the hints, and the rescuer announces their jobs again."""
        if state.should_stop is None or parent.task_consumer is None:
            return  # the connection was lost: Celery takes it up again, and its pool keeps what it has
        try:
            parent.task_consumer.cancel()
            parent.task_consumer.channel.close()
        except signals.AWAY as error:
            _log.warning("hints.lost", error=str(error).partition("\n")[0])


def install(app: Celery) -> None:
    """Make every worker of `app` let go of its lanes when it begins to stop."""
    app.steps["consumer"].add(Returning)
