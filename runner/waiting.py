"""Why a queued job is not starting, as a code for programs and a sentence for people.

`why` is a rule over what is known at one moment; `situation` gathers that for one job that somebody looks at, with
three or four small queries. Nothing is stored: the answer is true now and may not be in a second.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from runner import concurrency, runners
from runner.concurrency import Limit
from runner.lanes import DEFAULT_GROUP, lane
from runner.models import Job
from runner.runners import Seen
from runner.states import State
from vault import db

#: Runners that a sentence names; more are counted.
_NAMED = 5


class Obstacle(StrEnum):
    """What a queued job waits for."""

    PAUSED = "paused"
    NOT_BEFORE = "not_before"
    NO_RUNNER = "no_runner"
    CONCURRENCY = "concurrency"
    BROKER = "broker"
    BUSY = "busy"
    TURN = "turn"


@dataclass(frozen=True, slots=True)
class Wait:
    """What a job waits for, and the sentence that says what to do about it."""

    code: Obstacle
    sentence: str


@dataclass(frozen=True, slots=True)
class Situation:
    """What there is to know of one queued job at the database's time `now`.

    `bot_running`: attempts of its bot now, counted only where there is a limit.
    """

    environment: str
    group: str
    now: datetime
    runners: Sequence[Seen]
    not_before: datetime | None = None
    paused_by: str | None = None
    paused: bool = False
    concurrency: int | None = None
    bot_running: int = 0
    #: The operator's limit that is reached.
    limit: Limit | None = None


def situation(session: Session, job: Job) -> Situation | None:
    """What there is to know of a job now; `None` when it is not queued."""
    if job.state != State.QUEUED:
        return None
    return Situation(
        environment=job.environment,
        group=job.group_name,
        now=db.database_time(session),
        runners=runners.listing(session),
        not_before=job.not_before,
        paused_by=job.pause_requested_by,
        paused=job.pause_requested_at is not None,
        concurrency=job.concurrency,
        bot_running=0 if job.concurrency is None else _running(session, job.bot_id),
        limit=concurrency.reached(session, job),
    )


def why(job: Situation, *, broker: Callable[[], bool]) -> Wait:
    """The first thing that keeps a queued job from starting; `broker` says whether Redis answers, if that matters."""
    return _held_back(job) or _without_runner(job) or _in_its_turn(job, broker=broker)


def _held_back(job: Situation) -> Wait | None:
    if job.paused:
        by = f" by {job.paused_by}" if job.paused_by else ""
        return Wait(Obstacle.PAUSED, f"It was paused{by}; it starts after: botkeep job resume ID")
    if job.not_before is not None and job.not_before > job.now:
        return Wait(Obstacle.NOT_BEFORE, f"It starts at {job.not_before:%Y-%m-%d %H:%M:%S} UTC at the earliest.")
    return None


def _without_runner(job: Situation) -> Wait | None:
    if _online(job):
        return None
    return Wait(Obstacle.NO_RUNNER, _nobody(job, [seen for seen in job.runners if _serves(seen, job)]))


def _in_its_turn(job: Situation, *, broker: Callable[[], bool]) -> Wait:
    if job.concurrency is not None and job.bot_running >= job.concurrency:
        return Wait(
            Obstacle.CONCURRENCY,
            f"The bot runs {_times(job.bot_running)} now, and its `concurrency` allows {job.concurrency} at once.",
        )
    if job.limit is not None:
        return Wait(
            Obstacle.CONCURRENCY,
            f"The limit of {job.limit.words} allows {job.limit.at_once} at once, and {job.limit.running} "
            "of its jobs run now; see `botkeep concurrency list`.",
        )
    if not broker():
        return Wait(Obstacle.BROKER, "Redis cannot be reached; the job is kept, and starts when Redis is back.")
    online = _online(job)
    running, slots = sum(seen.running for seen in online), sum(seen.row.concurrency for seen in online)
    if running >= slots:
        return Wait(
            Obstacle.BUSY,
            f"Every runner of {_lane(job)} is busy ({running} of {slots} bots); it starts when one of them has ended.",
        )
    return Wait(Obstacle.TURN, f"A runner of {_lane(job)} takes it in a moment ({running} of {slots} bots run).")


def _online(job: Situation) -> list[Seen]:
    return [seen for seen in job.runners if seen.status == "online" and _serves(seen, job)]


def _serves(seen: Seen, job: Situation) -> bool:
    return job.environment in seen.row.environments and job.group in seen.row.groups


def _nobody(job: Situation, serving: Sequence[Seen]) -> str:
    """That nobody serves the lane, who does something near it, and what to start."""
    start = f"botkeep runner --environment {job.environment}"
    if job.group != DEFAULT_GROUP:
        start += f" --group {job.group}"
    if serving:
        return f"No runner of {_lane(job)} is online: {_listed(serving, _condition)}. Start one: {start}"
    online = [seen for seen in job.runners if seen.status == "online"]
    others = f"there are {_listed(online, _lanes)}" if online else "no runner is online at all"
    return f"No runner serves {_lane(job)}; {others}. Start one: {start}"


def _condition(seen: Seen) -> str:
    return f"{seen.row.name} is {seen.status}"


def _lanes(seen: Seen) -> str:
    served = [lane(environment, group) for environment in seen.row.environments for group in seen.row.groups]
    return f"{seen.row.name} for {' '.join(served[:_NAMED])}{' …' if len(served) > _NAMED else ''}"


def _listed(seen: Sequence[Seen], words: Callable[[Seen], str]) -> str:
    shown = [words(each) for each in seen[:_NAMED]]
    rest = [f"{len(seen) - _NAMED} more"] if len(seen) > _NAMED else []
    return ", ".join(shown + rest)


def _lane(job: Situation) -> str:
    return lane(job.environment, job.group)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _running(session: Session, bot_id: uuid.UUID) -> int:
    count = select(func.count()).where(Job.bot_id == bot_id, Job.state == State.RUNNING)
    return session.scalar(count) or 0
