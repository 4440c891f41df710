"""The first sign-in over HTTP: a link for the first admin, as long as nobody of the workspace was ever signed in."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter, Request
from pydantic import BaseModel

from console import users
from console.api.users import link_address, may_give
from console.deps import Allowed
from console.permissions import Role
from console.users import LINK_LASTS, Rights

router = APIRouter(prefix="/api/v1/first-link", tags=["users"])

#: Who the first person is called.
FIRST = "admin"


class FirstLink(BaseModel):
    """The link; empty once somebody has signed in or has a password."""

    name: str
    url: str | None
    expires_at: datetime | None


@router.post("", summary="Make the first sign-in link")
def make(call: Allowed, request: Request) -> FirstLink:
    """Make the account `admin` where there is nobody yet, and a link for it; the links before it end."""
    rights, now = Rights(Role.ADMIN, {}), call.now
    may_give(call, rights.roles)
    with call.writing() as session:
        if users.has_signed_in(session, workspace_id=call.workspace_id):
            return FirstLink(name=FIRST, url=None, expires_at=None)
        members = users.listing(session, workspace_id=call.workspace_id)
        member = next((one for one in members if one.role is Role.ADMIN), None)
        if member is None:
            member = users.add(session, FIRST, rights=rights, workspace_id=call.workspace_id, actor=call.actor, now=now)
        users.must_belong_here_only(session, member)
        token = users.link(session, member, actor=call.actor, now=now)
    return FirstLink(name=member.user.name, url=link_address(request, call, token), expires_at=now + LINK_LASTS)
