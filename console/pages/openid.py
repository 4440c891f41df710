"""Signing in with the organisation's provider: sending the browser there, and taking it back."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from console import federation, origin
from console.deps import Console, console_of
from console.federation import Back
from console.openid import OpenId
from console.pages import shell
from console.pages.sign_in import browser_of, own_path, refusal_status, signed_in
from console.sign_in import Refused
from runner.errors import NotFound

router = APIRouter()

CALLBACK = "/sign-in/openid/callback"

Word = Annotated[str, Query(max_length=4000)]


@router.get("/sign-in/openid", response_model=None)
def leave(request: Request, target: Annotated[str, Query(alias="next", max_length=2000)] = "") -> Response:
    """Go to the provider."""
    console = console_of(request)
    openid = _provider(console)
    try:
        begun = federation.send_away(console, openid, target=own_path(target), redirect_uri=_back(request, console))
    except Refused as error:
        return _refused(error)
    response = RedirectResponse(begun.address, status_code=303)
    name = _cookie_name(request, console)
    origin.set_cookie(
        response,
        request,
        console.public_url,
        name=name,
        value=begun.cookie,
        max_age=int(federation.LASTS.total_seconds()),
    )
    return response


@router.get(CALLBACK, response_model=None)
def arrive(request: Request, code: Word = "", state: Word = "", iss: Word = "") -> Response:
    """Come back from the provider."""
    console = console_of(request)
    openid = _provider(console)
    back = Back(code, state, iss, request.cookies.get(_cookie_name(request, console), ""))
    try:
        cookie, target = federation.come_back(
            console, openid, back, redirect_uri=_back(request, console), browser=browser_of(request)
        )
    except Refused as error:
        return _refused(error)
    response = signed_in(request, cookie, target)
    response.delete_cookie(_cookie_name(request, console), path="/")
    return response


def _provider(console: Console) -> OpenId:
    if console.openid is None:
        raise NotFound("This installation has no OpenID provider.")
    return console.openid


def _back(request: Request, console: Console) -> str:
    return origin.own_address(request, console.public_url) + CALLBACK


def _cookie_name(request: Request, console: Console) -> str:
    return f"{origin.cookie_name(request, console.public_url)}-openid"


def _refused(error: Refused) -> HTMLResponse:
    text = shell.render(None, "sign_in/form.html", target="", name="", problem=str(error), provider=True)
    return HTMLResponse(text, status_code=refusal_status(error))
