"""Queued jobs that nobody can read, as an editor or a disk may leave them in SQLite, which keeps anything anywhere.

Who claims the next job of a lane would find the same one each time, and the jobs behind it would wait for ever.
"""

from __future__ import annotations

from sqlalchemy import bindparam, literal, or_, text, update

from runner.models import Job
from runner.saturation import QUEUED
from runner.states import Reason, State
from vault.db import clock
from vault.direct import Direct
from vault.models import Model

#: What a job is ended with whose row cannot be read.
SENTENCE = (
    "The row of this job in the database was changed by hand, or damaged, and cannot be read. `botkeep doctor` on the "
    "database's host says where; correct it and retry the job, or restore a backup."
)

_jobs = Model.metadata.tables[Job.__tablename__]
_NO_ID = "typeof({0}) <> 'text' OR length({0}) <> 32 OR {0} GLOB '*[^0-9A-Fa-f]*'"

#: Parameters: `environment`, `group`.
_REFUSE = (
    update(_jobs)
    .where(
        _jobs.c.state == QUEUED,
        _jobs.c.environment == bindparam("environment"),
        _jobs.c.group_name == bindparam("group"),
        or_(
            text("NOT json_valid(parameters)"),
            *(text(_NO_ID.format(name)) for name in ("id", "workspace_id", "bot_id", "version_id")),
        ),
    )
    .values(state=State.FAILED, reason=Reason.INTERNAL, detail=SENTENCE, finished_at=clock())
    .returning(literal(1).label("refused"))
)


def refuse(direct: Direct, *, environment: str, group: str) -> int:
    """End the queued jobs of a lane that cannot be read, and answer how many these were; none on PostgreSQL.

    Raises:
        Unavailable: when the database cannot be reached.
    """
    if direct.dialect != "sqlite":
        return 0
    return len(direct.write(_REFUSE, {"environment": environment, "group": group}))
