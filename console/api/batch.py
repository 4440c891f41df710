"""Many jobs by one request: all are queued, or none."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from console.api.jobs import Order, former
from console.deps import Allowed, Call
from runner import batches, requests
from runner.batches import Queued
from runner.errors import Invalid, NotFound, RunnerError
from runner.jobs import Cause, Priority, Request
from runner.requests import Version
from vault import audit
from vault.errors import VaultError

router = APIRouter(prefix="/api/v1/jobs/batch", tags=["jobs"])

#: Jobs of one request: some MB at most, and less than a second.
MOST = 1000


class BatchOrder(BaseModel):
    """The jobs that are asked for, each as for a single one."""

    model_config = ConfigDict(extra="forbid")

    jobs: Annotated[list[Order], Field(min_length=1, max_length=MOST)]


class BatchItem(BaseModel):
    """A job of the batch; `new` is false where its idempotency key had made it before."""

    id: uuid.UUID
    new: bool


class BatchAccepted(BaseModel):
    """The jobs in the order in which they were asked for."""

    items: list[BatchItem]


@router.post("", status_code=201, summary="Run many bots")
def enqueue(call: Allowed, order: BatchOrder) -> BatchAccepted:
    """Queue all of these jobs, or none; a repeated idempotency key answers the job that it made."""
    for environment in {one.environment for one in order.jobs}:
        call.require_environment(environment)
    try:
        items, queued = _enqueue(call, order.jobs)
    except IntegrityError:
        items, queued = _enqueue(call, order.jobs)  # another request used one of the keys a moment ago
    if queued and not batches.announce(call.console.transport, queued):
        with call.writing() as session:
            batches.not_announced(session, queued)
    return BatchAccepted(items=items)


def _enqueue(call: Call, orders: list[Order]) -> tuple[list[BatchItem], list[Queued]]:
    with call.writing() as session:
        wanted: dict[int, Request] = {}
        known: dict[str, Version] = {}
        made: dict[int, uuid.UUID] = {}
        firsts: dict[str, int] = {}
        for place, order in enumerate(orders):
            key = order.idempotency_key
            if key is not None and firsts.setdefault(key, place) != place:
                raise Invalid(f"jobs.{place}.idempotency_key: jobs.{firsts[key]} has the same one.")
            before = former(session, call, order)
            if before is not None:
                made[place] = before.job.id
            else:
                wanted[place] = _prepared(session, call, order, place=place, known=known)
        queued = batches.enqueue(session, list(wanted.values()), now=call.now)
        made |= {place: job.id for place, job in zip(wanted, queued, strict=True)}
        _record(session, call, queued)
    return [BatchItem(id=made[place], new=place in wanted) for place in range(len(orders))], queued


def _prepared(session: Session, call: Call, order: Order, *, place: int, known: dict[str, Version]) -> Request:
    try:
        if order.bot not in known:
            known[order.bot] = requests.newest(session, order.bot, workspace_id=call.workspace_id)
        return requests.prepare(
            session,
            known[order.bot],
            workspace_id=call.workspace_id,
            cause=Cause("api", call.caller.name),
            environment=order.environment,
            parameters=order.parameters,
            group=order.group,
            priority=Priority.of(order.priority),
            idempotency_key=order.idempotency_key,
        )
    except (RunnerError, VaultError) as error:
        kind = NotFound if isinstance(error, NotFound) else Invalid
        raise kind(f"jobs.{place}: {error}") from None


def _record(session: Session, call: Call, queued: list[Queued]) -> None:
    """One row for each environment, with the jobs' ids."""
    for environment in sorted({job.environment for job in queued}):
        ids = [str(job.id) for job in queued if job.environment == environment]
        audit.record(
            session,
            call.actor,
            workspace_id=call.workspace_id,
            action=call.action,
            target=f"{len(ids)} jobs of a batch",
            environment=environment,
            now=call.now,
            details={"first": ids[0], "last": ids[-1], "count": len(ids)},
        )
