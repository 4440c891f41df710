"""What an editor or a disk put into SQLite, which keeps anything anywhere, is a sentence wherever it is read."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import JSON, Column, Table, select, text

from cli.home import Home
from cli.row_checks import check_rows
from scheduler.models import Flow  # the last of the models: it loads all
from tests.api import Api, error_of, serving
from tests.support import ROOT, Stores, clean_environment
from vault import db
from vault.direct import within
from vault.errors import DamagedRow
from vault.models import Id, UtcDateTime

pytestmark = pytest.mark.parametrize("stores", ["embedded"], indirect=True)

TABLES: list[Table] = Flow.metadata.sorted_tables


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as running:
        running.add_bot()
        running.run()
        yield running


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
                if junk == "7" and is_document(column):
                    continue  # a document, if not one of ours
                with pytest.raises(DamagedRow, match=r"changed by hand, or damaged: .* which belongs in its place"):
                    session.execute(select(column)).all()
                with pytest.raises(DamagedRow):
                    within(session)(select(column), {})
                seen += 1
        session.rollback()
    engine.dispose()
    assert seen > 100


def test_doctor_says_where_junk_stands(stores: Stores, api: Api) -> None:
    def found() -> list[tuple[str, str]]:
        return [(each.level, each.message) for each in check_rows(Home(Path("/nonexistent")), stores.environment)]

    api.set_value("SAP.PASSWORD", b"x7!Kq-live")
    assert found() == [("ok", "Ids, times and documents can be read.")]
    for column in ("jobs.id", "jobs.created_at", "jobs.parameters"):
        spoil(api, column)
    assert found() == [
        ("fail", f"jobs.{column} of the row with rowid 1 is 'ju<n>k', {what}: changed by hand, or damaged.")
        for column, what in (("id", "no id"), ("parameters", "no JSON document"), ("created_at", "no time"))
    ]


@pytest.mark.parametrize(
    "junk", ["'2026-13-01 00:00:00.000000'", "'2026-08-01'", "'now'", "7", "x'ff00'", "CAST(x'ff' AS TEXT)"]
)
def test_doctor_finds_what_is_nearly_a_time_and_stops_after_some(stores: Stores, api: Api, junk: str) -> None:
    for _ in range(12):
        api.run()
    spoil(api, "jobs.created_at", junk)
    found = list(check_rows(Home(Path("/nonexistent")), stores.environment))
    assert [each.level for each in found] == ["fail"] * 11
    assert found[-1].message == "More values like these stand in the database."


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
