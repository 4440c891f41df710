"""Errors as pages: the same status, sentence and hint as the API answers, for whoever reads them in a browser.

Without a caller a page leads to the sign-in and, after it, back. A request of htmx gets a part of a page instead.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from inspect import iscoroutinefunction
from typing import Any

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import Scope

from console.errors import ErrorResponse
from console.page_permissions import PAGES
from console.pages import shell

#: Where people sign in; `next` brings them back.
SIGN_IN = "/sign-in"

#: Addresses that are never pages, even where nothing is found.
_MACHINES = ("/api/", "/hooks/", "/static/")


def install(app: FastAPI) -> None:
    """Let every error that has an answer be shown as a page where a page was asked for."""
    for kind, handler in list(app.exception_handlers.items()):
        app.exception_handlers[kind] = _shown(handler)


def wanted(scope: Scope) -> bool:
    """Whether a request asks for a page: its route is one, or it has none and comes from a browser."""
    route = getattr(scope.get("route"), "path", None)
    if route is not None:
        return (scope["method"], route) in PAGES and not route.startswith(_MACHINES)
    accepts = Headers(scope=scope).get("accept", "")
    return "text/html" in accepts and not scope["path"].startswith(_MACHINES)


def as_page(scope: Scope, response: Response) -> Response:
    """An error as the page that says it; any other answer, and those for programs, as they are."""
    if not isinstance(response, ErrorResponse) or not wanted(scope):
        return response
    headers = Headers(scope=scope)
    if response.status_code == 401:
        return _to_sign_in(scope, part="hx-request" in headers)
    if "hx-request" in headers:
        text = shell.render(None, "error/part.html", error=response.error)
        return HTMLResponse(text, status_code=response.status_code)
    call = scope.get("state", {}).get("call")
    text = shell.render(
        call,
        "error/page.html",
        error=response.error,
        status=response.status_code,
        phrase=_phrase(response.status_code),
    )
    return HTMLResponse(text, status_code=response.status_code)


def _shown(handler: Callable[..., Any]) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def shown(request: Request, error: Exception) -> Response:
        if iscoroutinefunction(handler):
            response = await handler(request, error)
        else:
            response = await run_in_threadpool(handler, request, error)
        return as_page(request.scope, response)

    return shown


def _to_sign_in(scope: Scope, *, part: bool) -> Response:
    """Only what was looked at is come back to; a form that was posted is not posted again."""
    here = scope["path"] if scope["method"] == "GET" and not part else ""
    query = scope["query_string"].decode("latin-1")
    target = shell.with_query(SIGN_IN, next=f"{here}?{query}" if here and query else here)
    if part:
        return HTMLResponse("", status_code=401, headers={"HX-Redirect": target})
    return RedirectResponse(target, status_code=303)


def _phrase(status: int) -> str:
    words = {403: "Not allowed", 404: "Not found", 422: "This cannot be used", 500: "Something failed"}
    return words.get(status, HTTPStatus(status).phrase)
