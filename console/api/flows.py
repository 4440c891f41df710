"""Queues and workflows over HTTP: save, show, pause and remove them, and ask for runs of them.

Both kinds have the same handlers under two prefixes. Only the scheduler makes jobs: what is asked for here is written
down, and it is told after the transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from console.api.flow_item import FlowDetail, FlowItem, RunItem, flow_detail, flow_item, run_item
from console.api.runs import AfterRun
from console.api.runs import listed as runs_listed
from console.deps import After, Allowed, Body, Call, Limit
from console.paging import Page, cut
from console.text import JsonObject, Text
from runner import signals
from runner.errors import Conflict
from runner.jobs import Cause
from scheduler import flows, runs
from scheduler.flows import Kind
from scheduler.models import Flow
from scheduler.runs import Wanted
from vault import audit
from vault.names import ENVIRONMENTS


class RunOrder(BaseModel):
    """What a run is asked for with; without an environment the definition's holds, and then dev."""

    model_config = ConfigDict(extra="forbid")

    environment: Text | None = None
    parameters: JsonObject = Field(default_factory=dict)
    idempotency_key: Text | None = None


def kind_of(request: Request) -> Kind:
    """Whether a request is about a queue or a workflow, by its path."""
    return Kind.QUEUE if request.scope["path"].startswith(PREFIXES[Kind.QUEUE]) else Kind.WORKFLOW


PREFIXES = {Kind.QUEUE: "/api/v1/queues", Kind.WORKFLOW: "/api/v1/workflows"}

OfKind = Annotated[Kind, Depends(kind_of)]


def listed(call: Allowed, kind: OfKind, limit: Limit = 50, after: After = None) -> Page[FlowItem]:
    """What is in use, by name."""
    with call.reading() as session:
        rows = flows.listing(session, kind, workspace_id=call.workspace_id)
        page, following = cut(rows, key=lambda flow: flow.name, limit=limit, after=after)
        return Page(items=[flow_item(flow) for flow in page], next=following)


def save(
    call: Allowed,
    kind: OfKind,
    name: Annotated[Text, Query(max_length=128)],
    content: Body,
    response: Response,
) -> FlowDetail:
    """Save a definition, TOML or JSON; another one of the same name is its next version.

    It is refused as a whole, naming the field, where something in it could not run.
    """
    definition = flows.read(kind, content)
    chosen = definition.environment or ENVIRONMENTS[0]
    if chosen in ENVIRONMENTS and not call.may_touch(chosen):
        raise call.denied(f"the definition's field `environment` names {chosen}", environment=chosen)
    with call.writing() as session:
        if flows.find(session, kind, name, workspace_id=call.workspace_id) is not None:
            _required(call, session, kind, name)
        saved = flows.save(
            session, kind, name, definition, workspace_id=call.workspace_id, actor=call.actor, now=call.now
        )
        response.status_code = 201 if saved.new else 200
        return flow_detail(saved.flow, flows.version(session, saved.flow), new=saved.new)


def show(call: Allowed, kind: OfKind, name: str) -> FlowDetail:
    """The definition that new runs begin with."""
    with call.reading() as session:
        flow = flows.require(session, kind, name, workspace_id=call.workspace_id)
        return flow_detail(flow, flows.version(session, flow))


def remove(call: Allowed, kind: OfKind, name: str) -> None:
    """Take it out of use; its runs go on, and stay in history."""
    with call.writing() as session:
        flow = _required(call, session, kind, name)
        flows.remove(session, flow, actor=call.actor, now=call.now)


def pause(call: Allowed, kind: OfKind, name: str) -> FlowItem:
    """Let its runs begin nothing; what runs is finished."""
    with call.writing() as session:
        flow = _required(call, session, kind, name)
        flows.pause(session, flow, actor=call.actor, now=call.now)
        return flow_item(flow)


