"""The application: every route, with its permission, behind one edge.

Refuses to exist with a route that `permissions` does not know, or with an entry for a route that there is not.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from anyio import to_thread
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute, APIRouter
from starlette.routing import BaseRoute

from console import errors, health
from console.api import bots
from console.api import routes as api
from console.deps import Console
from console.edge import MAX_BODY, Edge
from console.pages import refusals
from console.pages import routes as pages
from console.permissions import PERMISSIONS

#: Requests served at the same time; below the database's pool of 20, so that followers of logs find a place.
THREADS = 14

#: What the description of the interface says about errors, instead of FastAPI's own shape.
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": errors.ErrorAnswer, "description": meaning}
    for status, meaning in (
        (401, "No token, or none that is in use."),
        (403, "The token may not do this."),
        (404, "There is no such thing."),
        (409, "Something that exists stands in the way."),
        (422, "What was given cannot be used."),
        (503, "The database cannot be used now."),
    )
}

#: Bytes that a form may have besides the values or files in it.
FORM = 64 * 1024

#: Routes whose bodies may be larger than the largest value, and how large.
LARGER: dict[tuple[str, str], int] = {
    ("POST", bots.router.prefix): bots.MAX_ARCHIVE,
    ("POST", "/bots"): bots.MAX_ARCHIVE + FORM,
    # A value for each environment, and what a form has around them.
    **{("POST", f"{base}/assets"): 3 * MAX_BODY + FORM for base in ("", "/bots/{bot}")},
    **{
        ("POST", f"{base}/assets/{{group}}/{{name}}/values/{{environment}}"): MAX_BODY + FORM
        for base in ("", "/bots/{bot}")
    },
}


def create(console: Console) -> FastAPI:
    """The application that serves `console`."""
    app = FastAPI(
        title="Botkeep",
        version=console.version,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
        # Traces could carry what a request holds.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.console = console
    for router in api.ROUTERS:
        app.include_router(router, responses={} if router is health.router else ERRORS)
    for router in pages.ROUTERS:
        app.include_router(router, include_in_schema=False)
    app.add_api_route("/api/v1/openapi.json", _openapi, methods=["GET"], include_in_schema=False)
    errors.install(app)
    refusals.install(app)
    app.add_middleware(Edge, console=console, larger=LARGER)
    check_permissions((*api.ROUTERS, *pages.ROUTERS), app.routes)
    return app


async def _openapi(request: Request) -> JSONResponse:
    return JSONResponse(request.app.openapi())


@asynccontextmanager
async def _lifespan(_app: FastAPI) -> AsyncIterator[None]:
    to_thread.current_default_thread_limiter().total_tokens = THREADS
    yield


def check_permissions(routers: Sequence[APIRouter], routes: Sequence[BaseRoute]) -> None:
    """Go on only where these routes and `permissions` are the same list.

    Raises:
        LookupError: naming the difference.
    """
    everything = (*routes, *(route for router in routers for route in router.routes))
    served = {
        (method, route.path) for route in everything if isinstance(route, APIRoute) for method in route.methods or ()
    }
    if difference := served ^ set(PERMISSIONS):
        raise LookupError(f"Routes and console/permissions.py do not agree about {sorted(difference)}.")
