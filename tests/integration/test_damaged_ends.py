"""What an editor or a disk did to one end, or to one completion trigger, in SQLite, holds up nothing else."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, text

from runner import jobs
from runner.models import Job
from scheduler import completion
from scheduler.damage import PATIENCE, readable
from tests.api import Api, serving
from tests.support import Stores
from vault import db
from vault.errors import DamagedRow

pytestmark = pytest.mark.parametrize("stores", ["embedded"], indirect=True)


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    """Two bots, each watched by a completion trigger that starts a third one."""
    with serving(stores, tmp_path) as running:
        for bot in ("first", "second", "next"):
            running.add_bot(bot)
        for bot in ("first", "second"):
            definition = {"bot": "next", "completion": {"bot": bot}, "parameters_from": {"JOB": "/id"}}
            answer = running.client.post("/api/v1/triggers", json={"name": f"after-{bot}", "definition": definition})
            assert answer.status_code == 201, answer.text
        yield running


def end_of_one(api: Api, bot: str) -> str:
    job = str(api.run(bot)["id"])
    while claim := jobs.claim(api.direct, environment="dev", group="default", runner="host"):
        api.finish(claim)
    return job


def spoil(api: Api, column: str, where: str = "TRUE", junk: str = "'{\"A'") -> None:
    table, name = column.split(".")
    with db.writing(api.console.engine) as session:
        session.execute(text("PRAGMA defer_foreign_keys = ON"))
        session.execute(text(f"UPDATE {table} SET {name} = {junk} WHERE {where}"))


def fire_ended(api: Api) -> int:
    return completion.fire_ended(api.console.engine, api.console.transport)


def followed(api: Api) -> list[str]:
    """The ends for which jobs were started, in their order."""
    with db.reading(api.console.engine) as session:
        started = select(Job.parameters).where(Job.cause_kind == "trigger").order_by(Job.id)
        return [parameters["JOB"] for parameters in session.scalars(started)]


@pytest.mark.parametrize(
    ("column", "junk"),
    [
        ("jobs.parameters", '\'{"PASSWORD": "x7!Kq\''),
        ("jobs.parameters", "CAST(x'7b22ff' AS TEXT)"),
        ("jobs.finished_at", "'no time'"),
    ],
)
def test_an_end_that_cannot_be_read_holds_up_no_other(
    api: Api, column: str, junk: str, capfd: pytest.CaptureFixture[str]
) -> None:
    ends = [end_of_one(api, "first")]
    spoiled = end_of_one(api, "first").replace("-", "")
    ends += [end_of_one(api, "first"), end_of_one(api, "second")]
    spoil(api, column, f"id = '{spoiled}'", junk)
    assert [fire_ended(api), fire_ended(api)] == [3, 0]
    assert sorted(followed(api)) == sorted(ends)
    ends.append(end_of_one(api, "first"))
    assert [fire_ended(api), fire_ended(api)] == [1, 0]
    assert followed(api)[-1] == ends[-1]
    assert "x7!Kq" not in "".join(capfd.readouterr())


def test_a_look_goes_on_behind_the_last_end_where_some_of_it_cannot_be_read(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completion, "BATCH", 2)
    ids = [end_of_one(api, "first") for _ in range(6)]
    for spoiled in (ids[0], ids[3]):
        spoil(api, "jobs.parameters", f"id = '{spoiled.replace('-', '')}'")
    assert fire_ended(api) == 4
    assert followed(api) == [ids[1], ids[2], ids[4], ids[5]]


@pytest.mark.parametrize("junk", ["'{\"A'", "'[]'", "'{\"completion\": 7}'"])
def test_a_trigger_that_cannot_be_read_holds_up_no_other(api: Api, junk: str) -> None:
    spoil(api, "triggers.definition", "name = 'after-first'", junk)
    end_of_one(api, "first")
    second = end_of_one(api, "second")
    assert [fire_ended(api), fire_ended(api)] == [1, 0]
    assert followed(api) == [second]


def test_a_trigger_whose_parameters_cannot_be_read_is_waited_for_and_holds_up_no_other(api: Api) -> None:
    spoil(api, "triggers.parameters", "name = 'after-first'")
    first, second = end_of_one(api, "first"), end_of_one(api, "second")
    assert [fire_ended(api), fire_ended(api)] == [1, 0]
    spoil(api, "triggers.parameters", "name = 'after-first'", "'{}'")
    assert [fire_ended(api), fire_ended(api)] == [1, 0]
    assert followed(api) == [second, first]


def test_damage_beyond_patience_stops_its_own_trigger_only(api: Api) -> None:
    end_of_one(api, "first")
    with db.writing(api.console.engine) as session:
        session.execute(text("CREATE TEMP TABLE copied AS SELECT * FROM jobs"))
        for number in range(PATIENCE + 20):
            session.execute(text("UPDATE copied SET id = :id"), {"id": f"{number:032x}"})
            session.execute(text("INSERT INTO jobs SELECT * FROM copied"))
        session.execute(text("DROP TABLE copied"))
    second = end_of_one(api, "second")
    spoil(api, "jobs.parameters", f"id < '{PATIENCE - 1:032x}'")
    with db.reading(api.console.engine) as session:
        ids = select(Job.id, Job.parameters).order_by(Job.id)
        found, passed_over = readable(session, ids, limit=30)
        assert ([row.id.int for row in found[:21]], passed_over) == (
            [*range(PATIENCE - 1, PATIENCE + 20)],
            PATIENCE - 1,
        )
    spoil(api, "jobs.parameters", f"id < '{PATIENCE + 1:032x}'")
    with db.reading(api.console.engine) as session, pytest.raises(DamagedRow, match="restore a backup"):
        readable(session, ids, limit=30)
    assert fire_ended(api) == 1
    assert followed(api) == [second]
