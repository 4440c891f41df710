"""Which schema this version of Botkeep needs, without loading what migrates it."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

#: The newest revision in `runner/migrations/versions`; a test compares.
REVISION = "0021"


def is_current(session: Session) -> bool:
    """Whether the database has exactly the schema that this version needs; false for an empty database."""
    try:
        with session.begin_nested():
            found = session.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        return False
    return found == REVISION
