"""The one Celery task: look whether a job is ready, and run it if this worker wins it."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from celery import Celery

from runner.lanes import TASK
from runner.logging import logger
from vault.errors import Unavailable

_log = logger("tasks")


def register(app: Celery, execute: Callable[[uuid.UUID], object]) -> None:
    """Make messages of the lanes call `execute`; nothing that a message holds can break the worker."""

    def look(job_id: object) -> None:
        try:
            wanted = uuid.UUID(str(job_id))
        except ValueError:
            _log.warning("message.refused")
            return
        try:
            execute(wanted)
        except Unavailable as error:
            # The job is still queued in the database; the rescuer announces it again.
            _log.warning("claim.delayed", job_id=str(wanted), error=str(error))
        except Exception:
            _log.exception("attempt.broken", job_id=str(wanted))

    app.task(look, name=TASK, ignore_result=True, shared=False)
