"""Where a run stands: its facts, read from the rows of its jobs, and the outlook that its definition makes of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from runner import results
from runner.models import Job
from runner.states import FINAL, State
from scheduler import flows
from scheduler.flows import Kind
from scheduler.models import Approval, Flow, Run, RunTry
from scheduler.outlook import TIMEOUT, Answer, Facts, Outlook, Try

#: The id of no job.
NOBODY = UUID(int=0)

#: What becomes of a try whose job's row is no longer there.
GONE = "Its job is not in the history any more."


def outlook(session: Session, run: Run, flow: Flow, *, now: datetime) -> tuple[Outlook, Facts]:
    """How each step of a run stands, and by which facts; for somebody who looks, changes nothing."""
    seen = facts(session, run, flow, now=run.finished_at or now)
    definition = flows.restored(Kind(flow.kind), flows.version(session, flow, run.version).definition)
    return definition.look(seen), seen


def facts(session: Session, run: Run, flow: Flow, *, now: datetime) -> Facts:
    """What the rows say about a run."""
    rows = session.execute(
        select(
            RunTry,
            Job.state,
            Job.reason,
            Job.detail,
            Job.finished_at,
            Job.cancel_requested_at.is_not(None).label("asked"),
        )
        .outerjoin(Job, Job.id == RunTry.job_id)
        .where(RunTry.run_id == run.id)
        .order_by(RunTry.step, RunTry.item, RunTry.number)
    ).all()
    ended = [row[0].job_id for row in rows if row.state in FINAL and row[0].job_id is not None]
    given = results.of_jobs(session, ended) if flow.kind == Kind.WORKFLOW else {}
    tries: dict[str, dict[int, list[Try]]] = {}
    for row in rows:
        found = _try(row, given.get(row[0].job_id or NOBODY, {}))
        tries.setdefault(row[0].step, {}).setdefault(row[0].item, []).append(found)
    return Facts(
        now=now,
        environment=run.environment,
        parameters=run.parameters,
        tries=tries,
        answers=_answers(session, run) if flow.kind == Kind.WORKFLOW else {},
        paused=run.pause_requested_at is not None or flow.pause_requested_at is not None,
        ending="cancelled" if run.cancel_requested_at else TIMEOUT if run.timed_out_at else None,
    )


def _try(row: Any, given: dict[str, Any]) -> Try:  # noqa: ANN401 - a row of the statement above
    made: RunTry = row[0]
    if made.job_id is None:
        return Try(made.number, made.created_at, reason="refused", detail=made.refusal, finished_at=made.created_at)
    return Try(
        made.number,
        made.created_at,
        job_id=made.job_id,
        state=row.state or State.FAILED,
        reason=row.reason,
        detail=row.detail if row.state else GONE,
        finished_at=row.finished_at,
        cancel_requested=bool(row.asked),
        reused=made.reused,
        results=given,
    )


def _answers(session: Session, run: Run) -> dict[str, Answer]:
    rows = session.scalars(select(Approval).where(Approval.run_id == run.id)).all()
    return {
        row.step: Answer(row.expires_at, allowed=row.allowed, by=row.answered_by, comment=row.comment) for row in rows
    }
