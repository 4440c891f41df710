"""Calendars over HTTP: the days on which schedules that name them do not fire."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from console.api.trigger_item import CalendarItem, calendar_item
from console.deps import After, Allowed, Limit
from console.paging import Page, cut
from console.text import Text
from scheduler import calendars, triggers

router = APIRouter(prefix="/api/v1/calendars", tags=["triggers"])


class Days(BaseModel):
    """Days as `YYYY-MM-DD`."""

    model_config = ConfigDict(extra="forbid")

    days: list[Text]


@router.get("", summary="List calendars")
def listed(call: Allowed, limit: Limit = 50, after: After = None) -> Page[CalendarItem]:
    """Every calendar, by name."""
    with call.reading() as session:
        rows = calendars.listing(session, workspace_id=call.workspace_id)
    page, following = cut(rows, key=lambda row: row.name, limit=limit, after=after)
    return Page(items=[calendar_item(row) for row in page], next=following)


@router.get("/{name}", summary="Show a calendar")
def show(call: Allowed, name: str) -> CalendarItem:
    """A calendar and its days."""
    with call.reading() as session:
        return calendar_item(calendars.get(session, name, workspace_id=call.workspace_id))


@router.put("/{name}", summary="Set a calendar's days")
def put(call: Allowed, name: str, given: Days) -> CalendarItem:
    """Make a calendar of these days, or replace its days; schedules that name it look anew at what comes next."""
    call.require_every_environment("changing a calendar")
    with call.writing() as session:
        row = calendars.put(session, name, given.days, workspace_id=call.workspace_id, actor=call.actor, now=call.now)
        triggers.rewind_all(session, name, workspace_id=call.workspace_id, now=call.now)
        return calendar_item(row)


@router.delete("/{name}", status_code=204, summary="Remove a calendar")
def remove(call: Allowed, name: str) -> None:
    """Forget a calendar that no trigger names."""
    call.require_every_environment("removing a calendar")
    with call.writing() as session:
        calendars.remove(session, name, workspace_id=call.workspace_id, actor=call.actor, now=call.now)
