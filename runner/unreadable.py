"""Queued jobs that nobody can read, as an editor or a disk may leave them in SQLite, which keeps anything anywhere.

Who claims the next job of a lane would find the same one each time, and the jobs behind it would wait for ever.
Promises to end no job that a claim could read.
"""

from __future__ import annotations

from collections.abc import Mapping

from runner import statements
from runner.states import Reason, State
from vault import db
from vault.direct import Direct, Run
from vault.errors import DamagedRow

#: What a job is ended with whose row cannot be read.
SENTENCE = (
    "The row of this job in the database was changed by hand, or damaged, and cannot be read. `botkeep doctor` on the "
    "database's host says where; correct it and retry the job, or restore a backup."
)


def refuse(direct: Direct, *, environment: str, group: str) -> bool:
    """End the next job of a lane if it cannot be read, and answer whether that was so; never on PostgreSQL.

    Raises:
        Unavailable: when the database cannot be reached.
    """
    if direct.dialect != "sqlite":
        return False
    with direct.transaction() as run:
        wanted = {"environment": environment, "group": group}
        found = run(statements.NEXT_ROW, wanted)
        if not found or _is_readable(run, {**wanted, "row": found[0].row}):
            return False
        end = {"end": State.FAILED, "why": Reason.INTERNAL, "words": SENTENCE}
        run(statements.REFUSE, {"row": found[0].row, **end})
        return True


def _is_readable(run: Run, place: Mapping[str, object]) -> bool:
    try:
        run(statements.CLAIMABLE_ROW, place)
    except Exception as error:
        if isinstance(error if isinstance(error, DamagedRow) else db.trouble(error), DamagedRow):
            return False
        raise
    return True
