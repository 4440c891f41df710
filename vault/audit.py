"""Audit rows: who did what to which object; never a value."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from vault.models import AuditEvent

#: Every write leaves a row, so the statement is built once.
_RECORD = insert(AuditEvent)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, as audit rows name them: a token's or process's name, and the address it came from."""

    name: str
    address: str = ""


def record(
    session: Session,
    actor: Actor,
    *,
    workspace_id: uuid.UUID,
    action: str,
    target: str,
    now: datetime,
    environment: str | None = None,
    outcome: str = "done",
    details: dict[str, Any] | None = None,
) -> None:
    """Add one row in the caller's transaction, so that the deed and its row stand or fall together.

    `action` is `noun.verb` (`asset.set`); `target` names the object; `outcome` is `done` or `refused`.
    """
    session.connection().execute(
        _RECORD,
        {
            "id": uuid7(),
            "workspace_id": workspace_id,
            "at": now,
            "actor": actor.name,
            "address": actor.address,
            "action": action,
            "object": target[:400],
            "environment": environment,
            "outcome": outcome,
            "details": details or {},
        },
    )


def page(session: Session, *, workspace_id: uuid.UUID, limit: int, after: uuid.UUID | None) -> Sequence[AuditEvent]:
    """The newest rows before `after`, newest first, at most `limit`."""
    query = select(AuditEvent).where(AuditEvent.workspace_id == workspace_id)
    if after is not None:
        query = query.where(AuditEvent.id < after)
    return session.scalars(query.order_by(AuditEvent.id.desc()).limit(limit)).all()
