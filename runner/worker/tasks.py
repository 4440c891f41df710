"""The one Celery task: look whether a lane has a job that is ready, and run it if this worker wins it.

Celery's own way from a message to a task knows results, retries, events, time limits and revocations. Botkeep uses none
of them; so the task has a strategy of its own (`Task.Strategy`), which gives a look to the pool at once. A message is
acknowledged when its job has ended: the worker holds no more messages than it runs bots, so none waits in a busy worker
that another could take. While the worker is full, the thread whose job has ended takes the next hint by itself, which
wakes neither Celery's loop nor another thread. (Acknowledging touches no Redis, see `inbox`.)
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from celery import Celery, Task

from runner import lanes
from runner.jobs import Claim
from runner.lanes import TASK
from runner.logging import logger
from runner.worker.hints import Hint, Hints
from runner.worker.turn import Turn
from vault.errors import Unavailable

#: Headers of a message that `inbox` made: the environment and the group of its lane, and the job that it named.
LANE, JOB = "lane", "job"

#: The header that says that somebody looked: such a message is not given back to its lane.
BEGUN = "begun"

#: Longest wait between two tries to claim from a database that is away, in seconds.
_BACKOFF = 5.0

_log = logger()
_celery_log = logging.getLogger(__name__)

#: Runs the job of a turn and answers what was claimed for it.
Execute = Callable[[Turn], Claim | None]

#: Environment and group of the lanes in which jobs with limits wait.
Limited = Callable[[], Iterable[tuple[str, str]]]


def register(app: Celery, execute: Execute, *, limited: Limited, hints: Hints, stopping: threading.Event) -> None:
    """Make a message of a lane call `execute` with a turn in this lane, and then with the turns that follow it.

    Which job the message named does not matter: the database says which one is next. Where that job has a limit,
    others may have waited for its end, here or in other lanes, and no message may be left for them; so the thread looks
    into its lane again, after what waits in others. A worker that is stopping claims nothing: what would make it look
    goes back to the lane, for another one.
    """

    def look(turn: Turn) -> None:
        environment, group = turn.hint.environment, turn.hint.group
        try:
            while turn.bound or not stopping.is_set():
                claim = _when_database_is_back(stopping, turn, execute)
                if claim is None or not claim.limited:
                    return
                if _goes_on(app, claim.job_id, turn, limited()):
                    return
            turn.hint.give_back()
        except Unavailable:
            turn.hint.give_back()
        except Exception:
            _log.exception("attempt.broken", environment=environment, group=group)

    def look_on(first: Hint, full: Callable[[], bool]) -> None:
        turn: Turn | None = Turn(first, hints, full=lambda: full() and not stopping.is_set())
        while turn is not None:
            look(turn)
            turn = turn.following()

    app.task(look_on, name=TASK, shared=False, Strategy=f"{__name__}:strategy")


def _goes_on(app: Celery, job_id: uuid.UUID, turn: Turn, limited: Iterable[tuple[str, str]]) -> bool:
    """Remind lanes of the end of a job with a limit; whether the thread has a next turn, maybe in another lane."""
    own, following = (turn.hint.environment, turn.hint.group), turn.look_around()
    concerned = set(limited) - {own}
    if following is not None and (following.environment, following.group) != own:
        concerned.add(own)
    for environment, group in concerned:
        lanes.remind(app, job_id, environment=environment, group=group)
    return following is not None


def _when_database_is_back(stopping: threading.Event, turn: Turn, execute: Execute) -> Claim | None:
    """What was executed, as soon as the database is there: a connection of before its restart is found broken here.

    Raises:
        Unavailable: when it is still away and the worker is to stop.
    """
    pause = 0.1
    while True:
        try:
            return execute(turn)
        except Unavailable as error:
            _log.warning("claim.delayed", environment=turn.hint.environment, group=turn.hint.group, error=str(error))
            if stopping.wait(pause):
                raise
            pause = min(2 * pause, _BACKOFF)


def strategy(task: Task, app: Celery, consumer: Any, **_options: object) -> Callable[..., None]:  # noqa: ANN401
    """What Celery's consumer does with a message of the task."""
    look_on, pool, hub, errors = task.run, consumer.pool, consumer.hub, consumer.connection_errors

    def work(message: Any) -> None:  # noqa: ANN401
        message.headers[BEGUN] = True
        (environment, group), job = message.headers[LANE], uuid.UUID(message.headers[JOB])
        hint = Hint(environment, group, partial(lanes.publish, app, job, environment=environment, group=group))
        counted = message.channel.qos
        try:
            look_on(hint, lambda: counted.full and not pool.crowded)
        finally:
            message.ack_log_error(_celery_log, errors)
            if counted.full:
                hub.call_soon(_nothing)  # Celery's loop sleeps until there is room for a message

    def begin(message: Any, *_others: object) -> None:  # noqa: ANN401
        message.channel.when_read(partial(pool.begin, partial(work, message)))

    return begin


def _nothing() -> None:
    """The loop is to look around."""
