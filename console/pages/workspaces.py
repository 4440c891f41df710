"""Workspaces: those of whoever is signed in, switching between them, and another one."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import HTMLResponse

from console import tenants
from console.deps import Allowed, Call
from console.pages import shell
from console.pages.shell import Fields

router = APIRouter()


@router.get("/workspaces")
def show(call: Allowed) -> HTMLResponse:
    """The list."""
    return _page(call)


@router.post("/workspaces")
def add(call: Allowed, form: Fields) -> HTMLResponse:
    """Make an empty workspace, and show its first token this once."""
    try:
        with call.writing() as session:
            row, token = tenants.add(session, form.words("name"), caller=call.caller, now=call.now)
    except shell.REFUSALS as error:
        return _page(call, status=422, problem=str(error), form=form.kept())
    return _page(call, status=201, made=row.name, token=token)


def _page(
    call: Call,
    *,
    status: int = 200,
    problem: str = "",
    form: dict[str, str] | None = None,
    made: str = "",
    token: str = "",
) -> HTMLResponse:
    with call.reading() as session:
        rows = tenants.listing(session, call.caller)
    return shell.page(
        call,
        "workspaces/page.html",
        status=status,
        workspaces=rows,
        problem=problem,
        form=form or {},
        made=made,
        token=token,
    )
