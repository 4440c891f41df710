"""People: accounts, and what they may do in a workspace.

An account is the same in every workspace, and each workspace knows only those who belong to it. Who administers one
workspace can give roles there; what would open an account that also belongs to others (a password, a link, taking the
second factor away) is refused there, since it would open those, too.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from console import passwords
from console.callers import read_narrowed, read_role, roles_by_environment
from console.digests import digest, fresh
from console.models import ApiToken
from console.permissions import Role
from console.user_models import BrowserSession, Membership, SignInLink, User
from runner.errors import Conflict, Invalid, NotFound
from vault import audit
from vault.audit import Actor
from vault.names import shown

#: How long a link can be used.
LINK_LASTS = timedelta(hours=24)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,99}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Member:
    """A person in a workspace."""

    user: User
    membership: Membership

    @property
    def role(self) -> Role:
        """The role in the workspace."""
        return Role(self.membership.role)

    @property
    def roles(self) -> Mapping[str, Role]:
        """The roles by environment."""
        return roles_by_environment(self.role, self.membership.narrowed)


@dataclass(frozen=True, slots=True)
class Rights:
    """What a person is given: a role, and lower ones by environment."""

    role: Role
    narrowed: dict[str, str]

    @classmethod
    def of(cls, role: str, narrowed: Mapping[str, str]) -> Rights:
        """Read from what somebody wrote. Raises `Invalid` or `InvalidName`."""
        chosen = read_role(role)
        return cls(chosen, read_narrowed(chosen, narrowed))

    @property
    def roles(self) -> Mapping[str, Role]:
        """The roles by environment."""
        return roles_by_environment(self.role, self.narrowed)


def add(
    session: Session,
    name: str,
    *,
    rights: Rights,
    workspace_id: uuid.UUID,
    actor: Actor,
    now: datetime,
    identity: tuple[str, str] | None = None,
) -> Member:
    """Let a person into a workspace; the account is made where there is none of this name.

    `identity` is issuer and subject at the OpenID provider, for an account that is made.

    Raises:
        Invalid: for a name that there cannot be.
        Conflict: when the person belongs to the workspace, or a token of this name does.
    """
    if not _NAME.fullmatch(name):
        raise Invalid(
            "A user's name is 1 to 100 ASCII letters, digits, dots, hyphens, underscores or @ and begins with a "
            f"letter or digit; {shown(name)} is not."
        )
    if _names_token(session, name, workspace_id=workspace_id):
        raise Conflict(f"A token named {name} exists; the audit could not tell them apart. Choose another name.")
    user = find(session, name)
    if user is not None and identity is not None:
        raise Conflict(f"There is an account named {name} already.")
    if user is None:
        issuer, subject = identity or (None, None)
        user = User(
            name=name, folded=name.lower(), created_at=now, created_by=actor.name, issuer=issuer, subject=subject
        )
        session.add(user)
        session.flush()
    elif session.get(Membership, (user.id, workspace_id)) is not None:
        raise Conflict(f"{user.name} belongs to this workspace already; change the role: botkeep user role {user.name}")
    membership = Membership(
        user_id=user.id,
        workspace_id=workspace_id,
        role=rights.role,
        narrowed=rights.narrowed,
        added_at=now,
        added_by=actor.name,
    )
    session.add(membership)
    session.flush()
    member = Member(user, membership)
    _record(session, "user.added", member, actor=actor, now=now, details=_said(rights))
    return member


def change(session: Session, member: Member, *, rights: Rights, actor: Actor, now: datetime) -> Member:
    """Give a member another role; it holds from the next request on."""
    member.membership.role, member.membership.narrowed = rights.role, rights.narrowed
    session.flush()
    _record(session, "user.changed", member, actor=actor, now=now, details=_said(rights))
    return member


def remove(session: Session, member: Member, *, actor: Actor, now: datetime) -> list[str]:
    """Take a person out of the workspace, with the sessions and tokens of this one; answers the tokens' names.

    The account ends with its last workspace.
    """
    user, workspace_id = member.user, member.membership.workspace_id
    _end_sessions(session, user.id, workspace_id=workspace_id, now=now)
    theirs = (ApiToken.user_id == user.id, ApiToken.workspace_id == workspace_id, ApiToken.revoked_at.is_(None))
    tokens = list(session.scalars(select(ApiToken.name).where(*theirs).order_by(ApiToken.name)))
    session.execute(update(ApiToken).where(*theirs).values(revoked_at=now))
    session.execute(delete(Membership).where(Membership.user_id == user.id, Membership.workspace_id == workspace_id))
    _record(session, "user.removed", member, actor=actor, now=now, details={"tokens": tokens})
    if not workspaces_of(session, user.id):
        user.removed_at = now
        _use_up_links(session, user.id, now=now)
        session.flush()
    return tokens


def disable(session: Session, member: Member, *, actor: Actor, now: datetime) -> None:
    """Refuse a person and the tokens they made in this workspace, until `enable`; their sessions there end."""
    user, workspace_id = member.user, member.membership.workspace_id
    if member.membership.disabled_at is not None:
        raise Conflict(f"{user.name} is disabled already.")
    member.membership.disabled_at = now
    _end_sessions(session, user.id, workspace_id=workspace_id, now=now)
    session.flush()
    _record(session, "user.disabled", member, actor=actor, now=now, details={})


def enable(session: Session, member: Member, *, actor: Actor, now: datetime) -> None:
    """Let a person and the tokens they made in again."""
    if member.membership.disabled_at is None:
        raise Conflict(f"{member.user.name} is not disabled.")
    member.membership.disabled_at = None
    session.flush()
    _record(session, "user.enabled", member, actor=actor, now=now, details={})


def set_password(session: Session, member: Member, password: str, *, actor: Actor, now: datetime) -> None:
    """Let the person sign in with this password; their other ways stay. Raises `Invalid`."""
    member.user.password = passwords.hashed(password, name=member.user.name)
    session.flush()
    _record(session, "user.password_set", member, actor=actor, now=now, details={})


def link(session: Session, member: Member, *, actor: Actor, now: datetime) -> str:
    """What a link must hold to sign the person in once; the links before it are used up."""
    _use_up_links(session, member.user.id, now=now)
    token = fresh()
    session.add(
        SignInLink(
            digest=digest(token),
            user_id=member.user.id,
            created_at=now,
            created_by=actor.name,
            expires_at=now + LINK_LASTS,
        )
    )
    session.flush()
    _record(session, "user.link_made", member, actor=actor, now=now, details={})
    return token


def find(session: Session, name: str) -> User | None:
    """The account of this name, whatever its case."""
    return session.scalars(select(User).where(User.folded == name.lower(), User.removed_at.is_(None))).one_or_none()


def require(session: Session, name: str, *, workspace_id: uuid.UUID) -> Member:
    """The member of this name.

    Raises:
        NotFound: also for somebody who belongs to other workspaces only.
    """
    for member in _members(session, workspace_id=workspace_id, name=name):
        return member
    raise NotFound(f"There is no user {shown(name)}; see `botkeep user list`.")


def listing(session: Session, *, workspace_id: uuid.UUID) -> Sequence[Member]:
    """Everybody in the workspace, by name."""
    return _members(session, workspace_id=workspace_id)


def workspaces_of(session: Session, user_id: uuid.UUID, *, open_only: bool = False) -> Sequence[uuid.UUID]:
    """The workspaces that a person belongs to, the first one first; `open_only`: and is not disabled in."""
    mine = select(Membership.workspace_id).where(Membership.user_id == user_id)
    if open_only:
        mine = mine.where(Membership.disabled_at.is_(None))
    return session.scalars(mine.order_by(Membership.added_at, Membership.workspace_id)).all()


def must_belong_here_only(session: Session, member: Member) -> None:
    """Go on only where opening the account opens nothing of another workspace.

    Raises:
        Conflict: otherwise.
    """
    if len(workspaces_of(session, member.user.id)) > 1:
        raise Conflict(
            f"{member.user.name} also belongs to other workspaces, so no admin of one of them may do this; it is done "
            "on the console's host: python -m console link --name NAME"
        )


def has_signed_in(session: Session, *, workspace_id: uuid.UUID) -> bool:
    """Whether anybody of the workspace ever was signed in, or has a password."""
    used = select(func.count()).select_from(BrowserSession).where(BrowserSession.workspace_id == workspace_id)
    if session.scalar(used):
        return True
    return any(member.user.password for member in listing(session, workspace_id=workspace_id))


def _members(session: Session, *, workspace_id: uuid.UUID, name: str | None = None) -> list[Member]:
    query = (
        select(User, Membership)
        .join(Membership, Membership.user_id == User.id)
        .where(Membership.workspace_id == workspace_id, User.removed_at.is_(None))
        .order_by(User.folded)
    )
    if name is not None:
        query = query.where(User.folded == name.lower())
    return [Member(user, membership) for user, membership in session.execute(query)]


def _names_token(session: Session, name: str, *, workspace_id: uuid.UUID) -> bool:
    held = select(ApiToken.id).where(
        ApiToken.workspace_id == workspace_id, func.lower(ApiToken.name) == name.lower(), ApiToken.revoked_at.is_(None)
    )
    return session.scalar(held) is not None


def _end_sessions(session: Session, user_id: uuid.UUID, *, workspace_id: uuid.UUID, now: datetime) -> None:
    session.execute(
        update(BrowserSession)
        .where(
            BrowserSession.user_id == user_id,
            BrowserSession.workspace_id == workspace_id,
            BrowserSession.revoked_at.is_(None),
        )
        .values(revoked_at=now)
    )


def _use_up_links(session: Session, user_id: uuid.UUID, *, now: datetime) -> None:
    session.execute(
        update(SignInLink).where(SignInLink.user_id == user_id, SignInLink.used_at.is_(None)).values(used_at=now)
    )


def _said(rights: Rights) -> dict[str, object]:
    return {"role": str(rights.role), "narrowed": rights.narrowed}


def _record(
    session: Session, action: str, member: Member, *, actor: Actor, now: datetime, details: dict[str, object]
) -> None:
    audit.record(
        session,
        actor,
        workspace_id=member.membership.workspace_id,
        action=action,
        target=f"user {member.user.name}",
        now=now,
        details=details,
    )
