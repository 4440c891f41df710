"""Tokens: what programs show to the console; listing, making (shown once), removing."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import HTMLResponse, RedirectResponse

from console import auth
from console.api.tokens import governed
from console.api.users import may_give
from console.auth import Grant
from console.deps import Allowed, Call
from console.pages import shell
from console.pages.rights import governs, narrowed
from console.pages.shell import Fields
from console.permissions import Role

router = APIRouter()


@router.get("/tokens")
def show(call: Allowed) -> HTMLResponse:
    """The list, and the form for another one."""
    return _page(call)


@router.post("/tokens")
def create(call: Allowed, form: Fields) -> HTMLResponse:
    """Make a token, and show it this once."""
    name = form.words("name")
    try:
        grant = Grant.of(form.words("role"), (), narrowed(form))
        may_give(call, grant.roles)
        with call.writing() as session:
            _row, token = auth.create(
                session,
                name,
                grant=grant,
                workspace_id=call.workspace_id,
                actor=call.actor,
                now=call.now,
                user_id=call.caller.user_id,
            )
    except shell.REFUSALS as error:
        return _page(call, status=422, problem=str(error), form=form.kept())
    return _page(call, status=201, name=name, token=token)


@router.post("/tokens/{name}/removal")
def remove(call: Allowed, name: str) -> RedirectResponse:
    """Refuse a token from now on."""
    with call.writing() as session:
        governed(call, session, name)
        auth.remove(session, name, workspace_id=call.workspace_id, actor=call.actor, now=call.now)
    return shell.redirect(call, "/tokens", notice=f"{name} was removed; whoever holds it is refused.")


def _page(
    call: Call,
    *,
    status: int = 200,
    problem: str = "",
    form: dict[str, str] | None = None,
    name: str = "",
    token: str = "",
) -> HTMLResponse:
    with call.reading() as session:
        rows = auth.listing(session, workspace_id=call.workspace_id)
    return shell.page(
        call,
        "tokens/page.html",
        status=status,
        tokens=[(row, Grant.held(row)) for row in rows],
        governs=governs,
        roles=list(Role),
        problem=problem,
        form=form or {},
        made=name,
        token=token,
    )
