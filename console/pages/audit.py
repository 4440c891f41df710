"""The audit: who did what, filtered; how the chain stands; everything as a file."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import HTMLResponse, StreamingResponse

from console.api import audit as api
from console.deps import Allowed
from console.pages import shell
from console.pages.history import moment
from runner.errors import Invalid
from vault import audit, chain

router = APIRouter()

#: Rows of a page.
SHOWN = 50


@router.get("/audit")
def show(
    call: Allowed,
    *,
    after: Annotated[str, Query(max_length=64)] = "",
    actor: Annotated[str, Query(max_length=200)] = "",
    action: Annotated[str, Query(max_length=64)] = "",
    environment: Annotated[str, Query(max_length=16)] = "",
    outcome: Annotated[str, Query(max_length=16)] = "",
    about: Annotated[str, Query(max_length=400)] = "",
    since: Annotated[str, Query(max_length=40)] = "",
    until: Annotated[str, Query(max_length=40)] = "",
) -> HTMLResponse:
    """The newest rows that fit; none where a time cannot be read."""
    given = {"actor": actor, "action": action, "environment": environment, "outcome": outcome, "about": about}
    given |= {"since": since, "until": until}
    times, errors = _times(since, until, now=call.now)
    wanted = audit.Filter(actor.strip(), action.strip(), environment, outcome, about.strip(), **times)
    with call.reading() as session:
        place = _place(after)
        found = audit.page(session, workspace_id=call.workspace_id, limit=SHOWN, after=place, wanted=wanted)
        head, tail = chain.head(session, call.workspace_id), chain.tail(session, call.workspace_id)
    rows = [] if errors else found
    following = shell.with_query("/audit", **given, after=rows[-1].id) if len(rows) == SHOWN else ""
    first = shell.with_query("/audit", **given) if after else ""
    return shell.page(
        call,
        "audit/page.html",
        rows=rows,
        given=given,
        errors=errors,
        following=following,
        first=first,
        head=head,
        tail=tail,
    )


@router.get("/audit/export")
def export(call: Allowed) -> StreamingResponse:
    """Everything, as JSON lines."""
    return api.export(call)


def _times(since: str, until: str, *, now: datetime) -> tuple[dict[str, datetime | None], dict[str, str]]:
    """The times that are asked for, and what is wrong with those that are none, by their field."""
    times: dict[str, datetime | None] = {}
    errors: dict[str, str] = {}
    for name, text in (("since", since), ("until", until)):
        try:
            times[name] = moment(text.strip(), now=now)
        except Invalid as error:
            errors[name] = str(error)
    return times, errors


def _place(after: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(after) if after else None
    except ValueError:
        return None
