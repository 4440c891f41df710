"""Tokens: made, found by what a client shows, listed, removed.

A token is `bk_` and 256 random bits. Only its SHA-256 is stored: a fast hash is enough, since 256 random bits
cannot be guessed whatever the hash costs. It is found by an index on the digest and not compared in constant
time: timing could tell about the digest of what the client sent, and nobody can choose a token by its digest.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from console.models import ApiToken
from console.permissions import Role
from runner.errors import Conflict, Invalid, NotFound
from vault import audit, db
from vault.audit import Actor
from vault.names import ENVIRONMENTS, check_environment, shown

#: Asked by every request, so built once.
_FIND = select(ApiToken.name, ApiToken.role, ApiToken.environments, ApiToken.workspace_id).where(
    ApiToken.digest == bindparam("shown"), ApiToken.revoked_at.is_(None)
)

_TOKEN = re.compile(r"bk_[A-Za-z0-9_-]{43}", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,99}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request: a token's name, what it may do, and the address it came from."""

    name: str
    role: Role
    environments: frozenset[str]
    workspace_id: uuid.UUID
    address: str

    @property
    def actor(self) -> Actor:
        """The caller as audit rows name it."""
        return Actor(self.name, self.address)

    def may_touch(self, environment: str) -> bool:
        """Whether the token is not limited to other environments."""
        return environment in self.environments


def digest(token: str) -> str:
    """What is stored of a token: SHA-256 in hex."""
    return hashlib.sha256(token.encode()).hexdigest()


def find(session: Session, token: str, *, address: str) -> Caller | None:
    """Whose token it is; `None` for one that is malformed, unknown or removed, without saying which."""
    if not _TOKEN.fullmatch(token):
        return None
    row = session.connection().execute(_FIND, {"shown": digest(token)}).one_or_none()
    if row is None:
        return None
    narrowed = frozenset(row.environments) or frozenset(ENVIRONMENTS)
    return Caller(row.name, Role(row.role), narrowed, row.workspace_id, address)


def create(
    session: Session,
    name: str,
    *,
    role: str,
    environments: Sequence[str],
    workspace_id: uuid.UUID,
    actor: Actor,
    now: datetime,
) -> tuple[ApiToken, str]:
    """Make a token; answers its row and the token itself, which exists nowhere else.

    Raises:
        Invalid, InvalidName: for a name, a role or an environment that there cannot be.
        Conflict: when a token in use has this name.
    """
    chosen = _role(role)
    limited = [known for known in ENVIRONMENTS if known in {check_environment(name) for name in environments}]
    if not _NAME.fullmatch(name):
        raise Invalid(
            "A token's name is 1 to 100 ASCII letters, digits, dots, hyphens, underscores or @ and begins with a "
            f"letter or digit; {shown(name)} is not."
        )
    if in_use(session, name, workspace_id=workspace_id) is not None:
        raise Conflict(f"A token named {name} exists; remove it first: botkeep token remove {name}")
    token = f"bk_{secrets.token_urlsafe(32)}"
    row = ApiToken(
        workspace_id=workspace_id,
        name=name,
        role=chosen,
        environments=limited,
        digest=digest(token),
        created_at=now,
        created_by=actor.name,
    )
    session.add(row)
    details: dict[str, object] = {"role": str(chosen), "environments": limited}
    _record(session, "token.created", name, workspace_id=workspace_id, actor=actor, now=now, details=details)
    session.flush()
    return row, token


def remove(session: Session, name: str, *, workspace_id: uuid.UUID, actor: Actor, now: datetime) -> None:
    """Refuse a token from now on; its row stays for the audit's sake.

    Raises:
        NotFound: when no token in use has this name.
    """
    revoke = (
        update(ApiToken)
        .where(ApiToken.workspace_id == workspace_id, ApiToken.name == name, ApiToken.revoked_at.is_(None))
        .values(revoked_at=now)
    )
    if not db.changes(session, revoke):
        raise NotFound(f"There is no token {shown(name)}; see `botkeep token list`.")
    _record(session, "token.removed", name, workspace_id=workspace_id, actor=actor, now=now, details={})


def in_use(session: Session, name: str, *, workspace_id: uuid.UUID) -> ApiToken | None:
    """The token of this name that was not removed."""
    return session.scalars(
        select(ApiToken).where(
            ApiToken.workspace_id == workspace_id, ApiToken.name == name, ApiToken.revoked_at.is_(None)
        )
    ).one_or_none()


def listing(session: Session, *, workspace_id: uuid.UUID) -> Sequence[ApiToken]:
    """Every token in use, by name."""
    return session.scalars(
        select(ApiToken)
        .where(ApiToken.workspace_id == workspace_id, ApiToken.revoked_at.is_(None))
        .order_by(ApiToken.name)
    ).all()


def _role(text: str) -> Role:
    try:
        return Role(text)
    except ValueError:
        raise Invalid(f"There is no role {shown(text)}; use one of {', '.join(Role)}.") from None


def _record(
    session: Session,
    action: str,
    name: str,
    *,
    workspace_id: uuid.UUID,
    actor: Actor,
    now: datetime,
    details: dict[str, object],
) -> None:
    audit.record(
        session,
        actor,
        workspace_id=workspace_id,
        action=action,
        target=f"token {name}",
        now=now,
        details=details,
    )
