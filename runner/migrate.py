"""`python -m runner.migrate`: bring the database to this version's schema; run by its owner.

All of it happens in one transaction: a migration that fails leaves the schema as it was. Running it again
does nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, text

from runner import schema, workspaces
from runner.errors import RunnerError
from runner.settings import StoreSettings
from vault import db
from vault.errors import Unavailable, VaultError
from vault.settings import load

#: The key of the advisory lock that keeps two migrations apart (any constant; "botkeep" in ASCII).
_LOCK = 0x626F746B656570


def migrate(engine: Engine, *, now: datetime) -> str:
    """Apply what is missing and make the default workspace; answers the schema's revision.

    Raises:
        Unavailable: when the database cannot be reached.
        Conflict: when a newer version made its schema; nothing is changed.
    """
    with db.writing(engine) as session:
        connection = session.connection()
        if connection.dialect.name == "postgresql":
            session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        schema.refuse_newer(revision(connection))
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        workspaces.ensure_default(session, now=now)
        return revision(connection) or ""


def revision(connection: Connection) -> str | None:
    """The schema revision that the database has, `None` before the first migration."""
    return MigrationContext.configure(connection).get_current_revision()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def main(argv: Sequence[str] | None = None) -> int:
    """Migrate the database that the settings name; prints its revision."""
    about = "Bring the database that BOTKEEP_DATABASE_URL or BOTKEEP_HOME names to this version's schema."
    parser = argparse.ArgumentParser(prog="python -m runner.migrate", description=about)
    parser.add_argument("--json", action="store_true", help="answer in JSON")
    options = parser.parse_args(argv)
    os.umask(0o077)  # a SQLite file is made here
    try:
        settings = load(StoreSettings)
        done = migrate(db.engine(settings.database()), now=datetime.now(UTC))
    except (RunnerError, VaultError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - the command's answer
        return 6 if isinstance(error, Unavailable) else 5
    answer = json.dumps({"schema": done}) if options.json else f"The database is at schema {done}."
    print(answer)  # noqa: T201 - the command's answer
    return 0


if __name__ == "__main__":
    sys.exit(main())
