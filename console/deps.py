"""What a handler is given: the console's stores, and a call whose caller was checked before.

`Allowed` is the one way in: it finds the token or the session, then the route's entry in `permissions`, before a body
is read, and refuses what a browser was made to send by a page of somebody else.
A handler opens its transaction itself, in its own thread, and publishes after it: a transaction that was
opened in one thread of the pool and continued in another could wait for itself.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from threading import Event
from typing import Annotated, cast

from anyio import CapacityLimiter
from celery import Celery
from fastapi import Depends, Query, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import Engine
from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException

from console import auth, origin, sessions
from console.callers import Caller
from console.errors import Denied, Refusal, Unauthenticated
from console.hook_keys import HookRing
from console.key_file import KeyFile
from console.live import Live
from console.openid import OpenId
from console.permissions import INSTALLATION, PERMISSIONS, REACH, Reach, Role
from console.rates import Buckets
from console.remembered import Remembered
from console.sessions import Lifetimes
from runner import jobs, lanes, workspaces
from runner.stores import Store
from vault import db
from vault.audit import Actor
from vault.errors import Unavailable
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
    key_file: KeyFile
    #: The organisation's own sign-in; `None` without one.
    openid: OpenId | None = None
    #: The address that browsers know us by; empty: what each request says.
    public_url: str = ""
    lifetimes: Lifetimes = field(default_factory=lambda: Lifetimes(timedelta(hours=12), timedelta(days=7)))
    requests: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    stopping: Event = field(default_factory=Event)
    rates: Buckets = field(default_factory=Buckets)
    remembered: Remembered = field(default_factory=Remembered)
    #: Followers of logs look in turns, a few at a time, whatever their number.
    followers: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(4))


@dataclass(frozen=True, slots=True)
class _Asker:
    """What a client showed, by which it can be asked again who it is."""

    console: Console
    token: str = field(repr=False)
    cookie: str = field(repr=False)
    address: str

    def who(self, session: Session) -> tuple[Caller | None, sessions.Found | None]:
        """Whose token or session it is now, and the session."""
        if self.token:
            return auth.find(session, self.token, address=self.address), None
        lifetimes, now = self.console.lifetimes, self.console.now()
        found = sessions.find(session, self.cookie, address=self.address, lifetimes=lifetimes, now=now)
        return (None, None) if found is None else (found.caller, found)


@dataclass(frozen=True, slots=True)
class Call:
    """One request of a caller that may make it; `target` is its path, as the audit shows it."""

    console: Console
    caller: Caller
    action: str
    target: str
    #: The least role for the route.
    needed: Role
    asker: _Asker = field(repr=False)
    #: What a form must send back, in its field `csrf` or the header `X-CSRF`; empty for a token, which needs none.
    csrf: str = field(default="", repr=False)
    #: The sentence that the next page shows, percent-encoded; set by what was done before.
    notice: str = ""
    #: The session of the browser, if it is one.
    session_id: uuid.UUID | None = None

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
        """The tenant that the caller belongs to, or looks at."""
        return self.caller.workspace_id

    def reading(self) -> AbstractContextManager[Session]:
        """A transaction that only reads."""
        return db.reading(self.console.engine)

    def writing(self) -> AbstractContextManager[Session]:
        """A transaction that may write, committed at the end of its block."""
        return db.writing(self.console.engine)

    def still(self) -> bool:
        """Whether the caller may go on with what it was allowed, asked anew: for what lasts longer than a request.

        Raises:
            Unavailable: when the database cannot be asked.
        """
        with self.reading() as session:
            caller, _ = self.asker.who(session)
        if caller is None or caller.workspace_id != self.workspace_id:
            return False
        return caller.role.covers(self.needed)

    def may_touch(self, environment: str) -> bool:
        """Whether the caller's role in this environment covers the route."""
        return self.caller.may(self.needed, environment)

    def require_environment(self, environment: str) -> None:
        """Go on only where the caller's role in the environment covers the route.

        Raises:
            Denied: otherwise; an environment that there is not is left to whoever looks it up.
        """
        if environment in ENVIRONMENTS and not self.may_touch(environment):
            raise self.denied(f"may not touch {environment}", environment=environment)

    def require_every_environment(self, what: str) -> None:
        """Go on only for a caller who is limited to no environment, since `what` touches them all.

        Raises:
            Denied: otherwise.
        """
        if not all(self.may_touch(environment) for environment in ENVIRONMENTS):
            raise self.denied(f"may not do this: {what} touches every environment")

    def denied(self, why: str, *, environment: str | None = None) -> Denied:
        """A refusal because of the caller's environments."""
        limits = ", ".join(name for name in ENVIRONMENTS if self.may_touch(name)) or "no environment"
        who = f"The token {self.caller.name}" if self.caller.kind == "token" else self.caller.name
        return Denied(
            f"{who} is limited to {limits} and {why}.",
            hint="Ask an admin for the right in that environment.",
            refusal=Refusal(self.caller, self.action, self.target, environment),
        )


