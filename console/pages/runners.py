"""Runners: which there are, what they serve and run, what their hosts give to keep bots apart, and which values live
there; drained and removed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import HTMLResponse, Response

from console.api import runners as api
from console.deps import Allowed, Call
from console.pages import shell
from runner import local_values, runners, workspaces
from runner.local_values import Held
from runner.runners import Seen

router = APIRouter()


@router.get("/runners")
def listed(call: Allowed) -> HTMLResponse:
    """The whole page."""
    return shell.page(call, "runners/page.html", **_rows(call))


@router.get("/runners/rows")
def rows(call: Allowed, seen: Annotated[str, Query(max_length=64)] = "") -> Response:
    """The runners again; nothing (204) where they are as they were `seen`."""
    found = _rows(call)
    if found["digest"] == seen:
        return Response(status_code=204)
    return shell.fragment(call, "runners/rows.html", **found)


@router.post("/runners/{name}/drain")
def drain(call: Allowed, name: str) -> Response:
    """Let it finish what it has, and stop."""
    api.drain(call, name)
    return shell.redirect(call, "/runners", notice=f"{name} finishes what it runs, takes nothing new, and stops.")


@router.post("/runners/{name}/removal")
def remove(call: Allowed, name: str) -> Response:
    """Forget it."""
    api.remove(call, name)
    return shell.redirect(call, "/runners", notice=f"{name} is removed from the list; history keeps its name.")


def isolation(facts: dict[str, Any] | None) -> list[str]:
    """What a host gives to keep bots apart, in words."""
    if facts is None:
        return ["it did not say"]
    words = [f"Landlock {facts['landlock']}" if facts.get("landlock") else "no Landlock"]
    given = (("signal_scope", "signals"), ("bubblewrap", "sandbox"), ("cgroup", "control groups"))
    words += [word for name, word in given if facts.get(name)]
    words += [f"own user of {facts['users']}"] if facts.get("users") else []
    return [*words, "runs as root"] if facts.get("root") else words


def _rows(call: Call) -> dict[str, Any]:
    with call.reading() as session:
        found = runners.listing(session)
        held = local_values.listing(session, workspace_id=call.workspace_id)
        governs = workspaces.default_workspace(session) == call.workspace_id
    return {"runners": found, "held": held, "digest": _digest(found, held), "isolation": isolation, "governs": governs}


def _digest(found: Sequence[Seen], held: Sequence[Held]) -> str:
    facts = [(seen.row.name, seen.row.instance, seen.status, seen.running) for seen in found]
    return hashlib.sha256(repr((facts, held)).encode()).hexdigest()[:16]
