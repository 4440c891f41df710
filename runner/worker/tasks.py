"""The one Celery task: look whether a lane has a job that is ready, and run it if this worker wins it."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable

from celery import Celery, Task

from runner import lanes
from runner.jobs import Claim
from runner.lanes import TASK
from runner.logging import logger
from vault.errors import Unavailable

_log = logger("tasks")


def register(app: Celery, execute: Callable[[str, str], Claim | None], *, stopping: threading.Event) -> None:
    """Make a message of a lane call `execute` with the lane's environment and group.

    Which job the message named does not matter: the database says which one is next. Where that job's bot has a
    limit, another of its jobs may have waited for this one's end, and no message may be left for it. A worker that is
    stopping claims nothing: what would make it look goes back to the lane, for another one.
    """

    def look(task: Task[..., None], environment: str, group: str) -> None:
        try:
            while not stopping.is_set():
                claim = execute(environment, group)
                if claim is None or not claim.limited:
                    return
            lanes.publish(app, uuid.UUID(task.request.root_id), environment=environment, group=group)
        except Unavailable as error:
            # The jobs are still queued in the database; the rescuer announces them again.
            _log.warning("claim.delayed", environment=environment, group=group, error=str(error))
        except Exception:
            _log.exception("attempt.broken", environment=environment, group=group)

    app.task(look, name=TASK, bind=True, ignore_result=True, shared=False)
