"""What the audit says of jobs that nobody asked for by hand: those of triggers, runs and fan-outs."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy.orm import Session

from runner.jobs import Request
from vault import audit
from vault.audit import Actor
from vault.models import ACTOR_LENGTH


def record(session: Session, started: Iterable[tuple[uuid.UUID, Request]], *, now: datetime) -> None:
    """One row for each job, in the transaction that makes it; the actor is what started it."""
    audit.record_all(
        session,
        [
            audit.Deed(
                Actor(f"{request.cause.kind} {request.cause.name}"[:ACTOR_LENGTH]),
                workspace_id=request.workspace_id,
                action="job.enqueued",
                target=f"job {job_id}",
                environment=request.environment,
                details={"cause": request.cause.id} if request.cause.id else {},
            )
            for job_id, request in started
        ],
        now=now,
    )
