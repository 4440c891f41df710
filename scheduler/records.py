"""Records: what the database keeps of what happened, besides jobs; how long each kind is kept, and what goes.

| kind | what | stays while |
|---|---|---|
| `firings` | that a trigger fired, and what that started | undecided; what it started goes on; its file stays |
| `runs` | of queues and workflows, with answers of people | going on; a newer run is its restart |
| `results` | what bots gave back with `botkeep.output` | its job, or a run that has the job, goes on |
| `items` | work items that are done, or failed for business reasons | waiting or reserved |
| `dead` | work items that nobody tries any more | |

A file that could not be moved away would fire again without its firing. Jobs, attempts, readings and the audit always
stay. A firing that is gone no longer keeps its key from firing again: a webhook's delivery that is sent once more after
all that time counts as a new one.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import ColumnElement, Select, and_, delete, exists, func, or_, select
from sqlalchemy.orm import Session, aliased

from runner import retention
from runner.errors import Invalid, NotFound
from runner.flow_models import AttemptResult, WorkItem
from runner.job_ids import first_id
from runner.models import Job, RecordAge
from runner.states import FINAL
from runner.triggers import Firing, FiringState, Trigger
from runner.triggers import Kind as TriggerKind
from runner.work_items import ItemState
from scheduler.models import Approval, Run, RunTry
from vault import audit
from vault.audit import Actor
from vault.names import shown


class Kind(StrEnum):
    """What is kept; the module says what each is."""

    FIRINGS = "firings"
    RUNS = "runs"
    RESULTS = "results"
    ITEMS = "items"
    DEAD = "dead"


#: What holds where the workspace decided nothing, on from the start.
DEFAULTS: Mapping[Kind, timedelta] = {
    Kind.FIRINGS: timedelta(days=90),
    Kind.RUNS: timedelta(days=365),
    Kind.RESULTS: timedelta(days=90),
    Kind.ITEMS: timedelta(days=90),
    Kind.DEAD: timedelta(days=365),
}

#: The most that a dry run counts of a kind.
COUNTED = 10_000


@dataclass(frozen=True, slots=True)
class Rule:
    """How long a kind is kept; an age of `None` is for ever."""

    kind: Kind
    age: timedelta | None
    set_at: datetime | None = None
    set_by: str | None = None


def kind_of(name: str) -> Kind:
    """The kind of this name.

    Raises:
        NotFound: for another one.
    """
    try:
        return Kind(name)
    except ValueError:
        raise NotFound(f"There are no records called {shown(name)}; use one of {', '.join(Kind)}.") from None


def rules(session: Session, *, workspace_id: uuid.UUID) -> list[Rule]:
    """What holds for each kind."""
    rows = session.scalars(select(RecordAge).where(RecordAge.workspace_id == workspace_id)).all()
    made = {row.kind: Rule(Kind(row.kind), retention.lasting(row.age), row.set_at, row.set_by) for row in rows}
    return [made.get(kind, Rule(kind, DEFAULTS[kind])) for kind in Kind]


def decide(session: Session, kind: Kind, age: str, *, workspace_id: uuid.UUID, actor: Actor, now: datetime) -> None:
    """Decide how long a kind is kept, in the words of `retention.age_of`; `default` goes back to Botkeep's own.

    Raises:
        Invalid: for an age that makes no sense.
    """
    try:
        seconds = retention.age_of(age)
    except Invalid as error:
        raise Invalid(f"age: {error}") from None
    session.execute(delete(RecordAge).where(RecordAge.workspace_id == workspace_id, RecordAge.kind == kind))
    if seconds is not None:
        session.add(RecordAge(workspace_id=workspace_id, kind=kind, age=seconds, set_at=now, set_by=actor.name))
    audit.record(
        session,
        actor,
        workspace_id=workspace_id,
        action="retention.records",
        target=f"records: {kind}",
        now=now,
        details={"age": age},
    )
    session.flush()


def count_due(session: Session, rule: Rule, *, workspace_id: uuid.UUID, now: datetime, limit: int = COUNTED) -> int:
    """How many would go now, at most `limit`: the dry run."""
    if rule.age is None:
        return 0
    found = _due(rule.kind, workspace_id=workspace_id, before=now - rule.age).limit(limit).subquery()
    return session.scalar(select(func.count()).select_from(found)) or 0


def prune(session: Session, rule: Rule, *, workspace_id: uuid.UUID, now: datetime, limit: int) -> int:
    """Remove the oldest that the rule lets go, at most `limit`; answers how many."""
    if rule.age is None:
        return 0
    ids = session.scalars(_due(rule.kind, workspace_id=workspace_id, before=now - rule.age).limit(limit)).all()
    if not ids:
        return 0
    if rule.kind is Kind.RUNS:
        session.execute(delete(RunTry).where(RunTry.run_id.in_(ids)))
        session.execute(delete(Approval).where(Approval.run_id.in_(ids)))
    model, key = _ROWS[rule.kind]
    session.execute(delete(model).where(key.in_(ids)).execution_options(synchronize_session=False))
    return len(ids)


#: The rows of each kind, and the column by which they go.
_ROWS = {
    Kind.FIRINGS: (Firing, Firing.id),
    Kind.RUNS: (Run, Run.id),
    Kind.RESULTS: (AttemptResult, AttemptResult.job_id),
    Kind.ITEMS: (WorkItem, WorkItem.id),
    Kind.DEAD: (WorkItem, WorkItem.id),
}


def _due(kind: Kind, *, workspace_id: uuid.UUID, before: datetime) -> Select[uuid.UUID]:
    """The ids of what ended before that time, the oldest first; an id is never younger than its row."""
    first = first_id(before)
    if kind is Kind.FIRINGS:
        return _firings(before, workspace_id).where(Firing.id < first).order_by(Firing.id)
    if kind is Kind.RUNS:
        newer = aliased(Run)
        restarted = exists().where(newer.restart_of == Run.id)
        ended = (Run.workspace_id == workspace_id, Run.finished_at < before, ~restarted)
        return select(Run.id).where(Run.id < first, *ended).order_by(Run.id)
    if kind is Kind.RESULTS:
        return _results(before, workspace_id).where(AttemptResult.job_id < first).order_by(AttemptResult.job_id)
    states = [ItemState.DEAD] if kind is Kind.DEAD else [ItemState.DONE, ItemState.FAILED]
    ended = (WorkItem.workspace_id == workspace_id, WorkItem.state.in_(states), WorkItem.finished_at < before)
    return select(WorkItem.id).where(WorkItem.id < first, *ended).order_by(WorkItem.id)


def _firings(before: datetime, workspace_id: uuid.UUID) -> Select[uuid.UUID]:
    goes_on = or_(
        exists().where(Job.id == Firing.started_id, Job.state.not_in(FINAL)),
        exists().where(Run.id == Firing.started_id, Run.state.not_in(FINAL)),
    )
    of_file = and_(Trigger.kind == TriggerKind.FILE, Trigger.removed_at.is_(None))
    return (
        select(Firing.id)
        .join(Trigger, Trigger.id == Firing.trigger_id)
        .where(
            Trigger.workspace_id == workspace_id,
            Firing.state != FiringState.PENDING,
            Firing.created_at < before,
            or_(~of_file, Firing.moved_at.is_not(None)),
            ~goes_on,
        )
    )


def _results(before: datetime, workspace_id: uuid.UUID) -> Select[uuid.UUID]:
    return (
        select(AttemptResult.job_id)
        .join(Job, Job.id == AttemptResult.job_id)
        .where(Job.workspace_id == workspace_id, Job.finished_at < before, ~_in_an_open_run())
        .distinct()
    )


def _in_an_open_run() -> ColumnElement[bool]:
    return exists().where(RunTry.job_id == Job.id, Run.id == RunTry.run_id, Run.state.not_in(FINAL))
