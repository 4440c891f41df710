"""Checks of data sources: asked for by people, done by one runner of the environment, answered in one sentence.

The console cannot decrypt, so it writes a row; a runner wins it by one guarded statement, opens the source, and writes
what came of it. Nobody needs to be told in time: runners look by themselves as well.

| state | in when | out when |
|---|---|---|
| `waiting` | the row was written | a runner took it, or `CLAIM_WITHIN` passed |
| `running` | a runner took it | it answered, or `ANSWER_WITHIN` passed |
| `ok`, `failed` | the runner answered | never |
| `expired` | nobody took it, or answered, in time | never |
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from runner import runners, sources
from runner.errors import Conflict, NotFound
from runner.source_models import DataSource, SourceCheck
from vault import audit, db
from vault.audit import Actor
from vault.db import clock, database_time
from vault.names import check_environment

#: How long a check waits for a runner: several of a runner's own looks.
CLAIM_WITHIN = timedelta(seconds=15)

#: How long a runner may take for one; connecting and a query have limits of their own below it.
ANSWER_WITHIN = timedelta(seconds=60)

#: How long answers are kept.
KEPT = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Claim:
    """A check that a runner has won; `source` is None where it was removed meanwhile."""

    check_id: uuid.UUID
    workspace_id: uuid.UUID
    name: str
    environment: str
    requested_by: str
    source: DataSource | None


@dataclass(frozen=True, slots=True)
class Seen:
    """A check as people see it; `sentence` says everything, and is empty while nothing is known."""

    row: SourceCheck
    state: str
    sentence: str


def request(
    session: Session, name: str, *, environment: str, workspace_id: uuid.UUID, actor: Actor, now: datetime
) -> Seen:
    """Ask for a check; where no runner serves the environment, the answer says so at once.

    Raises:
        NotFound: for an unknown source.
        InvalidName: for an unknown environment.
        Conflict: for an environment that the source is not open in.
    """
    check_environment(environment)
    row = sources.find(session, name, workspace_id=workspace_id)
    if environment not in row.environments:
        raise Conflict(f"The data source {name} is open in {', '.join(row.environments)} only, not in {environment}.")
    at = database_time(session)
    session.execute(delete(SourceCheck).where(SourceCheck.requested_at < at - KEPT))
    check = SourceCheck(
        workspace_id=workspace_id, source=name, environment=environment, requested_at=at, requested_by=actor.name
    )
    if not any(seen.status == "online" and environment in seen.row.environments for seen in runners.listing(session)):
        check.finished_at, check.ok = at, False
        check.answer = {"sentence": _nobody(check)}
    session.add(check)
    session.flush()
    audit.record(
        session,
        actor,
        workspace_id=workspace_id,
        action="source.check_requested",
        target=f"source {name}",
        environment=environment,
        now=now,
    )
    return _seen(check, at)


def find(session: Session, check_id: uuid.UUID, *, source: str, workspace_id: uuid.UUID) -> Seen:
    """A check of a source.

    Raises:
        NotFound: when there is no such check, or it is more than `KEPT` old.
    """
    row = session.get(SourceCheck, check_id)
    if row is None or (row.workspace_id, row.source) != (workspace_id, source):
        raise NotFound(f"There is no such check of {source}; ask for one: botkeep source check {source} --env ENV")
    return _seen(row, database_time(session))


def latest(session: Session, source: str, *, workspace_id: uuid.UUID) -> dict[str, Seen]:
    """The newest check of a source in each environment where one was asked for within `KEPT`."""
    rows = session.scalars(
        select(SourceCheck)
        .where(SourceCheck.workspace_id == workspace_id, SourceCheck.source == source)
        .order_by(SourceCheck.id)
    ).all()
    at = database_time(session)
    return {row.environment: _seen(row, at) for row in rows if at - row.requested_at <= KEPT}


def waiting(session: Session, environments: Iterable[str]) -> uuid.UUID | None:
    """The oldest check that a runner of these environments could take."""
    return session.scalar(
        select(SourceCheck.id)
        .where(
            SourceCheck.runner.is_(None),
            SourceCheck.finished_at.is_(None),
            SourceCheck.environment.in_(list(environments)),
            SourceCheck.requested_at > clock(-CLAIM_WITHIN),
        )
        .order_by(SourceCheck.id)
        .limit(1)
    )


def claim(session: Session, check_id: uuid.UUID, *, runner: str) -> Claim | None:
    """Take a check; `None` when another runner was faster."""
    row = session.execute(
        update(SourceCheck)
        .where(SourceCheck.id == check_id, SourceCheck.runner.is_(None), SourceCheck.finished_at.is_(None))
        .values(runner=runner, claimed_at=clock())
        .returning(SourceCheck.workspace_id, SourceCheck.source, SourceCheck.environment, SourceCheck.requested_by)
    ).one_or_none()
    if row is None:
        return None
    source = session.scalar(
        select(DataSource).where(DataSource.workspace_id == row.workspace_id, DataSource.name == row.source)
    )
    return Claim(check_id, row.workspace_id, row.source, row.environment, row.requested_by, source)


def answer(session: Session, check_id: uuid.UUID, *, runner: str, ok: bool, document: dict[str, Any]) -> bool:
    """Write what came of a check; false when it is not this runner's any more."""
    changed = db.changes(
        session,
        update(SourceCheck)
        .where(SourceCheck.id == check_id, SourceCheck.runner == runner, SourceCheck.finished_at.is_(None))
        .values(finished_at=clock(), ok=ok, answer=document),
    )
    return bool(changed)


def _seen(row: SourceCheck, now: datetime) -> Seen:
    if row.finished_at is not None:
        return Seen(row, "ok" if row.ok else "failed", str((row.answer or {}).get("sentence", "")))
    if row.claimed_at is None:
        late = now - row.requested_at > CLAIM_WITHIN
        return Seen(row, "expired", _nobody(row)) if late else Seen(row, "waiting", "")
    if now - row.claimed_at > ANSWER_WITHIN:
        sentence = f"{row.source} in {row.environment}: the runner {row.runner} took the check and did not answer."
        return Seen(row, "expired", sentence)
    return Seen(row, "running", "")


def _nobody(row: SourceCheck) -> str:
    return (
        f"{row.source} in {row.environment}: no runner that serves {row.environment} took the check; "
        f"start one: botkeep runner --environment {row.environment}"
    )
