"""The last step of an attempt: its end is written into the database, and the next job claimed with it where one waits.

Promises that a report is written once the database takes it, however long it is away, since the bot must not run again;
and that one which the fence refuses changes nothing.
"""

from __future__ import annotations

import random
import time
from datetime import timedelta

from runner import artefacts, jobs, succession
from runner.conclusion import Conclusion, conclude
from runner.jobs import Claim, Report
from runner.logging import logger
from runner.states import Reason, State
from runner.worker.station import Station
from runner.worker.turn import Claimed, Turn
from vault import db
from vault.errors import Unavailable

#: Longest wait between two tries to report to a database that is away, in seconds.
_BACKOFF = 5.0

_log = logger()


def write(station: Station, claim: Claim, report: Report, *, turn: Turn) -> Conclusion | None:
    """Write the end of the attempt; `None` when it is refused. What was claimed with it is kept in the turn.

    A database that is away is waited for, since the bot must not run again.
    """
    pause = 0.1
    while True:
        try:
            done = _concluded(station, claim, report, turn)
        except Unavailable as error:
            _log.warning("report.delayed", error=str(error))
            time.sleep(pause)
            pause = min(2 * pause, _BACKOFF)
        except Exception:
            if report.reason is Reason.INTERNAL:
                raise
            _log.exception("report.broken")
            report = Report(State.FAILED, Reason.INTERNAL, detail=Reason.INTERNAL.sentence)
        else:
            break
    if done is None:
        _log.warning("report.refused", state=str(report.state), reason=report.reason)
    elif done.wait is None:
        _log.info("job.finished", state=str(done.state), reason=done.reason)
    else:
        _log.info("job.repeated", reason=done.reason, wait=done.wait.total_seconds())
    return done


def _concluded(station: Station, claim: Claim, report: Report, turn: Turn) -> Conclusion | None:
    # The usual end is one statement; every other one may be followed by a further attempt.
    plain = claim.attempt == 1 and report.state is State.SUCCEEDED and not report.artefacts
    if plain and _finished(station, claim, report, turn):
        return Conclusion(report.state, report.reason)
    lot = random.random()  # noqa: S311 - spreads repeats in time, and guards nothing
    with db.writing(station.engine) as session:
        artefacts.record(session, claim.job_id, attempt=claim.attempt, files=report.artefacts)
        return conclude(session, claim.job_id, attempt=claim.attempt, report=report, lot=lot)


def _finished(station: Station, claim: Claim, report: Report, turn: Turn) -> bool:
    hint = None if claim.limited else turn.offer()  # the end of a limited job may let one of another lane begin
    if hint is None:
        return jobs.finish(station.direct, claim.job_id, attempt=claim.attempt, report=report)
    since = time.monotonic()
    try:
        ended, won = succession.finish_and_claim(
            station.direct,
            claim.job_id,
            attempt=claim.attempt,
            report=report,
            environment=hint.environment,
            group=hint.group,
            runner=station.settings.runner_name,
            lease=timedelta(seconds=station.settings.lease),
        )
    except Unavailable:
        raise
    except Exception:  # the next job is no reason to doubt this one's end
        _log.exception("claim.broken")
        return jobs.finish(station.direct, claim.job_id, attempt=claim.attempt, report=report)
    if won is not None:
        turn.win(Claimed(won, since))
    return ended
