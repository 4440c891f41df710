"""Queues and workflows as what triggers start and wait for, and the environment that holds in the end."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.states import State
from runner.worker.folders import Folders
from scheduler import completion, due, pending
from tests.api import Api, error_of, serving
from tests.flow_api import FlowApi
from tests.support import Stores, wait_until
from vault import db

ITEMS = [{"bot": "hello"}]


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as running:
        running.add_bot()
        yield running


@pytest.fixture
def world(api: Api) -> FlowApi:
    return FlowApi(api)


def save_trigger(world: FlowApi, **definition: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    body = {"name": "t", "definition": {"schedule": {"every": "1h"}, **definition}}
    answer = world.api.client.post("/api/v1/triggers", json=body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def run_trigger(world: FlowApi, **order: object) -> dict[str, Any]:
    answer = world.api.client.post("/api/v1/triggers/t/runs", json=order)
    assert answer.status_code == 201, answer.text
    started = answer.json()["started"]
    world.tick()
    return world.run(started["id"])


@pytest.mark.parametrize(
    ("explicit", "trigger", "flow", "expected"),
    [
        (None, None, None, "dev"),
        (None, None, "staging", "staging"),
        (None, "prod", "staging", "prod"),
        ("dev", "prod", "staging", "dev"),
    ],
)
def test_explicit_goes_before_the_trigger_before_the_queue_before_dev(
    world: FlowApi, explicit: str | None, trigger: str | None, flow: str | None, expected: str
) -> None:
    world.save("queue", "q", {"items": ITEMS, **({"environment": flow} if flow else {})})
    save_trigger(world, queue="q", **({"environment": trigger} if trigger else {}))
    run = run_trigger(world, **({"environment": explicit} if explicit else {}))
    assert run["environment"] == expected
    assert (run["cause"]["kind"], run["cause"]["name"], run["requested_by"]) == ("trigger", "t", "root")


def test_a_trigger_follows_its_queue_to_another_environment(world: FlowApi) -> None:
    world.save("queue", "q", {"items": ITEMS})
    assert save_trigger(world, queue="q")["environment"] == "dev"
    world.save("queue", "q", {"items": ITEMS, "environment": "staging"})
    assert run_trigger(world)["environment"] == "staging"


def test_who_may_not_touch_prod_cannot_trigger_a_queue_of_prod(world: FlowApi) -> None:
    world.save("queue", "q", {"items": ITEMS, "environment": "prod"})
    definition = {"queue": "q", "schedule": {"every": "1h"}}
    limited = world.api.role("dev", "dev")
    answer = limited.post("/api/v1/triggers", json={"name": "t", "definition": definition})
    assert answer.status_code == 403, answer.text
    assert world.api.client.get("/api/v1/triggers/t").status_code == 404
    save_trigger(world, queue="q", environment="dev")
    assert limited.post("/api/v1/triggers/t/runs", json={}).status_code == 201


def test_a_schedule_starts_a_workflow_once(world: FlowApi) -> None:
    world.save("workflow", "w", {"steps": {"a": {"bot": "hello"}}})
    save_trigger(world, workflow="w", schedule={"every": "1s"})
    engine, transport = world.api.console.engine, world.api.console.transport

    def runs() -> list[dict[str, Any]]:
        due.fire_due(engine, transport)
        return list(world.api.client.get("/api/v1/workflows/w/runs").json()["items"])

    wait_until(runs, 20, "a run")
    world.api.client.put("/api/v1/triggers/t/pause")
    firings = world.api.client.get("/api/v1/triggers/t/firings").json()["items"]
    started = [firing["started"]["id"] for firing in firings if firing["started"]]
    assert sorted(started) == sorted(run["id"] for run in runs())


def test_the_end_of_a_queue_starts_a_workflow_once(world: FlowApi) -> None:
    world.save("queue", "q", {"items": ITEMS})
    world.save("workflow", "w", {"parameters": {"state": {"required": True}}, "steps": {"a": {"bot": "hello"}}})
    body = {"workflow": "w", "completion": {"queue": "q"}, "parameters_from": {"state": "/state"}}
    answer = world.api.client.post("/api/v1/triggers", json={"name": "after", "definition": body})
    assert answer.status_code == 201, answer.text
    run_id = world.start("queue", "q")
    world.do()
    for _ in range(3):
        completion.fire_ended(world.api.console.engine, world.api.console.transport)
    (run,) = world.api.client.get("/api/v1/workflows/w/runs").json()["items"]
    assert run["parameters"] == {"state": "succeeded"}
    assert world.run(run_id)["state"] == "succeeded"


def test_a_trigger_that_cancels_what_it_started_before_ends_that_run(world: FlowApi) -> None:
    world.save("queue", "q", {"items": ITEMS})
    save_trigger(world, queue="q", overlap="cancel_previous", schedule={"every": "1s"})
    first = run_trigger(world)["id"]
    engine, transport = world.api.console.engine, world.api.console.transport

    def cancelled() -> bool:
        due.fire_due(engine, transport)
        world.tick()
        return str(world.run(first)["state"]) == "cancelled"

    wait_until(cancelled, 20, "the first run to be cancelled")


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        ({"queue": "none"}, "queue: There is no queue 'none'"),
        ({"workflow": "q"}, "workflow: There is no workflow 'q'"),
        ({"queue": "q", "parameters": {"x": 1}}, "parameters: The queue has no parameter 'x'"),
        ({"queue": "q", "completion": {"workflow": "none"}, "schedule": None}, "There is no workflow"),
        ({"queue": "q", "completion": {"queue": "q"}, "schedule": None}, "would start itself again"),
    ],
)
def test_a_trigger_of_what_cannot_run_is_refused_by_its_field(
    world: FlowApi, definition: dict[str, Any], words: str
) -> None:
    world.save("queue", "q", {"items": ITEMS})
    body = {"schedule": {"every": "1h"}, **definition}
    body = {key: value for key, value in body.items() if value is not None}
    answer = world.api.client.post("/api/v1/triggers", json={"name": "t", "definition": body})
    assert answer.status_code in {404, 422}, answer.text
    assert words in error_of(answer)
    assert world.api.client.get("/api/v1/runs").json()["items"] == []


@pytest.mark.parametrize(("state", "place"), [(State.SUCCEEDED, "done"), (State.FAILED, "failed")])
def test_a_file_starts_a_run_and_moves_when_that_has_ended(
    world: FlowApi, tmp_path: Path, state: State, place: str
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.csv").write_text("1\n")
    world.save("queue", "q", {"items": [*ITEMS, {"bot": "hello", "name": "second"}]})
    definition = {"queue": "q", "file": {"folder": str(folder)}}
    assert world.api.client.post("/api/v1/triggers", json={"name": "t", "definition": definition}).status_code == 201
    engine = world.api.console.engine
    watcher = Folders(engine, environments=("dev",), groups=("default",), allowed=[folder])
    for now in (0.0, 3.0):
        watcher.look(now=now)
    with db.writing(engine) as session:
        assert [one.state for one in pending.decide_batch(session)] == ["started"]
    world.tick()
    world.do()
    watcher.look(now=6.0)
    assert (folder / "a.csv").exists(), "the first of two jobs is no end"
    world.do(state)
    watcher.look(now=9.0)
    assert [path.name for path in (folder / place).iterdir()] == ["a.csv"]


def test_a_run_of_which_a_step_could_not_start_is_refused_and_the_grid_says_so(world: FlowApi) -> None:
    client = world.api.client
    assert client.put("/api/v1/environments/prod", json={"unset": "refuse"}).status_code == 200
    world.api.add_bot("plain", **{"bot.toml": 'assets = ["NONE.*"]\n'})
    world.api.add_bot("uses", **{"bot.toml": 'assets = ["DB.URL"]\n'})
    world.api.set_value("DB.URL", b"a-long-address", "dev")
    steps = {"first": {"bot": "plain"}, "second": {"bot": "uses", "after": "first"}}
    world.save("workflow", "w", {"steps": steps})
    world.save("queue", "q", {"items": [{"bot": "uses"}]})
    answer = client.post("/api/v1/workflows/w/runs", json={"environment": "prod"})
    assert answer.status_code == 422
    assert "steps.second: No value is set in prod for DB.URL" in error_of(answer)
    assert world.refused("workflow", {"environment": "prod", "steps": steps}).startswith("steps.second.bot: No value")
    body = {"name": "t", "definition": {"workflow": "w", "environment": "prod", "schedule": {"every": "1h"}}}
    assert "workflow: steps.second: No value" in error_of(client.post("/api/v1/triggers", json=body))
    (line,) = client.get("/api/v1/coverage/refusals", params={"bot": "uses"}).json()["items"]
    assert (line["bot"], line["environment"], line["used_by"]) == ("uses", "prod", ["queue q", "workflow w"])
    world.api.set_value("DB.URL", b"a-long-address", "prod")
    assert client.post("/api/v1/workflows/w/runs", json={"environment": "prod"}).status_code == 201


def test_a_reference_that_a_parameter_of_a_run_brings_into_a_step_is_checked(world: FlowApi) -> None:
    step = {"bot": "hello", "parameters": {"login": "{{RUN.login}}"}}
    world.save("workflow", "w", {"parameters": {"login": {"required": True}}, "steps": {"a": step}})
    order = {"parameters": {"login": "{{ASSET.DB.URL}}"}}
    answer = world.api.client.post("/api/v1/workflows/w/runs", json=order)
    assert answer.status_code == 422
    assert "steps.a: The reference {{ASSET.DB.URL}} names the asset DB.URL, which does not exist" in error_of(answer)
    world.api.set_value("DB.URL", b"a-long-address", "dev")
    assert world.api.client.post("/api/v1/workflows/w/runs", json=order).status_code == 201
