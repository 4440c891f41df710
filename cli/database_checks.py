"""What `botkeep doctor` finds out about the database: whether it can be used, and has this version's schema."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

from cli import processes
from cli.finding import Finding
from cli.home import OTHERS, Home

#: The oldest that will do: `RETURNING` in SQLite, and a PostgreSQL that is still maintained.
SQLITE_NEEDED, POSTGRESQL_NEEDED = (3, 35), 14

#: The schema of a database: one row, unless somebody put more there.
REVISIONS = "SELECT version_num FROM alembic_version ORDER BY 1"


def check_database(home: Home, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Whether the database can be reached and is new enough."""
    url = environ.get("BOTKEEP_DATABASE_URL", "")
    if url.startswith("postgresql"):
        yield _postgresql(url)
    elif url.startswith("sqlite:///"):
        yield _sqlite(Path(url.removeprefix("sqlite:///")))
    elif url:
        mend = "Use postgresql+psycopg://… or sqlite:///PATH."
        yield Finding("database", "fail", "BOTKEEP_DATABASE_URL names a database that is not supported.", mend)
    elif home.database.exists():
        yield _sqlite(home.database)
    else:
        yield Finding("database", "warn", "There is no database yet.", "Run `botkeep up`, or set BOTKEEP_DATABASE_URL.")


def _sqlite(path: Path) -> Finding:
    if sqlite3.sqlite_version_info < SQLITE_NEEDED:
        needed = ".".join(map(str, SQLITE_NEEDED))
        message = f"This Python has SQLite {sqlite3.sqlite_version}."
        return Finding("database", "fail", message, f"Use a Python with SQLite {needed} or newer.")
    try:
        with closing(_opened(path)) as database:
            (journal,) = database.execute("PRAGMA journal_mode").fetchone()
    except sqlite3.Error as error:
        return Finding("database", "fail", f"{path} cannot be opened: {error}.", "Check its owner and the disk.")
    if journal != "wal":
        mend = "Run `botkeep up` once; keep the file on a local disk."
        return Finding("database", "warn", f"{path} is not in WAL mode.", mend)
    if path.stat().st_mode & OTHERS:
        return Finding("database", "fail", f"{path} is open to others.", f"chmod 600 {path}")
    return Finding("database", "ok", f"SQLite {sqlite3.sqlite_version}, {path}, WAL.")


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)


def _plain(url: str) -> str:
    return "postgresql://" + url.partition("://")[2]


def _postgresql(url: str) -> Finding:
    import psycopg  # noqa: PLC0415 - only installations with PostgreSQL need it, and it takes long to import

    try:
        with psycopg.connect(_plain(url), connect_timeout=5) as database:
            version = database.info.server_version // 10_000
            encoding = database.info.parameter_status("server_encoding")
    except psycopg.Error as error:
        mend = "Check BOTKEEP_DATABASE_URL, the server and its pg_hba.conf."
        return Finding("database", "fail", f"PostgreSQL cannot be reached ({type(error).__name__}).", mend)
    if version < POSTGRESQL_NEEDED:
        return Finding("database", "fail", f"PostgreSQL {version}.", f"Upgrade to {POSTGRESQL_NEEDED} or newer.")
    if encoding != "UTF8":
        return Finding("database", "fail", f"PostgreSQL with encoding {encoding}.", "Create the database with UTF8.")
    return Finding("database", "ok", f"PostgreSQL {version}, UTF8.")


def check_schema(home: Home, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Whether the database has the schema of this version; nothing where it cannot be asked, which is said before."""
    url = environ.get("BOTKEEP_DATABASE_URL", "")
    file = Path(url.removeprefix("sqlite:///")) if url else home.database
    found = _revision_of_postgresql(url) if url.startswith("postgresql") else _revision_of_sqlite(file)
    if found is None:
        return
    judged = processes.answer_of("runner.schema", found, home=home.path, environ=environ)
    if isinstance(judged, dict):
        yield Finding("schema", judged["level"], judged["message"], judged["mend"])
    else:
        yield Finding("schema", "fail", "It cannot be compared.", "Run `python -m runner.schema 0`.")


def _revision_of_sqlite(path: Path) -> str | None:
    try:
        with closing(_opened(path)) as database:
            return " and ".join(name for (name,) in database.execute(REVISIONS))
    except sqlite3.Error as error:
        return "" if "no such table" in str(error) else None


def _revision_of_postgresql(url: str) -> str | None:
    import psycopg  # noqa: PLC0415 - as above

    try:
        with psycopg.connect(_plain(url), connect_timeout=5) as database:
            return " and ".join(str(name) for (name,) in database.execute(REVISIONS).fetchall())
    except psycopg.Error as error:
        return "" if isinstance(error, psycopg.errors.UndefinedTable) else None
