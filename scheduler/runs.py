"""Runs of queues and workflows: asking for one, pausing, cancelling and restarting it, answering its questions.

These write what people want; `scheduler.advancing` alone makes jobs of it and says how a run ended.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, insert, select, update
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from runner.errors import Conflict, Invalid, NotFound
from runner.jobs import Cause, Priority
from runner.requests import MAX_KEY, fill_declared
from runner.states import FINAL, State
from scheduler import flow_preflight, flows, standing
from scheduler.flows import Kind
from scheduler.models import Approval, Flow, Run, RunTry
from scheduler.outlook import FAILED, Facts, Outlook
from scheduler.precedence import environment_of
from scheduler.queues import Queue
from scheduler.workflows import Workflow
from vault import db
from vault.audit import Actor
from vault.db import clock
from vault.names import shown


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a run is asked for with; an empty environment leaves it to the trigger and the definition."""

    cause: Cause
    requested_by: str
    environment: str | None = None
    trigger_environment: str | None = None
    parameters: Mapping[str, Any] | None = None
    idempotency_key: str | None = None


def environment_for(session: Session, flow: Flow, wanted: Wanted) -> str:
    """Where a run would go; see `scheduler.precedence`."""
    own = flows.version(session, flow).definition.get("environment")
    return environment_of(explicit=wanted.environment, trigger=wanted.trigger_environment, flow=own)


def start(session: Session, flow: Flow, wanted: Wanted, *, now: datetime) -> Run:
    """A new run of the flow's newest version; the scheduler is told after the commit.

    Raises:
        Invalid: for parameters that the flow does not declare, or needs and was not given, and for a step that could
            not start.
    """
    definition = flows.restored(Kind(flow.kind), flows.version(session, flow).definition)
    if wanted.idempotency_key is not None and not 0 < len(wanted.idempotency_key) <= MAX_KEY:
        raise Invalid(f"An idempotency key has 1 to {MAX_KEY} characters.")
    parameters = fill_declared(definition.parameters, wanted.parameters or {}, owner=flow.kind)
    chosen = environment_for(session, flow, wanted)
    flow_preflight.check(session, definition, workspace_id=flow.workspace_id, environment=chosen, parameters=parameters)
    return _insert(
        session,
        flow,
        definition,
        version=flow.version,
        environment=chosen,
        parameters=parameters,
        wanted=wanted,
        now=now,
    )


def _insert(
    session: Session,
    flow: Flow,
    definition: Queue | Workflow,
    *,
    version: int,
    environment: str,
    parameters: Mapping[str, Any],
    wanted: Wanted,
    now: datetime,
    restart_of: uuid.UUID | None = None,
) -> Run:
    run = Run(
        id=uuid7(),
        workspace_id=flow.workspace_id,
        flow_id=flow.id,
        version=version,
        environment=environment,
        group_name=definition.group,
        priority=Priority.of(definition.priority),
        parameters=dict(parameters),
        state=State.RUNNING,
        cause_kind=wanted.cause.kind,
        cause_name=wanted.cause.name,
        cause_id=wanted.cause.id,
        requested_by=wanted.requested_by,
        idempotency_key=wanted.idempotency_key,
        restart_of=restart_of,
        created_at=now,
        look_at=now,
        deadline_at=None if definition.timeout is None else now + definition.timeout,
    )
    session.add(run)
    session.flush()
    return run


def by_idempotency_key(session: Session, key: str, *, workspace_id: uuid.UUID) -> Run | None:
    """The run that this key made, if any."""
    return session.scalars(
        select(Run).where(Run.workspace_id == workspace_id, Run.idempotency_key == key)
    ).one_or_none()


