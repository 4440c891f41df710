"""What firings started, as far as a runner may know it: jobs, and the runs of queues and workflows.

A runner moves files and marks messages when what they started is over. It may read how a run ended and which jobs were
made for it, and nothing else of it: so these are two bare tables, not the models of `scheduler.models`.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection

from sqlalchemy import String, column, select, table
from sqlalchemy.orm import Session

from vault.models import Id

#: Runs: their states are those of jobs, without `queued`.
RUNS = table("runs", column("id", Id()), column("state", String()), column("restart_of", Id()))

#: Which jobs were made for a run, or taken over by it from the run that it restarts.
TRIES = table("run_tries", column("run_id", Id()), column("job_id", Id()))


def runs_of(session: Session, job_ids: Collection[uuid.UUID]) -> list[uuid.UUID]:
    """The runs that these jobs belong to, and those that they restart."""
    found: list[uuid.UUID] = []
    waiting = list(session.scalars(select(TRIES.c.run_id).where(TRIES.c.job_id.in_(job_ids)).distinct()))
    while waiting:
        found += waiting
        before = select(RUNS.c.restart_of).where(RUNS.c.id.in_(waiting), RUNS.c.restart_of.is_not(None))
        waiting = [one for one in session.scalars(before) if one not in found]
    return found