def console_of(request: Request) -> Console:
    """The console that a request reached."""
    return cast("Console", request.app.state.console)


def allowed(request: Request, shown: Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)]) -> Call:
    """The call, once its token or session is known and its role covers the route.

    Raises:
        Unauthenticated: for a token or session that is missing, wrong or over.
        Denied: for a role that does not cover the route, and for what another site made a browser send.
        HTTPException: 404 for a path that only resembles the route's (a trailing newline, for instance).
    """
    console, route = console_of(request), request.scope["route"]
    permission = PERMISSIONS[request.method, route.path]
    if permission is None:
        raise LookupError(f"{route.path} is public; it takes no caller.")
    ask = _Asker(
        console,
        token=shown.credentials if shown else "",
        cookie="" if shown else origin.session_cookie(request, console.public_url),
        address=address_of(request),
    )
    default = None
    with db.reading(console.engine) as session:
        if permission.action in INSTALLATION:
            default = workspaces.default_workspace(session)
        caller, found = ask.who(session)
    if caller is None:
        raise Unauthenticated
    if route.path_format.format(**request.path_params) != request.scope["path"]:
        raise HTTPException(404)
    notice, target = request.cookies.get(NOTICE, ""), f"{request.method} {_shown(request.scope['path'])}"
    call = Call(console, caller, permission.action, target, permission.role, ask, notice=notice)
    if found is not None:
        _note_use(console, found)
        call = replace(call, csrf=sessions.csrf(ask.cookie), session_id=found.id)
    request.state.call = call  # a page that says why something was refused stands in the caller's frame, too
    if call.csrf and request.method not in origin.SAFE and not origin.from_own_page(request, console.public_url):
        raise _cross_site(call)
    _may_use(request, call, default)
    return call


def _may_use(request: Request, call: Call, default: uuid.UUID | None) -> None:
    """Go on only where the table lets the caller use the route; `default` is the workspace that it is kept for.

    Raises:
        Denied: otherwise.
    """
    caller = call.caller
    if not caller.role.covers(call.needed):
        who = f"the token {caller.name}" if caller.kind == "token" else caller.name
        raise Denied(
            f"This needs the role {call.needed}; {who} has the role {caller.role}.",
            hint=f"Ask an admin for the role {call.needed}.",
            refusal=Refusal(caller, call.action, call.target, request.path_params.get("environment")),
        )
    if request.method in origin.SAFE and REACH.get(call.action) is Reach.EVERY:
        call.require_every_environment("this form")
    if default not in {None, caller.workspace_id}:
        raise Denied(
            "This concerns every workspace, so it is for admins of the workspace default.",
            hint="Ask whoever runs this installation.",
            refusal=Refusal(caller, call.action, call.target),
        )


async def guarded(request: Request, call: Annotated[Call, Depends(allowed)]) -> Call:
    """The call, once a browser has shown the token of its session where it changes something.

    Raises:
        Denied: otherwise.
    """
    if call.csrf and request.method not in origin.SAFE and not await origin.shows_token(request, call.csrf):
        raise _cross_site(call)
    return call


def address_of(request: Request) -> str:
    """Where a request came from, as the audit shows it."""
    return (request.client.host if request.client else "")[:64]


def _note_use(console: Console, found: sessions.Found) -> None:
    if not found.stale:
        return
    # Whoever may read is served even where this cannot be written.
    with suppress(Unavailable), db.writing(console.engine) as session:
        sessions.note(session, found.id, now=console.now())


def _cross_site(call: Call) -> Denied:
    return Denied(
        "This request did not come from a page of this session.",
        hint="Load the page again and repeat it there.",
        refusal=Refusal(call.caller, call.action, call.target),
    )


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


Allowed = Annotated[Call, Depends(guarded)]
Body = Annotated[bytes, Depends(body)]
Limit = Annotated[int, Query(ge=1, le=500, description="How many items at most.")]
After = Annotated[str | None, Query(max_length=600, description="The `next` of the page before.")]
