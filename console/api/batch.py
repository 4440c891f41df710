"""Many jobs by one request: all are queued, or none."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from console.api.jobs import Order, wanted
from console.deps import Allowed, Call
from runner import batches, orders, requests
from runner.batches import Queued
from runner.errors import Invalid, NotFound, RunnerError
from runner.jobs import Request
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


def _enqueue(call: Call, given: list[Order]) -> tuple[list[BatchItem], list[Queued]]:
    with call.writing() as session:
        asked: dict[int, Request] = {}
        known: dict[str, Version] = {}
        made: dict[int, uuid.UUID] = {}
        firsts: dict[str, int] = {}
        for place, one in enumerate(given):
            key = one.idempotency_key
            if key is not None and firsts.setdefault(key, place) != place:
                raise Invalid(f"jobs.{place}.idempotency_key: jobs.{firsts[key]} has the same one.")
            with _named(place):
                order = wanted(call, one)
            before = orders.former(session, one.bot, order)
            if before is not None:
                made[place] = before.job.id
                continue
            with _named(place):
                if one.bot not in known:
                    known[one.bot] = requests.newest(session, one.bot, workspace_id=call.workspace_id)
                asked[place] = requests.approve(session, known[one.bot], order)
        queued = batches.enqueue(session, list(asked.values()), now=call.now)
        made |= {place: job.id for place, job in zip(asked, queued, strict=True)}
        _record(session, call, queued)
    return [BatchItem(id=made[place], new=place in asked) for place in range(len(given))], queued


@contextmanager
def _named(place: int) -> Iterator[None]:
    """A refusal says which of the orders it is about."""
    try:
        yield
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
