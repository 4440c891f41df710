"""Where a request of a browser comes from: the cookie that names its session, and whether our own pages sent it.

A request that changes something and is known by a cookie only must come from a page of ours twice over: by what the
browser says of itself (`Sec-Fetch-Site`, or `Origin` where an old browser or plain HTTP leaves that out), which no page
can forge, and by the token of its session. A bearer token needs neither: no browser sends one by itself.
"""

from __future__ import annotations

import hmac

from starlette.requests import Request
from starlette.responses import Response

from console import forms

#: Methods that change nothing (RFC 9110, section 9.2.1).
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def own_address(request: Request, public_url: str) -> str:
    """Scheme and host under which the browser knows us: `https://botkeep.corp.example`."""
    return public_url.rstrip("/") or f"{request.url.scheme}://{request.headers.get('host', '')}"


def is_https(request: Request, public_url: str) -> bool:
    """Whether the browser reaches us over TLS."""
    return own_address(request, public_url).startswith("https://")


def from_own_page(request: Request, public_url: str) -> bool:
    """Whether the browser says that a page of ours sent this; false where it says nothing at all."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    return request.headers.get("origin") == own_address(request, public_url)


def cookie_name(request: Request, public_url: str) -> str:
    """The session's cookie; over TLS one that no other host and no plain connection can set (RFC 6265bis, 4.1.3.2)."""
    return "__Host-botkeep" if is_https(request, public_url) else "botkeep"


def session_cookie(request: Request, public_url: str) -> str:
    """What the session's cookie holds; empty without one."""
    return request.cookies.get(cookie_name(request, public_url), "")


def set_cookie(
    response: Response, request: Request, public_url: str, *, name: str, value: str, max_age: int | None
) -> None:
    """Give the browser a cookie for us alone: no script reads it, no other site's request carries it but a link."""
    response.set_cookie(
        name, value, max_age=max_age, path="/", secure=is_https(request, public_url), httponly=True, samesite="lax"
    )


async def shows_token(request: Request, token: str) -> bool:
    """Whether the request holds the session's token: in the header `X-CSRF`, or in a form's field `csrf`."""
    shown = request.headers.get("x-csrf")
    if shown is None and forms.is_one(request):
        shown = (await forms.parse(request)).get("csrf")
    return shown is not None and hmac.compare_digest(shown.encode(), token.encode())
