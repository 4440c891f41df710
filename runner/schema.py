"""Which schema this version of Botkeep needs, without loading what migrates it.

`python -m runner.schema REVISION` says of a database's revision what `botkeep doctor` shows, as JSON on one line.
"""

from __future__ import annotations

import json
import sys

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from runner.errors import Conflict

#: The newest revision in `runner/migrations/versions`; a test compares.
REVISION = "0022"


def problem(session: Session) -> str | None:
    """What keeps this version from using the database, with what to do about it; `None` when nothing does."""
    message, mend = judge(_found(session))
    return f"{message} {mend}" if mend else None


def require(session: Session) -> None:
    """Go on only with a database that has exactly the schema which this version needs.

    Raises:
        Conflict: with what to do about any other.
    """
    if (found := problem(session)) is not None:
        raise Conflict(found)


def refuse_newer(found: str | None) -> None:
    """Refuse a revision that no migration of this version leads from.

    Raises:
        Conflict: with what to do about it.
    """
    message, mend = judge(found or "")
    if found and not _is_older(found) and mend:
        raise Conflict(f"{message} {mend}")


def judge(found: str) -> tuple[str, str]:
    """What is to be said of a database with this revision, none where it has no tables, and what is to be done."""
    if found == REVISION:
        return f"The database is at schema {found}, which this version needs.", ""
    if not found:
        return "The database has no tables of Botkeep yet.", "Run: botkeep migrate"
    if _is_older(found):
        message = f"The database is at schema {found}, and this version of Botkeep needs {REVISION}."
        return message, "Stop the processes of the older version, make a backup, then run: botkeep migrate"
    message = f"The database is at schema {found}; this version of Botkeep needs {REVISION} and does not know that one."
    return message, "Start the newer version that made it; there is no way back but the backup from before."


def _is_older(found: str) -> bool:
    return found.isdecimal() and len(found) == len(REVISION) and found < REVISION


def _found(session: Session) -> str:
    try:
        return " and ".join(session.scalars(text("SELECT version_num FROM alembic_version ORDER BY 1")))
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        return ""


def main() -> None:
    message, mend = judge(sys.argv[1])
    sys.stdout.write(json.dumps({"level": "fail" if mend else "ok", "message": message, "mend": mend}) + "\n")


if __name__ == "__main__":
    main()
