"""Signing in and out: with name and password, with a link that works once; the session's cookie.

Opening a link signs nobody in, its button does: programs that look at every link of a message would use it up.
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, RedirectResponse, Response

from console import forms, origin, sessions, sign_in
from console.deps import Allowed, Console, address_of, console_of
from console.forms import Form
from console.pages import shell
from console.sessions import Browser
from console.sign_in import Refused, Shown, Slowed
from runner.errors import Invalid
from vault import db

router = APIRouter()

#: What is said of a form that another site's page sent, or that names no origin.
FOREIGN = "This form was not sent from this page. Load it again and repeat it; a proxy may have changed the address."


async def own_form(request: Request) -> Form:
    """The form of somebody who is not known yet.

    Raises:
        Invalid: where no page of ours sent it.
    """
    if not origin.from_own_page(request, console_of(request).public_url):
        raise Invalid(FOREIGN)
    return await forms.parse(request)


OwnForm = Annotated[Form, Depends(own_form)]


@router.get("/sign-in", response_model=None)
def show(request: Request, target: Annotated[str, Query(alias="next", max_length=2000)] = "") -> Response:
    """The form; whoever is signed in goes on."""
    console = console_of(request)
    if _is_signed_in(request, console):
        return RedirectResponse(own_path(target), status_code=303)
    return HTMLResponse(_form(console, target=target))


@router.post("/sign-in", response_model=None)
async def send(request: Request, form: OwnForm) -> Response:
    """Sign in with a password."""
    console, target = console_of(request), form.get("next", "")
    shown = Shown(form.words("name"), form.get("password", ""), form.words("code"))

    def begin() -> Response:
        try:
            cookie = sign_in.with_password(console, shown, browser=browser_of(request))
        except Refused as error:
            text = _form(console, target=target, name=shown.name, problem=str(error))
            return HTMLResponse(text, status_code=refusal_status(error), headers=retry_after(error))
        return signed_in(request, cookie, target)

    return await run_in_threadpool(begin)


@router.get("/sign-in/link")
def show_link(request: Request, token: Annotated[str, Query(max_length=100)] = "") -> HTMLResponse:
    """Whom the link would sign in, and a button."""
    console = console_of(request)
    with db.reading(console.engine) as session:
        name = sign_in.usable_link(session, token, now=console.now())
    text = shell.render(None, "sign_in/link.html", name=name, token=token, problem="")
    return HTMLResponse(text, status_code=200 if name else 404)


@router.post("/sign-in/link", response_model=None)
async def use_link(request: Request, form: OwnForm) -> Response:
    """Use the link up."""
    console = console_of(request)

    def begin() -> Response:
        try:
            cookie = sign_in.with_link(console, form.get("token", ""), browser=browser_of(request))
        except Refused as error:
            text = shell.render(None, "sign_in/link.html", name=None, token="", problem=str(error))
            return HTMLResponse(text, status_code=refusal_status(error), headers=retry_after(error))
        return signed_in(request, cookie, "/account")

    return await run_in_threadpool(begin)


@router.post("/sign-out")
def sign_out(call: Allowed, request: Request) -> RedirectResponse:
    """End this session."""
    if call.session_id is not None and call.caller.user_id is not None:
        with call.writing() as session:
            sessions.revoke(session, call.session_id, user_id=call.caller.user_id, actor=call.actor, now=call.now)
    response = shell.redirect(call, "/sign-in")
    response.delete_cookie(origin.cookie_name(request, call.console.public_url), path="/")
    return response


def signed_in(request: Request, cookie: str, target: str) -> RedirectResponse:
    """Go on with a session."""
    console = console_of(request)
    response = RedirectResponse(own_path(target), status_code=303)
    origin.set_cookie(
        response,
        request,
        console.public_url,
        name=origin.cookie_name(request, console.public_url),
        value=cookie,
        max_age=int(console.lifetimes.absolute.total_seconds()),
    )
    return response


def own_path(target: str) -> str:
    """Where to go on: a path of ours, whatever was asked for; two slashes of either kind begin another host."""
    parts = urlsplit(target)
    ours = target.startswith("/") and target[1:2] not in {"/", "\\"} and not parts.netloc and target.isprintable()
    return target if ours and not parts.path.startswith("/sign-in") else "/"


def browser_of(request: Request) -> Browser:
    """Where somebody signs in from."""
    return Browser(address_of(request), request.headers.get("user-agent", ""))


def refusal_status(error: Refused) -> int:
    """The status of a sign-in that was refused."""
    return 429 if isinstance(error, Slowed) else 422


def retry_after(error: Refused) -> dict[str, str]:
    """When to come again."""
    return {"Retry-After": str(error.seconds)} if isinstance(error, Slowed) else {}


def _form(console: Console, *, target: str, name: str = "", problem: str = "") -> str:
    return shell.render(
        None, "sign_in/form.html", target=target, name=name, problem=problem, provider=console.openid is not None
    )


def _is_signed_in(request: Request, console: Console) -> bool:
    cookie = origin.session_cookie(request, console.public_url)
    if not cookie:
        return False
    with db.reading(console.engine) as session:
        found = sessions.find(session, cookie, address="", lifetimes=console.lifetimes, now=console.now())
    return found is not None
