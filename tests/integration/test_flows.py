"""Queues and workflows over the API: saved, run, paused, cancelled, restarted, and advanced by whoever looks."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from runner import jobs
from runner.states import State
from scheduler.advancing import Advancer
from scheduler.models import Approval, Run, RunTry
from tests.api import Api, error_of, serving
from tests.flow_api import FlowApi
from tests.support import Stores
from vault import db
from vault.db import clock

TOML = "[parameters.month]\nrequired = true\n"
QUEUE = {"items": [{"bot": "hello"}, {"bot": "hello", "name": "second"}]}
GRAPH = {
    "parameters": {"month": {"default": "2026-08"}},
    "steps": {
        "fetch": {"bot": "hello", "parameters": {"month": "{{RUN.month}}"}},
        "each": {
            "bot": "hello",
            "after": "fetch",
            "each": "{{STEP.fetch.rows}}",
            "parameters": {"row": "{{ITEM}}"},
        },
        "release": {"after": "each", "approval": {"question": "Book?"}},
        "book": {"bot": "hello", "after": "release", "parameters": {"rows": "{{STEP.each.done}}"}},
    },
}


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as running:
        running.add_bot()
        running.add_bot("strict", **{"bot.toml": TOML})
        yield running


@pytest.fixture
def world(api: Api) -> FlowApi:
    return FlowApi(api)


def test_a_queue_runs_its_items_in_order_and_says_how_it_ended(world: FlowApi) -> None:
    assert world.save("queue", "month-end", QUEUE)["version"] == 1
    run_id = world.start("queue", "month-end")
    assert world.steps(run_id) == {"hello": "queued", "second": "waiting"}
    world.do()
    assert world.steps(run_id) == {"hello": "succeeded", "second": "queued"}
    world.do()
    run = world.run(run_id)
    assert (run["state"], run["environment"], run["requested_by"]) == ("succeeded", "dev", "root")
    assert run["finished_at"] is not None
    assert world.claim() is None
    first = world.api.client.get("/api/v1/jobs").json()["items"][0]
    assert (first["cause"]["kind"], first["cause"]["name"], first["cause"]["id"]) == ("queue", "month-end", run_id)


def test_looking_again_and_again_changes_nothing(world: FlowApi) -> None:
    world.save("queue", "q", QUEUE)
    run_id = world.start("queue", "q")
    for _ in range(3):
        world.advancer.look(world.api.workspace_id)
        world.tick()
    assert world.jobs_of(run_id) == [("hello", 0, 1)]


def test_many_who_look_at_once_make_each_job_once(world: FlowApi) -> None:
    world.save("queue", "q", {"items": [{"bot": "hello", "parallel": True} for _ in range(5)]})
    answer = world.api.client.post("/api/v1/queues/q/runs", json={})
    run_id = answer.json()["id"]
    others = [Advancer(world.api.console.engine, world.api.console.transport) for _ in range(5)]
    threads = [threading.Thread(target=other.look_at_due) for other in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(world.jobs_of(run_id)) == 5
    assert len(world.api.client.get("/api/v1/jobs").json()["items"]) == 5


def test_a_saved_change_is_a_version_and_a_run_keeps_its_own(world: FlowApi) -> None:
    world.save("queue", "q", QUEUE)
    run_id = world.start("queue", "q")
    assert world.save("queue", "q", QUEUE, status=200)["new"] is False
    assert world.save("queue", "q", {"items": [{"bot": "hello"}]})["version"] == 2
    world.do()
    world.do()
    run = world.run(run_id)
    assert (run["version"], run["state"], len(run["steps"])) == (1, "succeeded", 2)


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        ({"items": [{"bot": "helo"}]}, "items.0.bot: There is no bot 'helo'"),
        ({"items": [{"bot": "strict"}]}, "items.0.parameters: The bot needs the parameter 'month'"),
        ({"items": [{"bot": "strict", "parameters": {"month": 1, "x": 1}}]}, "no parameter 'x'"),
        ({"items": [{"bot": "hello", "parameters": {"x": "secret://NO/SUCH"}}]}, "items.0.parameters: The reference"),
        ({"items": [{"bot": "hello"}], "environment": "live"}, "environment: it must be one of"),
    ],
)
def test_a_queue_that_could_not_run_is_refused_by_its_field(
    world: FlowApi, definition: dict[str, object], words: str
) -> None:
    assert words in world.refused("queue", definition)


def test_a_workflow_that_could_not_run_is_refused_by_its_field(world: FlowApi) -> None:
    ring = {"a": {"bot": "hello", "after": "b"}, "b": {"bot": "hello", "after": "a"}}
    assert "steps.a.after: it waits for itself" in world.refused("workflow", {"steps": ring})
    assert "there is no step 'c'" in world.refused("workflow", {"steps": {"a": {"bot": "hello", "after": "c"}}})
    assert "steps.a.bot: There is no bot" in world.refused("workflow", {"steps": {"a": {"bot": "x"}}})


def test_who_may_not_touch_prod_saves_and_runs_nothing_there(world: FlowApi) -> None:
    limited = world.api.role("dev", "dev", "staging")
    prod = {**QUEUE, "environment": "prod"}
    answer = limited.post("/api/v1/queues", params={"name": "q"}, json=prod)
    assert answer.status_code == 403
    assert "`environment`" in error_of(answer)
    world.save("queue", "q", prod)
    for order in ({}, {"environment": "prod"}):
        assert limited.post("/api/v1/queues/q/runs", json=order).status_code == 403
    assert limited.post("/api/v1/queues/q/runs", json={"environment": "staging"}).status_code == 201
    assert limited.post("/api/v1/queues", params={"name": "q"}, json=QUEUE).status_code == 403, (
        "it takes it out of prod"
    )
    assert limited.put("/api/v1/queues/q/pause").status_code == 403
    assert limited.delete("/api/v1/queues/q").status_code == 403
    assert world.api.client.post("/api/v1/queues/q/runs", json={}).json()["environment"] == "prod"


def test_parameters_are_checked_when_a_run_is_asked_for(world: FlowApi) -> None:
    item = {"bot": "strict", "parameters": {"month": "{{RUN.month}}"}}
    world.save("queue", "q", {"parameters": {"month": {"required": True}}, "items": [item]})
    missing = world.api.client.post("/api/v1/queues/q/runs", json={})
    assert "The queue needs the parameter 'month'" in error_of(missing)
    unknown = world.api.client.post("/api/v1/queues/q/runs", json={"parameters": {"month": 1, "year": 2}})
    assert "The queue has no parameter 'year'" in error_of(unknown)
    world.start("queue", "q", parameters={"month": 8})
    assert world.parameters(world.do().job_id) == {"month": 8}


def test_an_idempotency_key_makes_one_run(world: FlowApi) -> None:
    world.save("queue", "q", QUEUE)
    order = {"idempotency_key": "k"}
    answers = [world.api.client.post("/api/v1/queues/q/runs", json=order) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 200]
    assert answers[0].json()["id"] == answers[1].json()["id"]
    other = world.api.client.post("/api/v1/queues/q/runs", json={**order, "environment": "prod"})
    assert other.status_code == 409


def test_a_workflow_fans_out_asks_and_hands_results_on(world: FlowApi) -> None:
    world.save("workflow", "w", GRAPH)
    run_id = world.start("workflow", "w", environment="prod")
    world.do(environment="prod", give={"rows": ["a", "b"]})
    assert world.jobs_of(run_id)[1:] == [("each", 0, 1), ("each", 1, 1)]
    done = [world.do(environment="prod", give={"done": place}) for place in range(2)]
    assert [world.parameters(claim.job_id)["row"] for claim in done] == ["a", "b"]
    assert world.steps(run_id)["release"] == "approval"
    path = f"/api/v1/runs/{run_id}/approvals/release"
    own = world.api.client.put(path, json={"decision": "allow"})
    assert (own.status_code, "asked for this run" in error_of(own)) == (403, True)
    assert world.api.role("viewer").put(path, json={"decision": "allow"}).status_code == 403
    assert world.api.role("operator", "dev").put(path, json={"decision": "allow"}).status_code == 403
    other = world.api.as_token(world.api.token("operator", name="ann"))
    assert other.put(path, json={"decision": "allow", "comment": "fine"}).status_code == 200
    assert other.put(path, json={"decision": "allow"}).status_code == 200
    assert other.put(path, json={"decision": "refuse"}).status_code == 409
    world.tick()
    assert world.steps(run_id)["book"] == "queued"
    assert world.parameters(world.do(environment="prod").job_id) == {"rows": [0, 1]}
    run = world.run(run_id)
    assert run["state"] == "succeeded"
    assert run["steps"][2]["approval"]["answered_by"] == "ann"
    assert {row["action"] for row in world.api.audit()} >= {"workflow.added", "run.started", "run.answered"}


def test_an_approval_that_expired_cannot_be_answered_and_fails_the_run(world: FlowApi) -> None:
    steps = {"ask": {"approval": {"expires": "1h"}}, "book": {"bot": "hello", "after": "ask"}}
    world.save("workflow", "w", {"steps": steps})
    run_id = world.start("workflow", "w", environment="prod")
    with db.writing(world.api.console.engine) as session:
        session.execute(update(Approval).values(expires_at=clock()))
        session.execute(update(Run).values(look_at=clock()))
    other = world.api.role("operator")
    answer = other.put(f"/api/v1/runs/{run_id}/approvals/ask", json={"decision": "allow"})
    assert answer.status_code == 409
    world.tick()
    run = world.run(run_id)
    assert (run["state"], run["steps"][0]["reason"], run["steps"][1]["state"]) == ("failed", "expired", "skipped")
    assert world.claim("prod") is None


def test_in_dev_nobody_is_asked(world: FlowApi) -> None:
    world.save("workflow", "w", {"steps": {"ask": {"approval": {}}, "book": {"bot": "hello", "after": "ask"}}})
    run_id = world.start("workflow", "w")
    world.do()
    assert world.run(run_id)["state"] == "succeeded"


def test_a_paused_run_and_a_paused_queue_begin_nothing_until_they_are_resumed(world: FlowApi) -> None:
    world.save("queue", "q", QUEUE)
    run_id = world.start("queue", "q")
    for path in (f"/api/v1/runs/{run_id}/pause", "/api/v1/queues/q/pause"):
        assert world.api.client.put(path).status_code == 200
        assert world.api.client.put(path).json()["pause_requested_by"] == "root"
    world.do()
    assert world.steps(run_id)["second"] == "waiting"
    later = world.start("queue", "q")
    assert world.jobs_of(later) == []
    world.api.client.delete(f"/api/v1/runs/{run_id}/pause")
    world.tick()
    assert world.jobs_of(run_id) == [("hello", 0, 1)], "the queue is paused"
    world.api.client.delete("/api/v1/queues/q/pause")
    world.tick()
    assert world.steps(run_id)["second"] == "queued"
    assert world.jobs_of(later) == [("hello", 0, 1)]


def test_cancelling_ends_what_waits_at_once_and_what_runs_through_its_runner(world: FlowApi) -> None:
    world.save("queue", "q", {"items": [{"bot": "hello", "parallel": True}, *QUEUE["items"]]})
    run_id = world.start("queue", "q")
    claim = world.claim()
    assert claim is not None
    assert world.api.client.post(f"/api/v1/runs/{run_id}/cancellation").status_code == 200
    world.tick()
    assert world.run(run_id)["state"] == "running", "a bot runs still"
    with db.reading(world.api.console.engine) as session:
        assert [wish.cancel for wish in jobs.wishes(session, {claim.job_id: claim.attempt})] == [True]
    report = jobs.Report(State.CANCELLED, None)
    assert jobs.finish(world.api.direct, claim.job_id, attempt=claim.attempt, report=report)
    world.tick()
    assert world.run(run_id)["state"] == "cancelled"
    assert set(world.steps(run_id).values()) == {"cancelled", "skipped"}
    again = world.api.client.post(f"/api/v1/runs/{run_id}/cancellation")
    assert again.status_code == 200, "the same wish twice"
    assert world.api.client.put(f"/api/v1/runs/{run_id}/pause").status_code == 409


def test_a_run_that_takes_too_long_is_ended(world: FlowApi) -> None:
    world.save("queue", "q", {**QUEUE, "timeout": "1h"})
    run_id = world.start("queue", "q")
    with db.writing(world.api.console.engine) as session:
        session.execute(update(Run).values(deadline_at=clock(), look_at=clock()))
    world.tick()
    run = world.run(run_id)
    assert (run["state"], run["reason"]) == ("failed", "timeout")
    assert world.claim() is None


def test_a_step_that_takes_too_long_is_cancelled_and_tried_again(world: FlowApi) -> None:
    item = {"bot": "hello", "timeout": "1s", "on_failure": "retry", "retries": 1, "delay": 0}
    world.save("queue", "q", {"items": [item]})
    run_id = world.start("queue", "q")
    with db.writing(world.api.console.engine) as session:
        session.execute(update(RunTry).values(created_at=clock(timedelta(seconds=-5))))
        session.execute(update(Run).values(look_at=clock()))
    world.tick()
    assert world.jobs_of(run_id) == [("hello", 0, 1), ("hello", 0, 2)]


def test_a_restart_takes_over_what_succeeded_and_does_the_rest(world: FlowApi) -> None:
    world.save("workflow", "w", GRAPH)
    run_id = world.start("workflow", "w")
    world.do(give={"rows": [1, 2]})
    world.do(give={"done": "one"})
    world.do(State.FAILED)
    assert world.run(run_id)["state"] == "failed"
    answer = world.api.client.post(f"/api/v1/runs/{run_id}/restart", json={})
    assert answer.status_code == 201, answer.text
    again = answer.json()["id"]
    assert answer.json()["restart_of"] == run_id
    world.tick()
    claim = world.do(give={"done": "two"})
    assert world.parameters(claim.job_id) == {"row": 2}, "of the fan-out only what failed"
    assert world.parameters(world.do().job_id) == {"rows": ["one", "two"]}
    run = world.run(again)
    assert run["state"] == "succeeded"
    assert run["steps"][0]["items"][0]["tries"][0]["reused"] is True
    assert world.api.client.post(f"/api/v1/runs/{again}/restart", json={}).status_code == 409
    assert world.api.client.post(f"/api/v1/runs/{again}/restart", json={"from": "no"}).status_code == 422
    third = world.api.client.post(f"/api/v1/runs/{again}/restart", json={"from": "each"}).json()["id"]
    world.tick()
    assert [name for name, _, _ in world.jobs_of(third)] == ["fetch", "each", "each"]


def test_a_bot_that_is_removed_meanwhile_fails_its_step_with_a_sentence(world: FlowApi) -> None:
    world.save("queue", "q", {"items": [{"bot": "hello"}, {"bot": "strict", "parameters": {"month": 1}}]})
    run_id = world.start("queue", "q")
    assert world.api.client.delete("/api/v1/bots/strict").status_code == 204
    world.do()
    run = world.run(run_id)
    assert run["state"] == "failed"
    assert "There is no bot 'strict'" in run["steps"][1]["detail"]


def test_a_run_whose_bot_is_gone_is_refused_before_it_starts(world: FlowApi) -> None:
    world.save("queue", "q", {"items": [{"bot": "strict", "parameters": {"month": 1}}]})
    assert world.api.client.delete("/api/v1/bots/strict").status_code == 204
    answer = world.api.client.post("/api/v1/queues/q/runs", json={})
    assert answer.status_code == 422
    assert "items.0: There is no bot 'strict'" in answer.text


def test_a_removed_queue_is_gone_and_its_runs_go_on(world: FlowApi) -> None:
    world.save("queue", "q", QUEUE)
    run_id = world.start("queue", "q")
    assert world.api.client.delete("/api/v1/queues/q").status_code == 204
    assert world.api.client.get("/api/v1/queues/q").status_code == 404
    world.do()
    world.do()
    assert world.run(run_id)["state"] == "succeeded"
    assert world.save("queue", "q", QUEUE)["version"] == 1


def test_lists_name_runs_by_kind_name_and_state(world: FlowApi) -> None:
    world.save("queue", "q", QUEUE)
    world.save("workflow", "w", {"steps": {"a": {"bot": "hello"}}})
    first, second = world.start("queue", "q"), world.start("workflow", "w")
    listed = world.api.client.get("/api/v1/runs").json()["items"]
    assert [item["id"] for item in listed] == [second, first]
    assert [item["id"] for item in world.api.client.get("/api/v1/runs?kind=queue").json()["items"]] == [first]
    assert [item["id"] for item in world.api.client.get("/api/v1/workflows/w/runs").json()["items"]] == [second]
    assert world.api.client.get("/api/v1/runs?state=failed").json()["items"] == []
    assert world.api.client.get("/api/v1/runs?state=odd").status_code == 422
    assert [item["name"] for item in world.api.client.get("/api/v1/queues").json()["items"]] == ["q"]


@pytest.mark.parametrize("path", ["/api/v1/runs/nonsense", "/api/v1/queues/none", "/api/v1/workflows/none/runs/x"])
def test_what_there_is_not_is_not_found(world: FlowApi, path: str) -> None:
    assert world.api.client.get(path).status_code == 404
