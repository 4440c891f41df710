"""The rescuer: announces again what nobody claimed, and ends what a lost runner left behind.

Redis says look, the database says what: a message may be lost (Redis was away, flushed, or restarted without its
file), the queued row is not. Running it twice at once, or in two schedulers, does no harm.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from celery import Celery
from sqlalchemy import Engine, Row

from runner import announcements, conclusion, ends, journals, lanes
from runner.logging import logger
from vault import db

#: Overdue attempts that one round looks at: more than one runner can have (512), should all of them have ended.
AT_ONCE = 2000

#: How long a runner's return is waited for, whose bot has ended.
ADOPTED_WITHIN = timedelta(hours=1)

#: How many times longer a job waits for a new announcement in a lane that is merely long.
CROWDED = 10

_log = logger()


def republish(engine: Engine, app: Celery, *, older_than: timedelta) -> int:
    """Publish queued jobs that were never announced, or so long ago that the message may be lost.

    A lane that holds a message for each of its jobs is crowded, not forgotten, and is left alone for `CROWDED`
    times as long. Stops at the first job that the broker does not take; answers how many it took.
    """
    with db.reading(engine) as session:
        lanes_due = announcements.waiting_lanes(session, older_than=older_than)
    count = 0
    for lane in lanes_due:
        crowded = lanes.depth(app, environment=lane.environment, group=lane.group) >= lane.queued
        with db.reading(engine) as session:
            due = announcements.due_in_lane(session, lane, older_than=older_than * CROWDED if crowded else older_than)
        if not due:
            continue
        ids = [job_id for job_id, _bot_id in due]
        # Marked first: who claims passes over a row that is being changed, and nobody would look again.
        with db.writing(engine) as session:
            announcements.mark_published(session, ids)
        published = _publish(app, lane, due)
        if len(published) < len(due):
            with db.writing(engine) as session:
                announcements.unmark(session, ids[len(published) :])
        count += len(published)
        if len(published) < len(due):
            break
    if count:
        _log.info("jobs.republished", count=count)
    return count


class Memory:
    """Whether the broker still knows what it was told; one for each scheduler process."""

    def __init__(self, engine: Engine, app: Celery) -> None:
        self._engine, self._app = engine, app
        self._epoch: str | None = None

    def check(self) -> bool:
        """Let every queued job be announced again where the broker was flushed; answers whether it was.

        The jobs are marked before the broker is, so that a scheduler which dies in between is repeated.
        """
        found = lanes.epoch(self._app)
        if found is not None and self._epoch in (None, found):
            self._epoch = found
            return False
        with db.writing(self._engine) as session:
            count = announcements.forget(session)
        if found is None:
            found = uuid.uuid4().hex
            lanes.begin_epoch(self._app, found)
        self._epoch = found
        _log.warning("broker.forgot", queued=count)
        return True


def _publish(app: Celery, lane: announcements.Waiting, due: Sequence[Row[uuid.UUID, uuid.UUID]]) -> list[uuid.UUID]:
    """The ids that the broker took, up to the first that it did not."""
    taken: list[uuid.UUID] = []
    for job_id, bot_id in due:
        if not lanes.publish(app, job_id, environment=lane.environment, group=lane.group, bot_id=bot_id):
            break
        taken.append(job_id)
    return taken


def end_lost(engine: Engine, journals_of: Path) -> int:
    """End the attempts whose runner let their lease run out, as each bot's policy says; answers how many.

    Where a launcher has recorded below `journals_of` that the bot ended, the runner (it may be frozen), or the next one
    of its home, is waited for.
    """
    with db.reading(engine) as session:
        overdue = ends.overdue(session, recent=ADOPTED_WITHIN, limit=AT_ONCE)
    if not overdue:
        return 0
    ended = journals.ended(journals_of, {(row.id, row.attempt) for row in overdue if row.recent})
    # What runs out meanwhile was not looked for in the journals, and has its turn in the next round.
    looked_for = {row.id for row in overdue} - ended
    with db.writing(engine) as session:
        lost = conclusion.lose_expired(session, lot=random.random, among=looked_for)
    for one in lost:
        _log.warning(
            "runner.lost",
            job_id=str(one.job_id),
            attempt=one.attempt,
            runner=one.runner,
            state=str(one.conclusion.state),
        )
    return len(lost)


def remind_limited(engine: Engine, app: Celery) -> None:
    """Make every lane be looked at in which a job waits for a limit: what was lost may have held it."""
    with db.reading(engine) as session:
        waiting = announcements.limited_lanes(session)
    for environment, group in waiting:
        lanes.remind(app, uuid.uuid4(), environment=environment, group=group)
