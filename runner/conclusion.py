"""How an attempt ends for its job: for good, or with another attempt. For workers, adopters and rescuers alike.

Promises that one report leads to one guarded statement of `runner.ends`, that a request to cancel goes before any
repeat, and that a report of an attempt which is not the running one is refused and written into that attempt's row.
One exception: a lost attempt that did end is taken as the job's end while nobody has claimed the next one, since a
bot that ended is not run again.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy import Row, Text, cast, select
from sqlalchemy.orm import Session

from runner import ends, retry, statements
from runner.jobs import Report
from runner.models import Job, PackageVersion
from runner.states import Reason, State

#: What the rescuer says of an attempt that it ends.
RESCUER = "scheduler, since the lease ran out"

#: Ends that somebody's wish to cancel turns into a cancellation: the bot was ended, if not because of it.
_ENDED_FROM_OUTSIDE = (Reason.RUNNER_LOST, Reason.RUNNER_STOPPED, Reason.CANCELLED)


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The state that a job is in after an attempt's end, and how long its next attempt waits if there is one."""

    state: State
    reason: Reason | None
    wait: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """An attempt that the rescuer ended."""

    job_id: uuid.UUID
    attempt: int
    runner: str | None
    conclusion: Conclusion


def conclude(session: Session, job_id: uuid.UUID, *, attempt: int, report: Report, lot: float) -> Conclusion | None:
    """Write the end of an attempt; `None` when it is refused. `lot` as for `retry.wait`."""
    for _ in range(2):  # a cancellation may come between the look and the statement; then look again
        now = _circumstances(session, job_id, attempt)
        if now is None:
            break
        whole, wait = _decided(session, job_id, attempt, report=report, now=now, lot=lot)
        if wait is None:
            done = ends.end(session, job_id, attempt=attempt, report=whole)
        else:
            done = ends.repeat(session, job_id, attempt=attempt, report=whole, after=wait)
        if done:
            return Conclusion(whole.state if wait is None else State.QUEUED, whole.reason, wait)
    return _late(session, job_id, attempt, report=report)


def lose_expired(
    session: Session, *, lot: Callable[[], float], limit: int = 100, among: Collection[uuid.UUID] | None = None
) -> list[Lost]:
    """End the attempts whose lease ran out, by the database's clock, as the retry policy of each bot says.

    Other jobs than those of `among` are left alone, where that is given.
    """
    found = []
    for row in ends.expired(session, limit=limit, among=among):
        now = _circumstances(session, row.id, row.attempt)
        if now is None:
            continue
        report = Report(State.FAILED, Reason.RUNNER_LOST, detail=Reason.RUNNER_LOST.sentence, ended_by=RESCUER)
        whole, wait = _decided(session, row.id, row.attempt, report=report, now=now, lot=lot(), runner=row.runner)
        if ends.lose(session, row.id, attempt=row.attempt, report=whole, after=wait):
            conclusion = Conclusion(whole.state if wait is None else State.QUEUED, whole.reason, wait)
            found.append(Lost(row.id, row.attempt, row.runner, conclusion))
    return found


def _circumstances(session: Session, job_id: uuid.UUID, attempt: int) -> Row | None:  # type: ignore[type-arg]
    return session.connection().execute(statements.CIRCUMSTANCES, {"job": job_id, "fence": attempt}).one_or_none()


def _decided(
    session: Session,
    job_id: uuid.UUID,
    attempt: int,
    *,
    report: Report,
    now: Row,  # type: ignore[type-arg]
    lot: float,
    runner: str | None = None,
) -> tuple[Report, timedelta | None]:
    """The report as history is to show it, and how long the next attempt waits, if there is one."""
    wait = None
    if now.cancel_requested_at is not None and report.reason in _ENDED_FROM_OUTSIDE:
        report = _cancelled(report, by=now.cancel_requested_by)
    elif now.cancel_requested_at is None and report.state is State.FAILED and report.reason is not None:
        wait = _wait(session, job_id, attempt, reason=report.reason, manifest=now.manifest, lot=lot)
        report = _last_words(report, attempt) if wait is None else report
    notes = [*now.warnings, *report.warnings]
    if report.reason is Reason.RUNNER_LOST and wait is not None and (runner or report.started_after is not None):
        notes.append(f"Attempt {attempt} was lost with its runner; the bot may have done its work then.")
    return replace(report, warnings=tuple(dict.fromkeys(notes))), wait


def _wait(
    session: Session,
    job_id: uuid.UUID,
    attempt: int,
    *,
    reason: Reason,
    manifest: str,
    lot: float,
) -> timedelta | None:
    counted = session.connection().execute(statements.EARLIER, {"job": job_id, "fence": attempt})
    before = {row[0]: row[1] for row in counted if row[0] is not None}
    return retry.wait(retry.policy_of(manifest), reason, before=before, lot=lot)


def _cancelled(report: Report, *, by: str | None) -> Report:
    lost = report.reason is Reason.RUNNER_LOST
    more = f" {Reason.RUNNER_LOST.sentence}" if lost else ""
    return replace(
        report,
        state=State.CANCELLED,
        reason=Reason.CANCELLED,
        detail=f"Cancelled by {by} while it ran.{more}",
        ended_by=report.ended_by if lost else by,
    )


def _last_words(report: Report, attempt: int) -> Report:
    """Why there is no further attempt, where a reader would expect one."""
    if report.reason is not Reason.RUNNER_LOST or attempt == 1:
        return report
    words = f"This was attempt {attempt}, and the bot is not tried again; see whether it brings its runner down."
    return replace(report, detail=f"{report.detail} {words}")


def _late(session: Session, job_id: uuid.UUID, attempt: int, *, report: Report) -> Conclusion | None:
    """What comes for an attempt that was given up: it counts as long as nothing else was begun for it."""
    row = session.execute(
        select(Job.state, Job.attempt, Job.reason, Job.warnings, cast(PackageVersion.manifest, Text).label("manifest"))
        .join(PackageVersion, PackageVersion.id == Job.version_id)
        .where(Job.id == job_id)
    ).one_or_none()
    if row is None:
        return None
    waits = (row.state, row.attempt, row.reason) == (State.QUEUED, attempt, Reason.RUNNER_LOST)
    if waits and report.reason not in _ENDED_FROM_OUTSIDE:
        repeated = report.reason is not None and (
            _wait(session, job_id, attempt, reason=report.reason, manifest=row.manifest, lot=0.0) is not None
        )
        whole = replace(report, warnings=tuple(dict.fromkeys([*row.warnings, *report.warnings])))
        if not repeated and ends.finish_late(session, job_id, attempt=attempt, report=whole):
            return Conclusion(report.state, report.reason)
    ends.record_late(session, job_id, attempt=attempt, report=report)
    return None
