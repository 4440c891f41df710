"""Users: who belongs to the workspace, with which role where; adding, changing, links, removing."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse

from console import totp, users
from console.api import users as api
from console.api.users import another, governed, link_address, may_give, opened, signed_in
from console.deps import Allowed, Call
from console.forms import Form
from console.pages import shell, words
from console.pages.rights import governs, narrowed
from console.pages.shell import Fields
from console.permissions import Role
from console.users import LINK_LASTS, Member, Rights

router = APIRouter()


@router.get("/users")
def show(call: Allowed) -> HTMLResponse:
    """The list, and the form for another one."""
    return _page(call)


@router.post("/users", response_model=None)
def add(call: Allowed, form: Fields, request: Request) -> HTMLResponse:
    """Add a person; a new account is shown with the link that signs it in once."""
    try:
        rights = _rights(form)
        may_give(call, rights.roles)
        with call.writing() as session:
            member = users.add(
                session,
                form.words("name"),
                rights=rights,
                workspace_id=call.workspace_id,
                actor=call.actor,
                now=call.now,
            )
            known = len(users.workspaces_of(session, member.user.id)) > 1
            token = "" if known else users.link(session, member, actor=call.actor, now=call.now)
            name = member.user.name
    except shell.REFUSALS as error:
        return _page(call, status=422, problem=str(error), form=form.kept())
    return _page(call, name=name, link=link_address(request, call, token) if token else "", status=201)


@router.post("/users/{name}/role")
def change(call: Allowed, name: str, form: Fields) -> RedirectResponse:
    """Give a person another role."""
    rights = _rights(form)
    may_give(call, rights.roles)
    with call.writing() as session:
        member = another(call, governed(call, session, name))
        users.change(session, member, rights=rights, actor=call.actor, now=call.now)
    return shell.redirect(call, "/users", notice=f"{name} has the role {rights.role} now.")


@router.post("/users/{name}/links")
def link(call: Allowed, name: str, request: Request) -> HTMLResponse:
    """Show a link that signs the person in once."""
    with call.writing() as session:
        member = opened(call, session, name)
        token = users.link(session, member, actor=call.actor, now=call.now)
    return _page(call, name=member.user.name, link=link_address(request, call, token))


@router.post("/users/{name}/totp/removal")
def forget_totp(call: Allowed, name: str) -> RedirectResponse:
    """Ask the person for no one-time code any more."""
    with call.writing() as session:
        totp.switch_off(session, opened(call, session, name).user, actor=call.actor, now=call.now)
    return shell.redirect(call, "/users", notice=f"{name} is asked for no one-time code any more.")


@router.post("/users/{name}/sessions/removal")
def end_sessions(call: Allowed, name: str) -> RedirectResponse:
    """Sign the person out of every browser that looks at this workspace."""
    ended = api.end_sessions(call, name)
    return shell.redirect(call, "/users", notice=f"{name} was signed out of {words.count(ended.ended, 'browser')}.")


@router.post("/users/{name}/disablement")
def disable(call: Allowed, name: str) -> RedirectResponse:
    """Refuse the person, and the tokens they made, until they are enabled again."""
    api.disable(call, name)
    return shell.redirect(call, "/users", notice=f"{name} is disabled: they and the tokens they made are refused.")


@router.post("/users/{name}/enablement")
def enable(call: Allowed, name: str) -> RedirectResponse:
    """Let the person in again."""
    api.enable(call, name)
    return shell.redirect(call, "/users", notice=f"{name} is enabled again, with the rights they had.")


@router.post("/users/{name}/removal")
def remove(call: Allowed, name: str) -> RedirectResponse:
    """Take a person out of the workspace."""
    with call.writing() as session:
        member = another(call, governed(call, session, name))
        tokens = users.remove(session, member, actor=call.actor, now=call.now)
    also = f"; the tokens {', '.join(tokens)} as well" if tokens else ""
    return shell.redirect(call, "/users", notice=f"{name} was removed{also}.")


def _rights(form: Form) -> Rights:
    return Rights.of(form.words("role"), narrowed(form))


def _fields(member: Member) -> dict[str, str]:
    """What a member may do, as a form's fields say it."""
    lower = {f"role_{environment}": str(role) for environment, role in member.membership.narrowed.items()}
    return {"role": str(member.role), **lower}


def _page(
    call: Call,
    *,
    status: int = 200,
    problem: str = "",
    form: dict[str, str] | None = None,
    name: str = "",
    link: str = "",
) -> HTMLResponse:
    with call.reading() as session:
        members = users.listing(session, workspace_id=call.workspace_id)
        seen = signed_in(call, session)
    return shell.page(
        call,
        "users/page.html",
        status=status,
        members=members,
        seen=seen,
        governs=governs,
        has=_fields,
        roles=list(Role),
        problem=problem,
        form=form or {},
        added=name,
        link=link,
        hours=int(LINK_LASTS.total_seconds() // 3600),
    )
