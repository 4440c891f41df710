"""The workspace, and what it decides for each environment."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from runner.errors import Invalid, NotFound
from vault import audit
from vault.audit import Actor
from vault.direct import Direct
from vault.models import Environment, Workspace
from vault.names import ENVIRONMENTS

#: The workspace that set-up makes.
DEFAULT = "default"


class Unset(StrEnum):
    """What happens when a bot sees an asset that has no value in the job's environment."""

    WARN = "warn"
    """Inject an empty string and put a warning on the job."""

    REFUSE = "refuse"
    """Refuse the job before anything is decrypted or started."""


def ensure_default(session: Session, *, now: datetime) -> uuid.UUID:
    """The default workspace's id; made with its environments where it is missing."""
    found = session.scalar(select(Workspace.id).where(Workspace.name == DEFAULT))
    if found is not None:
        return found
    workspace = Workspace(name=DEFAULT, created_at=now)
    session.add(workspace)
    session.flush()
    session.add_all(Environment(workspace_id=workspace.id, name=name, unset=Unset.WARN) for name in ENVIRONMENTS)
    session.flush()
    return workspace.id


def default_workspace(session: Session) -> uuid.UUID:
    """The default workspace's id.

    Raises:
        NotFound: before set-up.
    """
    found = session.scalar(select(Workspace.id).where(Workspace.name == DEFAULT))
    if found is None:
        raise NotFound("The database holds no workspace yet; run: botkeep migrate")
    return found


def environments(session: Session, *, workspace_id: uuid.UUID) -> Sequence[Environment]:
    """The workspace's environments in the order dev, staging, prod."""
    rows = session.scalars(select(Environment).where(Environment.workspace_id == workspace_id)).all()
    return sorted(rows, key=lambda row: ENVIRONMENTS.index(row.name))


#: What the workspace decided for unset values. Parameters: `workspace`, `environment`.
_UNSET = select(Environment.unset).where(
    Environment.workspace_id == bindparam("workspace"), Environment.name == bindparam("environment")
)


def unset_policy(direct: Direct, environment: str, *, workspace_id: uuid.UUID) -> Unset:
    """What the workspace decided for values that are unset in `environment`. Raises `Unavailable`."""
    rows = direct.read(_UNSET, {"workspace": workspace_id, "environment": environment})
    return Unset(rows[0].unset) if rows else Unset.WARN


def set_unset_policy(
    session: Session,
    environment: str,
    *,
    workspace_id: uuid.UUID,
    unset: str,
    actor: Actor,
    now: datetime,
) -> Environment:
    """Decide what happens with unset values in one environment.

    Raises:
        NotFound: for an unknown environment.
        Invalid: for an unknown policy.
    """
    row = session.get(Environment, (workspace_id, environment))
    if row is None:
        raise NotFound(f"There is no environment {environment!r}; use one of {', '.join(ENVIRONMENTS)}.")
    try:
        row.unset = Unset(unset)
    except ValueError:
        raise Invalid(f"The policy for unset values is `warn` or `refuse`, not {unset!r}.") from None
    audit.record(
        session,
        actor,
        workspace_id=workspace_id,
        action="environment.policy",
        target=f"environment {environment}",
        environment=environment,
        now=now,
        details={"unset": unset},
    )
    session.flush()
    return row
