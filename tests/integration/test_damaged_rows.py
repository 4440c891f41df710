"""What an editor or a disk put into SQLite, which keeps anything anywhere, is a sentence wherever it is read."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import JSON, Column, Table, inspect, select, text
from sqlalchemy.orm import Session

from cli import row_checks
from cli.home import Home
from cli.row_checks import check_rows
from console.row_findings import look
from scheduler.models import Flow  # the last of the models: it loads all
from tests.api import Api, error_of, serving
from tests.support import ROOT, Stores, clean_environment
from vault import db
from vault.direct import within
from vault.errors import DamagedRow
from vault.models import Id, UtcDateTime

pytestmark = pytest.mark.parametrize("stores", ["embedded"], indirect=True)

TABLES: list[Table] = Flow.metadata.sorted_tables

#: What stands where an id, a time or a document belongs; each may be one.
ODD = ("'junk'", "''", "7", "7.5", "x'00ff'", "x'7b7d'", "CAST(x'ff' AS TEXT)", "CAST(x'225cff22' AS TEXT)")
MOMENTS = (
    "2026-08-01 10:11:12.123456", "2026-08-01 10:11:12", "2026-08-01T10:11:12.123456", "2026-08-01", "20260801",
    "2026-02-28 23:59:59.999999", "2026-02-29 00:00:00.000000", "2024-02-29 00:00:00.000000", "2026-02-31 00:00:00",
    "2026-02-31 00:00:00.000000",
    "2026-02-01 24:00:00", "2026-02-01 24:00:00.000000", "2026-02-01 23:60:00.000000", "2026-13-01 00:00:00.000000",
    "2026-08-01 10:11:12.123456 ", " 2026-08-01 10:11:12", "0000-01-01 00:00:00.000000", "2026-08-01 10:11:12+02:00",
    "2026-08-01 10:11:12.123456Z", "now", "2026-08-00 10:11:12.123456", "2026-08-01 10:11:1\N{ARABIC-INDIC DIGIT TWO}",
)  # fmt: skip
IDS = (
    "0123456789abcdef0123456789abcdef", "0123456789ABCDEF0123456789abcdef", "01234567-89ab-cdef-0123-456789abcdef",
    "{0123456789abcdef0123456789abcdef}", "0123456789abcdef0123456789abcde", "0123456789abcdef0123456789abcdef ",
    "0123456789abcdef0123456789abcdeg", "0" * 32, "7" * 31 + "\N{ARABIC-INDIC DIGIT TWO}",
)  # fmt: skip
DOCUMENTS = (
    "{}", "[]", "null", "[1] ", '{"A": 1}', '{"A": "\u00e4"}', '{"A": NaN}', '{"A"', "{} {}",
    '{"A": "\t"}', "[" * 900 + "]" * 900, "[" * 100_000 + "]" * 100_000, "[" + "1" * 5000 + "]", "01", "true", "1e999",
)  # fmt: skip


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as running:
        running.add_bot()
        running.run()
        yield running


def doctor(stores: Stores) -> list[tuple[str, str]]:
    found = check_rows(Home(Path("/nonexistent")), stores.environment)
    return [(each.level, each.message) for each in found]


def is_document(column: Column[object]) -> bool:
    return isinstance(column.type, JSON)


def is_typed(column: Column[object]) -> bool:
    return isinstance(column.type, Id | UtcDateTime) or is_document(column)


@pytest.mark.parametrize("junk", ["'junk'", "7", "x'00ff'", "''"])
def test_junk_where_an_id_a_time_or_a_document_belongs_is_said_of_every_column(stores: Stores, junk: str) -> None:
    engine = db.engine(stores.database_url)
    seen = 0
    with db.writing(engine) as session:
        session.execute(text("PRAGMA defer_foreign_keys = ON"))
        for table in TABLES:
            session.execute(table.delete())
            columns = ", ".join(f'"{column.name}"' for column in table.columns)
            session.execute(
                text(f"INSERT INTO {table.name} ({columns}) VALUES ({', '.join([junk] * len(table.columns))})")
            )
            for column in filter(is_typed, table.columns):
                with pytest.raises(DamagedRow, match=r"changed by hand, or damaged: .* which belongs in its place"):
                    session.execute(select(column)).all()
                with pytest.raises(DamagedRow):
                    within(session)(select(column), {})
                seen += 1
        session.rollback()
    engine.dispose()
    assert seen > 100


def test_doctor_says_where_junk_stands_and_never_what_a_document_holds(stores: Stores, api: Api) -> None:
    api.set_value("SAP.PASSWORD", b"x7!Kq-live")
    assert doctor(stores) == [("ok", "Ids, times and documents can be read.")]
    for column in ("jobs.id", "jobs.created_at"):
        spoil(api, column)
    spoil(api, "jobs.parameters", '\'{"PASSWORD": "typed-by-hand\'')
    found = doctor(stores)
    assert found == [
        ("fail", f"jobs.{column} of the row with rowid 1 is {what}: changed by hand, or damaged.")
        for column, what in (
            ("id", "'ju<n>k', no id"),
            ("parameters", "no JSON document"),
            ("created_at", "'ju<n>k', no time"),
        )
    ]
    assert "typed" not in repr(found)


@pytest.mark.parametrize(
    ("column", "written"),
    [("jobs.workspace_id", IDS), ("jobs.created_at", MOMENTS), ("jobs.parameters", DOCUMENTS)],
    ids=["ids", "times", "documents"],
)
def test_damaged_is_what_a_process_cannot_read_and_nothing_else(
    stores: Stores, api: Api, column: str, written: Sequence[str]
) -> None:
    table, name = column.split(".")
    judged = {}
    for junk in (*ODD, *(f"'{one}'" for one in written)):
        spoil(api, column, junk)
        found, _ = look(stores.database_url, until=float("inf"))
        with db.reading(api.console.engine) as session:
            judged[junk] = (can_be_read(session, Flow.metadata.tables[table].columns[name]), not found)
    assert {junk for junk, (sound, said) in judged.items() if sound != said} == set()
    assert {said for _, said in judged.values()} == {True, False}


def can_be_read(session: Session, column: Column[object]) -> bool:
    try:
        with db.known_troubles():
            session.execute(select(column)).all()
    except DamagedRow:
        return False
    return True


def test_doctor_stops_after_some(stores: Stores, api: Api) -> None:
    for _ in range(12):
        api.run()
    spoil(api, "jobs.created_at")
    found = doctor(stores)
    assert [level for level, _ in found] == ["fail"] * 11
    assert found[-1][1] == "More values like these stand in the database."


def test_doctor_says_that_its_time_was_over(stores: Stores, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    assert api.url
    monkeypatch.setattr(row_checks, "SECONDS", -1)
    ((level, words),) = doctor(stores)
    assert (level, "not all rows were seen" in words) == ("warn", True)


def test_every_table_of_the_database_is_looked_at(stores: Stores) -> None:
    engine = db.engine(stores.database_url)
    there = set(inspect(engine).get_table_names()) - {"alembic_version"}
    engine.dispose()
    command = "import console.row_findings as f; print(*f.Model.metadata.tables)"
    done = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == there


def spoil(api: Api, column: str, junk: str = "'ju<n>k'") -> None:
    table, name = column.split(".")
    with api.console.engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.execute("PRAGMA foreign_keys = OFF")
        driver.execute(f"UPDATE {table} SET {name} = {junk}")
        driver.execute("PRAGMA foreign_keys = ON")


@pytest.mark.parametrize(
    ("column", "path", "page", "words"),
    [
        ("jobs.created_at", "jobs", "/history", ("job", "list")),
        ("jobs.id", "jobs", "/history", ("history",)),
        ("jobs.parameters", "jobs", "/history", ("job", "list")),
        ("bots.created_at", "bots", "/bots", ("bot", "list")),
    ],
)
def test_a_damaged_row_is_one_sentence_for_every_kind_of_caller(
    api: Api, home: Path, column: str, path: str, page: str, words: tuple[str, ...]
) -> None:
    spoil(api, column)
    answer = api.client.get(f"/api/v1/{path}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "damaged")
    quoted = column != "jobs.parameters"  # what was typed there is shown to nobody
    assert ("'ju<n>k' is not " in error_of(answer)) == quoted
    shown = api.client.get(page, headers={"Accept": "text/html"})
    assert (shown.status_code, "ju&lt;n&gt;k" in shown.text) == (500, quoted)
    env = {**clean_environment(), "BOTKEEP_HOME": str(home), "BOTKEEP_URL": api.url}
    env["BOTKEEP_TOKEN"] = str(api.client.headers["Authorization"]).removeprefix("Bearer ")
    command = [sys.executable, "-P", "-m", "cli", *words]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, "was changed by hand, or damaged" in done.stderr) == (1, True), done
    assert "Traceback" not in done.stderr
