"""What is going on now, for whoever opens the console: what runs, what failed lately, how much waits. Reads only.

Every question is one range of an index that history's lists have, so that a million jobs make no difference.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from runner import history
from runner.history import Entry
from runner.models import Job
from runner.narrowing import Filter
from runner.states import State

#: How far back a failure is shown.
LATELY = timedelta(days=1)

#: Failures are looked for among so many of the latest ones that were asked for.
_LOOKED_AT = 200


@dataclass(frozen=True, slots=True)
class Overview:
    """The jobs that run and those that failed lately, some of each, the newest first, and how many there are."""

    running: Sequence[Entry]
    running_count: int
    queued_count: int
    failed: Sequence[Entry]
    #: At most `_LOOKED_AT`; `failed_more` says that there are more.
    failed_count: int
    failed_more: bool


def overview(session: Session, *, workspace_id: uuid.UUID, now: datetime, shown: int = 8) -> Overview:
    """What goes on in a workspace, with at most `shown` jobs of each kind."""
    running = history.page(session, Filter(state=State.RUNNING), workspace_id=workspace_id, limit=shown)
    latest = history.page(session, Filter(state=State.FAILED), workspace_id=workspace_id, limit=_LOOKED_AT)
    failed = [entry for entry in latest.entries if (entry.job.finished_at or entry.job.created_at) > now - LATELY]
    return Overview(
        running=running.entries,
        running_count=_count(session, State.RUNNING, workspace_id=workspace_id),
        queued_count=_count(session, State.QUEUED, workspace_id=workspace_id),
        failed=failed[:shown],
        failed_count=len(failed),
        failed_more=len(failed) == _LOOKED_AT,
    )


def _count(session: Session, state: State, *, workspace_id: uuid.UUID) -> int:
    query = select(func.count()).select_from(Job).where(Job.workspace_id == workspace_id, Job.state == state)
    return session.scalar(query) or 0
