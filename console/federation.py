"""Sign-ins by way of the organisation's provider: one row while the browser is away, and the account it comes back as.

A row belongs to the browser that began (a cookie) and is used up when it comes back, so that neither a state that was
seen nor one that somebody else began signs anybody in.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from console import users
from console.deps import Console
from console.digests import digest, fresh
from console.openid import Failed, Identity, OpenId
from console.sessions import Browser
from console.sign_in import Refused, begin, refused
from console.user_models import SignInFlow, User
from console.users import Rights
from runner.errors import RunnerError
from runner.logging import logger
from vault import db
from vault.audit import Actor
from vault.models import Workspace

#: How long a browser may be away.
LASTS = timedelta(minutes=10)

_log = logger()


@dataclass(frozen=True, slots=True)
class Begun:
    """Where the browser goes, and the cookie by which it is known when it comes back."""

    address: str
    cookie: str


@dataclass(frozen=True, slots=True)
class Back:
    """What the browser came back with."""

    code: str
    state: str
    issuer: str
    cookie: str


def send_away(console: Console, openid: OpenId, *, target: str, redirect_uri: str) -> Begun:
    """Begin a sign-in. Raises `Refused`."""
    state, nonce, verifier, cookie = fresh(), fresh(), fresh(), fresh()
    try:
        address = openid.address(state=state, nonce=nonce, verifier=verifier, redirect_uri=redirect_uri)
    except Failed as error:
        _log.warning("openid.failed", kind=error.kind, issuer=openid.issuer)
        raise Refused(str(error)) from None
    now = console.now()
    with db.writing(console.engine) as session:
        session.execute(delete(SignInFlow).where(SignInFlow.created_at < now - LASTS))
        session.add(
            SignInFlow(
                state=digest(state),
                browser=digest(cookie),
                nonce=nonce,
                verifier=verifier,
                target=target[:2000],
                created_at=now,
            )
        )
    return Begun(address, cookie)


def come_back(console: Console, openid: OpenId, back: Back, *, redirect_uri: str, browser: Browser) -> tuple[str, str]:
    """End a sign-in; answers what the session's cookie holds, and where to go on. Raises `Refused`."""
    try:
        flow = _taken(console, openid, back)
        given = {"nonce": flow.nonce, "verifier": flow.verifier, "redirect_uri": redirect_uri}
        identity = openid.identity(back.code, now=console.now(), **given)
    except Failed as error:
        _log.warning("openid.failed", kind=error.kind, issuer=openid.issuer)
        refused(console, None, method="openid", browser=browser)
        raise Refused(str(error)) from None
    now = console.now()
    try:
        with db.writing(console.engine) as session:
            user = _account(session, openid, identity, browser=browser, now=now)
            return begin(console, session, user, method="openid", browser=browser, now=now), flow.target
    except (Refused, RunnerError) as error:
        refused(console, None, method="openid", browser=browser)
        raise Refused(str(error)) from None


def _taken(console: Console, openid: OpenId, back: Back) -> SignInFlow:
    """The row of a sign-in, used up. Raises `Failed`."""
    wanted = (
        SignInFlow.state == digest(back.state),
        SignInFlow.browser == digest(back.cookie),
        SignInFlow.created_at > console.now() - LASTS,
    )
    with db.writing(console.engine) as session:
        flow = session.scalars(delete(SignInFlow).where(*wanted).returning(SignInFlow)).one_or_none()
    if flow is None:
        raise Failed("unknown_state")
    if back.issuer not in {"", openid.issuer}:  # RFC 9207: an answer of another provider
        raise Failed("other_issuer")
    return flow


def _account(session: Session, openid: OpenId, identity: Identity, *, browser: Browser, now: datetime) -> User:
    """The account of an identity, made where it is new and the settings say so; never one of the same name."""
    known = select(User).where(
        User.issuer == identity.issuer, User.subject == identity.subject, User.removed_at.is_(None)
    )
    user = session.scalars(known).one_or_none()
    if user is not None:
        return user
    role = openid.creation.role_for(identity)
    workspace_id = session.scalar(select(Workspace.id).where(Workspace.name == openid.creation.workspace))
    if role is None or workspace_id is None:
        raise Refused("Your organisation knows you, and Botkeep has no account for you. Ask an admin for one.")
    member = users.add(
        session,
        identity.name,
        rights=Rights(role, {}),
        workspace_id=workspace_id,
        actor=Actor("openid", browser.address),
        now=now,
        identity=(identity.issuer, identity.subject),
    )
    return member.user
