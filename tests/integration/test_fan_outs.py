"""One job for each row of a data source, exactly once, also where those who make them die."""

import json
import sqlite3
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, update

from runner import fan_outs
from runner.models import Job
from runner.source_models import FanOut, FanOutBatch
from runner.worker.fanning import _checked
from scheduler import spreading
from tests.api import Api, serving
from tests.support import Stores, wait_until
from tests.system import System
from vault import db
from vault.db import clock

WORKS = "import botkeep, json\nprint(json.dumps(botkeep.parameters(), sort_keys=True))\n"


@pytest.fixture
def rows(system: System) -> Iterator[Path]:
    """A SQLite source `lines` of 25 rows, which the system's runner may read."""
    path = system.shared / f"{uuid.uuid4().hex}.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE lines (id int, word text)")
        connection.executemany("INSERT INTO lines VALUES (?, ?)", [(number, f"w{number}") for number in range(1, 26)])
    connection.close()
    definition = {"connection": f"sqlite:///{path}", "query": "SELECT id, word FROM lines ORDER BY id"}
    order = {"name": "lines", "kind": "sql", "definition": definition}
    policy = {"paths": [str(system.shared)]}
    assert system.client.patch("/api/v1/workspace/connections", json=policy).status_code == 200
    assert system.client.post("/api/v1/sources", json=order).status_code == 201
    yield path
    assert system.client.delete("/api/v1/sources/lines").status_code == 204
    path.unlink()


def fan_out(system: System, **order: object) -> dict[str, object]:
    answer = system.client.post("/api/v1/sources/lines/fan-outs", json={"bot": "works", **order})
    assert answer.status_code == 201, answer.text
    found = dict(answer.json())

    def ended() -> bool:
        found.update(system.client.get(f"/api/v1/sources/lines/fan-outs/{found['id']}").json())
        return found["state"] in {"done", "failed"}

    wait_until(ended, 40, "the fan-out to end")
    return found


def jobs_of(system: System, fan_out: dict[str, object]) -> list[dict[str, object]]:
    answer = system.client.get("/api/v1/jobs", params={"limit": 500, "bot": "works"})
    return [job for job in reversed(answer.json()["items"]) if job["cause"]["id"] == fan_out["id"]]


def test_each_row_or_each_batch_becomes_one_job(system: System, rows: Path) -> None:
    system.add_bot("works", WORKS)
    done = fan_out(system, parameters={"mode": "x"})
    assert (done["state"], done["jobs"]) == ("done", 25), done
    jobs = jobs_of(system, done)
    assert len(jobs) == 25
    job = system.wait_for(str(jobs[2]["id"]))
    assert job["parameters"] == {"mode": "x", "row": {"id": 3, "word": "w3"}}
    assert (job["cause"]["kind"], job["cause"]["name"], job["cause"]["id"]) == ("source", "lines", done["id"])
    assert json.loads(system.log(job["id"], "stdout")[0]) == job["parameters"]
    batched = fan_out(system, batch=10)
    assert (batched["state"], batched["jobs"]) == ("done", 3)
    last = system.job(str(jobs_of(system, batched)[-1]["id"]))
    assert [row["id"] for row in last["parameters"]["rows"]] == [21, 22, 23, 24, 25]


def test_a_source_that_cannot_be_read_starts_no_job_and_says_why(system: System, rows: Path) -> None:
    system.add_bot("works", WORKS)
    with sqlite3.connect(rows) as connection:
        connection.execute("UPDATE lines SET word = '{{ASSET.DB.PASSWORD}}' WHERE id = 20")
    connection.close()
    failed = fan_out(system)
    assert (failed["state"], failed["jobs"]) == ("failed", 0)
    assert "row 20 holds text that looks like a reference" in str(failed["detail"])
    assert jobs_of(system, failed) == []


def test_what_could_never_work_is_refused_at_once(system: System, rows: Path) -> None:
    system.add_bot("works", WORKS, toml='entry = "main.py"\n[parameters.other]\ndefault = "x"\n')
    post = system.client.post
    assert "no parameter 'row'" in post("/api/v1/sources/lines/fan-outs", json={"bot": "works"}).text
    assert post("/api/v1/sources/lines/fan-outs", json={"bot": "nobody"}).status_code == 404
    assert post("/api/v1/sources/lines/fan-outs", json={"bot": "works", "batch": 0}).status_code == 422
    assert post("/api/v1/sources/none/fan-outs", json={"bot": "works"}).status_code == 404


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as running:
        running.add_bot()
        definition = {"connection": f"sqlite:///{tmp_path}/x.db", "query": "SELECT 1"}
        order = {"name": "lines", "kind": "sql", "definition": definition}
        assert running.client.post("/api/v1/sources", json=order).status_code == 201
        yield running


def requested(api: Api) -> uuid.UUID:
    answer = api.client.post("/api/v1/sources/lines/fan-outs", json={"bot": "hello"})
    assert answer.status_code == 201, answer.text
    return uuid.UUID(answer.json()["id"])


def claimed(engine: Engine, fan_out_id: uuid.UUID, runner: str) -> fan_outs.Claim | None:
    with db.writing(engine) as session:
        return fan_outs.claim(session, fan_out_id, runner=runner)


