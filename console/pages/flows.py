"""The pages of queues and workflows: list them, see one with its runs, edit its text, run, pause and remove it.

Both kinds have the same pages under two addresses. A text is read, checked and saved by what the HTTP API saves with.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from starlette.responses import HTMLResponse, RedirectResponse

from console.api import flows as api
from console.api import runs as runs_api
from console.api.flow_item import flow_item
from console.deps import After, Allowed, Call
from console.forms import Form
from console.pages import definition_text, flow_edits, flow_places, rights, shell, typed
from console.pages.complaints import by_field
from console.pages.flow_drawing import drawn
from console.pages.forms import Fields
from console.pages.rights import UNUSABLE
from console.paging import cut
from console.permissions import Role
from runner import bots
from runner.errors import Invalid, NotFound
from scheduler import arrangements, flow_files, flows, runs
from scheduler.flows import Kind
from vault.names import ENVIRONMENTS

#: Runs that a flow's own page shows, and flows of a list.
RUNS, FLOWS = 10, 50

#: What a new definition begins with.
FIRST = {
    Kind.QUEUE: '# The bots run one after the other.\n\n[[items]]\nbot = ""\non_failure = "stop"\n',
    Kind.WORKFLOW: '# Each step runs a bot; `after` says what it waits for.\n\n[steps.first]\nbot = ""\n',
}


def kind_of(request: Request) -> Kind:
    """Whether a page is about queues or workflows, by its address."""
    return Kind.QUEUE if request.scope["path"].startswith("/queues") else Kind.WORKFLOW


OfKind = Annotated[Kind, Depends(kind_of)]


def listed(call: Allowed, kind: OfKind, after: After = None) -> HTMLResponse:
    """Everything of a kind that is in use, each with its latest run."""
    with call.reading() as session:
        rows = flows.listing(session, kind, workspace_id=call.workspace_id)
        page, following = cut(rows, key=lambda flow: flow.name, limit=FLOWS, after=after)
        latest = runs.latest(session, [flow.id for flow in page])
        items = [(flow_item(flow), latest.get(flow.id)) for flow in page]
    return shell.page(call, "flows/list.html", kind=kind, items=items, next=following, paged=after is not None)


def show(call: Allowed, kind: OfKind, name: str) -> HTMLResponse:
    """One of them: its definition, drawn where it is a graph, its runs, and what can be done with it."""
    return _shown(call, kind, name)


def _shown(
    call: Call,
    kind: Kind,
    name: str,
    *,
    given: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
) -> HTMLResponse:
    with call.reading() as session:
        flow = flows.require(session, kind, name, workspace_id=call.workspace_id)
        document = flows.version(session, flow).definition
        places = arrangements.of(session, flow.id)
        item = flow_item(flow)
    definition = flows.restored(kind, document)
    usual = document.get("environment") or ENVIRONMENTS[0]
    return shell.page(
        call,
        "flows/show.html",
        status=422 if errors else 200,
        kind=kind,
        item=item,
        definition=definition,
        text=text_of(kind, document),
        drawing=drawn(document["steps"], places=places) if kind is Kind.WORKFLOW else None,
        runs=runs_api.listed(call, kind=kind, name=name, limit=RUNS).items,
        usual=usual,
        may_operate=rights.may(call, Role.OPERATOR, usual),
        may_change=rights.may(call, Role.DEV, usual),
        key=uuid.uuid4().hex,
        given=given or {},
        errors=errors or {},
    )


def text_of(kind: Kind, document: Mapping[str, Any]) -> str:
    """A stored definition as the text that people edit."""
    table = flow_files.plain(flows.restored(kind, document))
    return definition_text.written(flow_edits.tidied(table) if kind is Kind.WORKFLOW else table)


def new(call: Allowed, kind: OfKind) -> HTMLResponse:
    """An empty form."""
    return editor(call, kind, text=FIRST[kind])


def edit(call: Allowed, kind: OfKind, name: str) -> HTMLResponse:
    """The form of one that exists."""
    with call.reading() as session:
        flow = flows.require(session, kind, name, workspace_id=call.workspace_id)
        document = flows.version(session, flow).definition
        places = arrangements.of(session, flow.id)
    call.require_environment(document.get("environment") or ENVIRONMENTS[0])
    return editor(call, kind, name=name, text=text_of(kind, document), places=places)


def add(call: Allowed, kind: OfKind, fields: Fields) -> Response:
    """Save a new one; one of that name is not overwritten."""
    name = fields.words("name")
    with call.reading() as session:
        taken = flows.find(session, kind, name, workspace_id=call.workspace_id) is not None
    if taken:
        errors = {"name": f"There is a {kind} {name} already; open it to change it, or choose another name."}
        text = fields.get("definition", "")
        return editor(call, kind, text=text, places=places_in(fields), given=fields.kept(), errors=errors)
    return _saved(call, kind, name, fields, exists=False)


def change(call: Allowed, kind: OfKind, name: str, fields: Fields) -> Response:
    """Save another definition; new runs begin with it."""
    with call.reading() as session:
        flows.require(session, kind, name, workspace_id=call.workspace_id)
    return _saved(call, kind, name, fields, exists=True)


def _saved(call: Call, kind: Kind, name: str, fields: Form, *, exists: bool) -> Response:
    text = fields.get("definition", "")
    try:
        saved = api.save(call, kind, name, text.encode(), Response())
    except UNUSABLE as error:
        errors = by_field(str(error), ("name",))
        if whole := errors.pop("", ""):
            errors["definition"] = whole
        shown = name if exists else None
        places = places_in(fields)
        return editor(call, kind, name=shown, text=text, places=places, given=fields.kept(), errors=errors)
    arranged = kind is Kind.WORKFLOW and _arranged(call, name, fields)
    same = f"Its steps stand where you put them; {name} is the same." if arranged else f"{name} says this already."
    notice = f"Saved version {saved.version} of {name}." if saved.new else same
    return shell.redirect(call, shell.address(f"{kind}s", name), notice=notice)


def places_in(fields: Form) -> flow_places.Places:
    """Where a form says that steps stand; what cannot be read is drawn anew, as it is no part of the definition."""
    try:
        return flow_places.read(fields.get("places", ""))
    except Invalid:
        return {}


def _arranged(call: Call, name: str, fields: Form) -> bool:
    """Keep where the steps stand; answers whether they stand elsewhere than before. A form may say nothing of them."""
    if "places" not in fields:
        return False
    with call.writing() as session:
        flow = flows.require(session, Kind.WORKFLOW, name, workspace_id=call.workspace_id, lock=True)
        steps = flows.version(session, flow).definition["steps"]
        places = {step: place for step, place in places_in(fields).items() if step in steps}
        return arrangements.keep(session, flow, places, actor=call.actor, now=call.now)


def editor(
    call: Call,
    kind: Kind,
    *,
    text: str,
    name: str | None = None,
    places: Mapping[str, tuple[int, int]] | None = None,
    given: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
    said: str = "",
    part: bool = False,
) -> HTMLResponse:
    """The form with this text in it, and for a workflow its drawing; `part` is only what a change replaces.

    `said` is what was done to the text; `name` is empty for a new one. Where steps have `places`, all of them have.
    """
    with call.reading() as session:
        known = [bot.name for bot, _ in bots.listing(session, workspace_id=call.workspace_id)]
    steps = _steps(text) if kind is Kind.WORKFLOW else None
    drawing = drawn(steps, places=places) if steps else None
    show_it = shell.fragment if part else shell.page
    return show_it(
        call,
        "flows/draft.html" if part else "flows/edit.html",
        status=422 if errors else 200,
        kind=kind,
        name=name,
        text=text,
        steps=steps,
        drawing=drawing,
        places=flow_places.written(drawing.places if drawing else places) if places else "",
        bots=known,
        given=given or {},
        errors=errors or {},
        said=said,
    )


def _steps(text: str) -> Mapping[str, Any] | None:
    """The steps of a text that may be half written; `None` where they cannot be told."""
    try:
        steps = definition_text.read(text).get("steps")
    except UNUSABLE:
        return None
    return steps if isinstance(steps, dict) and all(isinstance(each, dict) for each in steps.values()) else None


def remove(call: Allowed, kind: OfKind, name: str, _fields: Fields) -> RedirectResponse:
    """Take it out of use."""
    api.remove(call, kind, name)
    return shell.redirect(call, f"/{kind}s", notice=f"Removed {kind} {name}; its runs go on, and stay in history.")


def pause(call: Allowed, kind: OfKind, name: str, _fields: Fields) -> RedirectResponse:
    """Let its runs begin nothing."""
    api.pause(call, kind, name)
    return shell.redirect(call, shell.address(f"{kind}s", name), notice=f"Paused {name}: what runs is finished.")


def resume(call: Allowed, kind: OfKind, name: str, _fields: Fields) -> RedirectResponse:
    """Let its runs go on."""
    api.resume(call, kind, name)
    return shell.redirect(call, shell.address(f"{kind}s", name), notice=f"Resumed {name}.")


def start(call: Allowed, kind: OfKind, name: str, fields: Fields) -> Response:
    """Ask for a run, and go to it. A form that is sent twice makes one run: its key says so."""
    try:
        parameters = typed.parameters(fields, prefix="parameter.")
        order = api.RunOrder(
            environment=fields.words("environment") or None,
            parameters=parameters,
            idempotency_key=fields.words("key") or None,
        )
        run = api.start(call, kind, name, order, Response())
    except NotFound:
        raise
    except UNUSABLE as error:
        errors = by_field(str(error), [*fields, "environment"])
        return _shown(call, kind, name, given=fields.kept(), errors=errors)
    return shell.redirect(call, shell.address("runs", run.id), notice=f"{name} was started in {run.environment}.")


#: Method, path below the prefix, handler. No name begins with ~, so `~new` is free.
HANDLERS: tuple[tuple[str, str, Callable[..., Any]], ...] = (
    ("GET", "", listed),
    ("POST", "", add),
    ("GET", "/~new", new),
    ("GET", "/{name}", show),
    ("POST", "/{name}", change),
    ("GET", "/{name}/edit", edit),
    ("POST", "/{name}/removal", remove),
    ("POST", "/{name}/pause", pause),
    ("POST", "/{name}/resumption", resume),
    ("POST", "/{name}/runs", start),
)


def _router(kind: Kind) -> APIRouter:
    made = APIRouter(prefix=f"/{kind}s")
    for method, path, handler in HANDLERS:
        made.add_api_route(path, handler, methods=[method], operation_id=f"{handler.__name__}_{kind}_page")
    return made


queues, workflows = _router(Kind.QUEUE), _router(Kind.WORKFLOW)
