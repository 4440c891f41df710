"""The form of a trigger, as fields or as text, with a preview of a schedule before it is saved."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import date
from typing import Any

from fastapi import APIRouter, Response
from sqlalchemy.orm import Session
from starlette.responses import HTMLResponse

from console.api import triggers as api
from console.deps import Allowed, Call
from console.forms import Form
from console.pages import definition_text, form_fields, shell, trigger_form
from console.pages.complaints import by_field
from console.pages.forms import Fields
from console.pages.rights import UNUSABLE
from console.pages.time_line import time_line
from console.pages.trigger_form import FORMS
from runner import bots, sources
from runner.errors import NotFound
from runner.triggers import Kind
from scheduler import calendars, flows, triggers
from scheduler.definitions import read
from scheduler.flows import Kind as FlowKind
from scheduler.misfire import Timing
from scheduler.preview import Coming, preview
from scheduler.schedule import zones
from vault import coverage

router = APIRouter(prefix="/triggers")

#: Instants of a preview, and references that a form offers.
INSTANTS, REFERENCES = 20, 500

#: What a new trigger's text begins with.
FIRST: Mapping[str, str] = {
    "schedule": 'bot = ""\n\n[schedule]\ncron = "0 7 * * mon-fri"\nzone = "Europe/Berlin"\n',
    "webhook": 'bot = ""\n\n[webhook]\nstyle = "github"\n',
    "file": 'bot = ""\n\n[file]\nfolder = "/data/in"\npattern = "*.csv"\n',
    "completion": 'bot = ""\n\n[completion]\nbot = ""\n',
    "email": 'bot = ""\n\n[email]\nsource = ""\n',
}


@router.get("/~new")
def new(call: Allowed, kind: str = "schedule", view: str = "form") -> HTMLResponse:
    """An empty form."""
    chosen = kind if kind in FORMS else "schedule"
    return _editor(call, kind=chosen, view=view, given=form_fields.empty(FORMS[chosen]), text=FIRST[chosen])


@router.get("/{name}/edit")
def edit(call: Allowed, name: str, view: str = "form") -> HTMLResponse:
    """The form of one that there is."""
    item = api.show(call, name)
    call.require_environment(item.environment)
    given = form_fields.written(FORMS[item.kind], trigger_form.fields_of(item.kind, item.definition))
    text = definition_text.written(item.definition)
    return _editor(call, kind=item.kind, view=view, given=given, text=text, name=name)


@router.post("")
def add(call: Allowed, fields: Fields) -> Response:
    """Save a new one, or show when it would fire; one of that name is not overwritten."""
    name = fields.words("name")
    with call.reading() as session:
        taken = triggers.find(session, name, workspace_id=call.workspace_id) is not None
    if taken:
        errors = {"name": f"There is a trigger {name} already; open it to change it, or choose another name."}
        return _again(call, fields, name=None, errors=errors)
    return _answered(call, fields, name=None)


@router.post("/{name}")
def change(call: Allowed, name: str, fields: Fields) -> Response:
    """Save another definition, or show when it would fire."""
    with call.reading() as session:
        triggers.require(session, name, workspace_id=call.workspace_id)
    return _answered(call, fields, name=name)


def _answered(call: Call, fields: Form, *, name: str | None) -> Response:
    chosen = fields.words("name") if name is None else name
    try:
        definition = _definition(fields)
        if fields.words("do") == "preview":
            return _previewed(call, fields, definition, name=name)
        api.save(call, api.TriggerOrder(name=chosen, definition=definition), Response())
    except UNUSABLE as error:
        return _again(call, fields, name=name, errors=_errors(error, fields))
    return shell.redirect(call, shell.address("triggers", chosen), notice=f"Saved the trigger {chosen}.")


def _definition(fields: Form) -> dict[str, Any]:
    if fields.words("view") == "text":
        return definition_text.read(fields.get("text", ""))
    kind = _kind(fields)
    return trigger_form.definition(kind, form_fields.read(FORMS[kind], fields))


def _previewed(call: Call, fields: Form, given: dict[str, Any], *, name: str | None) -> HTMLResponse:
    schedule = read(given).schedule
    if schedule is None:
        return _again(call, fields, name=name, errors={"": "Only a schedule has instants that can be foretold."})
    with call.reading() as session:
        calendars.require(session, schedule.calendars, workspace_id=call.workspace_id)
        excluded = _excluded(session, call, schedule.calendars)
        row = triggers.find(session, name, workspace_id=call.workspace_id) if name else None
        timing = Timing(schedule, row.id if row else uuid.UUID(int=0), row.created_at if row else call.now, excluded)
    coming = preview(timing, now=call.now, count=INSTANTS)
    return _again(call, fields, name=name, coming=coming, zone=schedule.zone)


def _excluded(session: Session, call: Call, named: tuple[str, ...]) -> frozenset[date]:
    rows = [calendars.get(session, each, workspace_id=call.workspace_id) for each in named]
    return frozenset(date.fromisoformat(day) for row in rows for day in row.days)


def _errors(error: Exception, fields: Form) -> dict[str, str]:
    """The sentences of a refusal, each at its field."""
    message = str(error)
    if message.startswith("A trigger's name"):
        return {"name": message}
    if fields.words("view") == "text":
        return {"text": message}
    if isinstance(error, NotFound):
        return {"target": message}
    found = by_field(message, form_fields.names(FORMS[_kind(fields)]), fields)
    if "target" not in found and not fields.words("target") and (whole := found.pop("", "")):
        found["target"] = whole
    return found


def _kind(fields: Form) -> str:
    return fields.words("kind") if fields.words("kind") in FORMS else "schedule"


def _again(
    call: Call,
    fields: Form,
    *,
    name: str | None,
    errors: Mapping[str, str] | None = None,
    coming: list[Coming] | None = None,
    zone: str = "UTC",
) -> HTMLResponse:
    return _editor(
        call,
        kind=_kind(fields),
        view=fields.words("view"),
        given=fields.kept(),
        text=fields.get("text", ""),
        name=name,
        errors=errors,
        coming=coming,
        zone=zone,
    )


def _editor(
    call: Call,
    *,
    kind: str,
    view: str,
    given: Mapping[str, str],
    text: str,
    name: str | None = None,
    errors: Mapping[str, str] | None = None,
    coming: list[Coming] | None = None,
    zone: str = "UTC",
) -> HTMLResponse:
    with call.reading() as session:
        owner = call.workspace_id
        known = [bot.name for bot, _ in bots.listing(session, workspace_id=owner)]
        known += [flow.name for each in FlowKind for flow in flows.listing(session, each, workspace_id=owner)]
        mailboxes = [row.name for row in sources.listing(session, workspace_id=owner) if row.kind == "imap"]
        named = [row.name for row in calendars.listing(session, workspace_id=owner)]
        assets = coverage.names_for(session, workspace_id=owner, bot_id=sources.NO_BOT, limit=REFERENCES)
    return shell.page(
        call,
        "triggers/edit.html",
        status=422 if errors else 200,
        kind=kind,
        kinds=[*Kind],
        view="text" if view == "text" else "form",
        sections=form_fields.offering(FORMS[kind], "environment", ("", *shell.touchable(call, "POST", "/triggers"))),
        name=name,
        given=given,
        text=text,
        choices={"target": known, "source": known, "email.source": mailboxes, "schedule.zone": sorted(zones())},
        calendars=named,
        references=[f"{{{{ASSET.{each}}}}}" for each in assets],
        coming=coming or [],
        line=None if coming is None else time_line(coming, now=call.now, zone=zone),
        errors=errors or {},
    )
