"""What `botkeep doctor` finds in rows of SQLite, which keeps anything anywhere: what is no id, time or document.

Every process refuses to read such a value and quotes it; this says where it stands. PostgreSQL takes none.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

from cli.finding import Finding
from cli.home import Home

#: What is wrong with a column `{0}`, and what it should hold, by the type that migrations declare it with
#: (https://www.sqlite.org/lang_datefunc.html, https://www.sqlite.org/json1.html).
_WRONG = {
    "CHAR(32)": ("typeof({0}) <> 'text' OR length({0}) <> 32 OR {0} GLOB '*[^0-9A-Fa-f]*'", "no id"),
    "DATETIME": (
        "typeof({0}) <> 'text' OR {0} NOT GLOB '????-??-?? ??:??:??*' OR strftime('%s', {0}) IS NULL",
        "no time",
    ),
    "JSON": ("NOT json_valid({0})", "no JSON document"),
}

#: Values that are named; who has more of them restores a backup.
NAMED = 10

#: Characters of a value that are shown.
_SHOWN = 40


def check_rows(home: Home, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Each value that no process can read; silent where there is no SQLite, which is said before."""
    url = environ.get("BOTKEEP_DATABASE_URL") or f"sqlite:///{home.database}"
    path = Path(url.removeprefix("sqlite:///"))
    if not url.startswith("sqlite:///") or not path.is_file():
        return
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)) as database:
            database.text_factory = lambda stored: stored.decode(errors="replace")
            found = list(_wrong(database))
    except sqlite3.Error as error:
        yield Finding("rows", "warn", f"The rows of {path} cannot be looked at: {error}.")
        return
    for place in found[:NAMED]:
        mend = f"Stop Botkeep and correct it with `sqlite3 {path}`, or restore a backup."
        yield Finding("rows", "fail", f"{place}: changed by hand, or damaged.", mend)
    if len(found) > NAMED:
        yield Finding("rows", "fail", "More values like these stand in the database.", "Restore a backup.")
    if not found:
        yield Finding("rows", "ok", "Ids, times and documents can be read.")


def _wrong(database: sqlite3.Connection) -> Iterator[str]:
    left = NAMED + 1
    for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall():
        for _, column, kind, *_ in database.execute(f'PRAGMA table_info("{table}")').fetchall():
            if kind not in _WRONG or not left:
                continue
            condition, what = _WRONG[kind]
            named = f'"{column}"'
            rows = database.execute(
                f'SELECT rowid, CAST({named} AS TEXT) FROM "{table}" '  # noqa: S608 - names that the database itself told
                f"WHERE {named} IS NOT NULL AND ({condition.format(named)}) LIMIT {left}"
            ).fetchall()
            left -= len(rows)
            for row, stored in rows:
                shown = ascii(stored if len(stored) <= _SHOWN else f"{stored[:_SHOWN]}...")
                yield f"{table}.{column} of the row with rowid {row} is {shown}, {what}"
