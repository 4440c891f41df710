"""Running a bot from its page: the form of environment and parameters, and the job that it makes."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter
from pydantic import ValidationError
from starlette.responses import HTMLResponse, Response

from console.api import jobs
from console.deps import Allowed, Call
from console.pages import shell
from console.pages.shell import REFUSALS, Fields, Form
from runner import bots, runners
from runner.errors import Invalid
from runner.jobs import Priority
from runner.lanes import DEFAULT_GROUP
from runner.manifest import Manifest, Parameter
from vault import coverage
from vault.names import ENVIRONMENTS

#: Assets that are offered while a parameter is typed; more are typed in full.
OFFERED = 500

#: Fields of parameters begin so, since a parameter may be called like another field.
PREFIX = "parameter-"

router = APIRouter()


@router.get("/bots/{bot}/run")
def form(call: Allowed, bot: str) -> HTMLResponse:
    """The form: a page of its own, or in a dialog."""
    return _form(call, bot, {"environment": ENVIRONMENTS[0]}, {})


@router.post("/bots/{bot}/jobs")
def run(call: Allowed, bot: str, fields: Fields) -> Response:
    """Queue a job and show it."""
    environment = fields.words("environment")
    manifest = _manifest(call, bot)
    name = ""
    try:
        call.require_environment(environment)
        parameters: dict[str, Any] = {}
        if manifest.parameters:
            for name, declared in manifest.parameters.items():
                if (text := fields.get(PREFIX + name, "")) != "":
                    parameters[name] = _typed(text, declared, name)
        else:
            parameters = _object(fields.words("parameters"))
        name = ""
        item, _ = jobs.place(call, _order(bot, fields, parameters))
    except REFUSALS as error:
        return _form(call, bot, fields.kept(), {PREFIX + name if name else _field_of(error, manifest): str(error)})
    return shell.redirect(call, shell.address("jobs", item.id), notice=f"{bot} is queued in {environment}.")


def _order(bot: str, fields: Form, parameters: dict[str, Any]) -> jobs.Order:
    try:
        return jobs.Order(
            bot=bot,
            environment=fields.words("environment"),
            parameters=parameters,
            group=fields.words("group") or None,
            priority=fields.words("priority") or Priority.NORMAL.word,
        )
    except ValidationError:
        raise Invalid("A parameter holds text that cannot be stored: a NUL character, or half of one.") from None


def _form(call: Call, bot: str, given: dict[str, str], errors: dict[str, str]) -> HTMLResponse:
    manifest = _manifest(call, bot)
    with call.reading() as session:
        row = bots.require(session, bot, workspace_id=call.workspace_id)
        offered = coverage.names_for(session, workspace_id=call.workspace_id, bot_id=row.id, limit=OFFERED)
        groups = sorted({group for seen in runners.listing(session) for group in seen.row.groups})
    fields = [
        {
            "name": name,
            "field": PREFIX + name,
            "required": declared.required,
            "text": given.get(PREFIX + name, _written(declared.default)),
            "hint": _hint(declared),
        }
        for name, declared in manifest.parameters.items()
    ]
    return shell.page(
        call,
        "bots/run.html",
        status=422 if errors else 200,
        bot=row,
        fields=fields,
        form=given,
        errors=errors,
        offered=[name for name in offered if manifest.declares(name)],
        groups=groups,
        default_group=DEFAULT_GROUP,
        priorities=[priority.word for priority in Priority],
        touchable=shell.touchable(call, "POST", "/bots/{bot}/jobs"),
    )


def _manifest(call: Call, bot: str) -> Manifest:
    with call.reading() as session:
        row = bots.require(session, bot, workspace_id=call.workspace_id)
        return Manifest.from_json(bots.versions(session, row.id)[0].manifest)


def _typed(text: str, declared: Parameter, name: str) -> Any:  # noqa: ANN401 - JSON
    """What was typed, as JSON where the default is a number, a list or the like."""
    if declared.default is None or isinstance(declared.default, str) or text.startswith("{{"):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        example = json.dumps(declared.default)
        raise Invalid(f"{name} is written as JSON, as its default is: {example}") from None


def _object(text: str) -> dict[str, Any]:
    """The parameters of a bot that declares none and so takes any."""
    try:
        given = json.loads(text or "{}")
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise Invalid('Write the parameters as a JSON object, such as {"month": "2026-11"}.')
    return given


def _written(default: Any) -> str:  # noqa: ANN401 - JSON
    if default is None:
        return ""
    return default if isinstance(default, str) else json.dumps(default, ensure_ascii=False)


def _hint(declared: Parameter) -> str:
    if declared.default is None:
        return ""
    return "" if isinstance(declared.default, str) else "Written as JSON."


def _field_of(error: Exception, manifest: Manifest) -> str:
    """Beside which parameter a sentence belongs, where it names one."""
    named = (name for name in manifest.parameters if f"parameter {name!r}" in str(error))
    found = next(named, None)
    if found is None:
        return "" if manifest.parameters or "JSON" not in str(error) else "parameters"
    return PREFIX + found
