"""Making jobs of what runners read for fan-outs: some batches in each transaction, announced after it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from celery import Celery
from sqlalchemy import Engine

from runner import fan_outs, jobs, lanes
from runner.logging import logger
from vault import db

#: Seconds between two looks for what is lost or cancelled: nobody waits for either.
EVERY = 10.0

_log = logger()


def start_jobs(engine: Engine, app: Celery, *, now: Callable[[], datetime]) -> int:
    """Make every batch that is there a job; answers how many jobs there are more.

    Two schedulers do no harm: a fan-out is locked, and a batch is gone in the transaction that makes its job.
    """
    with db.reading(engine) as session:
        waiting = fan_outs.read(session)
    count = 0
    for fan_out_id in waiting:
        ended = False
        while not ended:
            with db.writing(engine) as session:
                started, ended = fan_outs.start_some(session, fan_out_id, now=now())
            for job_id, order in started:
                if not lanes.publish(
                    app, job_id, environment=order.environment, group=order.group, bot_id=order.bot_id
                ):
                    with db.writing(engine) as session:
                        jobs.not_published(session, job_id)
            count += len(started)
    if count:
        _log.info("jobs.fanned_out", count=count)
    return count


def end_lost(engine: Engine) -> None:
    """End what can never be read, and remove what cancelled fan-outs would have given to jobs."""
    with db.writing(engine) as session:
        fan_outs.end_lost(session)
        fan_outs.sweep(session)
