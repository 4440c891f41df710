"""What a handler is given: the console's stores, and a call whose caller was checked before.

`Allowed` is the one way in: it finds the token, then the route's entry in `permissions`, before a body is read.
A handler opens its transaction itself, in its own thread, and publishes after it: a transaction that was
opened in one thread of the pool and continued in another could wait for itself.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from threading import Event
from typing import Annotated, cast

from anyio import CapacityLimiter
from celery import Celery
from fastapi import Depends, Query, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import Engine
from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException

from console import auth
from console.auth import Caller
from console.errors import Denied, Refusal, Unauthenticated
from console.hook_keys import HookRing
from console.live import Live
from console.permissions import PERMISSIONS
from console.rates import Buckets
from runner import jobs, lanes
from runner.stores import Store
from vault import db
from vault.audit import Actor
from vault.names import ENVIRONMENTS

#: The cookie in which a notice waits for the next page.
NOTICE = "botkeep_notice"

BEARER = HTTPBearer(auto_error=False, scheme_name="token", description="A token: `botkeep token create`.")


@dataclass(frozen=True, slots=True)
class Console:
    """What the console works with; built once, in `__main__` or by a test."""

    engine: Engine
    transport: Celery
    broker_url: str = field(repr=False)
    store: Store
    live: Live
    now: Callable[[], datetime]
    version: str
    hooks: HookRing
    requests: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    stopping: Event = field(default_factory=Event)
    rates: Buckets = field(default_factory=Buckets)
    #: Followers of logs look in turns, a few at a time, whatever their number.
    followers: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(4))


@dataclass(frozen=True, slots=True)
class Call:
    """One request of a caller that may make it; `target` is its path, as the audit shows it."""

    console: Console
    caller: Caller
    action: str
    target: str
    #: What a form must send back, in its field `csrf` or the header `X-CSRF`; empty where nothing is asked for.
    csrf: str = field(default="", repr=False)
    #: The sentence that the next page shows, percent-encoded; set by what was done before.
    notice: str = ""

    @property
    def now(self) -> datetime:
        """The time that rows written by this call carry."""
        return self.console.now()

    @property
    def actor(self) -> Actor:
        """The caller as audit rows name it."""
        return self.caller.actor

    @property
    def workspace_id(self) -> uuid.UUID:
        """The tenant that the token belongs to."""
        return self.caller.workspace_id

    def reading(self) -> AbstractContextManager[Session]:
        """A transaction that only reads."""
        return db.reading(self.console.engine)

    def writing(self) -> AbstractContextManager[Session]:
        """A transaction that may write, committed at the end of its block."""
        return db.writing(self.console.engine)

    def require_environment(self, environment: str) -> None:
        """Go on only where the token is not limited to other environments.

        Raises:
            Denied: otherwise; an environment that there is not is left to whoever looks it up.
        """
        if environment in ENVIRONMENTS and not self.caller.may_touch(environment):
            raise self.denied(f"may not touch {environment}", environment=environment)

    def require_every_environment(self, what: str) -> None:
        """Go on only with a token that is limited to no environment, since `what` touches them all.

        Raises:
            Denied: otherwise.
        """
        if not self.caller.environments.issuperset(ENVIRONMENTS):
            raise self.denied(f"may not do this: {what} touches every environment")

    def denied(self, why: str, *, environment: str | None = None) -> Denied:
        """A refusal because of the token's environments."""
        limits = ", ".join(name for name in ENVIRONMENTS if name in self.caller.environments)
        return Denied(
            f"The token {self.caller.name} is limited to {limits} and {why}.",
            hint="Ask an admin for a token of that environment.",
            refusal=Refusal(self.caller, self.action, self.target, environment),
        )


def console_of(request: Request) -> Console:
    """The console that a request reached."""
    return cast("Console", request.app.state.console)


def allowed(request: Request, shown: Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)]) -> Call:
    """The call, once its token is known and its role covers the route.

    Raises:
        Unauthenticated: for a token that is missing, wrong or removed.
        Denied: for a role that does not cover the route.
        HTTPException: 404 for a path that only resembles the route's (a trailing newline, for instance).
    """
    console, route = console_of(request), request.scope["route"]
    permission = PERMISSIONS[request.method, route.path]
    if permission is None:
        raise LookupError(f"{route.path} is public; it takes no caller.")
    address = (request.client.host if request.client else "")[:64]
    with db.reading(console.engine) as session:
        caller = auth.find(session, shown.credentials, address=address) if shown else None
    if caller is None:
        raise Unauthenticated
    if route.path_format.format(**request.path_params) != request.scope["path"]:
        raise HTTPException(404)
    notice = request.cookies.get(NOTICE, "")
    call = Call(console, caller, permission.action, f"{request.method} {_shown(request.scope['path'])}", notice=notice)
    request.state.call = call  # a page that says why something was refused stands in the caller's frame, too
    if not caller.role.covers(permission.role):
        raise Denied(
            f"This needs the role {permission.role}; the token {caller.name} has the role {caller.role}.",
            hint=f"Ask an admin for a token with the role {permission.role}.",
            refusal=Refusal(caller, call.action, call.target, request.path_params.get("environment")),
        )
    return call


def publish(call: Call, job_id: uuid.UUID, *, environment: str, group: str, bot_id: uuid.UUID) -> None:
    """Announce a committed job; where the broker is away, leave it to the rescuer."""
    if not lanes.publish(call.console.transport, job_id, environment=environment, group=group, bot_id=bot_id):
        with call.writing() as session:
            jobs.not_published(session, job_id)


async def body(request: Request, _call: Allowed) -> bytes:
    """The whole body as it was sent, read only for a caller that may send it."""
    return await request.body()


def _shown(path: str) -> str:
    return path.encode("ascii", "backslashreplace").decode() if path.isprintable() else ascii(path)[1:-1]


Allowed = Annotated[Call, Depends(allowed)]
Body = Annotated[bytes, Depends(body)]
Limit = Annotated[int, Query(ge=1, le=500, description="How many items at most.")]
After = Annotated[str | None, Query(max_length=600, description="The `next` of the page before.")]
