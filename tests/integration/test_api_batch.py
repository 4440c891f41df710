"""Many jobs by one request, on both pairs of stores."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from runner import batches, jobs, lanes, requests
from runner.jobs import Cause
from runner.requests import Order
from tests.api import Api, error_of, serving
from tests.support import Stores
from vault import db


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as api:
        api.add_bot("one")
        api.add_bot("two")
        yield api


def order(bot: str, **more: object) -> dict[str, object]:
    return {"bot": bot, **more}


def test_all_jobs_of_a_batch_are_queued_and_announced_in_their_order(api: Api) -> None:
    orders = [order("one", parameters={"n": number}, environment="staging") for number in range(5)]
    answer = api.client.post("/api/v1/jobs/batch", json={"jobs": orders})
    assert answer.status_code == 201, answer.text
    items = answer.json()["items"]
    shown = [api.client.get(f"/api/v1/jobs/{item['id']}").json() for item in items]
    assert [job["parameters"]["n"] for job in shown] == list(range(5))
    assert [item["new"] for item in items] == [True] * 5
    assert lanes.depth(api.console.transport, environment="staging") == 5
    assert api.audit()[0]["details"]["count"] == 5


def test_a_batch_takes_turns_with_other_bots_as_single_jobs_do(api: Api) -> None:
    api.client.post("/api/v1/jobs/batch", json={"jobs": [order("one")] * 3})
    api.client.post("/api/v1/jobs/batch", json={"jobs": [order("two")] * 2 + [order("one")]})
    api.run("two")
    started = []
    while claim := jobs.claim(api.direct, environment="dev", group="default", runner="host"):
        item = api.client.get(f"/api/v1/jobs/{claim.job_id}").json()
        started.append(item["bot"])
    assert started == ["one", "two", "one", "two", "one", "two", "one"]


def test_turns_of_a_batch_are_those_of_single_jobs(api: Api) -> None:
    with db.writing(api.console.engine) as session:
        workspace = api.workspace_id
        wanted = [
            requests.prepare(session, bot, Order(workspace, Cause("api", "test")))
            for bot in ("one", "one", "two", "one", "two")
        ]
        batches.enqueue(session, wanted, now=api.console.now())
    with db.reading(api.console.engine) as session:
        from sqlalchemy import select

        from runner.models import Job

        together = list(session.scalars(select(Job.turn).order_by(Job.id)))
    assert together == [0, 1, 0, 2, 1]


def test_one_job_that_cannot_be_queued_refuses_the_whole_batch_and_is_named(api: Api) -> None:
    answer = api.client.post("/api/v1/jobs/batch", json={"jobs": [order("one"), order("nobody")]})
    assert answer.status_code == 404
    assert "jobs.1: There is no bot 'nobody'" in error_of(answer)
    assert api.client.get("/api/v1/jobs").json()["items"] == []


def test_keys_make_each_job_once(api: Api) -> None:
    body = {"jobs": [order("one", idempotency_key="a"), order("one", idempotency_key="b")]}
    first = api.client.post("/api/v1/jobs/batch", json=body).json()["items"]
    again = api.client.post("/api/v1/jobs/batch", json=body).json()["items"]
    assert [item["id"] for item in again] == [item["id"] for item in first]
    assert [item["new"] for item in again] == [False, False]
    twice = {"jobs": [order("one", idempotency_key="c"), order("one", idempotency_key="c")]}
    assert api.client.post("/api/v1/jobs/batch", json=twice).status_code == 422


def test_a_token_of_other_environments_and_too_many_jobs_are_refused(api: Api) -> None:
    operator = api.role("operator", "dev")
    body = {"jobs": [order("one"), order("one", environment="prod")]}
    assert operator.post("/api/v1/jobs/batch", json=body).status_code == 403
    assert api.client.post("/api/v1/jobs/batch", json={"jobs": [order("one")] * 1001}).status_code == 422
    assert api.client.post("/api/v1/jobs/batch", json={"jobs": []}).status_code == 422