def resume(call: Allowed, kind: OfKind, name: str) -> FlowItem:
    """Let its runs go on."""
    with call.writing() as session:
        flow = _required(call, session, kind, name)
        waiting = flows.resume(session, flow, actor=call.actor, now=call.now)
        item = flow_item(flow)
    for run_id in waiting:
        signals.look_at_run(call.console.transport, run_id)
    return item


def _required(call: Call, session: Session, kind: Kind, name: str) -> Flow:
    """A flow that is to be changed, by a token that may touch the environment that it names."""
    flow = flows.require(session, kind, name, workspace_id=call.workspace_id, lock=True)
    call.require_environment(flows.version(session, flow).definition.get("environment") or ENVIRONMENTS[0])
    return flow


def start(call: Allowed, kind: OfKind, name: str, order: RunOrder, response: Response) -> RunItem:
    """Ask for a run; a repeated idempotency key answers the run that it made."""
    try:
        item, new = _started(call, kind, name, order)
    except IntegrityError:
        if order.idempotency_key is None:
            raise
        item, new = _started(call, kind, name, order)  # another request used the key a moment ago
    if new:
        signals.look_at_run(call.console.transport, item.id)
    response.status_code = 201 if new else 200
    return item


def _started(call: Call, kind: Kind, name: str, order: RunOrder) -> tuple[RunItem, bool]:
    wanted = Wanted(
        cause=Cause("api", call.caller.name),
        requested_by=call.caller.person,
        environment=order.environment,
        parameters=order.parameters,
        idempotency_key=order.idempotency_key,
    )
    with call.writing() as session:
        flow = flows.require(session, kind, name, workspace_id=call.workspace_id)
        chosen = runs.environment_for(session, flow, wanted)
        call.require_environment(chosen)
        if order.idempotency_key is not None:
            former = runs.by_idempotency_key(session, order.idempotency_key, workspace_id=call.workspace_id)
            if former is not None:
                given = order.parameters.items()
                other = any(former.parameters.get(name) != value for name, value in given)
                if (former.flow_id, former.environment) != (flow.id, chosen) or other:
                    raise Conflict(f"This idempotency key made run {former.id} of something else; use another key.")
                return run_item(former, flow), False
        run = runs.start(session, flow, wanted, now=call.now)
        audit.record(
            session,
            call.actor,
            workspace_id=call.workspace_id,
            action=call.action,
            target=f"run {run.id} of {kind} {name}",
            environment=run.environment,
            now=call.now,
        )
        return run_item(run, flow), True


def runs_of(
    call: Allowed, kind: OfKind, name: str, *, state: str | None = None, limit: Limit = 50, after: AfterRun = None
) -> Page[RunItem]:
    """Its runs, the newest first; those of removed ones of this name, too."""
    return runs_listed(call, kind=kind, name=name, state=state, limit=limit, after=after)


#: Method, path below the prefix, handler, status and summary ({} is the kind).
HANDLERS: tuple[tuple[str, str, Callable[..., Any], int, str], ...] = (
    ("GET", "", listed, 200, "List {}s"),
    ("POST", "", save, 201, "Save a {}"),
    ("GET", "/{name}", show, 200, "Show a {}"),
    ("DELETE", "/{name}", remove, 204, "Remove a {}"),
    ("PUT", "/{name}/pause", pause, 200, "Pause a {}"),
    ("DELETE", "/{name}/pause", resume, 200, "Resume a {}"),
    ("GET", "/{name}/runs", runs_of, 200, "List the runs of a {}"),
    ("POST", "/{name}/runs", start, 201, "Run a {}"),
)


def _router(kind: Kind) -> APIRouter:
    made = APIRouter(prefix=PREFIXES[kind], tags=[f"{kind}s"])
    for method, path, handler, status, summary in HANDLERS:
        made.add_api_route(
            path,
            handler,
            methods=[method],
            status_code=status,
            summary=summary.format(kind),
            operation_id=f"{handler.__name__}_{kind}",
        )
    return made


queues, workflows = _router(Kind.QUEUE), _router(Kind.WORKFLOW)
