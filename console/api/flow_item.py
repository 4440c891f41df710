"""Queues, workflows and their runs as the API answers them: steps with the rows that say where they are."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from console.api.job_item import CauseItem
from runner.jobs import Priority
from scheduler.models import Approval, Flow, FlowVersion, Run
from scheduler.outlook import Facts, Outlook, Try


class FlowItem(BaseModel):
    """A queue or a workflow as lists show it."""

    name: str
    kind: str
    version: int
    created_at: datetime
    created_by: str
    pause_requested_at: datetime | None
    pause_requested_by: str | None


class FlowDetail(FlowItem):
    """A queue or a workflow with the definition that new runs begin with."""

    definition: dict[str, Any]
    new: bool | None = Field(default=None, description="After saving: whether that made a version.")


class TryItem(BaseModel):
    """One job of a step."""

    number: int
    job_id: uuid.UUID | None
    state: str
    reason: str | None
    detail: str | None
    created_at: datetime
    finished_at: datetime | None
    reused: bool = Field(description="Whether it is a job of the run that this one is a restart of.")


class ElementItem(BaseModel):
    """One element of a fan-out's list, by its place, or the whole step (0)."""

    item: int
    tries: list[TryItem]


class QuestionItem(BaseModel):
    """What an approval step asks, and the answer."""

    asked_at: datetime
    expires_at: datetime
    role: str
    question: str
    answered_at: datetime | None
    answered_by: str | None
    allowed: bool | None
    comment: str | None


class StepItem(BaseModel):
    """Where a step of a run is, and why; derived from its jobs."""

    name: str
    bot: str | None
    state: str
    reason: str | None
    detail: str | None
    items: list[ElementItem]
    approval: QuestionItem | None


class RunItem(BaseModel):
    """A run as lists show it."""

    id: uuid.UUID
    kind: str
    name: str
    version: int
    environment: str
    group: str
    priority: str
    state: str
    reason: str | None
    detail: str | None
    parameters: dict[str, Any]
    cause: CauseItem
    requested_by: str
    restart_of: uuid.UUID | None
    created_at: datetime
    finished_at: datetime | None
    deadline_at: datetime | None
    pause_requested_at: datetime | None
    pause_requested_by: str | None
    cancel_requested_at: datetime | None
    cancel_requested_by: str | None


class RunDetail(RunItem):
    """A run with its steps in their order."""

    steps: list[StepItem]


def flow_item(flow: Flow) -> FlowItem:
    """A flow as lists show it."""
    return FlowItem(**{name: getattr(flow, name) for name in FlowItem.model_fields})


def flow_detail(flow: Flow, newest: FlowVersion, *, new: bool | None = None) -> FlowDetail:
    """A flow with its definition."""
    return FlowDetail(**flow_item(flow).model_dump(), definition=newest.definition, new=new)


def run_item(run: Run, flow: Flow) -> RunItem:
    """A run as lists show it."""
    derived = {"kind", "name", "group", "priority", "cause"}
    same = {name: getattr(run, name) for name in RunItem.model_fields if name not in derived}
    return RunItem(
        **same,
        kind=flow.kind,
        name=flow.name,
        group=run.group_name,
        priority=Priority(run.priority).word,
        cause=CauseItem(kind=run.cause_kind, name=run.cause_name, id=run.cause_id),
    )


def run_detail(
    run: Run,
    flow: Flow,
    outlook: Outlook,
    facts: Facts,
    *,
    definition: dict[str, Any],
    questions: Sequence[Approval],
) -> RunDetail:
    """A run with its steps; `definition` is the version that it began with."""
    asked = {question.step: question for question in questions}
    nodes: dict[str, dict[str, Any]] = definition.get("steps") or dict(
        zip(outlook.steps, definition.get("items", []), strict=False)
    )
    steps = [
        StepItem(
            name=name,
            bot=nodes[name].get("bot"),
            state=status.standing,
            reason=status.reason,
            detail=status.detail,
            items=[
                ElementItem(item=item, tries=[_try_item(each) for each in tries])
                for item, tries in sorted(facts.tries.get(name, {}).items())
            ],
            approval=_question_item(asked[name], nodes[name].get("approval") or {}) if name in asked else None,
        )
        for name, status in outlook.steps.items()
    ]
    return RunDetail(**run_item(run, flow).model_dump(), steps=steps)


def _try_item(made: Try) -> TryItem:
    return TryItem(**{name: getattr(made, name) for name in TryItem.model_fields})


def _question_item(question: Approval, defined: dict[str, Any]) -> QuestionItem:
    own: dict[str, Any] = {"role": defined.get("role", "operator"), "question": defined.get("question", "")}
    same = {name: getattr(question, name) for name in QuestionItem.model_fields if name not in own}
    return QuestionItem(**same, **own)
