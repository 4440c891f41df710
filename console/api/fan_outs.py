"""Fan-outs over HTTP: one job for each row, or each batch of rows, of a data source."""

from __future__ import annotations

import uuid
from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from console.deps import Allowed
from console.text import JsonObject, Text
from runner import fan_outs, signals
from runner.fan_outs import Wanted
from runner.jobs import Priority
from runner.models import Bot
from runner.source_models import FanOut
from vault.names import ENVIRONMENTS

router = APIRouter(prefix="/api/v1/sources", tags=["sources"])


class FanOutOrder(BaseModel):
    """What to start: a job has one row as the parameter `row`, or `batch` rows as `rows`, beside `parameters`."""

    model_config = ConfigDict(extra="forbid")

    bot: Text
    environment: Text = ENVIRONMENTS[0]
    batch: int | None = Field(default=None, ge=1, le=100_000)
    parameters: JsonObject = Field(default_factory=dict)
    group: Text | None = None
    priority: Text = Priority.NORMAL.word


class FanOutItem(BaseModel):
    """A fan-out; `state` is `waiting`, `reading`, `starting`, `done` or `failed`, and `jobs` how many it has started.

    The jobs' cause has its id. `detail` says why it failed.
    """

    id: uuid.UUID
    source: str
    bot: str
    environment: str
    batch: int | None
    state: str
    jobs: int
    detail: str
    requested_at: datetime
    requested_by: str
    runner: str | None
    finished_at: datetime | None


@router.post("/{name}/fan-outs", status_code=201, summary="Run a bot for each row")
def start(call: Allowed, name: str, order: FanOutOrder) -> FanOutItem:
    """Let a runner of the environment read the source, and start a job for each row, or for each batch."""
    call.require_environment(order.environment)
    wanted = Wanted(
        order.bot,
        order.environment,
        rows_per_job=order.batch or 0,
        parameters=dict(order.parameters),
        group=order.group,
        priority=Priority.of(order.priority),
    )
    with call.writing() as session:
        row = fan_outs.request(
            session,
            name,
            wanted,
            workspace_id=call.workspace_id,
            actor=call.actor,
            now=call.now,
        )
        item = fan_out_item(session, row)
    signals.look_at_checks(call.console.transport, order.environment)
    return item


@router.get("/{name}/fan-outs/{fan_out_id}", summary="Show a fan-out")
def shown(call: Allowed, name: str, fan_out_id: uuid.UUID) -> FanOutItem:
    """How far it is."""
    with call.reading() as session:
        return fan_out_item(session, fan_outs.find(session, fan_out_id, source=name, workspace_id=call.workspace_id))


def fan_out_item(session: Session, row: FanOut) -> FanOutItem:
    """A fan-out as it is shown."""
    return FanOutItem(
        id=row.id,
        source=row.source,
        bot=session.get_one(Bot, row.bot_id).name,
        environment=row.environment,
        batch=row.rows_per_job or None,
        state=fan_outs.state(row),
        jobs=row.jobs,
        detail=row.detail or "",
        requested_at=row.requested_at,
        requested_by=row.requested_by,
        runner=row.runner,
        finished_at=row.finished_at,
    )
