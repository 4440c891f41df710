"""Records (firings, runs, results, work items) go by age, a dry run says which, and nothing goes that is needed."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from runner import arrivals
from runner.flow_models import AttemptResult, WorkItem
from runner.models import Job
from runner.states import State
from runner.triggers import Firing, Trigger
from scheduler import records
from scheduler.models import Approval, Run, RunTry
from scheduler.pruner import Pruner
from tests.api import Api, serving
from tests.flow_api import FlowApi
from tests.support import Stores
from vault import db
from vault.models import Model

#: After every id that a test makes.
LATER = uuid.UUID(int=(1 << 128) - 1)


@pytest.fixture
def world(stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FlowApi]:
    monkeypatch.setattr(records, "first_id", lambda _at: LATER)
    with serving(stores, tmp_path) as api:
        api.add_bot()
        yield FlowApi(api)


def age(api: Api, *columns: tuple[type[Model], str], days: int = 1000) -> None:
    """Let rows look as if they had ended so long ago."""
    at = datetime.now(UTC) - timedelta(days=days)
    with db.writing(api.console.engine) as session:
        for model, name in columns:
            column = getattr(model, name)
            session.execute(update(model).where(column.is_not(None)).values({name: at}))


def counts(api: Api) -> dict[str, int]:
    tables = {"firings": Firing, "runs": Run, "results": AttemptResult, "items": WorkItem, "approvals": Approval}
    with db.reading(api.console.engine) as session:
        return {name: session.scalar(select(func.count()).select_from(table)) or 0 for name, table in tables.items()}


def due(api: Api) -> dict[str, int]:
    answer = api.client.get("/api/v1/retention/records")
    assert answer.status_code == 200, answer.text
    return {item["kind"]: item["due"] for item in answer.json()["items"] if item["due"]}


def prune(api: Api) -> None:
    made = Pruner(api.console.engine, api.console.store, every=0.0)
    made.check()
    while made._left or made._records:
        made.check()


def test_what_ended_long_ago_goes_and_what_goes_on_stays(world: FlowApi) -> None:
    api = world.api
    asks = {"a": {"bot": "hello"}, "ask": {"after": "a", "approval": {"environments": ["dev"]}}}
    world.save("workflow", "w", {"steps": {"a": {"bot": "hello"}}})
    world.save("workflow", "asks", {"steps": asks})
    trigger = {"name": "t", "definition": {"workflow": "w", "schedule": {"every": "1h"}}}
    assert api.client.post("/api/v1/triggers", json=trigger).status_code == 201
    started = api.client.post("/api/v1/triggers/t/runs", json={}).json()["started"]["id"]
    world.tick()
    world.do(give={"n": 1})
    waiting = world.start("workflow", "asks")
    world.do(give={"n": 2})
    assert world.run(started)["state"] == "succeeded"
    assert api.client.post("/api/v1/triggers/t/runs", json={}).json()["state"] == "started"
    for reference in ("done", "left"):
        body = {"tray": "t", "data": {"n": 1}, "reference": reference}
        assert api.client.post("/api/v1/work-items", json=body).status_code == 201
    with db.writing(api.console.engine) as session:
        session.execute(
            update(WorkItem).where(WorkItem.reference == "done").values(state="done", finished_at=datetime.now(UTC))
        )
    assert due(api) == {}, "nothing is old"
    age(api, (Firing, "created_at"), (Run, "finished_at"), (Job, "finished_at"), (WorkItem, "finished_at"))
    assert due(api) == {"firings": 1, "runs": 1, "results": 1, "items": 1}
    prune(api)
    assert due(api) == {}
    left = counts(api)
    assert left == {"firings": 1, "runs": 2, "results": 1, "items": 1, "approvals": 1}
    assert world.run(waiting)["state"] == "running"
    with db.reading(api.console.engine) as session:
        assert session.scalars(select(RunTry.run_id).where(RunTry.run_id == uuid.UUID(started))).all() == []
    assert api.client.get("/api/v1/jobs").json()["items"], "jobs stay"


def test_a_file_that_was_not_moved_away_keeps_its_firing(world: FlowApi, tmp_path: Path) -> None:
    definition = {"bot": "hello", "file": {"folder": str(tmp_path)}}
    world.api.client.post("/api/v1/triggers", json={"name": "t", "definition": definition})
    with db.writing(world.api.console.engine) as session:
        trigger_id = session.scalars(select(Trigger.id)).one()
        assert arrivals.arrive(session, trigger_id, "file:a", event={})
        session.execute(update(Firing).values(state="skipped"))
    age(world.api, (Firing, "created_at"))
    assert due(world.api) == {}
    with db.writing(world.api.console.engine) as session:
        arrivals.moved(session, trigger_id, "file:a")
    assert due(world.api) == {"firings": 1}


def test_a_run_stays_while_its_restart_does(world: FlowApi) -> None:
    world.save("queue", "q", {"items": [{"bot": "hello"}]})
    first = world.start("queue", "q")
    world.do(State.FAILED)
    again = world.api.client.post(f"/api/v1/runs/{first}/restart", json={})
    assert again.status_code == 201
    age(world.api, (Run, "finished_at"))
    assert due(world.api) == {}
    world.tick()
    world.do()
    age(world.api, (Run, "finished_at"))
    prune(world.api)
    prune(world.api)
    assert counts(world.api)["runs"] == 0


def test_an_age_is_decided_for_each_kind(world: FlowApi) -> None:
    client = world.api.client
    assert client.put("/api/v1/retention/records/runs", json={"age": "2d"}).json()["age"] == "2d"
    listed = {item["kind"]: item for item in client.get("/api/v1/retention/records").json()["items"]}
    assert {kind: item["age"] for kind, item in listed.items()} == {
        "dead": "365d",
        "firings": "90d",
        "items": "90d",
        "results": "90d",
        "runs": "2d",
    }
    assert listed["runs"]["set_by"] == "root"
    assert client.put("/api/v1/retention/records/runs", json={"age": "forever"}).json()["age"] == "forever"
    assert client.put("/api/v1/retention/records/runs", json={"age": "default"}).json()["set_by"] is None
    assert client.put("/api/v1/retention/records/runs", json={"age": "soon"}).status_code == 422
    assert client.put("/api/v1/retention/records/jobs", json={"age": "1d"}).status_code == 404
    assert world.api.role("operator").put("/api/v1/retention/records/runs", json={"age": "1d"}).status_code == 403
