"""Users over HTTP: add, list, change the role, remove; passwords, sign-in links and the second factor."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from console import origin, sessions, totp, users
from console.deps import After, Allowed, Call, Limit
from console.paging import Page, cut
from console.permissions import Role
from console.text import Text
from console.users import LINK_LASTS, Member, Rights
from runner.errors import Conflict, Invalid
from vault.names import ENVIRONMENTS

#: Of who is signed in: how many sessions, and when one was last used.
Seen = Mapping[uuid.UUID, tuple[int, datetime]]

router = APIRouter(prefix="/api/v1/users", tags=["users"])


class RightsOrder(BaseModel):
    """What a person may do; `narrowed` has lower roles by environment."""

    model_config = ConfigDict(extra="forbid")

    role: Text
    narrowed: dict[Text, Text] = Field(default_factory=dict, max_length=len(ENVIRONMENTS))


class UserOrder(RightsOrder):
    """A person to let into the workspace; `subject` names them at the OpenID provider."""

    name: Text
    subject: Text | None = Field(default=None, min_length=1, max_length=255)


class PasswordOrder(BaseModel):
    """A new password."""

    model_config = ConfigDict(extra="forbid")

    password: Text


class UserItem(BaseModel):
    """A person in this workspace, without anything that opens the account."""

    name: str
    role: str
    narrowed: dict[str, str]
    password: bool
    totp: bool
    openid: bool
    added_at: datetime
    added_by: str
    disabled_at: datetime | None = Field(description="Since when the person is refused here; null: they are not.")
    sessions: int = Field(description="Browsers that are signed in and look at this workspace.")
    seen_at: datetime | None = Field(description="When one of these was last used.")


class SessionItem(BaseModel):
    """A browser in which somebody is signed in; `method` is `password`, `link` or `openid`."""

    id: uuid.UUID
    method: str
    address: str
    agent: str
    created_at: datetime
    seen_at: datetime
    expires_at: datetime


class EndedSessions(BaseModel):
    """How many sessions were ended."""

    name: str
    ended: int


class RemovedUser(BaseModel):
    """Who was removed, and the tokens that this person had made, which are refused as well."""

    name: str
    tokens: list[str]


class NewLink(BaseModel):
    """A link that signs a person in once; shown this once."""

    name: str
    url: str
    expires_at: datetime


@router.get("", summary="List users")
def listed(call: Allowed, limit: Limit = 50, after: After = None) -> Page[UserItem]:
    """Everybody who belongs to the workspace, by name."""
    with call.reading() as session:
        members = users.listing(session, workspace_id=call.workspace_id)
        seen = signed_in(call, session)
    page, following = cut(members, key=lambda member: member.user.folded, limit=limit, after=after)
    return Page(items=[user_item(member, seen) for member in page], next=following)


@router.post("", status_code=201, summary="Add a user")
def add(call: Allowed, order: UserOrder) -> UserItem:
    """Let a person into the workspace; where there is no account of this name it is made, without a password."""
    rights = Rights.of(order.role, order.narrowed)
    may_give(call, rights.roles)
    openid = call.console.openid
    if order.subject and openid is None:
        raise Invalid("subject: this installation has no OpenID provider; set BOTKEEP_OIDC_ISSUER first.")
    identity = (openid.issuer, order.subject) if openid and order.subject else None
    with call.writing() as session:
        member = users.add(
            session,
            order.name,
            rights=rights,
            workspace_id=call.workspace_id,
            actor=call.actor,
            now=call.now,
            identity=identity,
        )
        return user_item(member, {})


@router.put("/{name}/role", summary="Give a user another role")
def change(call: Allowed, name: str, order: RightsOrder) -> UserItem:
    """Replace the role and what narrows it; it holds from the next request on."""
    rights = Rights.of(order.role, order.narrowed)
    may_give(call, rights.roles)
    with call.writing() as session:
        member = another(call, governed(call, session, name))
        users.change(session, member, rights=rights, actor=call.actor, now=call.now)
        return user_item(member, signed_in(call, session))


@router.put("/{name}/disabled", summary="Disable a user")
def disable(call: Allowed, name: str) -> UserItem:
    """Refuse a person and the tokens they made in this workspace until they are enabled; their sessions here end."""
    with call.writing() as session:
        member = another(call, governed(call, session, name))
        users.disable(session, member, actor=call.actor, now=call.now)
        return user_item(member, {})


@router.delete("/{name}/disabled", summary="Enable a user")
def enable(call: Allowed, name: str) -> UserItem:
    """Let a person and the tokens they made in again."""
    with call.writing() as session:
        member = governed(call, session, name)
        users.enable(session, member, actor=call.actor, now=call.now)
        return user_item(member, {})


@router.get("/{name}/sessions", summary="List a user's sessions")
def list_sessions(call: Allowed, name: str, limit: Limit = 50, after: After = None) -> Page[SessionItem]:
    """The browsers in which the person is signed in and looks at this workspace."""
    with call.reading() as session:
        member = users.require(session, name, workspace_id=call.workspace_id)
        rows = sessions.listing(
            session,
            member.user.id,
            workspace_id=call.workspace_id,
            lifetimes=call.console.lifetimes,
            now=call.now,
        )
        items = [SessionItem.model_validate(row, from_attributes=True) for row in sorted(rows, key=lambda row: row.id)]
    page, following = cut(items, key=lambda item: str(item.id), limit=limit, after=after)
    return Page(items=list(page), next=following)


@router.delete("/{name}/sessions", summary="End a user's sessions")
def end_sessions(call: Allowed, name: str) -> EndedSessions:
    """Sign the person out of every browser that looks at this workspace; they may sign in again."""
    with call.writing() as session:
        member = governed(call, session, name)
        ended = sessions.revoke_others(
            session, member.user.id, workspace_id=call.workspace_id, actor=call.actor, now=call.now
        )
        return EndedSessions(name=member.user.name, ended=ended)


@router.delete("/{name}", summary="Remove a user")
def remove(call: Allowed, name: str) -> RemovedUser:
    """Take a person out of the workspace, with their sessions and tokens; the account ends with its last workspace."""
    with call.writing() as session:
        member = another(call, governed(call, session, name))
        tokens = users.remove(session, member, actor=call.actor, now=call.now)
        return RemovedUser(name=member.user.name, tokens=tokens)


@router.put("/{name}/password", status_code=204, summary="Set a user's password")
def set_password(call: Allowed, name: str, order: PasswordOrder) -> None:
    """Let the person sign in with this password."""
    with call.writing() as session:
        member = opened(call, session, name)
        users.set_password(session, member, order.password, actor=call.actor, now=call.now)


@router.delete("/{name}/totp", status_code=204, summary="Take a user's second factor away")
def forget_totp(call: Allowed, name: str) -> None:
    """Ask the person for no one-time code any more, for whoever lost the authenticator; recovery codes end as well."""
    with call.writing() as session:
        totp.switch_off(session, opened(call, session, name).user, actor=call.actor, now=call.now)


@router.post("/{name}/links", status_code=201, summary="Make a sign-in link")
def link(call: Allowed, name: str, request: Request) -> NewLink:
    """A link that signs the person in once; the links before it end."""
    now = call.now
    with call.writing() as session:
        member = opened(call, session, name)
        token = users.link(session, member, actor=call.actor, now=now)
    url = link_address(request, call, token)
    return NewLink(name=member.user.name, url=url, expires_at=now + LINK_LASTS)


def link_address(request: Request, call: Call, token: str) -> str:
    """Where a link leads."""
    return f"{origin.own_address(request, call.console.public_url)}/sign-in/link?token={token}"


def may_give(call: Call, roles: Mapping[str, Role]) -> None:
    """Go on only where the caller administers every environment in which these roles may do more than look.

    Raises:
        Denied: otherwise.
    """
    for environment, role in roles.items():
        if role is not Role.VIEWER:
            call.require_environment(environment)


def governed(call: Call, session: Session, name: str) -> Member:
    """The member of this name, whom the caller may change.

    Raises:
        NotFound: when nobody of this name belongs to the workspace.
        Denied: for somebody who may do more in an environment than the caller governs.
    """
    member = users.require(session, name, workspace_id=call.workspace_id)
    may_give(call, member.roles)
    return member


def opened(call: Call, session: Session, name: str) -> Member:
    """The member of this name, whose account the caller may open.

    Raises:
        NotFound, Denied: as `governed`.
        Conflict: for somebody who belongs to other workspaces, too.
    """
    member = governed(call, session, name)
    users.must_belong_here_only(session, member)
    return member


def another(call: Call, member: Member) -> Member:
    """The member, who is somebody else than the caller.

    Raises:
        Conflict: otherwise: who takes their own rights away may leave nobody who could give them back.
    """
    if call.caller.kind == "user" and member.user.id == call.caller.user_id:
        raise Conflict(f"{member.user.name} is you; ask another admin to do this.")
    return member


def signed_in(call: Call, session: Session) -> Seen:
    """How many sessions people have here, and when one was last used, by their id."""
    return sessions.counted(session, workspace_id=call.workspace_id, lifetimes=call.console.lifetimes, now=call.now)


def user_item(member: Member, seen: Seen) -> UserItem:
    """A member as it is answered."""
    count, at = seen.get(member.user.id, (0, None))
    return UserItem(
        name=member.user.name,
        role=member.membership.role,
        narrowed=member.membership.narrowed,
        password=member.user.password is not None,
        totp=member.user.totp is not None,
        openid=member.user.subject is not None,
        added_at=member.membership.added_at,
        added_by=member.membership.added_by,
        disabled_at=member.membership.disabled_at,
        sessions=count,
        seen_at=at,
    )