def require(session: Session, run_id: uuid.UUID, *, workspace_id: uuid.UUID) -> tuple[Run, Flow]:
    """A run and its flow.

    Raises:
        NotFound: when this workspace has no such run.
    """
    row = session.execute(
        select(Run, Flow).join(Flow, Flow.id == Run.flow_id).where(Run.id == run_id, Run.workspace_id == workspace_id)
    ).one_or_none()
    if row is None:
        raise NotFound(f"There is no run {run_id}; see `botkeep queue runs` and `botkeep workflow runs`.")
    return row[0], row[1]


def page(
    session: Session,
    *,
    workspace_id: uuid.UUID,
    limit: int,
    kind: Kind | None = None,
    name: str | None = None,
    state: str | None = None,
    after: uuid.UUID | None = None,
) -> Sequence[Row[Run, Flow]]:
    """The newest runs before `after`, newest first, each with its flow.

    Raises:
        Invalid: for an unknown state.
    """
    states = (State.RUNNING, *sorted(FINAL))
    if state is not None and state not in states:
        raise Invalid(f"state: there is no {shown(state)}; use one of {', '.join(states)}.")
    query = select(Run, Flow).join(Flow, Flow.id == Run.flow_id).where(Run.workspace_id == workspace_id)
    for column, wanted in ((Flow.kind, kind), (Flow.name, name), (Run.state, state)):
        query = query if wanted is None else query.where(column == wanted)
    if after is not None:
        query = query.where(Run.id < after)
    return session.execute(query.order_by(Run.id.desc()).limit(limit)).all()


def latest(session: Session, flow_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Run]:
    """The newest run of each of these flows that has any."""
    newest = (
        select(Run.id).where(Run.flow_id == Flow.id).order_by(Run.id.desc()).limit(1).correlate(Flow).scalar_subquery()
    )
    rows = session.scalars(select(Run).where(Run.id.in_(select(newest).select_from(Flow).where(Flow.id.in_(flow_ids)))))
    return {run.flow_id: run for run in rows}


def pause(session: Session, run: Run, *, actor: Actor, now: datetime) -> None:
    """Let it begin nothing until it is resumed; what runs is finished. A second pause changes nothing.

    Raises:
        Conflict: when it has ended, or is being cancelled.
    """
    if run.cancel_requested_at is not None:
        raise Conflict(f"Run {run.id} is being cancelled; it cannot be paused.")
    values = {"pause_requested_at": now, "pause_requested_by": actor.name}
    if not _change(session, run, Run.pause_requested_at.is_(None), **values) and run.pause_requested_at is None:
        raise _ended(run, "paused")


def resume(session: Session, run: Run, *, now: datetime) -> None:
    """Let it go on; one that is not paused goes on anyway."""
    paused = Run.pause_requested_at.is_not(None)
    _change(session, run, paused, pause_requested_at=None, pause_requested_by=None, look_at=now)


def cancel(session: Session, run: Run, *, actor: Actor, now: datetime) -> None:
    """Let it begin nothing more and end what runs; it has ended when its jobs have.

    Raises:
        Conflict: when it has ended.
    """
    values = {"cancel_requested_at": now, "cancel_requested_by": actor.name, "look_at": now}
    if not _change(session, run, Run.cancel_requested_at.is_(None), **values) and run.cancel_requested_at is None:
        raise _ended(run, "cancelled")


def answer(
    session: Session, run: Run, step: str, *, allowed: bool, comment: str | None, actor: Actor, now: datetime
) -> Approval:
    """Allow or refuse what a run asks; the same answer twice changes nothing.

    Raises:
        NotFound: when the run asks no such question (yet).
        Conflict: when somebody answered otherwise, the question expired, or the run has ended.
    """
    question = session.get(Approval, (run.id, step))
    if question is None:
        raise NotFound(
            f"Run {run.id} does not ask for an approval of {shown(step)}; `botkeep workflow show` says more."
        )
    changed = db.changes(
        session,
        update(Approval)
        .where(
            Approval.run_id == run.id,
            Approval.step == step,
            Approval.answered_at.is_(None),
            Approval.expires_at > clock(),
            select(Run.id)
            .where(Run.id == run.id, Run.state == State.RUNNING, Run.cancel_requested_at.is_(None))
            .exists(),
        )
        .values(answered_at=now, answered_by=actor.name, allowed=allowed, comment=comment)
        .execution_options(synchronize_session=False),
    )
    session.refresh(question)
    if not changed and question.answered_at is None:
        raise Conflict(f"The question of {step} has expired, or its run has ended; restart the run to ask again.")
    if not changed and question.allowed is not allowed:
        words = "allowed" if question.allowed else "refused"
        raise Conflict(f"{question.answered_by} has {words} {step} already.")
    _change(session, run, look_at=now)
    return question


