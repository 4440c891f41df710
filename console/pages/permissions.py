"""Permissions: the table by which every request is judged, as it is."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import HTMLResponse

from console.deps import Allowed
from console.pages import shell
from console.permissions import INSTALLATION, PERMISSIONS, REACH, Reach, Role

router = APIRouter()


@router.get("/permissions")
def show(call: Allowed) -> HTMLResponse:
    """Actions by the noun they are about, each with the least role and the requests that do it."""
    nouns: dict[str, dict[tuple[str, Role], list[str]]] = {}
    for (method, path), permission in sorted(PERMISSIONS.items()):
        if permission is not None:
            noun = permission.action.partition(".")[0]
            actions = nouns.setdefault(noun, {})
            actions.setdefault((permission.action, permission.role), []).append(f"{method} {path}")
    public = sorted(f"{method} {path}" for (method, path), permission in PERMISSIONS.items() if permission is None)
    return shell.page(
        call,
        "permissions/page.html",
        nouns=sorted(nouns.items()),
        public=public,
        roles=list(Role),
        reach=REACH,
        none=Reach.NONE,
        installation=INSTALLATION,
    )
