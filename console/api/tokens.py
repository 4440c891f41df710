"""Tokens over HTTP: create (shown once), list, remove."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from console import auth
from console.api.users import may_give
from console.auth import Grant
from console.deps import After, Allowed, Call, Limit
from console.models import ApiToken
from console.paging import Page, cut
from console.text import Text
from vault.names import ENVIRONMENTS

router = APIRouter(prefix="/api/v1/tokens", tags=["tokens"])


class TokenOrder(BaseModel):
    """A token to make; without environments it may touch them all, `narrowed` has lower roles by environment."""

    model_config = ConfigDict(extra="forbid")

    name: Text
    role: Text
    environments: list[Text] = Field(default_factory=list, max_length=len(ENVIRONMENTS))
    narrowed: dict[Text, Text] = Field(default_factory=dict, max_length=len(ENVIRONMENTS))


class TokenItem(BaseModel):
    """A token in use, without itself; no `environments` means all."""

    name: str
    role: str
    environments: list[str]
    narrowed: dict[str, str]
    created_at: datetime
    created_by: str


class NewToken(TokenItem):
    """A token that was just made; `token` is shown this once."""

    token: str


@router.post("", status_code=201, summary="Create a token")
def create(call: Allowed, order: TokenOrder) -> NewToken:
    """Make a token; a limited one cannot make another that may touch more."""
    grant = Grant.of(order.role, order.environments, order.narrowed)
    may_give(call, grant.roles)
    with call.writing() as session:
        row, token = auth.create(
            session,
            order.name,
            grant=grant,
            workspace_id=call.workspace_id,
            actor=call.actor,
            now=call.now,
            user_id=call.caller.user_id,
        )
    return NewToken(**_item(row).model_dump(), token=token)


@router.get("", summary="List tokens")
def listed(call: Allowed, limit: Limit = 50, after: After = None) -> Page[TokenItem]:
    """Every token in use, by name; never what it is."""
    with call.reading() as session:
        rows = auth.listing(session, workspace_id=call.workspace_id)
    page, following = cut(rows, key=lambda row: row.name, limit=limit, after=after)
    return Page(items=[_item(row) for row in page], next=following)


@router.delete("/{name}", status_code=204, summary="Remove a token")
def remove(call: Allowed, name: str) -> None:
    """Refuse a token from now on."""
    with call.writing() as session:
        governed(call, session, name)
        auth.remove(session, name, workspace_id=call.workspace_id, actor=call.actor, now=call.now)


def governed(call: Call, session: Session, name: str) -> None:
    """Go on only where the caller may take away what the token of this name may do.

    Raises:
        Denied: for a token that may do more in an environment than the caller governs.
    """
    row = auth.in_use(session, name, workspace_id=call.workspace_id)
    if row is not None:
        may_give(call, Grant.held(row).roles)


def _item(row: ApiToken) -> TokenItem:
    return TokenItem(
        name=row.name,
        role=row.role,
        environments=row.environments,
        narrowed=row.narrowed,
        created_at=row.created_at,
        created_by=row.created_by,
    )
