"""The pages of data sources: list, see, write as a form or as text, check in an environment, run a bot for each row.

Form and text are the same definition and are checked by what the HTTP API checks with. A definition holds references;
no page knows what they stand for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from pydantic import ValidationError
from starlette.responses import HTMLResponse, RedirectResponse, Response

from console.api import fan_outs as fan_outs_api
from console.api import sources as api
from console.deps import After, Allowed, Call
from console.errors import complaints
from console.forms import Form
from console.pages import definition_text, form_fields, rights, shell, typed, withheld
from console.pages.complaints import by_field
from console.pages.forms import Fields
from console.pages.rights import UNUSABLE
from console.pages.source_form import FORMS
from console.permissions import Role
from runner import bots, definitions, fan_outs, source_checks, sources
from runner.errors import NotFound
from runner.source_models import DataSource
from vault import coverage
from vault.names import ENVIRONMENTS

router = APIRouter(prefix="/sources")

#: Fan-outs that a source's page shows.
FAN_OUTS = 10

#: References that a form offers; a workspace with more of them has names that people know.
REFERENCES = 500

#: Fields of every kind's form, beside those of the definition.
COMMON = ("name", "environments", "bots")


@router.get("")
def listed(call: Allowed, after: After = None) -> HTMLResponse:
    """Every data source, by name."""
    found = api.listed(call, limit=50, after=after)
    return shell.page(call, "sources/list.html", items=found.items, next=found.next, paged=after is not None)


@router.get("/~new")
def new(call: Allowed, kind: str = "sql", view: str = "form") -> HTMLResponse:
    """An empty form."""
    chosen = kind if kind in FORMS else "sql"
    given = {**form_fields.empty(FORMS[chosen]), "bots": ""}
    open_in = shell.touchable(call, "POST", "/sources")
    text = definition_text.written({"kind": chosen, "environments": list(open_in), "definition": {}})
    return _editor(call, kind=chosen, view=view, given=given, open_in=open_in, text=text)


@router.post("")
def add(call: Allowed, fields: Fields) -> Response:
    """Save a new data source."""
    return _saved(call, fields, name=None)


@router.get("/{name}")
def show(call: Allowed, name: str) -> HTMLResponse:
    """A data source: what it says, whether it works, and what was started from it."""
    return _shown(call, name)


def _shown(
    call: Call,
    name: str,
    *,
    given: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
) -> HTMLResponse:
    with call.reading() as session:
        row = sources.find(session, name, workspace_id=call.workspace_id)
        item = api.source_item(row)
        plain = definitions.plain(row.kind, row.definition)
        checks = source_checks.latest(session, name, workspace_id=call.workspace_id)
        rows = fan_outs.recent(session, name, workspace_id=call.workspace_id, limit=FAN_OUTS)
        started = [fan_outs_api.fan_out_item(session, each) for each in rows]
        known = [bot.name for bot, _ in bots.listing(session, workspace_id=call.workspace_id)]
    return shell.page(
        call,
        "sources/show.html",
        status=422 if errors else 200,
        item=item,
        text=definition_text.written(plain),
        checks=checks,
        fan_outs=started,
        bots=known,
        live=_live(checks, started),
        mark=_mark(checks, started),
        operable=[each for each in item.environments if rights.may(call, Role.OPERATOR, each)],
        may_change=_may_change(call, item.environments),
        given=given or {},
        errors=errors or {},
    )


@router.get("/{name}/state", response_model=None)
def state(call: Allowed, name: str, mark: str = "") -> Response:
    """The part of the page that changes: what checks and fan-outs have come to.

    `mark` is what the page shows: where nothing has changed since, nothing is answered.
    """
    with call.reading() as session:
        row = sources.find(session, name, workspace_id=call.workspace_id)
        item = api.source_item(row)
        checks = source_checks.latest(session, name, workspace_id=call.workspace_id)
        rows = fan_outs.recent(session, name, workspace_id=call.workspace_id, limit=FAN_OUTS)
        started = [fan_outs_api.fan_out_item(session, each) for each in rows]
    operable = [each for each in item.environments if rights.may(call, Role.OPERATOR, each)]
    if mark == _mark(checks, started):
        return Response(status_code=204)
    return shell.fragment(
        call,
        "sources/state.html",
        item=item,
        checks=checks,
        fan_outs=started,
        live=_live(checks, started),
        mark=_mark(checks, started),
        operable=operable,
    )


def _mark(checks: Mapping[str, source_checks.Seen], started: list[fan_outs_api.FanOutItem]) -> str:
    """What the page tells this state from another one by."""
    shown = [(str(seen.row.id), seen.state) for seen in checks.values()]
    shown += [(str(each.id), f"{each.state} {each.jobs}") for each in started]
    return hashlib.sha256(repr(shown).encode()).hexdigest()[:16]


def _live(checks: Mapping[str, source_checks.Seen], started: list[fan_outs_api.FanOutItem]) -> bool:
    return any(seen.state in {"waiting", "running"} for seen in checks.values()) or any(
        each.state not in {"done", "failed"} for each in started
    )


def _may_change(call: Call, environments: list[str]) -> bool:
    return all(rights.may(call, Role.DEV, each) for each in environments)


@router.get("/{name}/edit")
def edit(call: Allowed, name: str, view: str = "form") -> HTMLResponse:
    """The form of one that there is."""
    with call.reading() as session:
        row = sources.find(session, name, workspace_id=call.workspace_id)
        plain = definitions.plain(row.kind, row.definition)
        given = {**form_fields.written(FORMS[row.kind], _with_ticks(row)), "bots": ", ".join(row.bots or ())}
        text = _text_of(row, plain)
        kind, open_in = row.kind, tuple(row.environments)
    for environment in open_in:
        call.require_environment(environment)
    return _editor(call, kind=kind, view=view, given=given, open_in=open_in, text=text, name=name)


@router.post("/{name}")
def change(call: Allowed, name: str, fields: Fields) -> Response:
    """Save another definition."""
    with call.reading() as session:
        sources.find(session, name, workspace_id=call.workspace_id)
    return _saved(call, fields, name=name)


@router.post("/{name}/removal")
def remove(call: Allowed, name: str, _fields: Fields) -> RedirectResponse:
    """Forget it; its assets stay."""
    api.remove(call, name)
    return shell.redirect(call, "/sources", notice=f"Removed the data source {name}; its assets stay.")


@router.post("/{name}/checks")
def check(call: Allowed, name: str, fields: Fields) -> Response:
    """Let a runner of an environment open it; the page shows what it says."""
    try:
        api.check(call, name, api.CheckOrder(environment=fields.words("environment")))
    except NotFound:
        raise
    except UNUSABLE as error:
        return _shown(call, name, errors={"check": str(error)})
    return shell.redirect(call, shell.address("sources", name))


@router.post("/{name}/fan-outs")
def fan_out(call: Allowed, name: str, fields: Fields) -> Response:
    """Start a job for each row, or for each batch of rows."""
    try:
        batch = fields.words("batch")
        order = fan_outs_api.FanOutOrder(
            bot=fields.words("bot"),
            environment=fields.words("environment") or ENVIRONMENTS[0],
            batch=typed.number(batch, field="batch") if batch else None,
            parameters=typed.table(fields.get("parameters", ""), field="parameters"),
        )
        fan_outs_api.start(call, name, order)
    except ValidationError as error:
        errors = by_field(_complaint(error), ("bot", "environment", "batch", "parameters"))
        return _shown(call, name, given=fields.kept(), errors={f"fan-{key}": text for key, text in errors.items()})
    except UNUSABLE as error:
        place = "bot" if isinstance(error, NotFound) and "bot" in str(error) else ""
        errors = {place: str(error)} if place else by_field(str(error), ("bot", "environment", "batch", "parameters"))
        return _shown(call, name, given=fields.kept(), errors={f"fan-{key}": text for key, text in errors.items()})
    return shell.redirect(
        call, shell.address("sources", name), notice=f"{order.bot} is started for each row of {name}."
    )


def _saved(call: Call, fields: Form, *, name: str | None) -> Response:
    view = "text" if fields.words("view") == "text" else "form"
    kind = fields.words("kind") if fields.words("kind") in FORMS else "sql"
    chosen = fields.words("name") if name is None else name
    try:
        written = _written(fields, kind=kind, view=view)
        if name is None:
            api.add(call, api.SourceOrder(name=chosen, **written))
        else:
            api.change(call, name, api.SourceText(**written))
    except ValidationError as error:
        errors = by_field(_complaint(error), COMMON)
    except UNUSABLE as error:
        errors = _errors(str(error), fields, kind=kind, chosen=chosen)
    else:
        return shell.redirect(call, shell.address("sources", chosen), notice=f"Saved the data source {chosen}.")
    if view == "text":
        kept = errors.get("name", "")
        rest = " ".join(text for place, text in errors.items() if place != "name")
        errors = {"text": rest, "name": kept}
    typed_in, text = fields.kept(), fields.get("text", "")
    given = {field: withheld.field(field, words) for field, words in typed_in.items()}
    kept_text = withheld.definition(text)
    for field in (
        *(each for each in given if given[each] != typed_in[each]),
        *(() if kept_text == text else ("text",)),
    ):
        errors[field] = f"{errors.get(field, '')} {withheld.SENTENCE}".strip()
    return _editor(
        call,
        kind=kind,
        view=view,
        given=given,
        open_in=tuple(fields.every("environments")),
        text=kept_text,
        name=name,
        errors={place: text for place, text in errors.items() if text},
    )


def _written(fields: Form, *, kind: str, view: str) -> dict[str, Any]:
    """The data source that a form says, in its fields or in its text."""
    if view == "text":
        table = definition_text.read(fields.get("text", ""))
        return {"kind": kind, **{str(key): value for key, value in table.items() if key != "name"}}
    return {
        "kind": kind,
        "definition": form_fields.read(FORMS[kind], fields),
        "environments": list(fields.every("environments")),
        "bots": typed.entries(fields.get("bots", "")) or None,
    }


def _errors(message: str, fields: Form, *, kind: str, chosen: str) -> dict[str, str]:
    """The sentences of a refusal, each at its field."""
    if "is not a name for a data source" in message or f"a data source {chosen!r} already" in message:
        return {"name": message}
    if "at least one environment" in message:
        return {"environments": message}
    found = by_field(message, [*form_fields.names(FORMS[kind]), *COMMON], fields)
    if kind == "sql" and (whole := found.pop("", "")):
        found["connection"] = whole  # the one field whose parts are judged together with others
    return found


def _complaint(error: ValidationError) -> str:
    problems = error.errors(include_input=False, include_url=False)
    return " ".join(complaints([{**each, "loc": ("body", *each["loc"])} for each in problems]))


def _editor(
    call: Call,
    *,
    kind: str,
    view: str,
    given: Mapping[str, str],
    open_in: tuple[str, ...],
    text: str,
    name: str | None = None,
    errors: Mapping[str, str] | None = None,
) -> HTMLResponse:
    with call.reading() as session:
        assets = coverage.names_for(session, workspace_id=call.workspace_id, bot_id=sources.NO_BOT, limit=REFERENCES)
        known = [bot.name for bot, _ in bots.listing(session, workspace_id=call.workspace_id)]
    return shell.page(
        call,
        "sources/edit.html",
        status=422 if errors else 200,
        kind=kind,
        view="text" if view == "text" else "form",
        sections=FORMS[kind],
        name=name,
        given=given,
        open_in=open_in,
        text=text,
        references=[f"{{{{ASSET.{each}}}}}" for each in assets],
        bots=known,
        errors=errors or {},
    )


def _text_of(row: DataSource, plain: Mapping[str, Any]) -> str:
    table: dict[str, Any] = {"kind": row.kind, "environments": row.environments}
    if row.bots is not None:
        table["bots"] = row.bots
    return definition_text.written({**table, "definition": plain})


def _with_ticks(row: DataSource) -> dict[str, Any]:
    """The definition with what its boxes say, which is left out where it is the default."""
    plain = definitions.plain(row.kind, row.definition)
    return plain if row.kind != "sql" else {**plain, "read_only": row.definition.get("read_only", True)}