def expire(engine: Engine) -> None:
    with db.writing(engine) as session:
        session.execute(update(FanOut).values(lease_expires_at=clock(-timedelta(seconds=1))))


def test_one_runner_reads_and_one_that_was_lost_delivers_nothing(api: Api) -> None:
    engine, wanted = api.console.engine, requested(api)
    first = claimed(engine, wanted, "one")
    assert first is not None
    assert claimed(engine, wanted, "two") is None
    expire(engine)
    second = claimed(engine, wanted, "two")
    assert second is not None
    with db.writing(engine) as session:
        assert not fan_outs.keep(session, first)
        assert not fan_outs.deliver(session, first, [{"id": 1}])
        assert not fan_outs.fail(session, first, "late")
        assert fan_outs.deliver(session, second, [{"id": 1}, {"id": 2}])
        assert not fan_outs.deliver(session, second, [{"id": 1}])
        assert len(session.scalars(select(FanOutBatch)).all()) == 2


def test_jobs_are_made_once_where_a_scheduler_dies_in_the_middle_or_another_works_beside_it(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, wanted = api.console.engine, requested(api)
    claim = claimed(engine, wanted, "one")
    assert claim is not None
    monkeypatch.setattr(fan_outs, "AT_ONCE", 2)
    with db.writing(engine) as session:
        fan_outs.deliver(session, claim, [{"id": number} for number in range(5)])
    with db.writing(engine) as session:
        assert len(fan_outs.start_some(session, wanted, now=datetime.now(UTC))[0]) == 2
    with pytest.raises(RuntimeError):
        die_before_the_commit(engine, wanted)
    assert spreading.start_jobs(engine, api.console.transport, now=lambda: datetime.now(UTC)) == 3
    assert spreading.start_jobs(engine, api.console.transport, now=lambda: datetime.now(UTC)) == 0
    with db.reading(engine) as session:
        found = session.scalars(select(Job.parameters).order_by(Job.id)).all()
        row = session.get_one(FanOut, wanted)
        assert (row.jobs, fan_outs.state(row)) == (5, "done")
    assert [each["row"]["id"] for each in found] == [0, 1, 2, 3, 4]


def die_before_the_commit(engine: Engine, wanted: uuid.UUID) -> None:
    with db.writing(engine) as session:
        assert len(fan_outs.start_some(session, wanted, now=datetime.now(UTC))[0]) == 2
        raise RuntimeError


def test_a_cancelled_fan_out_starts_nothing_more_and_its_jobs_are_cancelled(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, wanted = api.console.engine, requested(api)
    claim = claimed(engine, wanted, "one")
    assert claim is not None
    monkeypatch.setattr(fan_outs, "AT_ONCE", 3)
    with db.writing(engine) as session:
        fan_outs.deliver(session, claim, [{"id": number} for number in range(5)])
    with db.writing(engine) as session:
        started = [job_id for job_id, _ in fan_outs.start_some(session, wanted, now=datetime.now(UTC))[0]]
    other = api.run()["id"]
    done, runs = api.claim(str(started[0])), api.claim(str(started[1]))
    api.finish(done)
    place = f"/api/v1/sources/lines/fan-outs/{wanted}/cancellation"
    assert api.role("viewer").post(place).status_code == 403
    for _ in range(2):
        answer = api.client.post(place)
        assert (answer.status_code, answer.json()["state"], answer.json()["jobs"]) == (200, "cancelled", 3)
    assert spreading.start_jobs(engine, api.console.transport, now=lambda: datetime.now(UTC)) == 0
    spreading.end_lost(engine)
    with db.reading(engine) as session:
        assert session.scalars(select(FanOutBatch)).all() == []
        states = {job.id: (job.state, job.cancel_requested_by) for job in session.scalars(select(Job))}
    assert states == {
        started[0]: ("succeeded", None),
        runs.job_id: ("running", "root"),
        started[2]: ("cancelled", "root"),
        uuid.UUID(str(other)): ("queued", None),
    }
    unread = requested(api)
    claim = claimed(engine, unread, "one")
    assert claim is not None
    assert api.client.post(f"/api/v1/sources/lines/fan-outs/{unread}/cancellation").json()["state"] == "cancelled"
    with db.writing(engine) as session:
        assert not fan_outs.deliver(session, claim, [{"id": 1}]), "the runner that reads it finds it gone"


def test_a_fan_out_that_loses_its_runners_ends_with_a_sentence(api: Api) -> None:
    engine, wanted = api.console.engine, requested(api)
    for number in range(fan_outs.TRIES):
        assert claimed(engine, wanted, f"runner {number}") is not None
        expire(engine)
    assert claimed(engine, wanted, "another") is None
    spreading.end_lost(engine)
    found = api.client.get(f"/api/v1/sources/lines/fan-outs/{wanted}").json()
    assert (found["state"], "runners were lost" in found["detail"]) == ("failed", True)


def test_text_that_begins_a_reference_is_refused_wherever_it_stands() -> None:
    for row in ({"a": "{{ASSET.X"}, {"a": ["secret://DB/PASSWORD"]}, {"a": {"b": "{{ASSET.A.B}}"}}, {"a": "\0"}):
        with pytest.raises(Exception, match="row 1 holds"):
            _checked(dict(row), 1)
    assert _checked({"a": "{{name}}"}, 1) == {"a": "{{name}}"}
