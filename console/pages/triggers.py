"""The pages of triggers: list, see, pause, resume and run them, and make a webhook's key, which is shown once."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from fastapi import APIRouter, Response
from starlette.responses import HTMLResponse, RedirectResponse

from console.api import triggers as api
from console.api.trigger_item import TriggerDetail
from console.deps import After, Allowed, Call
from console.pages import definition_text, rights, shell, typed
from console.pages.complaints import by_field
from console.pages.forms import Fields
from console.pages.rights import UNUSABLE
from console.pages.time_line import TimeLine, time_line
from console.permissions import Role
from runner.errors import NotFound
from runner.triggers import Kind
from scheduler import calendars, triggers
from scheduler.preview import Coming, preview

router = APIRouter(prefix="/triggers")

#: Instants that are drawn, at least and at most, and firings of a page.
FEWEST, INSTANTS, MOST, FIRINGS = 2, 20, 200, 25


@router.get("")
def listed(call: Allowed, after: After = None) -> HTMLResponse:
    """Every trigger in use, by name, with its next instant."""
    found = api.listed(call, limit=50, after=after)
    return shell.page(call, "triggers/list.html", items=found.items, next=found.next, paged=after is not None)


@router.get("/{name}")
def show(call: Allowed, name: str, after: uuid.UUID | None = None, count: int = INSTANTS) -> HTMLResponse:
    """A trigger: what it does, when it fires next, what it has done."""
    return _shown(call, name, after=after, count=max(FEWEST, min(count, MOST)))


def _shown(
    call: Call,
    name: str,
    *,
    after: uuid.UUID | None = None,
    count: int = INSTANTS,
    given: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
    key: str = "",
) -> HTMLResponse:
    item = api.show(call, name)
    coming, line = _coming(call, name, item, count=count)
    history = api.firings(call, name, limit=FIRINGS, after=after)
    return shell.page(
        call,
        "triggers/show.html",
        status=422 if errors else 200,
        item=item,
        text=definition_text.written(item.definition),
        coming=coming,
        line=line,
        count=count,
        firings=history.items,
        next=history.next,
        paged=after is not None,
        may_operate=rights.may(call, Role.OPERATOR, item.environment),
        may_change=rights.may(call, Role.DEV, item.environment),
        given=given or {},
        errors=errors or {},
        once=uuid.uuid4().hex,
        key=key,
    )


def _coming(call: Call, name: str, item: TriggerDetail, *, count: int) -> tuple[list[Coming], TimeLine | None]:
    if item.kind != Kind.SCHEDULE:
        return [], None
    with call.reading() as session:
        trigger = triggers.require(session, name, workspace_id=call.workspace_id)
        timing = triggers.timing_of(trigger, excluded=calendars.days(session, trigger))
        coming = preview(timing, now=call.now, count=count) if trigger.active else []
    return coming, time_line(coming, now=call.now, zone=timing.schedule.zone)


@router.post("/{name}/removal")
def remove(call: Allowed, name: str, _fields: Fields) -> RedirectResponse:
    """Take it out of use."""
    api.remove(call, name)
    return shell.redirect(call, "/triggers", notice=f"Removed the trigger {name}; its firings stay in history.")


@router.post("/{name}/pause")
def pause(call: Allowed, name: str, _fields: Fields) -> RedirectResponse:
    """Let it fire no more."""
    api.pause(call, name)
    return _back(call, name, f"Paused {name}: it fires no more.")


@router.post("/{name}/resumption")
def resume(call: Allowed, name: str, _fields: Fields) -> RedirectResponse:
    """Let it fire again."""
    api.resume(call, name)
    return _back(call, name, f"Resumed {name}: it fires again, from now on.")


@router.post("/{name}/key")
def make_key(call: Allowed, name: str, _fields: Fields) -> Response:
    """Make a new key and show it in this answer, which nobody can ask for again."""
    try:
        made = api.make_key(call, name)
    except NotFound:
        raise
    except UNUSABLE as error:
        return _shown(call, name, errors={"": str(error)})
    return _shown(call, name, key=made.key)


@router.post("/{name}/runs")
def run(call: Allowed, name: str, fields: Fields) -> Response:
    """Start what it starts, now; a form that is sent twice starts once."""
    try:
        order = api.RunOrder(
            environment=fields.words("environment") or None,
            parameters=typed.table(fields.get("parameters", ""), field="parameters"),
            idempotency_key=fields.words("once")[:200] or None,
        )
        fired = api.run(call, name, order, Response())
    except NotFound:
        raise
    except UNUSABLE as error:
        errors = by_field(str(error), ("environment", "parameters"))
        return _shown(call, name, given=fields.kept(), errors={f"run-{place}": text for place, text in errors.items()})
    if fired.started is None:
        return _back(call, name, fired.why or f"{name} fired.")
    target = ("jobs" if fired.started.kind == "bot" else "runs", fired.started.id)
    return shell.redirect(call, shell.address(*target), notice=f"{name} was run by hand.")


def _back(call: Call, name: str, notice: str) -> RedirectResponse:
    return shell.redirect(call, shell.address("triggers", name), notice=notice)
