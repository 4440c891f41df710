"""Runners over HTTP: list, drain, remove."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from console.deps import After, Allowed, Call, Limit
from console.paging import Page, cut
from runner import runners, signals
from runner.runners import Seen
from vault import audit

router = APIRouter(prefix="/api/v1/runners", tags=["runners"])


class LocalState(BaseModel):
    """How a host's local values are kept; which are set says /api/v1/local-values."""

    protection: str
    locked: bool
    orphans: int
    problem: str | None


class RunnerItem(BaseModel):
    """A runner; `state` is `online`, `draining`, `stopped` or `lost`: not heard of for 30 s by the database's clock.

    `running` is the number of its bots, `concurrency` how many it takes. `isolation` is what its host gives to keep
    bots apart: `landlock` (the ABI, 0 for none), `signal_scope`, `bubblewrap` (its path) and `root`; `null` where it
    did not say.
    """

    name: str
    state: str
    host: str
    version: str
    environments: list[str]
    groups: list[str]
    labels: dict[str, str]
    concurrency: int
    running: int
    started_at: datetime
    heartbeat_at: datetime
    stopped_at: datetime | None
    drain_requested_at: datetime | None
    isolation: dict[str, Any] | None
    log_store: str | None = Field(description="Where it stores logs and artefacts.")
    local_values: LocalState | None = Field(description="The values that live on its host; null where there are none.")


@router.get("", summary="List runners")
def listed(call: Allowed, limit: Limit = 50, after: After = None) -> Page[RunnerItem]:
    """Every known runner, by name."""
    with call.reading() as session:
        rows = runners.listing(session)
    page, following = cut(rows, key=lambda seen: seen.row.name, limit=limit, after=after)
    return Page(items=[_item(seen) for seen in page], next=following)


@router.put("/{name}/drain", summary="Drain a runner")
def drain(call: Allowed, name: str) -> RunnerItem:
    """Let a runner finish what it has, take nothing new, and stop."""
    with call.writing() as session:
        runners.request_drain(session, name, now=call.now)
        seen = next(seen for seen in runners.listing(session) if seen.row.name == name)
        for environment in seen.row.environments:
            call.require_environment(environment)
        _record(session, call, name)
    signals.look_at_runner(call.console.transport, name)
    return _item(seen)


@router.delete("/{name}", status_code=204, summary="Remove a runner")
def remove(call: Allowed, name: str) -> None:
    """Forget a runner that stopped or was lost; history keeps its name."""
    with call.writing() as session:
        runners.remove(session, name)
        _record(session, call, name)


def _record(session: Session, call: Call, name: str) -> None:
    audit.record(
        session,
        call.actor,
        workspace_id=call.workspace_id,
        action=call.action,
        target=f"runner {name}",
        now=call.now,
    )


def _item(seen: Seen) -> RunnerItem:
    row = seen.row
    return RunnerItem(
        name=row.name,
        state=seen.status,
        host=row.host,
        version=row.version,
        environments=row.environments,
        groups=row.groups,
        labels=row.labels or {},
        concurrency=row.concurrency,
        running=seen.running,
        started_at=row.started_at,
        heartbeat_at=row.heartbeat_at,
        stopped_at=row.stopped_at,
        drain_requested_at=row.drain_requested_at,
        isolation=row.isolation,
        log_store=row.log_store,
        local_values=None if row.local_values is None else LocalState.model_validate(row.local_values),
    )
