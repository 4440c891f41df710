"""`python -m scheduler`: the duties that must happen although nobody asks. Holds no key, decrypts nothing."""

from __future__ import annotations

import sys

for _module in (
    "vault.decrypt",
    "vault.reader",
    "vault.identities",
    "vault.keyhost",
    "vault.rotation",
    "vault.canary",
    "runner.worker",
):
    sys.modules[_module] = None  # type: ignore[assignment]  # a later import fails: this process cannot decrypt

import signal  # noqa: E402 - nothing of ours may be imported before the fence
import threading  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from contextlib import suppress  # noqa: E402
from datetime import UTC, datetime, timedelta  # noqa: E402

from sqlalchemy import Engine  # noqa: E402

from runner import lanes, schema, work_items  # noqa: E402
from runner.errors import Conflict, RunnerError  # noqa: E402
from runner.journals import OUTCOMES  # noqa: E402
from runner.logging import configure, logger  # noqa: E402
from scheduler import (  # noqa: E402
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
from scheduler.advancing import Advancer  # noqa: E402
from scheduler.hearing import Hearing  # noqa: E402
from scheduler.sealing import Sealer  # noqa: E402
from scheduler.service import Duty, serve  # noqa: E402
from scheduler.settings import SchedulerSettings  # noqa: E402
from vault import db  # noqa: E402
from vault.errors import Unavailable, VaultError  # noqa: E402
from vault.settings import load  # noqa: E402

#: Seconds between two looks for work items to be released; who reserves one takes what an ended attempt held anyway.
SETTLE_EVERY = 5.0


def main(_argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM; every reason not to start is one sentence on stderr."""
    try:
        settings = load(SchedulerSettings)
        configure("scheduler", level=settings.log_level)
        engine = db.engine(settings.database(), pool_size=2)
        _check_schema(engine)
        app = lanes.transport(settings.broker())
        store = settings.log_store()
        lanes.refuse_cluster(app)
    except (RunnerError, VaultError) as error:
        print(error, file=sys.stderr)
        return 5
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    memory = rescuer.Memory(engine, app)
    pruning = pruner.Pruner(engine, store, every=settings.prune_every)
    after = timedelta(seconds=settings.republish_after)
    advancer = Advancer(engine, app)
    hearing = Hearing(app, look=advancer.look)
    hearing.start()

    sealer = Sealer(
        engine,
        settings.audit_anchors(),
        anchor_every=settings.audit_anchor_every,
        now=lambda: datetime.now(UTC),
    )

    def end_lost() -> None:
        if rescuer.end_lost(engine, settings.home / OUTCOMES):
            rescuer.remind_limited(engine, app)

    logger().info("scheduler.ready")
    serve(
        [
            Duty("fire_due", lambda: due.fire_due(engine, app), settings.tick),
            Duty("fire_ended", lambda: completion.fire_ended(engine, app), settings.tick),
            Duty("decide_pending", lambda: pending.decide_pending(engine, app), settings.tick),
            Duty("check_broker", lambda: broker.check(app), broker.EVERY),
            Duty("notice_flush", memory.check, settings.tick),
            Duty("republish", lambda: rescuer.republish(engine, app, older_than=after), settings.tick),
            Duty("fan_out", lambda: spreading.start_jobs(engine, app, now=lambda: datetime.now(UTC)), settings.tick),
            Duty("end_lost_fan_outs", lambda: spreading.end_lost(engine), spreading.EVERY),
            Duty("end_lost", end_lost, settings.tick),
            Duty("prune", pruning.check, min(pruner.EVERY, settings.prune_every)),
            Duty("advance_runs", advancer.look_at_due, settings.tick),
            Duty("note_readings", lambda: reading_notes.note_readings(engine), reading_notes.EVERY),
            Duty("seal_audit", sealer.seal, sealing.EVERY),
            Duty("settle_items", lambda: _settle_items(engine), SETTLE_EVERY),
        ],
        stop,
    )
    hearing.close()
    with suppress(OSError):
        sealer.anchor()
    return 0


def _settle_items(engine: Engine) -> None:
    """Release the work items of attempts that have ended, and take late ones out."""
    with db.reading(engine) as session:
        wanted = work_items.unsettled(session)
    if wanted:
        with db.writing(engine) as session:
            work_items.settle(session)


def _check_schema(engine: Engine) -> None:
    """Refuse a database of another version; one that is away is waited for by the duties."""
    try:
        with db.reading(engine) as session:
            current = schema.is_current(session)
    except Unavailable:
        return
    if not current:
        raise Conflict("The database has another schema than this version needs; run: botkeep migrate")


if __name__ == "__main__":
    sys.exit(main())
