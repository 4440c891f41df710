"""Adoption: reports what dead workers of this host could not report any more, from what their launchers recorded.

A bot that ended once ends once: where its worker was killed between the bot's end and the report, the outcome is in
a journal, and whichever runner of this home comes next reports it, by the same fence as everybody. A journal is
taken over when its worker and all its launchers have ended, and removed when all of it is in the database. One whose
worker lives and does not keep its leases (it is frozen, say) is only read.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import cache
from pathlib import Path

from sqlalchemy import Engine, and_, or_, select, tuple_
from sqlalchemy.orm import Session

from runner import conclusion, ends
from runner.jobs import Report
from runner.logging import logger
from runner.models import Attempt, Job
from runner.states import Reason, State
from runner.worker import ending
from runner.worker.outcomes import Recorded, abandoned, peek, taking_over
from vault import db
from vault.errors import VaultError

#: Lines that one statement looks for in the database.
_AT_ONCE = 200

_log = logger()


def adopt(engine: Engine, root: Path, *, instance: uuid.UUID, silence: timedelta) -> int:
    """Report what the abandoned journals below `root` hold; answers how many outcomes were news.

    Of journals that others than `instance` still write, it reports the attempts whose leases run out in less than
    `silence`: their worker may be frozen, and a bot that ended would run again. One that is only slow is refused then.
    Raises nothing, since heartbeats wait for it. Where the database is away the journals stay for the next call.
    """
    count = 0
    unkept: Callable[[], set[tuple[uuid.UUID, int]]] = cache(lambda: _unkept(engine, silence))
    for path in abandoned(root):
        try:
            with taking_over(path) as records:
                count += _report(engine, records)
            if not path.name.startswith(instance.hex) and path.exists() and unkept():
                count += _report(engine, [one for one in peek(path) if (one.job_id, one.attempt) in unkept()])
        except VaultError as error:
            _log.warning("adoption.delayed", error=str(error))
            break
        except OSError as error:  # such as that of a runner which was once started as root
            _log.warning("adoption.delayed", journal=path.name, error=str(error))
        except Exception:
            _log.exception("adoption.broken", journal=path.name)
    return count


def _unkept(engine: Engine, silence: timedelta) -> set[tuple[uuid.UUID, int]]:
    """The attempts whose runner has not extended their lease in time."""
    with db.reading(engine) as session:
        rows = session.execute(
            select(Job.id, Job.attempt).where(Job.state == State.RUNNING, Job.lease_expires_at < db.clock(silence))
        ).all()
    return {(row.id, row.attempt) for row in rows}


def _report(engine: Engine, records: Sequence[Recorded]) -> int:
    count = 0
    for start in range(0, len(records), _AT_ONCE):
        some = records[start : start + _AT_ONCE]
        with db.reading(engine) as session:
            wanted = _unreported(session, some)
        for recorded, runner in wanted:
            _conclude(engine, recorded, ending.adopted(recorded.outcome, runner=runner))
            count += 1
    return count


def _unreported(session: Session, records: Sequence[Recorded]) -> list[tuple[Recorded, str]]:
    """Those of which the database does not know the end, or only that it was given up; with their runners' names."""
    known = {(one.job_id, one.attempt): one for one in records}
    rows = session.execute(
        select(Attempt.job_id, Attempt.number, Attempt.runner).where(
            tuple_(Attempt.job_id, Attempt.number).in_(known),
            or_(
                Attempt.state == State.RUNNING,
                and_(Attempt.reason == Reason.RUNNER_LOST, Attempt.survivors.is_(None)),
            ),
        )
    )
    return [(known[row.job_id, row.number], row.runner) for row in rows]


def _conclude(engine: Engine, recorded: Recorded, report: Report) -> None:
    lot = random.random()  # noqa: S311 - spreads repeats in time, and guards nothing
    try:
        with db.writing(engine) as session:
            done = conclusion.conclude(session, recorded.job_id, attempt=recorded.attempt, report=report, lot=lot)
            ends.mark_adopted(session, recorded.job_id, attempt=recorded.attempt)
    except VaultError:
        raise
    except Exception:
        if report.reason is Reason.INTERNAL:
            raise
        # What cannot be stored must not keep the job from its end, nor the lines after it from theirs.
        _log.exception("report.broken", job_id=str(recorded.job_id))
        _conclude(engine, recorded, Report(State.FAILED, Reason.INTERNAL, detail=Reason.INTERNAL.sentence))
    else:
        state = None if done is None else str(done.state)
        _log.info("outcome.adopted", job_id=str(recorded.job_id), attempt=recorded.attempt, state=state)
