"""Home: what runs now, what failed since yesterday, what comes next, and which runners are there."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import HTMLResponse

from console.deps import Allowed, Call
from console.pages import shell
from runner import overview, runners
from scheduler import triggers

#: Lines of each list.
SHOWN = 8

router = APIRouter()


@router.get("/")
def home(call: Allowed) -> HTMLResponse:
    """The whole page."""
    return shell.page(call, "home/page.html", **_now(call))


@router.get("/home/now")
def now(call: Allowed) -> HTMLResponse:
    """The part of it that changes by itself."""
    return shell.fragment(call, "home/now.html", **_now(call))


def _now(call: Call) -> dict[str, Any]:
    with call.reading() as session:
        found = overview.overview(session, workspace_id=call.workspace_id, now=call.now, shown=SHOWN)
        coming = triggers.coming(session, workspace_id=call.workspace_id, limit=SHOWN)
        seen = runners.listing(session)
    return {"found": found, "coming": coming, "runners": seen}
