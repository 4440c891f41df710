"""Workspaces as tenants: who sees which, and making another one.

A workspace shows nothing of the others. Whoever administers `default` runs the installation and may add workspaces;
that alone opens none of the others.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from console import auth
from console.auth import Grant
from console.callers import Caller
from console.permissions import Role
from console.user_models import Membership
from runner import workspaces
from runner.errors import Conflict, Invalid
from vault import audit
from vault.models import Workspace
from vault.names import shown

#: The token with which a new workspace begins.
FIRST = "first"

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)


def listing(session: Session, caller: Caller) -> Sequence[Workspace]:
    """The workspaces of a person who is signed in, by name; of a token the one it belongs to."""
    query = select(Workspace).order_by(Workspace.name)
    if caller.kind == "user":
        query = query.join(Membership, Membership.workspace_id == Workspace.id).where(
            Membership.user_id == caller.user_id, Membership.disabled_at.is_(None)
        )
    else:
        query = query.where(Workspace.id == caller.workspace_id)
    return session.scalars(query).all()


def add(session: Session, name: str, *, caller: Caller, now: datetime) -> tuple[Workspace, str]:
    """Make a workspace with its environments; answers it and a token that administers it.

    A person who is signed in belongs to it as an admin.

    Raises:
        Invalid: for a name that there cannot be.
        Conflict: when there is one of this name.
    """
    if not _NAME.fullmatch(name):
        raise Invalid(
            "A workspace's name is 1 to 63 lower-case ASCII letters, digits and hyphens and begins with a letter or "
            f"digit; {shown(name)} is not."
        )
    if session.scalar(select(Workspace.id).where(Workspace.name == name)) is not None:
        raise Conflict(f"There is a workspace {name} already.")
    row = workspaces.make(session, name, now=now)
    if caller.kind == "user" and caller.user_id is not None:
        session.add(
            Membership(
                user_id=caller.user_id,
                workspace_id=row.id,
                role=Role.ADMIN,
                narrowed={},
                added_at=now,
                added_by=caller.name,
            )
        )
        session.flush()
    _token, shown_once = auth.create(
        session,
        FIRST,
        grant=Grant(Role.ADMIN),
        workspace_id=row.id,
        actor=caller.actor,
        now=now,
        user_id=caller.user_id,
    )
    for workspace_id in (caller.workspace_id, row.id):
        _record(session, row, workspace_id, caller=caller, now=now)
    return row, shown_once


def _record(session: Session, row: Workspace, workspace_id: uuid.UUID, *, caller: Caller, now: datetime) -> None:
    audit.record(
        session,
        caller.actor,
        workspace_id=workspace_id,
        action="workspace.added",
        target=f"workspace {row.name}",
        now=now,
    )
