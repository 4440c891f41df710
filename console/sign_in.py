"""Signing in: with a password and a one-time code, or with a link that works once.

Promises that a refusal is the same sentence whatever was wrong, takes the same time, and leaves a row in the audit; and
that who tries often is slowed down, by account and by address.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from console import passwords, recovery, sessions, totp, users
from console.deps import Console
from console.digests import digest
from console.sessions import Browser
from console.user_models import SignInLink, User
from runner.errors import RunnerError
from runner.logging import logger
from runner.workspaces import default_workspace
from vault import audit, db
from vault.audit import Actor

#: Tries in a minute for one account, and from one address (OWASP ASVS 5.0, 6.3.1, asks for a limit and names none).
BY_ACCOUNT, BY_ADDRESS = 10, 30

_log = logger()


class Refused(Exception):
    """Nobody was signed in; says only what anybody may know."""


class Slowed(Refused):
    """Too many tries; `seconds` until the next one is looked at."""

    def __init__(self, seconds: float) -> None:
        self.seconds = max(1, round(seconds))
        super().__init__(f"Too many tries; come again in {self.seconds} seconds.")


@dataclass(frozen=True, slots=True)
class Shown:
    """What somebody typed."""

    name: str
    password: str
    code: str = ""


WRONG = "The name, the password or the code is wrong."


def with_password(console: Console, shown: Shown, *, browser: Browser) -> str:
    """Sign in with a password, and a code where the account asks for one; answers what the cookie holds.

    Raises:
        Slowed: after too many tries.
        Refused: for whatever is wrong.
    """
    _slow_down(console, ("sign-in", browser.address), per_minute=BY_ADDRESS)
    _slow_down(console, ("account", shown.name.lower()[:200]), per_minute=BY_ACCOUNT)
    now = console.now()
    with db.reading(console.engine) as session:
        user = users.find(session, shown.name[:200])
    right = passwords.matches(user.password if user else None, shown.password)
    with _refusals(console, user, method="password", browser=browser), db.writing(console.engine) as session:
        held = session.get(User, user.id) if user and right else None
        if held is not None and _second_factor(console, session, held, shown.code, browser=browser, now=now):
            return begin(console, session, held, method="password", browser=browser, now=now)
        raise Refused(WRONG)


def _second_factor(
    console: Console, session: Session, user: User, code: str, *, browser: Browser, now: datetime
) -> bool:
    """Whether the code is right, where one is asked for: of the authenticator, or one of those for its loss."""
    if user.totp is not None and recovery.looks_like_one(code):
        return recovery.accepts(session, user, code, actor=Actor(user.name, browser.address), now=now)
    return totp.accepts(session, user, code, file=console.key_file, now=now)


def with_link(console: Console, token: str, *, browser: Browser) -> str:
    """Sign in with a link, which is used up; answers what the cookie holds.

    Raises:
        Slowed: after too many tries.
        Refused: for a link that is unknown, used or expired.
    """
    _slow_down(console, ("sign-in", browser.address), per_minute=BY_ADDRESS)
    now = console.now()
    with _refusals(console, None, method="link", browser=browser), db.writing(console.engine) as session:
        user_id = session.execute(
            update(SignInLink)
            .where(SignInLink.digest == digest(token), SignInLink.used_at.is_(None), SignInLink.expires_at > now)
            .values(used_at=now)
            .returning(SignInLink.user_id)
        ).scalar_one_or_none()
        user = session.get(User, user_id) if user_id else None
        if user is not None and user.removed_at is None:
            return begin(console, session, user, method="link", browser=browser, now=now)
        raise Refused("This link was used before, or it has expired. Ask for another: botkeep user link NAME")


def usable_link(session: Session, token: str, *, now: datetime) -> str | None:
    """The name of whom a link would sign in; `None` where it would sign in nobody."""
    return session.scalar(
        select(User.name)
        .join(SignInLink, SignInLink.user_id == User.id)
        .where(
            SignInLink.digest == digest(token),
            SignInLink.used_at.is_(None),
            SignInLink.expires_at > now,
            User.removed_at.is_(None),
        )
    )


def refused(console: Console, user: User | None, *, method: str, browser: Browser) -> None:
    """Leave a row of a refused sign-in; a name that is no account may be a password, so it is not written down."""
    name = user.name if user else "unknown account"
    _log.warning("session.refused", address=browser.address, user=name, method=method)
    with db.writing(console.engine) as session:
        mine = users.workspaces_of(session, user.id) if user else ()
        audit.record(
            session,
            Actor(name, browser.address),
            workspace_id=mine[0] if mine else default_workspace(session),
            action="session.begun",
            target=f"user {name}" if user else name,
            now=console.now(),
            outcome="refused",
            details={"method": method},
        )


@contextmanager
def _refusals(console: Console, user: User | None, *, method: str, browser: Browser) -> Iterator[None]:
    """Leave a row of whatever is refused in the block, after its transaction was taken back."""
    try:
        yield
    except Refused:
        refused(console, user, method=method, browser=browser)
        raise


def begin(console: Console, session: Session, user: User, *, method: str, browser: Browser, now: datetime) -> str:
    try:
        return sessions.begin(session, user, method=method, browser=browser, lifetimes=console.lifetimes, now=now)
    except RunnerError as error:
        raise Refused(str(error)) from None


def _slow_down(console: Console, key: tuple[str, str], *, per_minute: float) -> None:
    wait = console.rates.take(key, per_minute=per_minute, now=time.monotonic())
    if wait:
        _log.warning("session.slowed", kind=key[0])
        raise Slowed(wait)
