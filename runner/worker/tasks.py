"""The one Celery task: look whether a lane has a job that is ready, and run it if this worker wins it."""

from __future__ import annotations

from collections.abc import Callable

from celery import Celery

from runner.jobs import Claim
from runner.lanes import TASK
from runner.logging import logger
from vault.errors import Unavailable

_log = logger("tasks")


def register(app: Celery, execute: Callable[[str, str], Claim | None]) -> None:
    """Make a message of a lane call `execute` with the lane's environment and group.

    Which job the message named does not matter: the database says which one is next. Where that job's bot has a
    limit, another of its jobs may have waited for this one's end, and no message may be left for it.
    """

    def look(environment: str, group: str) -> None:
        try:
            claim = execute(environment, group)
            while claim is not None and claim.limited:
                claim = execute(environment, group)
        except Unavailable as error:
            # The jobs are still queued in the database; the rescuer announces them again.
            _log.warning("claim.delayed", environment=environment, group=group, error=str(error))
        except Exception:
            _log.exception("attempt.broken", environment=environment, group=group)

    app.task(look, name=TASK, ignore_result=True, shared=False)
