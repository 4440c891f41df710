"""The pages of work items: what lies in which tray, what became of it; add, try again, remove."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping

from fastapi import APIRouter
from pydantic import ValidationError
from starlette.responses import HTMLResponse, RedirectResponse, Response

from console.api import work_items as api
from console.deps import Allowed, Call
from console.errors import complaints
from console.forms import Form
from console.pages import rights, shell
from console.pages.complaints import by_field
from console.pages.forms import Fields
from console.pages.rights import UNUSABLE
from console.permissions import Role
from runner.errors import Invalid, NotFound
from runner.work_items import DELAY, RETRIES, ItemState
from vault.names import ENVIRONMENTS

router = APIRouter(prefix="/work-items")

#: Items of a page of the list.
ITEMS = 50

#: The fields of the form, whose names are those of the HTTP API.
FIELDS = ("tray", "environment", "data", "reference", "priority", "deadline", "not_before", "retries", "retry_delay")


@router.get("")
def listed(
    call: Allowed, tray: str = "", state: str = "", environment: str = "", after: uuid.UUID | None = None
) -> HTMLResponse:
    """Work items, the newest first, of one tray, state or environment where one is chosen."""
    given = {"tray": tray.strip(), "state": state, "environment": environment}
    known = {"tray": given["tray"] or None, "environment": environment or None}
    unknown = state not in {"", *ItemState}
    found = api.listed(call, **known, state=None if unknown else state or None, limit=ITEMS, after=after)
    return shell.page(
        call,
        "work_items/list.html",
        status=422 if unknown else 200,
        items=[] if unknown else found.items,
        next=None if unknown else found.next,
        paged=after is not None,
        given=given,
        states=[*ItemState],
        errors={"state": f"There is no such state; choose one of {', '.join(ItemState)}."} if unknown else {},
    )


@router.get("/~new")
def new(call: Allowed, tray: str = "") -> HTMLResponse:
    """An empty form."""
    usual = {"tray": tray, "data": "{}", "retries": str(RETRIES), "retry_delay": f"{DELAY.total_seconds():g}"}
    return _form(call, given=usual)


@router.post("")
def add(call: Allowed, fields: Fields) -> Response:
    """Put an item into a tray."""
    try:
        item = api.add(call, _read(fields))
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False)
        message = " ".join(complaints([{**each, "loc": ("body", *each["loc"])} for each in problems]))
        return _form(call, given=fields.kept(), errors=by_field(message, FIELDS))
    except UNUSABLE as error:
        errors = by_field(str(error), FIELDS)
        if "reference" in errors.get("", ""):
            errors["reference"] = errors.pop("")
        return _form(call, given=fields.kept(), errors=errors)
    return shell.redirect(call, shell.address("work-items", item.id), notice=f"Put into the tray {item.tray}.")


def _read(fields: Form) -> api.NewItem:
    """What the form says; a time without an offset counts as UTC."""
    try:
        data = json.loads(fields.get("data", ""))
    except (ValueError, RecursionError) as error:
        raise Invalid(f"data: it is not JSON: {str(error)[:200]}.") from None
    table: dict[str, object] = {"data": data, "tray": fields.words("tray")}
    for name in ("environment", "reference", "priority"):
        if text := fields.words(name):
            table[name] = text
    for name in ("deadline", "not_before"):
        if text := fields.words(name):
            zoned = text.endswith("Z") or "+" in text or "-" in text.partition("T")[2]
            table[name] = text if zoned else f"{text}Z"
    if text := fields.words("retries"):
        table["retries"] = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else text
    if text := fields.words("retry_delay"):
        table["retry_delay"] = text
    return api.NewItem.model_validate(table)


@router.get("/{item_id}")
def show(call: Allowed, item_id: str) -> HTMLResponse:
    """An item, its data, and what became of it."""
    return _shown(call, item_id)


def _shown(call: Call, item_id: str, *, errors: Mapping[str, str] | None = None) -> HTMLResponse:
    item = api.show(call, item_id)
    return shell.page(
        call,
        "work_items/show.html",
        status=409 if errors else 200,
        item=item,
        data=json.dumps(item.data, indent=2, ensure_ascii=False),
        result=None if item.result is None else json.dumps(item.result, indent=2, ensure_ascii=False),
        may_operate=rights.may(call, Role.OPERATOR, item.environment),
        errors=errors or {},
    )


@router.post("/{item_id}/retry")
def retry(call: Allowed, item_id: str, _fields: Fields) -> Response:
    """Put a failed item or a dead letter back, with all its tries."""
    try:
        item = api.retry(call, item_id)
    except NotFound:
        raise
    except UNUSABLE as error:
        return _shown(call, item_id, errors={"": str(error)})
    return shell.redirect(call, shell.address("work-items", item.id), notice="Back in its tray, with all its tries.")


@router.post("/{item_id}/removal")
def remove(call: Allowed, item_id: str, _fields: Fields) -> Response:
    """Take it out of its tray."""
    try:
        api.remove(call, item_id)
    except NotFound:
        raise
    except UNUSABLE as error:
        return _shown(call, item_id, errors={"": str(error)})
    return _to_list(call)


def _to_list(call: Call) -> RedirectResponse:
    return shell.redirect(call, "/work-items", notice="Removed the work item.")


def _form(call: Call, *, given: Mapping[str, str], errors: Mapping[str, str] | None = None) -> HTMLResponse:
    return shell.page(
        call,
        "work_items/new.html",
        status=422 if errors else 200,
        given=given,
        allowed=[each for each in ENVIRONMENTS if rights.may(call, Role.OPERATOR, each)],
        errors=errors or {},
    )
