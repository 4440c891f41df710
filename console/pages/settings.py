"""The page of settings: policies of environments, limits, concurrency, retention, and where sources may connect to."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import HTMLResponse, Response

from console.api import concurrency as concurrency_api
from console.api import environments as environments_api
from console.api import retention as retention_api
from console.api import workspace as workspace_api
from console.api.concurrency import AtOnce
from console.api.environments import Policy
from console.api.retention import Rule
from console.deps import Allowed, Call
from console.pages import shell
from console.pages.shell import REFUSALS, Fields
from runner.concurrency import Kind
from runner.connection_policy import ConnectionPolicy
from runner.errors import Invalid
from runner.limits import DEFAULTS, Limits, written
from runner.retention import INHERIT
from runner.workspaces import Unset
from vault.names import check_environment

router = APIRouter()

#: How many lines a list on the page has; nobody makes more rules than that by hand.
MOST = 500


@router.get("/settings")
def show(call: Allowed) -> HTMLResponse:
    """Every setting of the workspace, each with its form for those who may change it."""
    return _page(call)


@router.post("/settings/environments/{environment}")
def decide(call: Allowed, environment: str, fields: Fields) -> Response:
    """Say what happens to jobs whose asset has no value, and how bots must be kept apart."""
    check_environment(environment)
    try:
        policy = Policy(unset=fields.words("unset") or None, isolation=fields.words("isolation") or None)
        environments_api.decide(call, environment, policy)
    except REFUSALS as error:
        return _page(call, {f"environment-{environment}": str(error)}, fields.kept())
    return _done(call, "environments", f"The policy of {environment} was saved.")


@router.post("/settings/limits")
def limit(call: Allowed, fields: Fields) -> Response:
    """Change the limits of bots; a blank field goes back to Botkeep's own."""
    try:
        changes = {name: _number(name, fields.words(name)) for name in Limits.model_fields if name in fields}
        workspace_api.change(call, changes)
    except REFUSALS as error:
        named = next((name for name in Limits.model_fields if f"{name!r}" in str(error)), "limits")
        return _page(call, {named: str(error)}, fields.kept())
    return _done(call, "limits", "The limits of bots were saved.")


@router.post("/settings/concurrency")
def allow(call: Allowed, fields: Fields) -> Response:
    """Allow so many jobs at the same time from now on; what runs goes on."""
    try:
        text = fields.words("at_once")
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise Invalid("Say how many jobs may run at the same time, as a whole number.")
        environment = check_environment(fields.words("environment"))
        wanted = AtOnce(at_once=int(text), target=fields.words("target"))
        item = concurrency_api.decide(call, environment, fields.words("kind"), wanted)
    except REFUSALS as error:
        return _page(call, {"concurrency": str(error)}, fields.kept())
    return _done(call, "concurrency", f"At most {item.at_once} of these jobs run at the same time in {environment}.")


@router.post("/settings/concurrency/removal")
def allow_all(call: Allowed, fields: Fields) -> Response:
    """Take a limit away; what waits for it starts."""
    environment = check_environment(fields.words("environment"))
    concurrency_api.remove(call, environment, fields.words("kind"), fields.words("target"))
    return _done(call, "concurrency", "The limit was removed.")


@router.post("/settings/retention")
def keep(call: Allowed, fields: Fields) -> Response:
    """Make, change or take away the rule of a bot and an environment."""
    try:
        rule = Rule(
            bot=fields.words("bot") or None,
            environment=fields.words("environment") or None,
            age=fields.words("age") or INHERIT,
            size=fields.words("size") or INHERIT,
        )
        retention_api.decide(call, rule)
    except REFUSALS as error:
        return _page(call, {"retention": str(error)}, fields.kept())
    return _done(call, "retention", "The rule was saved. The scheduler removes what it lets go.")


@router.post("/settings/connections")
def connect(call: Allowed, fields: Fields) -> Response:
    """Replace the lists of where data sources may connect to; a blank one goes back to Botkeep's own."""
    try:
        lists = {name: fields.get(name, "").split() or None for name in ConnectionPolicy.model_fields}
        workspace_api.change_connections(call, lists)
    except REFUSALS as error:
        return _page(call, {"connections": str(error)}, fields.kept())
    return _done(call, "connections", "The lists of allowed connections were saved.")


def _done(call: Call, section: str, sentence: str) -> Response:
    return shell.redirect(call, f"/settings#{section}", notice=sentence)


def _page(call: Call, errors: dict[str, str] | None = None, form: dict[str, str] | None = None) -> HTMLResponse:
    chosen = workspace_api.shown(call).chosen
    context: dict[str, Any] = {
        "environments": environments_api.listed(call).items,
        "limits": [(name, _written(name, getattr(chosen, name)), _default(name)) for name in Limits.model_fields],
        "concurrency": concurrency_api.listed(call, limit=MOST).items,
        "retention": retention_api.listed(call, limit=MOST).items,
        "connections": workspace_api.connections(call).model_dump(),
    }
    return shell.page(
        call,
        "settings/page.html",
        status=422 if errors else 200,
        errors=errors or {},
        form=form or {},
        kinds=list(Kind),
        unset=list(Unset),
        touchable=shell.touchable(call, "POST", "/settings/environments/{environment}"),
        **context,
    )


def _number(name: str, text: str) -> object:
    """A limit as bot.toml writes it: a count as a number, sizes and durations as text; blank is none."""
    return int(text) if name in {"open_files", "processes"} and text.isascii() and text.isdigit() else text or None


def _written(name: str, value: Any) -> str:  # noqa: ANN401 - one type for each limit
    if value is None:
        return ""
    if name == "cpu_time":
        return f"{value.total_seconds():g}s"
    return str(value) if name in {"open_files", "processes"} else written(value)


def _default(name: str) -> str:
    return _written(name, getattr(DEFAULTS, name)) or "no limit"
