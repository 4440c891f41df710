"""Tokens: made, found by what a client shows, listed, removed.

A token is `bk_` and 256 random bits, of which only the digest is stored (`console.digests`).
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from console import users
from console.callers import Caller, read_narrowed, read_role, roles_by_environment
from console.digests import digest, fresh
from console.models import ApiToken
from console.permissions import Role
from console.user_models import Membership, User
from runner.errors import Conflict, Invalid, NotFound
from vault import audit, db
from vault.audit import Actor
from vault.direct import within
from vault.names import ENVIRONMENTS, check_environment, shown

#: Asked by every request, so built once.
_FIND = (
    select(
        ApiToken.name,
        ApiToken.role,
        ApiToken.environments,
        ApiToken.narrowed,
        ApiToken.workspace_id,
        ApiToken.user_id,
        User.name.label("person"),
    )
    .outerjoin(User, User.id == ApiToken.user_id)
    .outerjoin(
        Membership, (Membership.user_id == ApiToken.user_id) & (Membership.workspace_id == ApiToken.workspace_id)
    )
    # A token ends with its maker, and rests while that person is shut out.
    .where(ApiToken.digest == bindparam("shown"), ApiToken.revoked_at.is_(None), Membership.disabled_at.is_(None))
)

_TOKEN = re.compile(r"bk_[A-Za-z0-9_-]{43}", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,99}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token may do: without `environments` in all of them, narrowed by environment."""

    role: Role
    environments: list[str] = field(default_factory=list)
    narrowed: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, role: str, environments: Sequence[str] = (), narrowed: Mapping[str, str] | None = None) -> Grant:
        """Read from what somebody wrote. Raises `Invalid` or `InvalidName`."""
        chosen = read_role(role)
        wanted = {check_environment(name) for name in environments}
        limited = [known for known in ENVIRONMENTS if known in wanted]
        return cls(chosen, limited, read_narrowed(chosen, narrowed or {}))

    @classmethod
    def held(cls, row: ApiToken) -> Grant:
        """What a token may do that was made before."""
        return cls(Role(row.role), row.environments, row.narrowed)

    @property
    def roles(self) -> Mapping[str, Role]:
        """The roles by environment."""
        return roles_by_environment(self.role, self.narrowed, only=self.environments)


def find(session: Session, token: str, *, address: str) -> Caller | None:
    """Whose token it is; `None` for one that is malformed, unknown or removed, without saying which."""
    if not _TOKEN.fullmatch(token):
        return None
    rows = within(session)(_FIND, {"shown": digest(token)})
    if not rows:
        return None
    (row,) = rows
    role = Role(row.role)
    return Caller(
        name=row.name,
        kind="token",
        person=row.person or row.name,
        role=role,
        roles=roles_by_environment(role, row.narrowed, only=row.environments),
        workspace_id=row.workspace_id,
        address=address,
        user_id=row.user_id,
    )


def create(
    session: Session,
    name: str,
    *,
    grant: Grant,
    workspace_id: uuid.UUID,
    actor: Actor,
    now: datetime,
    user_id: uuid.UUID | None = None,
) -> tuple[ApiToken, str]:
    """Make a token; answers its row and the token itself, which exists nowhere else.

    `user_id` is the person who answers for it.

    Raises:
        Invalid: for a name that there cannot be.
        Conflict: when a token in use has this name, or a person of the workspace.
    """
    if not _NAME.fullmatch(name):
        raise Invalid(
            "A token's name is 1 to 100 ASCII letters, digits, dots, hyphens, underscores or @ and begins with a "
            f"letter or digit; {shown(name)} is not."
        )
    if in_use(session, name, workspace_id=workspace_id) is not None:
        raise Conflict(f"A token named {name} exists; remove it first: botkeep token remove {name}")
    if _names_member(session, name, workspace_id=workspace_id):
        raise Conflict(f"{name} is a user of this workspace; the audit could not tell them apart. Choose another name.")
    token = f"bk_{fresh()}"
    row = ApiToken(
        workspace_id=workspace_id,
        name=name,
        role=grant.role,
        environments=grant.environments,
        narrowed=grant.narrowed,
        digest=digest(token),
        created_at=now,
        created_by=actor.name,
        user_id=user_id,
    )
    session.add(row)
    details: dict[str, object] = {
        "role": str(grant.role),
        "environments": grant.environments,
        "narrowed": grant.narrowed,
    }
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


def _names_member(session: Session, name: str, *, workspace_id: uuid.UUID) -> bool:
    user = users.find(session, name)
    return user is not None and session.get(Membership, (user.id, workspace_id)) is not None


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
