"""The audit: who did what, filtered; how the chain stands; everything as a file."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import HTMLResponse, StreamingResponse

from console.api import audit as api
from console.deps import Allowed
from console.pages import shell
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
) -> HTMLResponse:
    """The newest rows that fit."""
    wanted = audit.Filter(actor.strip(), action.strip(), environment, outcome, about.strip())
    with call.reading() as session:
        rows = audit.page(session, workspace_id=call.workspace_id, limit=SHOWN, after=_place(after), wanted=wanted)
        head, tail = chain.head(session, call.workspace_id), chain.tail(session, call.workspace_id)
    given = {"actor": actor, "action": action, "environment": environment, "outcome": outcome, "about": about}
    following = shell.with_query("/audit", **given, after=rows[-1].id) if len(rows) == SHOWN else ""
    first = shell.with_query("/audit", **given) if after else ""
    return shell.page(
        call, "audit/page.html", rows=rows, given=given, following=following, first=first, head=head, tail=tail
    )


@router.get("/audit/export")
def export(call: Allowed) -> StreamingResponse:
    """Everything, as JSON lines."""
    return api.export(call)


def _place(after: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(after) if after else None
    except ValueError:
        return None
