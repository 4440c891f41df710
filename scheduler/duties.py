"""The scheduler's duties: what each does, how often it has its turn, and what it waits for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from celery import Celery
from sqlalchemy import Engine

from runner import announcements, ends, fan_outs, work_items
from runner.journals import OUTCOMES
from runner.stores import Store
from scheduler import (
    advancing,
    broker,
    completion,
    due,
    pending,
    pruner,
    reading_notes,
    rescuer,
    sealing,
    spreading,
)
from scheduler.advancing import Advancer
from scheduler.sealing import Sealer
from scheduler.service import Duty
from scheduler.settings import SchedulerSettings
from vault import db

#: Seconds between two looks for work items to be released; who reserves one takes what an ended attempt held anyway.
SETTLE_EVERY = 5.0


def duties(
    engine: Engine, app: Celery, settings: SchedulerSettings, *, store: Store, advancer: Advancer, sealer: Sealer
) -> Sequence[Duty]:
    """All of them, in the order of one round."""
    memory = rescuer.Memory(engine, app)
    pruning = pruner.Pruner(engine, store, every=settings.prune_every)
    tick, after = settings.tick, timedelta(seconds=settings.republish_after)
    unannounced = announcements.waiting(older_than=after)

    def end_lost() -> None:
        if rescuer.end_lost(engine, settings.home / OUTCOMES):
            rescuer.remind_limited(engine, app)

    return [
        Duty("fire_due", lambda: due.fire_due(engine, app), tick, due.WAITING),
        Duty("fire_ended", lambda: completion.fire_ended(engine, app), tick, completion.waiting()),
        Duty("decide_pending", lambda: pending.decide_pending(engine, app), tick, pending.WAITING),
        Duty("check_broker", lambda: broker.check(app), broker.EVERY),
        Duty("notice_flush", memory.check, tick),
        Duty("republish", lambda: rescuer.republish(engine, app, older_than=after), tick, unannounced),
        Duty("fan_out", lambda: spreading.start_jobs(engine, app, now=_now), tick, fan_outs.WAITING),
        Duty("end_lost_fan_outs", lambda: spreading.end_lost(engine), spreading.EVERY, fan_outs.LOST),
        Duty("end_lost", end_lost, tick, ends.LOST),
        Duty("prune", pruning.check, min(pruner.EVERY, settings.prune_every)),
        Duty("advance_runs", advancer.look_at_due, tick, advancing.WAITING),
        Duty("note_readings", lambda: reading_notes.note_readings(engine), reading_notes.EVERY),
        Duty("seal_audit", sealer.seal, sealing.EVERY),
        Duty("settle_items", lambda: _settle_items(engine), SETTLE_EVERY, work_items.unsettled()),
    ]


def _now() -> datetime:
    return datetime.now(UTC)


def _settle_items(engine: Engine) -> None:
    """Release the work items of attempts that have ended, and take late ones out."""
    with db.writing(engine) as session:
        work_items.settle(session)
