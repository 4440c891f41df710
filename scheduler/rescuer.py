"""The rescuer: announces again what nobody claimed, and ends what a lost runner left behind.

Redis says look, the database says what: a message may be lost (Redis was away, flushed, or restarted without its
file), the queued row is not. Running it twice at once, or in two schedulers, does no harm.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import timedelta

from celery import Celery
from sqlalchemy import Engine, Row

from runner import jobs, lanes
from runner.logging import logger
from vault import db

#: How many times longer a job waits for a new announcement in a lane that is merely long.
CROWDED = 10

_log = logger()


def republish(engine: Engine, app: Celery, *, older_than: timedelta) -> int:
    """Publish queued jobs that were never announced, or so long ago that the message may be lost.

    A lane that holds a message for each of its jobs is crowded, not forgotten, and is left alone for `CROWDED`
    times as long. Stops at the first job that the broker does not take; answers how many it took.
    """
    with db.reading(engine) as session:
        lanes_due = jobs.waiting_lanes(session, older_than=older_than)
    count = 0
    for lane in lanes_due:
        crowded = lanes.depth(app, environment=lane.environment, group=lane.group) >= lane.queued
        with db.reading(engine) as session:
            due = jobs.due_in_lane(session, lane, older_than=older_than * CROWDED if crowded else older_than)
        published = _publish(app, lane, due)
        if published:
            with db.writing(engine) as session:
                jobs.mark_published(session, published)
        count += len(published)
        if len(published) < len(due):
            break
    if count:
        _log.info("jobs.republished", count=count)
    return count


def _publish(app: Celery, lane: jobs.Waiting, due: Sequence[Row[uuid.UUID, uuid.UUID]]) -> list[uuid.UUID]:
    """The ids that the broker took, up to the first that it did not."""
    taken: list[uuid.UUID] = []
    for job_id, bot_id in due:
        if not lanes.publish(app, job_id, environment=lane.environment, group=lane.group, bot_id=bot_id):
            break
        taken.append(job_id)
    return taken


def end_lost(engine: Engine) -> int:
    """End the attempts whose runner let their lease run out; answers how many."""
    with db.writing(engine) as session:
        lost = jobs.lose_expired(session)
    for job_id, attempt, runner in lost:
        _log.warning("runner.lost", job_id=str(job_id), attempt=attempt, runner=runner)
    return len(lost)
