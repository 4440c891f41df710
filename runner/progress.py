"""How far a running bot says it is: the last thing it said, in its job's row.

Promises that it belongs to the attempt that is running: what an earlier one said is not shown, and what comes after
the end is not stored. It is a picture for people; nothing in Botkeep decides by it.
"""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from runner.errors import Conflict
from runner.models import Job
from runner.states import State
from vault import db

#: Characters of the text.
MAX_TEXT = 200


def tell(session: Session, job_id: uuid.UUID, *, attempt: int, fraction: float | None, text: str) -> None:
    """Store what the bot of a running attempt said; `fraction` is from 0 to 1, `text` is masked.

    Raises:
        Conflict: when the attempt is not the running one any more.
    """
    now = session.scalar(select(db.clock()))
    said = {
        "attempt": attempt,
        "fraction": fraction,
        "text": text.replace("\0", ""),
        "at": now.isoformat() if now else None,
    }
    changed = db.changes(
        session,
        update(Job)
        .where(Job.id == job_id, Job.state == State.RUNNING, Job.attempt == attempt)
        .values(progress=said)
        .execution_options(synchronize_session=False),
    )
    if not changed:
        raise Conflict("This attempt has ended, so how far it is was not kept.")


def of(job: Job) -> dict[str, Any] | None:
    """What the running attempt said last: `fraction`, `text`, `at`; `None` where it said nothing or has ended."""
    said = job.progress
    if said is None or job.state != State.RUNNING or said["attempt"] != job.attempt:
        return None
    return {key: said[key] for key in ("fraction", "text", "at")}
