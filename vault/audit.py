"""Audit rows: who did what to which object; never a value."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, bindparam, insert, or_, select
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from vault.direct import within
from vault.models import AuditEvent, Model

_events = Model.metadata.tables[AuditEvent.__tablename__]

#: Every write leaves a row, so the statement is built once. Parameters: the row's columns.
_RECORD = insert(_events).values({column.name: bindparam(column.name) for column in _events.columns})


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, as audit rows name them: a token's or process's name, and the address it came from."""

    name: str
    address: str = ""


@dataclass(frozen=True, slots=True)
class Deed:
    """What one row says; `action` is `noun.verb` (`asset.set`), `target` names the object."""

    actor: Actor
    workspace_id: uuid.UUID
    action: str
    target: str
    environment: str | None = None
    #: `done` or `refused`.
    outcome: str = "done"
    details: dict[str, Any] = field(default_factory=dict)


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
    """Add one row in the caller's transaction, so that the deed and its row stand or fall together."""
    deed = Deed(actor, workspace_id, action, target, environment, outcome, details or {})
    within(session)(_RECORD, row(deed, now=now))


def record_all(session: Session, deeds: Sequence[Deed], *, now: datetime) -> None:
    """Add a row for each deed, as `record` does, by few statements."""
    if deeds:
        session.connection().execute(_RECORD, [row(deed, now=now) for deed in deeds])


@dataclass(frozen=True, slots=True)
class Filter:
    """Which rows are looked for; what is empty is not asked about."""

    actor: str = ""
    #: A whole action (`asset.set`), or its noun (`asset`).
    action: str = ""
    environment: str = ""
    outcome: str = ""
    #: Text that the object holds.
    about: str = ""
    #: Done at this time or later, and before that one.
    since: datetime | None = None
    until: datetime | None = None


def page(
    session: Session,
    *,
    workspace_id: uuid.UUID,
    limit: int,
    after: uuid.UUID | None,
    wanted: Filter | None = None,
) -> Sequence[AuditEvent]:
    """The newest rows before `after`, newest first, at most `limit`."""
    query = select(AuditEvent).where(AuditEvent.workspace_id == workspace_id)
    if after is not None:
        query = query.where(AuditEvent.id < after)
    if wanted is not None:
        query = query.where(*_conditions(wanted))
    return session.scalars(query.order_by(AuditEvent.id.desc()).limit(limit)).all()


def _conditions(wanted: Filter) -> list[ColumnElement[bool]]:
    same = {"actor": wanted.actor, "environment": wanted.environment, "outcome": wanted.outcome}
    found: list[ColumnElement[bool]] = [getattr(AuditEvent, name) == text for name, text in same.items() if text]
    if wanted.action:
        of_noun = AuditEvent.action.startswith(f"{wanted.action}.", autoescape=True)
        found.append(or_(AuditEvent.action == wanted.action, of_noun))
    if wanted.about:
        found.append(AuditEvent.object.contains(wanted.about, autoescape=True))
    if wanted.since is not None:
        found.append(AuditEvent.at >= wanted.since)
    if wanted.until is not None:
        found.append(AuditEvent.at < wanted.until)
    return found


def row(deed: Deed, *, now: datetime) -> dict[str, Any]:
    """The columns of a deed's row, for statements that do the deed and record it."""
    return {
        "id": uuid7(),
        "workspace_id": deed.workspace_id,
        "at": now,
        "actor": deed.actor.name,
        "address": deed.actor.address,
        "action": deed.action,
        "object": deed.target[:400],
        "environment": deed.environment,
        "outcome": deed.outcome,
        "details": deed.details,
    }
