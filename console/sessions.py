"""Sessions of browsers: begun when somebody signed in, found by their cookie, listed, revoked.

The cookie holds 256 random bits and the table their digest. A session ends when nobody used it for a while, at a fixed
time in any case, when it is revoked, and when its person leaves the workspace it looks at.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, bindparam, delete, func, select, update
from sqlalchemy.orm import Session

from console import users
from console.callers import Caller, roles_by_environment
from console.digests import digest, fresh
from console.permissions import Role
from console.user_models import BrowserSession, Membership, User
from runner.errors import NotFound
from vault import audit, db
from vault.audit import Actor
from vault.models import Workspace

#: The use of a session is noted this often; every request would be a write.
NOTED_EVERY = timedelta(minutes=1)

#: How long the row of a session that has ended is kept.
KEPT = timedelta(days=30)

_COOKIE = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)

#: Asked by every request, so built once.
_FIND = (
    select(
        User.name,
        Membership.role,
        Membership.narrowed,
        BrowserSession.user_id,
        BrowserSession.workspace_id,
        BrowserSession.id,
        BrowserSession.seen_at,
    )
    .join(User, User.id == BrowserSession.user_id)
    .join(
        Membership,
        (Membership.user_id == BrowserSession.user_id) & (Membership.workspace_id == BrowserSession.workspace_id),
    )
    .where(
        BrowserSession.digest == bindparam("shown"),
        BrowserSession.revoked_at.is_(None),
        BrowserSession.expires_at > bindparam("now"),
        BrowserSession.seen_at > bindparam("idle_since"),
        User.removed_at.is_(None),
        Membership.disabled_at.is_(None),
    )
)


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long a session lasts without being used, and at most."""

    idle: timedelta
    absolute: timedelta


@dataclass(frozen=True, slots=True)
class Found:
    """Whose session it is, its id, and whether its use is to be noted again."""

    caller: Caller
    id: uuid.UUID
    stale: bool


@dataclass(frozen=True, slots=True)
class Browser:
    """Where somebody signs in from, in the browser's own words."""

    address: str
    agent: str


def begin(session: Session, user: User, *, method: str, browser: Browser, lifetimes: Lifetimes, now: datetime) -> str:
    """Sign a person in; answers what the cookie holds.

    The session looks at the workspace that the last one looked at, or at the first.

    Raises:
        NotFound: when the person belongs to no workspace, or is disabled in each.
    """
    mine = users.workspaces_of(session, user.id, open_only=True)
    if not mine:
        raise NotFound("This account is disabled. Ask an admin.")
    session.execute(
        delete(BrowserSession).where(BrowserSession.user_id == user.id, BrowserSession.expires_at < now - KEPT)
    )
    last = session.scalar(
        select(BrowserSession.workspace_id)
        .where(BrowserSession.user_id == user.id)
        .order_by(BrowserSession.seen_at.desc())
        .limit(1)
    )
    cookie = fresh()
    row = BrowserSession(
        digest=digest(cookie),
        user_id=user.id,
        workspace_id=last if last in mine else mine[0],
        method=method,
        address=browser.address,
        agent=_shown(browser.agent),
        created_at=now,
        seen_at=now,
        expires_at=now + lifetimes.absolute,
    )
    session.add(row)
    session.flush()
    _record(session, row, "session.begun", user.name, address=browser.address, now=now, details={"method": method})
    return cookie


def find(session: Session, cookie: str, *, address: str, lifetimes: Lifetimes, now: datetime) -> Found | None:
    """Whose session a cookie names; `None` for one that is malformed, unknown, over or revoked."""
    if not _COOKIE.fullmatch(cookie):
        return None
    given = {"shown": digest(cookie), "now": now, "idle_since": now - lifetimes.idle}
    row = session.connection().execute(_FIND, given).one_or_none()
    if row is None:
        return None
    role = Role(row.role)
    caller = Caller(
        name=row.name,
        kind="user",
        person=row.name,
        role=role,
        roles=roles_by_environment(role, row.narrowed),
        workspace_id=row.workspace_id,
        address=address,
        user_id=row.user_id,
    )
    return Found(caller, row.id, stale=row.seen_at < now - NOTED_EVERY)


def note(session: Session, session_id: uuid.UUID, *, now: datetime) -> None:
    """Remember that a session is in use."""
    session.execute(
        update(BrowserSession)
        .where(BrowserSession.id == session_id, BrowserSession.seen_at < now, BrowserSession.revoked_at.is_(None))
        .values(seen_at=now)
    )


