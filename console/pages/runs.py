"""The pages of runs: where each step is, live; pause, cancel, restart, and the answers to what a run asks."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from pydantic import ValidationError
from starlette.responses import HTMLResponse, RedirectResponse, Response

from console.api import runs as api
from console.api.flow_item import RunDetail, RunItem, StepItem
from console.deps import Allowed, Call
from console.pages import rights, shell
from console.pages.flow_drawing import Graph, drawn
from console.pages.forms import Fields
from console.pages.rights import UNUSABLE
from console.permissions import Role
from runner.errors import NotFound
from runner.states import FINAL, State
from scheduler import arrangements, flows, runs
from scheduler.flows import Kind
from scheduler.outlook import FAILED

router = APIRouter(prefix="/runs")

#: Runs of a page of the list.
RUNS = 50


@dataclass(frozen=True, slots=True)
class Seen:
    """A run as its page shows it: the drawing in its states, the questions that wait, and how far it is."""

    run: RunDetail
    graph: Graph | None
    asked: tuple[StepItem, ...]
    settled: int
    failed: tuple[str, ...]
    live: bool

    @property
    def mark(self) -> str:
        """What the page tells this state from another one by."""
        return hashlib.sha256(self.run.model_dump_json().encode()).hexdigest()[:16]


@router.get("")
def listed(
    call: Allowed, kind: str = "", name: str = "", state: str = "", after: uuid.UUID | None = None
) -> HTMLResponse:
    """Runs of queues and workflows, the newest first."""
    errors = {}
    items: list[RunItem] = []
    following = None
    try:
        chosen = Kind(kind) if kind in {*Kind} else None
        found = api.listed(call, kind=chosen, name=name or None, state=state or None, limit=RUNS, after=after)
        items, following = found.items, found.next
    except UNUSABLE as error:
        errors = {"state": str(error)}
    return shell.page(
        call,
        "runs/list.html",
        status=422 if errors else 200,
        items=items,
        next=following,
        paged=after is not None,
        given={"kind": kind, "name": name, "state": state},
        states=(State.RUNNING, *sorted(FINAL)),
        errors=errors,
    )


@router.get("/{run_id}")
def show(call: Allowed, run_id: str) -> HTMLResponse:
    """A run with its steps."""
    return _shown(call, run_id)


@router.get("/{run_id}/progress", response_model=None)
def progress(call: Allowed, run_id: str, asked: str = "", mark: str = "") -> Response:
    """The part of the page that changes; with the questions, too, where others wait than the page shows.

    `mark` is what the page shows: where nothing has changed since, nothing is answered, and whoever has reached a
    button by keys stays there.
    """
    seen = _seen(call, run_id)
    if mark == seen.mark:
        return Response(status_code=204)
    now_asked = ",".join(step.name for step in seen.asked)
    return shell.fragment(call, "runs/progress.html", seen=seen, questions=now_asked != asked, **_rights(call, seen))


def _shown(call: Call, run_id: str, *, errors: Mapping[str, str] | None = None) -> HTMLResponse:
    seen = _seen(call, run_id)
    return shell.page(
        call,
        "runs/show.html",
        status=422 if errors else 200,
        seen=seen,
        questions=False,
        errors=errors or {},
        **_rights(call, seen),
    )


def _rights(call: Call, seen: Seen) -> dict[str, Any]:
    """What the page offers: an answer is only for those whom the question is for."""
    environment, own = seen.run.environment, api.asked_for_it(call, seen.run)
    answerable = {
        step.name
        for step in seen.asked
        if step.approval is not None and not own and rights.may(call, Role(step.approval.role), environment)
    }
    return {"may_operate": rights.may(call, Role.OPERATOR, environment), "answerable": answerable, "own": own}


def _seen(call: Call, run_id: str) -> Seen:
    with call.reading() as session:
        run, flow = runs.require(session, api.parse_id(run_id), workspace_id=call.workspace_id)
        detail = api.detail(call, session, run, flow)
        steps = flows.version(session, flow, run.version).definition.get("steps")
        places = arrangements.of(session, flow.id)
    states = {step.name: step.state for step in detail.steps}
    asked = tuple(
        step
        for step in detail.steps
        if step.state == "approval" and step.approval and step.approval.answered_at is None
    )
    return Seen(
        run=detail,
        graph=drawn(steps, states, places) if flow.kind == Kind.WORKFLOW and steps else None,
        asked=asked if detail.state == State.RUNNING else (),
        settled=sum(step.state in {"succeeded", "failed", "cancelled", "skipped"} for step in detail.steps),
        failed=tuple(step.name for step in detail.steps if step.state in FAILED),
        live=detail.state == State.RUNNING,
    )


@router.post("/{run_id}/pause")
def pause(call: Allowed, run_id: str, _fields: Fields) -> Response:
    """Let it begin nothing more."""
    try:
        api.pause(call, run_id)
    except NotFound:
        raise
    except UNUSABLE as error:
        return _shown(call, run_id, errors={"": str(error)})
    return _back(call, run_id, "Paused: what runs is finished, nothing more begins.")


@router.post("/{run_id}/resumption")
def resume(call: Allowed, run_id: str, _fields: Fields) -> RedirectResponse:
    """Let it go on."""
    api.resume(call, run_id)
    return _back(call, run_id, "Resumed: the run goes on.")


@router.post("/{run_id}/cancellation")
def cancel(call: Allowed, run_id: str, _fields: Fields) -> Response:
    """Let it begin nothing more and cancel what runs."""
    try:
        api.cancel(call, run_id)
    except NotFound:
        raise
    except UNUSABLE as error:
        return _shown(call, run_id, errors={"": str(error)})
    return _back(call, run_id, "Cancelling: the run has ended when its jobs have.")


@router.post("/{run_id}/restart")
def restart(call: Allowed, run_id: str, fields: Fields) -> Response:
    """A new run of what failed, or from a step on, and the page of that run."""
    try:
        new = api.restart(call, run_id, api.Restart(step=fields.words("from") or None))
    except NotFound:
        raise
    except UNUSABLE as error:
        return _shown(call, run_id, errors={"from": str(error)})
    return shell.redirect(call, shell.address("runs", new.id), notice="Restarted; what had succeeded was taken over.")


@router.post("/{run_id}/approvals/{step}")
def answer(call: Allowed, run_id: str, step: str, fields: Fields) -> Response:
    """Allow or refuse what the run asks."""
    try:
        words = {"decision": fields.words("decision"), "comment": fields.words("comment") or None}
        decision = api.Decision.model_validate(words)
    except ValidationError:
        return _shown(call, run_id, errors={step: "Choose Allow or Refuse; a comment has at most 1,000 characters."})
    try:
        api.answer(call, run_id, step, decision)
    except NotFound:
        raise
    except UNUSABLE as error:
        return _shown(call, run_id, errors={step: str(error)})
    done = "Allowed" if decision.decision == "allow" else "Refused"
    return _back(call, run_id, f"{done} {step}.")


def _back(call: Call, run_id: str, notice: str) -> RedirectResponse:
    return shell.redirect(call, shell.address("runs", run_id), notice=notice)
