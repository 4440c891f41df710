"""The workspace, and what it decides for each environment."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from runner.connection_policy import ConnectionPolicy, read_policy
from runner.errors import Invalid, NotFound
from runner.limits import DEFAULTS, Limits, read_limits
from runner.states import Isolation
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


@dataclass(frozen=True, slots=True)
class Policy:
    """What a runner must know of a workspace and an environment before it starts a bot."""

    isolation: Isolation
    limits: Limits


def ensure_default(session: Session, *, now: datetime) -> uuid.UUID:
    """The default workspace's id; made with its environments where it is missing."""
    found = session.scalar(select(Workspace.id).where(Workspace.name == DEFAULT))
    if found is not None:
        return found
    return make(session, DEFAULT, now=now).id


def make(session: Session, name: str, *, now: datetime) -> Workspace:
    """A new workspace with its environments; its name must be free."""
    workspace = Workspace(name=name, created_at=now)
    session.add(workspace)
    session.flush()
    session.add_all(Environment(workspace_id=workspace.id, name=each, unset=Unset.WARN) for each in ENVIRONMENTS)
    session.flush()
    return workspace


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


def strict(session: Session, *, workspace_id: uuid.UUID) -> list[str]:
    """The environments that refuse unset values."""
    query = select(Environment.name).where(Environment.workspace_id == workspace_id, Environment.unset == Unset.REFUSE)
    return sorted(session.scalars(query), key=ENVIRONMENTS.index)


#: What the workspace decided for unset values. Parameters: `workspace`, `environment`.
_UNSET = select(Environment.unset).where(
    Environment.workspace_id == bindparam("workspace"), Environment.name == bindparam("environment")
)


def unset_policy(direct: Direct, environment: str, *, workspace_id: uuid.UUID) -> Unset:
    """What the workspace decided for values that are unset in `environment`. Raises `Unavailable`."""
    rows = direct.read(_UNSET, {"workspace": workspace_id, "environment": environment})
    return Unset(rows[0].unset) if rows else Unset.WARN


def policy(session: Session, environment: str, *, workspace_id: uuid.UUID) -> Policy:
    """The isolation that an environment asks for, and the limits that hold where a bot has none of its own."""
    isolation, limits = session.execute(
        select(Environment.isolation, Workspace.limits)
        .join(Workspace, Workspace.id == Environment.workspace_id)
        .where(Environment.workspace_id == workspace_id, Environment.name == environment)
    ).one()
    return Policy(Isolation(isolation), DEFAULTS.replaced(read_limits(limits or {})))


def set_policy(
    session: Session,
    environment: str,
    *,
    workspace_id: uuid.UUID,
    unset: str | None = None,
    isolation: str | None = None,
    actor: Actor,
    now: datetime,
) -> Environment:
    """Decide about one environment: what happens with unset values, what a runner must give; `None` changes nothing.

    Raises:
        NotFound: for an unknown environment.
        Invalid: for an unknown policy, or none.
    """
    row = session.get(Environment, (workspace_id, environment))
    if row is None:
        raise NotFound(f"There is no environment {environment!r}; use one of {', '.join(ENVIRONMENTS)}.")
    decided = {name: value for name, value in (("unset", unset), ("isolation", isolation)) if value is not None}
    if not decided:
        raise Invalid("Say what to change: `unset` or `isolation`.")
    if unset is not None:
        try:
            row.unset = Unset(unset)
        except ValueError:
            raise Invalid(f"The policy for unset values is `warn` or `refuse`, not {unset!r}.") from None
    if isolation is not None:
        try:
            row.isolation = Isolation(isolation)
        except ValueError:
            raise Invalid(f"The isolation is `any`, `landlock`, `user` or `sandbox`, not {isolation!r}.") from None
    audit.record(
        session,
        actor,
        workspace_id=workspace_id,
        action="environment.policy",
        target=f"environment {environment}",
        environment=environment,
        now=now,
        details=decided,
    )
    session.flush()
    return row


def limits(session: Session, *, workspace_id: uuid.UUID) -> Limits:
    """What the workspace decided itself about its bots' resources."""
    return read_limits(session.scalar(select(Workspace.limits).where(Workspace.id == workspace_id)) or {})


def set_limits(
    session: Session,
    changes: Mapping[str, Any],
    *,
    workspace_id: uuid.UUID,
    actor: Actor,
    now: datetime,
) -> Limits:
    """Change some of the workspace's limits; `None` goes back to Botkeep's own.

    Raises:
        Invalid: for an unknown limit, one that makes no sense, or none.
    """
    if not changes:
        raise Invalid(f"Say which limit to change: {', '.join(Limits.model_fields)}.")
    row = session.get_one(Workspace, workspace_id, with_for_update=True)
    chosen = read_limits({**(row.limits or {}), **changes})
    row.limits = chosen.model_dump(mode="json", exclude_none=True) or None
    _decided(session, row, "limits", actor=actor, now=now)
    return chosen


def connections(session: Session, *, workspace_id: uuid.UUID) -> ConnectionPolicy:
    """Where the workspace's data sources may connect to."""
    return read_policy(session.scalar(select(Workspace.connections).where(Workspace.id == workspace_id)) or {})


def set_connections(
    session: Session,
    changes: Mapping[str, Any],
    *,
    workspace_id: uuid.UUID,
    actor: Actor,
    now: datetime,
) -> ConnectionPolicy:
    """Change some lists of the policy for connections; `None` goes back to Botkeep's own.

    Raises:
        Invalid: for an unknown list, one that makes no sense, or none.
    """
    if not changes:
        raise Invalid(f"Say which list to change: {', '.join(ConnectionPolicy.model_fields)}.")
    row = session.get_one(Workspace, workspace_id, with_for_update=True)
    merged = {**(row.connections or {}), **changes}
    chosen = read_policy({name: value for name, value in merged.items() if value is not None})
    row.connections = chosen.model_dump(mode="json", exclude_defaults=True) or None
    _decided(session, row, "connections", actor=actor, now=now)
    return chosen


def _decided(session: Session, row: Workspace, what: str, *, actor: Actor, now: datetime) -> None:
    """Flush what was decided for the workspace, with its audit row."""
    audit.record(
        session,
        actor,
        workspace_id=row.id,
        action=f"workspace.{what}",
        target="workspace",
        now=now,
        details={what: getattr(row, what) or {}},
    )
    session.flush()
