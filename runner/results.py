"""Results: what a bot gave with `botkeep.output(key, value)`, masked by its runner before it comes here.

Promises that results belong to their attempt, so that a repeated one begins anew, and that those of a job are those
of its last attempt. Refuses what is too large: data belongs into files and data sources.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, exists, func, insert, select
from sqlalchemy.orm import Session

from runner.errors import Conflict, Invalid
from runner.flow_models import AttemptResult
from runner.models import Job
from runner.states import State
from vault.db import clock
from vault.names import shown

#: Bytes of one result as JSON, and of all results of an attempt.
MAX_RESULT, MAX_RESULTS = 64 * 1024, 256 * 1024

#: How many results an attempt may have.
MAX_COUNT = 100

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", re.ASCII)


def check_key(key: str) -> str:
    """Give `key` back when it can name a result.

    Raises:
        Invalid: otherwise.
    """
    if not _KEY.fullmatch(key):
        raise Invalid(
            f"A result's key is 1 to 64 ASCII letters, digits, hyphens or underscores, not a digit first; "
            f"{shown(key[:60])} is not."
        )
    return key


def size_of(value: object, *, limit: int = MAX_RESULT, what: str = "A result") -> int:
    """Bytes of a value as JSON.

    Raises:
        Invalid: for what no database stores, and for what is larger than `limit`.
    """
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise Invalid(f"{what} is not JSON: NaN, infinity and endless nesting have no form there.") from None
    if len(text) > limit:
        raise Invalid(f"{what} has {len(text):,} bytes as JSON; at most {limit:,} are taken. Write a file instead.")
    if "\\u0000" in text:
        raise Invalid(f"{what} holds a NUL character, which the database cannot store; remove it.")
    return len(text)


def give(session: Session, job_id: uuid.UUID, key: str, value: object, *, attempt: int) -> None:
    """Store a result of a running attempt; a second one of the same key replaces the first.

    Raises:
        Invalid: for a key or a value that cannot be stored.
        Conflict: when the attempt is not the running one any more.
    """
    check_key(key)
    size = size_of(value)
    held = exists().where(Job.id == job_id, Job.state == State.RUNNING, Job.attempt == attempt)
    if not session.scalar(select(held)):
        raise Conflict("This attempt has ended, so its result was not kept.")
    session.execute(
        delete(AttemptResult).where(
            AttemptResult.job_id == job_id, AttemptResult.attempt == attempt, AttemptResult.key == key
        )
    )
    count, total = session.execute(
        select(func.count(), func.coalesce(func.sum(AttemptResult.size), 0)).where(
            AttemptResult.job_id == job_id, AttemptResult.attempt == attempt
        )
    ).one()
    if count >= MAX_COUNT or total + size > MAX_RESULTS:
        raise Invalid(
            f"An attempt may have {MAX_COUNT} results and {MAX_RESULTS:,} bytes of them as JSON. Write a file instead."
        )
    session.execute(
        insert(AttemptResult).values(
            job_id=job_id, attempt=attempt, key=key, value={"is": value}, size=size, at=clock()
        )
    )


def of_jobs(session: Session, job_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, dict[str, Any]]:
    """The results of the last attempts of these jobs, by key."""
    found: dict[uuid.UUID, dict[str, Any]] = {job_id: {} for job_id in job_ids}
    if not found:
        return found
    rows = session.execute(
        select(AttemptResult.job_id, AttemptResult.key, AttemptResult.value)
        .join(Job, (Job.id == AttemptResult.job_id) & (Job.attempt == AttemptResult.attempt))
        .where(AttemptResult.job_id.in_(job_ids))
        .order_by(AttemptResult.at, AttemptResult.key)
    ).all()
    for job_id, key, value in rows:
        found[job_id][key] = value["is"]
    return found
