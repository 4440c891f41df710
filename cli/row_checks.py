"""What `botkeep doctor` finds in rows of SQLite, which keeps anything anywhere: what is no id, time or document.

Every process refuses to read such a value; this says where it stands, as one of them judges that reads with the same
code. PostgreSQL takes none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cli import processes
from cli.finding import Finding
from cli.home import Home

#: Values that are named; who has more of them restores a backup.
NAMED = 10

#: Seconds for looking; a million jobs take some.
SECONDS = 20

_JUDGE = "console.row_findings"


def check_rows(home: Home, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Each value that no process can read; silent where there is no SQLite, which is said before."""
    url = environ.get("BOTKEEP_DATABASE_URL") or f"sqlite:///{home.database}"
    path = Path(url.removeprefix("sqlite:///"))
    if not url.startswith("sqlite:///") or not path.is_file():
        return
    answer, why = processes.answer_or_reason(_JUDGE, str(SECONDS), home=home.path, environ=environ)
    if not isinstance(answer, dict):
        mend = f"Correct that, or run `python -m {_JUDGE}` to see more."
        yield Finding("rows", "warn", f"The rows of {path} cannot be looked at. {why}".strip(), mend)
        return
    yield from _judged(answer["damaged"], answer["unseen"], path)


def _judged(damaged: list[dict[str, Any]], unseen: str, path: Path) -> Iterator[Finding]:
    for each in damaged[:NAMED]:
        mend = f"Stop Botkeep and correct it with `sqlite3 {path}`, or restore a backup."
        yield Finding("rows", "fail", f"{_place(each)}: changed by hand, or damaged.", mend)
    if len(damaged) > NAMED:
        yield Finding("rows", "fail", "More values like these stand in the database.", "Restore a backup.")
    elif unseen:
        mend = f"Run `python -m {_JUDGE}`, which looks at all of them."
        yield Finding("rows", "warn", f"{SECONDS} s were over in the table {unseen}: not all rows were seen.", mend)
    elif not damaged:
        yield Finding("rows", "ok", "Ids, times and documents can be read.")


def _place(damage: Mapping[str, Any]) -> str:
    """Where a value stands and what it is; never of a document, which may hold what a person typed."""
    is_what = f"no {damage['what']}" if damage["value"] is None else f"{damage['value']}, no {damage['what']}"
    return f"{damage['table']}.{damage['column']} of the row with rowid {damage['rowid']} is {is_what}"
