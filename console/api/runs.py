"""Runs of queues and workflows over HTTP: see where they are, pause, cancel and restart them, answer what they ask."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from console.api.flow_item import RunDetail, RunItem, run_detail, run_item
from console.deps import Allowed, Call, Limit
from console.errors import Denied, Refusal
from console.paging import Page
from console.permissions import Role
from console.text import Text
from runner import signals
from runner.errors import NotFound
from runner.jobs import Cause
from scheduler import flows, runs, standing
from scheduler.flows import Kind
from scheduler.models import Approval, Flow, Run
from scheduler.runs import Wanted
from vault import audit
from vault.names import shown

router = APIRouter(prefix="/api/v1/runs", tags=["runs"])


class Decision(BaseModel):
    """The answer to what a run asks."""

    model_config = ConfigDict(extra="forbid")

    decision: Literal["allow", "refuse"]
    comment: Text | None = Field(default=None, max_length=1000)


class Restart(BaseModel):
    """From where to do it again; without a step, from those that failed."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    step: Text | None = Field(default=None, alias="from")


AfterRun = Annotated[uuid.UUID | None, Query(description="The `next` of the page before.")]


@router.get("", summary="List runs")
def listed(
    call: Allowed,
    *,
    kind: Kind | None = None,
    name: str | None = None,
    state: str | None = None,
    limit: Limit = 50,
    after: AfterRun = None,
) -> Page[RunItem]:
    """Runs of queues and workflows, the newest first."""
    with call.reading() as session:
        rows = runs.page(
            session, workspace_id=call.workspace_id, kind=kind, name=name, state=state, limit=limit, after=after
        )
        items = [run_item(run, flow) for run, flow in rows]
    return Page(items=items, next=str(items[-1].id) if len(items) == limit else None)


@router.get("/{run_id}", summary="Show a run")
def show(call: Allowed, run_id: str) -> RunDetail:
    """A run and where each of its steps is, derived from its jobs."""
    with call.reading() as session:
        run, flow = runs.require(session, parse_id(run_id), workspace_id=call.workspace_id)
        return detail(call, session, run, flow)


@router.put("/{run_id}/pause", summary="Pause a run")
def pause(call: Allowed, run_id: str) -> RunItem:
    """Let it begin nothing more; what runs is finished."""
    with _changing(call, run_id) as (session, run, flow):
        runs.pause(session, run, actor=call.actor, now=call.now)
        return run_item(run, flow)


@router.delete("/{run_id}/pause", summary="Resume a run")
def resume(call: Allowed, run_id: str) -> RunItem:
    """Let it go on."""
    with _changing(call, run_id) as (session, run, flow):
        runs.resume(session, run, now=call.now)
        item = run_item(run, flow)
    signals.look_at_run(call.console.transport, item.id)
    return item


@router.post("/{run_id}/cancellation", summary="Cancel a run")
def cancel(call: Allowed, run_id: str) -> RunItem:
    """Let it begin nothing more and cancel what runs; it has ended when its jobs have."""
    with _changing(call, run_id) as (session, run, flow):
        runs.cancel(session, run, actor=call.actor, now=call.now)
        item = run_item(run, flow)
    signals.look_at_run(call.console.transport, item.id)
    return item


@router.post("/{run_id}/restart", status_code=201, summary="Do the rest of a run again")
def restart(call: Allowed, run_id: str, order: Restart) -> RunItem:
    """A new run that takes over what succeeded before the failed steps, or before a named one, and does the rest."""
    wanted = Wanted(Cause("restart", call.caller.name, run_id), requested_by=call.caller.person)
    with _changing(call, run_id) as (session, run, flow):
        new = runs.restart(session, run, flow, wanted=wanted, step=order.step, now=call.now)
        item = run_item(new, flow)
    signals.look_at_run(call.console.transport, item.id)
    return item


@router.put("/{run_id}/approvals/{step}", summary="Answer what a run asks")
def answer(call: Allowed, run_id: str, step: str, decision: Decision) -> RunDetail:
    """Allow or refuse; whoever asked for the run may not, and the step says which role may."""
    allowed = decision.decision == "allow"
    with _changing(call, run_id, details={"step": step, "decision": decision.decision}) as (session, run, flow):
        _may_answer(call, session, run, flow, step)
        runs.answer(session, run, step, allowed=allowed, comment=decision.comment, actor=call.actor, now=call.now)
        item = detail(call, session, run, flow)
    signals.look_at_run(call.console.transport, item.id)
    return item


def parse_id(text: str) -> uuid.UUID:
    """The id of a run.

    Raises:
        NotFound: for text that can be none.
    """
    try:
        return uuid.UUID(text)
    except ValueError:
        raise NotFound(
            f"There is no run {shown(text)}; see `botkeep queue runs` and `botkeep workflow runs`."
        ) from None


def detail(call: Call, session: Session, run: Run, flow: Flow) -> RunDetail:
    """A run as a whole; where its steps are is derived anew."""
    outlook, facts = standing.outlook(session, run, flow, now=call.now)
    document = flows.version(session, flow, run.version).definition
    questions = session.scalars(select(Approval).where(Approval.run_id == run.id)).all()
    return run_detail(run, flow, outlook, facts, definition=document, questions=questions)


def asked_for_it(call: Call, run: Run | RunItem) -> bool:
    """Whether the caller is the person who asked for a run, and so may not answer its questions."""
    return run.requested_by == call.caller.person


def _may_answer(call: Call, session: Session, run: Run, flow: Flow, step: str) -> None:
    document = flows.version(session, flow, run.version).definition
    node = document.get("steps", {}).get(step) or {}
    needed = Role((node.get("approval") or {}).get("role", "operator"))
    refusal = Refusal(call.caller, call.action, call.target, run.environment)
    if asked_for_it(call, run):
        raise Denied(
            f"{call.caller.person} asked for this run and cannot answer its question.",
            hint="Ask somebody else, who is signed in or has a token of their own.",
            refusal=refusal,
        )
    held = call.caller.roles[run.environment]
    if not held.covers(needed):
        raise Denied(
            f"{step} is answered by the role {needed}; {call.caller.name} has the role {held} in {run.environment}.",
            hint=f"Ask somebody with the role {needed}.",
            refusal=refusal,
        )


@contextmanager
def _changing(call: Call, run_id: str, *, details: dict[str, str] | None = None) -> Iterator[tuple[Session, Run, Flow]]:
    """A transaction that changes one run, and the audit row of it."""
    with call.writing() as session:
        run, flow = runs.require(session, parse_id(run_id), workspace_id=call.workspace_id)
        call.require_environment(run.environment)
        yield session, run, flow
        audit.record(
            session,
            call.actor,
            workspace_id=call.workspace_id,
            action=call.action,
            target=f"run {run.id} of {flow.kind} {flow.name}",
            environment=run.environment,
            now=call.now,
            details=dict(details or {}),
        )
