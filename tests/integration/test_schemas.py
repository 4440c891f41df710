"""A database of another schema: nobody works on it, and everybody says what to do, as does `botkeep doctor`."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import text

from runner import migrate, schema
from tests import nursery
from tests.nursery import Program
from tests.services import Services
from tests.support import ROOT, Stores, clean_environment
from vault import db

OLDER, NEWER = "0020", "0999"

#: What would work on the database, and the schema that it is given; the sentences of both are the same for all.
PROCESSES = {
    "console": (NEWER, "console", "--port", "0"),
    "token": (OLDER, "console", "token", "--name", "first", "--role", "admin"),
    "link": (NEWER, "console", "link", "--name", "ann"),
    "scheduler": (OLDER, "scheduler"),
    "runner": (OLDER, "runner.worker", "--environment", "dev"),
}

SAID = {NEWER: "no way back but the backup", OLDER: "run: botkeep migrate"}


def run(stores: Stores, home: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    env = {**clean_environment(), **stores.environment, "BOTKEEP_HOME": str(home), "BOTKEEP_RUN_AS_ROOT": "true"}
    return nursery.run(Program(argv[0]), *argv[1:], env=env)


def change(stores: Stores, to: str) -> None:
    """Give the database the schema `to`: an older one by taking migrations back, a newer one in name."""
    engine = db.engine(stores.database_url)
    with db.writing(engine) as session:
        if to == OLDER:
            config = migrate._config()
            config.attributes["connection"] = session.connection()
            command.downgrade(config, to)
        else:
            session.execute(text("UPDATE alembic_version SET version_num = :to"), {"to": to})
    engine.dispose()


def revision(stores: Stores) -> str:
    engine = db.engine(stores.database_url)
    with db.reading(engine) as session:
        found = str(session.scalar(text("SELECT version_num FROM alembic_version")))
    engine.dispose()
    return found


def doctor(stores: Stores, home: Path) -> dict[str, str]:
    """What it says of the schema."""
    said = run(stores, home, "cli", "doctor", "--json").stdout
    (found,) = [finding for line in said.splitlines() if (finding := json.loads(line))["check"] == "schema"]
    return dict(found)


@pytest.mark.parametrize("process", PROCESSES)
def test_nobody_works_on_another_schema(stores: Stores, home: Path, process: str) -> None:
    given, *argv = PROCESSES[process]
    change(stores, given)
    done = run(stores, home, *argv)
    assert done.returncode == 5, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert f"is at schema {given}" in done.stderr
    assert schema.REVISION in done.stderr
    assert SAID[given] in done.stderr
    assert revision(stores) == given


@pytest.mark.parametrize("words", [("runner.migrate", "--help"), ("scheduler", "--help"), ("scheduler", "--unknown")])
def test_a_question_for_help_or_an_unknown_option_changes_and_starts_nothing(
    stores: Stores, home: Path, words: tuple[str, ...]
) -> None:
    change(stores, OLDER)
    done = run(stores, home, *words)
    assert done.returncode == (0 if "--help" in words else 2)
    assert "usage: python -m" in done.stdout + done.stderr
    assert revision(stores) == OLDER


def test_a_migration_answers_in_json_where_it_is_asked_to(stores: Stores, home: Path) -> None:
    assert json.loads(run(stores, home, "runner.migrate", "--json").stdout) == {"schema": schema.REVISION}


def test_what_a_newer_version_made_is_not_migrated(stores: Stores, home: Path) -> None:
    change(stores, NEWER)
    done = run(stores, home, "runner.migrate")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (5, "", 1), done.stderr
    assert "no way back but the backup" in done.stderr
    assert revision(stores) == NEWER


def test_doctor_knows_what_a_newer_version_made(stores: Stores, home: Path) -> None:
    change(stores, NEWER)
    found = doctor(stores, home)
    assert (found["level"], NEWER in found["message"]) == ("fail", True)
    assert found["mend"].endswith(f"there is {SAID[NEWER]} from before.")


def test_doctor_says_of_an_older_schema_what_mends_it(stores: Stores, home: Path) -> None:
    change(stores, OLDER)
    found = doctor(stores, home)
    assert (found["level"], OLDER in found["message"]) == ("fail", True)
    assert found["mend"].endswith(f"make a backup, then {SAID[OLDER]}")
    assert run(stores, home, "runner.migrate").returncode == 0
    assert doctor(stores, home)["level"] == "ok"


def test_doctor_knows_a_database_without_tables(empty_stores: Stores, home: Path) -> None:
    engine = db.engine(empty_stores.database_url)
    with db.writing(engine) as session:
        session.execute(text("CREATE TABLE of_somebody_else (x INTEGER)"))
    engine.dispose()
    found = doctor(empty_stores, home)
    assert (found["level"], found["mend"]) == ("fail", "Run: botkeep migrate")


@pytest.mark.parametrize(
    ("found", "mend"),
    [
        ("", "Run: botkeep migrate"),
        ("0001", "run: botkeep migrate"),
        (schema.REVISION, ""),
        (NEWER, "Start the newer version"),
        ("00200", "Start the newer version"),
        ("ae1027a6acf", "Start the newer version"),
        ("0020 and 0021", "Start the newer version"),
    ],
)
def test_a_revision_is_judged(found: str, mend: str) -> None:
    message, said = schema.judge(found)
    assert mend in said
    assert bool(said) == bool(mend)
    assert found in message


def test_up_leaves_what_a_newer_version_made_as_it_is(home: Path, services: Services) -> None:
    shutil.copyfile(services.migrated_sqlite(), home / "botkeep.db")
    (home / "botkeep.db").chmod(0o600)
    stores = Stores("embedded", f"sqlite:///{home / 'botkeep.db'}", "")
    change(stores, NEWER)
    env = {**clean_environment(), "BOTKEEP_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "cli", "up", "--port", "0"],
        cwd=ROOT, env=env, capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "no way back but the backup" in done.stderr
    assert "Traceback" not in done.stderr
    assert revision(stores) == NEWER
