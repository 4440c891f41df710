"""One's own account: password, second factor, sessions, and which workspace is looked at."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter
from sqlalchemy.orm import Session
from starlette.responses import HTMLResponse, RedirectResponse

from console import passwords, recovery, sessions, tenants, totp, users
from console.deps import Allowed, Call
from console.pages import shell
from console.pages.shell import Fields
from console.user_models import User
from console.users import Member
from runner.errors import Conflict, Invalid, NotFound

router = APIRouter()


@router.get("/account")
def show(call: Allowed) -> HTMLResponse:
    """The whole page."""
    return _page(call)


@router.post("/account/password", response_model=None)
def set_password(call: Allowed, form: Fields) -> HTMLResponse | RedirectResponse:
    """Choose a password; whoever has one shows it. The other sessions end."""
    try:
        with call.writing() as session:
            member = _me(call, session)
            _prove(member.user, form.get("value_present", ""))
            users.set_password(session, member, form.get("value_password", ""), actor=call.actor, now=call.now)
            ended = sessions.revoke_others(session, member.user.id, but=call.session_id, actor=call.actor, now=call.now)
    except shell.REFUSALS as error:
        return _page(call, status=422, problem=("password", str(error)))
    return shell.redirect(call, "/account", notice=f"The password is set; {ended} other sessions were ended.")


@router.post("/account/totp")
def switch_on(call: Allowed, form: Fields) -> HTMLResponse:
    """Ask for one-time codes from now on, and show the codes for the loss of the authenticator, this once."""
    key = form.words("key")
    try:
        with call.writing() as session:
            member, file = _me(call, session), call.console.key_file
            _prove(member.user, form.get("value_proof", ""))
            totp.switch_on(
                session, member.user, key=key, code=form.words("value_code"), file=file, actor=call.actor, now=call.now
            )
            codes = recovery.make(session, member.user, actor=call.actor, now=call.now)
    except shell.REFUSALS as error:
        return _page(call, status=422, problem=("totp", str(error)), key=key)
    return _page(call, status=201, codes=codes)


@router.post("/account/recovery-codes")
def make_codes(call: Allowed, form: Fields) -> HTMLResponse:
    """Show new codes for the loss of the authenticator, this once; those before them count no more."""
    try:
        with call.writing() as session:
            member = _me(call, session)
            _prove(member.user, form.get("value_proof", ""))
            if member.user.totp is None:
                raise Conflict("Switch one-time codes on first.")
            codes = recovery.make(session, member.user, actor=call.actor, now=call.now)
    except shell.REFUSALS as error:
        return _page(call, status=422, problem=("codes", str(error)))
    return _page(call, status=201, codes=codes)


@router.post("/account/totp/removal", response_model=None)
def switch_off(call: Allowed, form: Fields) -> HTMLResponse | RedirectResponse:
    """Ask for no code any more; whoever has a password shows it."""
    try:
        with call.writing() as session:
            member = _me(call, session)
            _prove(member.user, form.get("value_proof", ""))
            totp.switch_off(session, member.user, actor=call.actor, now=call.now)
    except shell.REFUSALS as error:
        return _page(call, status=422, problem=("totp", str(error)))
    return shell.redirect(call, "/account", notice="One-time codes are not asked for any more.")


@router.post("/account/sessions/removal")
def end_others(call: Allowed) -> RedirectResponse:
    """End every session but this one."""
    with call.writing() as session:
        member = _me(call, session)
        ended = sessions.revoke_others(session, member.user.id, but=call.session_id, actor=call.actor, now=call.now)
    return shell.redirect(call, "/account", notice=f"{ended} other sessions were ended.")


@router.post("/account/sessions/{session_id}/removal")
def end(call: Allowed, session_id: str) -> RedirectResponse:
    """End one session."""
    try:
        wanted = uuid.UUID(session_id)
    except ValueError:
        raise NotFound("There is no such session; it may have ended.") from None
    with call.writing() as session:
        member = _me(call, session)
        sessions.revoke(session, wanted, user_id=member.user.id, actor=call.actor, now=call.now)
    return shell.redirect(call, "/account", notice="The session was ended.")


@router.post("/account/workspace")
def switch(call: Allowed, form: Fields) -> RedirectResponse:
    """Look at another workspace with this session."""
    if call.session_id is None or call.caller.user_id is None:
        raise Conflict("A token belongs to one workspace; take one of the other workspace.")
    name = form.words("workspace")
    with call.writing() as session:
        sessions.switch(session, call.session_id, name, user_id=call.caller.user_id, actor=call.actor, now=call.now)
    return shell.redirect(call, "/", notice=f"This is the workspace {name}.")


def _me(call: Call, session: Session) -> Member:
    """Whoever is signed in.

    Raises:
        Conflict: for a token: what one program holds must not open an account.
    """
    if call.caller.kind != "user":
        raise Conflict("A token has no account; sign in to change yours.")
    return users.require(session, call.caller.name, workspace_id=call.workspace_id)


def _prove(user: User, password: str) -> None:
    """Go on only for whoever knows the password, where there is one: a browser left alone is not its person."""
    if user.password is not None and not passwords.matches(user.password, password):
        raise Invalid("The present password is wrong.")


def _page(
    call: Call,
    *,
    status: int = 200,
    problem: tuple[str, str] = ("", ""),
    key: str = "",
    codes: Sequence[str] = (),
) -> HTMLResponse:
    context: dict[str, Any] = {"member": None, "sessions": [], "key": "", "otpauth": "", "picture": "", "codes": codes}
    with call.reading() as session:
        context["workspaces"] = tenants.listing(session, call.caller)
        if call.caller.kind == "user":
            member = _me(call, session)
            context["member"] = member
            context["sessions"] = sessions.listing(
                session, member.user.id, lifetimes=call.console.lifetimes, now=call.now
            )
            context["codes_left"] = recovery.left(session, member.user.id)
            if member.user.totp is None:
                context |= _proposed(key if totp.is_key(key) else totp.propose(), member.user.name)
    return shell.page(call, "account/page.html", status=status, errors={problem[0]: problem[1]}, **context)


def _proposed(key: str, name: str) -> dict[str, str]:
    """A key as people type it, open it and photograph it."""
    return {"key": key, "otpauth": totp.address(key, name), "picture": totp.picture(key, name)}