def restart(session: Session, run: Run, flow: Flow, *, wanted: Wanted, step: str | None, now: datetime) -> Run:
    """A new run that takes over what succeeded before the failed steps, or before `step`, and does the rest.

    It keeps definition, parameters and environment of the old one. Of a fan-out that failed in part, what succeeded is
    taken over; questions are asked again.

    Raises:
        Conflict: while the run goes on, and when there is nothing to do again.
        Invalid: for a step that there is not, and for one that is to be done again and could not start.
    """
    if run.state not in FINAL:
        raise Conflict(f"Run {run.id} goes on; cancel it, or wait for its end.")
    definition = flows.restored(Kind(flow.kind), flows.version(session, flow, run.version).definition)
    facts = standing.facts(session, run, flow, now=run.finished_at or now)
    outlook = definition.look(facts)
    if step is not None and step not in outlook.steps:
        raise Invalid(f"from: there is no step {shown(step)}; there are {', '.join(outlook.steps)}.")
    again = {step} if step else {name for name, status in outlook.steps.items() if status.standing in FAILED}
    if not again and run.state == State.SUCCEEDED:
        raise Conflict(f"No step of run {run.id} failed; name the one to begin from: --from STEP")
    taken = list(_taken_over(definition, outlook, facts, again=again, chosen=step))
    flow_preflight.check(
        session,
        definition,
        workspace_id=run.workspace_id,
        environment=run.environment,
        parameters=run.parameters,
        done={name for name, _item, _job_id in taken} - again,
    )
    new = _insert(
        session,
        flow,
        definition,
        version=run.version,
        environment=run.environment,
        parameters=run.parameters,
        wanted=wanted,
        now=now,
        restart_of=run.id,
    )
    kept = [{"step": name, "item": item, "job_id": job_id} for name, item, job_id in taken]
    shared = {"run_id": new.id, "number": 1, "reused": True, "seen": True, "created_at": now, "refusal": None}
    if kept:
        session.execute(insert(RunTry), [{**shared, **row} for row in kept])
    return new


def _taken_over(
    definition: Queue | Workflow, outlook: Outlook, facts: Facts, *, again: set[str], chosen: str | None
) -> list[tuple[str, int, uuid.UUID]]:
    """Step, element and job of everything that is not done again."""
    found = []
    for name in outlook.steps:
        if name == chosen or definition.comes_after(name) & again:
            continue
        for item, tries in facts.tries.get(name, {}).items():
            last = tries[-1]
            if last.state == State.SUCCEEDED and last.job_id is not None:
                found.append((name, item, last.job_id))
    return found


def _change(session: Session, run: Run, *conditions: Any, **values: Any) -> int:  # noqa: ANN401 - columns of a run
    """Write what is wanted of a run that has not ended, and read its row again."""
    changed = db.changes(
        session,
        update(Run)
        .where(Run.id == run.id, Run.state == State.RUNNING, *conditions)
        .values(**values)
        .execution_options(synchronize_session=False),
    )
    session.refresh(run)
    return changed


def _ended(run: Run, verb: str) -> Conflict:
    return Conflict(f"Run {run.id} has ended ({run.state}); only one that goes on can be {verb}.")
