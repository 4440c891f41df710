"""The page of keys: which key each environment has, which runners hold it, and how far a rotation is, as it goes on."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import HTMLResponse, Response

from console import key_rings
from console.deps import Allowed, Call
from console.key_rings import Ring
from console.pages import shell

router = APIRouter()


@router.get("/keys")
def show(call: Allowed) -> HTMLResponse:
    """Public facts only: the console holds no private key and could open nothing."""
    return shell.page(call, "keys/page.html", **_rings(call))


@router.get("/keys/rings")
def rings(call: Allowed, seen: Annotated[str, Query(max_length=64)] = "") -> Response:
    """The same again; nothing (204) where it is as it was `seen`."""
    found = _rings(call)
    if found["digest"] == seen:
        return Response(status_code=204)
    return shell.fragment(call, "keys/rings.html", **found)


def _rings(call: Call) -> dict[str, Any]:
    with call.reading() as session:
        found = key_rings.rings(session)
    return {"rings": found, "digest": _digest(found)}


def _digest(found: list[Ring]) -> str:
    facts = [
        (ring.current, ring.former, [(one.seen.row.name, one.seen.status, one.keys) for one in ring.holders])
        for ring in found
    ]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
