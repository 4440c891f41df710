"""The pages of calendars: the days on which schedules that name them do not fire."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter
from starlette.responses import HTMLResponse, RedirectResponse, Response

from console.api import calendars as api
from console.deps import After, Allowed, Call
from console.forms import Form
from console.pages import shell
from console.pages.complaints import by_field
from console.pages.forms import Fields
from console.pages.rights import UNUSABLE
from scheduler import calendars

router = APIRouter(prefix="/calendars")


@router.get("")
def listed(call: Allowed, after: After = None) -> HTMLResponse:
    """Every calendar, by name."""
    found = api.listed(call, limit=50, after=after)
    return shell.page(call, "calendars/list.html", items=found.items, next=found.next, paged=after is not None)


@router.get("/~new")
def new(call: Allowed) -> HTMLResponse:
    """An empty form."""
    return _editor(call, name=None, given={})


@router.post("")
def add(call: Allowed, fields: Fields) -> Response:
    """Save a new calendar; one of that name is not overwritten."""
    name = fields.words("name")
    with call.reading() as session:
        if any(row.name == name for row in calendars.listing(session, workspace_id=call.workspace_id)):
            errors = {"name": f"There is a calendar {name} already; open it to change it, or choose another name."}
            return _editor(call, name=None, given=fields.kept(), errors=errors)
    return _saved(call, fields, name=name, new=True)


@router.get("/{name}")
def show(call: Allowed, name: str) -> HTMLResponse:
    """A calendar, its days, and the triggers that name it."""
    return _editor(call, name=name, given={"days": "\n".join(api.show(call, name).days)})


@router.post("/{name}")
def change(call: Allowed, name: str, fields: Fields) -> Response:
    """Give it other days."""
    api.show(call, name)
    return _saved(call, fields, name=name, new=False)


@router.post("/{name}/removal")
def remove(call: Allowed, name: str, _fields: Fields) -> Response:
    """Forget it, where no trigger names it."""
    try:
        api.remove(call, name)
    except UNUSABLE as error:
        return _editor(call, name=name, given={"days": "\n".join(api.show(call, name).days)}, errors={"": str(error)})
    return shell.redirect(call, "/calendars", notice=f"Removed the calendar {name}.")


def _saved(call: Call, fields: Form, *, name: str, new: bool) -> Response:
    lines = (line.partition("#")[0].strip() for line in fields.get("days", "").split("\n"))
    try:
        saved = api.put(call, name, api.Days(days=[line for line in lines if line]))
    except UNUSABLE as error:
        message = str(error)
        named = message.startswith("A calendar's name")
        errors = {"name": message} if named else by_field(message, ("days",))
        return _editor(call, name=None if new else name, given=fields.kept(), errors=errors)
    return _back(call, name, f"Saved {name} with {len(saved.days)} days.")


def _back(call: Call, name: str, notice: str) -> RedirectResponse:
    return shell.redirect(call, shell.address("calendars", name), notice=notice)


def _editor(
    call: Call, *, name: str | None, given: Mapping[str, str], errors: Mapping[str, str] | None = None
) -> HTMLResponse:
    with call.reading() as session:
        users = [] if name is None else calendars.using(session, name, workspace_id=call.workspace_id)
        used_by = [trigger.name for trigger in users]
    return shell.page(
        call,
        "calendars/edit.html",
        status=422 if errors else 200,
        name=name,
        given=given,
        used_by=used_by,
        errors=errors or {},
    )
