"""Workspaces over HTTP: list those of the caller, make another."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from console import tenants
from console.deps import After, Allowed, Limit
from console.paging import Page, cut
from console.text import Text

router = APIRouter(prefix="/api/v1/workspaces", tags=["workspaces"])


class WorkspaceOrder(BaseModel):
    """A workspace to make."""

    model_config = ConfigDict(extra="forbid")

    name: Text


class WorkspaceItem(BaseModel):
    """A workspace; `current` is the one that this token or session belongs to."""

    name: str
    created_at: datetime
    current: bool


class NewWorkspace(WorkspaceItem):
    """A workspace that was just made; `token` administers it, is named `first`, and is shown this once."""

    token: str


@router.get("", summary="List workspaces")
def listed(call: Allowed, limit: Limit = 50, after: After = None) -> Page[WorkspaceItem]:
    """The workspaces of whoever is signed in; a token knows its own only."""
    with call.reading() as session:
        rows = tenants.listing(session, call.caller)
    items = [
        WorkspaceItem(name=row.name, created_at=row.created_at, current=row.id == call.workspace_id) for row in rows
    ]
    page, following = cut(items, key=lambda item: item.name, limit=limit, after=after)
    return Page(items=list(page), next=following)


@router.post("", status_code=201, summary="Add a workspace")
def add(call: Allowed, order: WorkspaceOrder) -> NewWorkspace:
    """Make an empty workspace; for admins of the workspace `default`, who run the installation."""
    with call.writing() as session:
        row, token = tenants.add(session, order.name, caller=call.caller, now=call.now)
    return NewWorkspace(name=row.name, created_at=row.created_at, current=False, token=token)
