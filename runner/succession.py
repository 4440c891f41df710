"""The end of a job and the claim of the next one in one transaction, which costs half of what two of them do.

Promises what `jobs.finish` and `jobs.claim` promise, each for itself: a fence that refuses the end keeps nobody from
the claim, and a lane without a job keeps no end back. On PostgreSQL the job that ends counts as running while the claim
is decided, so no limit is passed; and a next job that has one is left to `jobs.claim`.
"""

from __future__ import annotations

import uuid
from datetime import timedelta

from runner import jobs, statements
from runner.jobs import Claim, Report
from vault.direct import Direct


def finish_and_claim(
    direct: Direct,
    job_id: uuid.UUID,
    *,
    attempt: int,
    report: Report,
    environment: str,
    group: str,
    runner: str,
    lease: timedelta = jobs.LEASE,
) -> tuple[bool, Claim | None]:
    """End an attempt and its job, and take the next job of a lane.

    Answers whether the attempt was the running one, as `jobs.finish`, and the claim. Where that is `None`, `jobs.claim`
    may still find a job.

    Raises:
        Unavailable: when the database cannot be reached. Ending the job again is safe then; whether another one was
            taken is unknown, as after `jobs.claim`.
    """
    job = jobs.end_of_job(job_id, attempt, report, final=True)
    used = jobs.end_of_attempt(job_id, attempt, report)
    wanted = {"environment": environment, "group": group, "claimant": runner, "lease": lease.total_seconds()}
    if direct.dialect == "sqlite":
        with direct.transaction() as run:
            ended = bool(run(statements.FINISH, job))
            if ended:
                run(statements.END_ATTEMPT, used)
            return ended, jobs.begin(run, run(statements.CLAIM, wanted), runner=runner)
    (row,) = direct.write(statements.FINISH_AND_CLAIM, {**job, **used, **wanted})
    return row.ended is not None, None if row.id is None else jobs.claimed(row)
