"""The one Celery task: look whether a lane has a job that is ready, and run it if this worker wins it.

Celery's own way from a message to a task knows results, retries, events, time limits and revocations. Botkeep uses none
of them; so the task has a strategy of its own (`Task.Strategy`), which gives a look to the pool at once. A message is
acknowledged when its bot has ended: the worker holds no more messages than it runs bots, so none waits in a busy worker
that another could take, and the next one comes while the end is being reported.
(Acknowledging touches no Redis, see `inbox`.)
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from celery import Celery, Task

from runner import lanes
from runner.jobs import Claim
from runner.lanes import TASK
from runner.logging import logger
from vault.errors import Unavailable

#: Headers of a message that `inbox` made: the environment and the group of its lane, and the job that it named.
LANE, JOB = "lane", "job"

#: The header that says that somebody looked: such a message is not given back to its lane.
BEGUN = "begun"

_log = logger()
_celery_log = logging.getLogger(__name__)

#: Runs the next job of a lane (environment, group), and calls the third when another message may come.
Execute = Callable[[str, str, Callable[[], object]], Claim | None]


#: Environment and group of the lanes in which jobs with limits wait.
Limited = Callable[[], Iterable[tuple[str, str]]]


def register(app: Celery, execute: Execute, *, limited: Limited, stopping: threading.Event) -> None:
    """Make a message of a lane call `execute` with the lane's environment and group.

    Which job the message named does not matter: the database says which one is next. Where that job has a limit,
    others may have waited for its end, here or in other lanes, and no message may be left for them. A worker that is
    stopping claims nothing: what would make it look goes back to the lane, for another one.
    """

    def look(environment: str, group: str, named: str, free: Callable[[], object]) -> None:
        try:
            while not stopping.is_set():
                claim = execute(environment, group, free)
                if claim is None or not claim.limited:
                    return
                for lane in set(limited()) - {(environment, group)}:
                    lanes.remind(app, claim.job_id, environment=lane[0], group=lane[1])
            lanes.publish(app, uuid.UUID(named), environment=environment, group=group)
        except Unavailable as error:
            # The jobs are still queued in the database; the rescuer announces them again.
            _log.warning("claim.delayed", environment=environment, group=group, error=str(error))
        except Exception:
            _log.exception("attempt.broken", environment=environment, group=group)

    app.task(look, name=TASK, shared=False, Strategy=f"{__name__}:strategy")


def strategy(task: Task, _app: Celery, consumer: Any, **_options: object) -> Callable[..., None]:  # noqa: ANN401
    """What Celery's consumer does with a message of the task."""
    look, errors = task.run, consumer.connection_errors

    def begin(message: Any, _body: object, ack: Callable[..., object], *_others: object) -> None:  # noqa: ANN401
        freed = threading.Event()

        def free() -> None:
            if not freed.is_set():
                freed.set()
                ack(_celery_log, errors)

        consumer.pool.apply_async(_to_the_end, (look, message.headers, free), callback=_nothing)

    return begin


def _to_the_end(look: Callable[..., None], headers: dict[str, Any], free: Callable[[], object]) -> None:
    headers[BEGUN] = True
    environment, group = headers[LANE]
    try:
        look(environment, group, headers[JOB], free)
    finally:
        free()


def _nothing(_result: object) -> None:
    """The pool wants to tell somebody."""
