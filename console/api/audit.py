"""The audit over HTTP: who did what to which object, the newest first."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from console.deps import Allowed, Limit
from console.paging import Page
from vault import audit
from vault.models import AuditEvent

router = APIRouter(prefix="/api/v1/audit", tags=["audit"])


class AuditItem(BaseModel):
    """One deed; `outcome` is `done` or `refused`."""

    id: uuid.UUID
    at: datetime
    actor: str
    address: str
    action: str
    object: str
    environment: str | None
    outcome: str
    details: dict[str, Any]


@router.get("", summary="List what was done and refused")
def listed(
    call: Allowed,
    limit: Limit = 50,
    after: Annotated[uuid.UUID | None, Query(description="The `next` of the page before.")] = None,
) -> Page[AuditItem]:
    """Audit rows, the newest first."""
    with call.reading() as session:
        rows = audit.page(session, workspace_id=call.workspace_id, limit=limit, after=after)
    items = [_item(row) for row in rows]
    return Page(items=items, next=str(items[-1].id) if len(items) == limit else None)


def _item(row: AuditEvent) -> AuditItem:
    return AuditItem(**{name: getattr(row, name) for name in AuditItem.model_fields})