def listing(
    session: Session,
    user_id: uuid.UUID,
    *,
    workspace_id: uuid.UUID | None = None,
    lifetimes: Lifetimes,
    now: datetime,
) -> Sequence[BrowserSession]:
    """The sessions of a person that can be used, all or those that look at one workspace, the one used last first."""
    alive = select(BrowserSession).where(BrowserSession.user_id == user_id, *_alive(lifetimes, now))
    if workspace_id is not None:
        alive = alive.where(BrowserSession.workspace_id == workspace_id)
    return session.scalars(alive.order_by(BrowserSession.seen_at.desc(), BrowserSession.id)).all()


def counted(
    session: Session, *, workspace_id: uuid.UUID, lifetimes: Lifetimes, now: datetime
) -> dict[uuid.UUID, tuple[int, datetime]]:
    """Of everybody who is signed in and looks at the workspace: how many sessions, and when one was last used."""
    rows = session.execute(
        select(BrowserSession.user_id, func.count(), func.max(BrowserSession.seen_at))
        .where(BrowserSession.workspace_id == workspace_id, *_alive(lifetimes, now))
        .group_by(BrowserSession.user_id)
    )
    return {row[0]: (row[1], row[2]) for row in rows}


def _alive(lifetimes: Lifetimes, now: datetime) -> tuple[ColumnElement[bool], ...]:
    return (
        BrowserSession.revoked_at.is_(None),
        BrowserSession.expires_at > now,
        BrowserSession.seen_at > now - lifetimes.idle,
    )


def revoke(session: Session, session_id: uuid.UUID, *, user_id: uuid.UUID, actor: Actor, now: datetime) -> None:
    """End one session of a person; its cookie is refused from now on.

    Raises:
        NotFound: when it is not theirs, or over.
    """
    row = session.scalars(
        select(BrowserSession).where(
            BrowserSession.id == session_id, BrowserSession.user_id == user_id, BrowserSession.revoked_at.is_(None)
        )
    ).one_or_none()
    if row is None:
        raise NotFound("There is no such session; it may have ended.")
    row.revoked_at = now
    session.flush()
    _record(session, row, "session.ended", actor.name, address=actor.address, now=now, details={})


def revoke_others(
    session: Session,
    user_id: uuid.UUID,
    *,
    but: uuid.UUID | None = None,
    workspace_id: uuid.UUID | None = None,
    actor: Actor,
    now: datetime,
) -> int:
    """End every session of a person but one, or those that look at one workspace; answers how many."""
    theirs = select(BrowserSession).where(BrowserSession.user_id == user_id, BrowserSession.revoked_at.is_(None))
    if workspace_id is not None:
        theirs = theirs.where(BrowserSession.workspace_id == workspace_id)
    rows = [row for row in session.scalars(theirs) if row.id != but]
    for row in rows:
        row.revoked_at = now
        _record(session, row, "session.ended", actor.name, address=actor.address, now=now, details={})
    session.flush()
    return len(rows)


def switch(
    session: Session, session_id: uuid.UUID, workspace: str, *, user_id: uuid.UUID, actor: Actor, now: datetime
) -> None:
    """Let a session look at another workspace of its person.

    Raises:
        NotFound: for one that there is not, or that the person does not belong to; it does not say which.
    """
    chosen = session.scalar(
        select(Workspace.id)
        .join(Membership, Membership.workspace_id == Workspace.id)
        .where(Workspace.name == workspace, Membership.user_id == user_id, Membership.disabled_at.is_(None))
    )
    looks = update(BrowserSession).where(BrowserSession.id == session_id, BrowserSession.revoked_at.is_(None))
    if chosen is None or not db.changes(session, looks.values(workspace_id=chosen)):
        raise NotFound("You belong to no workspace of this name.")
    audit.record(
        session,
        actor,
        workspace_id=chosen,
        action="session.switched",
        target=f"session {session_id}",
        now=now,
    )


def csrf(cookie: str) -> str:
    """What a form of this session's pages must send back; it says nothing about the cookie."""
    proof = hmac.new(cookie.encode(), b"botkeep csrf 1", hashlib.sha256).digest()
    return base64.urlsafe_b64encode(proof).decode().rstrip("=")


def _shown(agent: str) -> str:
    return "".join(character for character in agent if character.isascii() and character.isprintable())[:200]


def _record(
    session: Session,
    row: BrowserSession,
    action: str,
    name: str,
    *,
    address: str,
    now: datetime,
    details: dict[str, object],
) -> None:
    audit.record(
        session,
        Actor(name, address),
        workspace_id=row.workspace_id,
        action=action,
        target=f"session {row.id}",
        now=now,
        details=details,
    )
