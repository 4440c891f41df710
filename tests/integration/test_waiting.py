"""A queued job that somebody looks at says why it is not starting."""

import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from runner.models import Job, Runner
from tests.api import Api, serving
from tests.support import Stores
from vault import db


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as api:
        api.add_bot()
        yield api


def waits_for(api: Api, job_id: str) -> Any:  # noqa: ANN401 - a code, or nothing
    found = api.client.get(f"/api/v1/jobs/{job_id}").json()["waiting_for"]
    return found and found["code"]


def change(api: Api, job_id: str, **columns: object) -> None:
    with db.writing(api.console.engine) as session:
        session.execute(update(Job).where(Job.id == uuid.UUID(job_id)).values(**columns))


def test_a_job_says_what_it_waits_for_until_it_starts(api: Api) -> None:
    job_id = api.run()["id"]
    assert waits_for(api, job_id) == "no_runner"
    api.add_runner("host-a", "prod")
    assert waits_for(api, job_id) == "no_runner"
    api.add_runner("host-b", "dev")
    assert waits_for(api, job_id) == "turn"
    change(api, job_id, not_before=db.clock(timedelta(hours=1)))
    assert waits_for(api, job_id) == "not_before"
    change(api, job_id, not_before=None, concurrency=1)
    assert waits_for(api, job_id) == "turn"
    running = api.run()["id"]
    change(api, running, state="running", attempt=1, runner="host-b")
    assert waits_for(api, job_id) == "concurrency"
    assert waits_for(api, running) is None
    change(api, job_id, concurrency=None, pause_requested_at=db.clock(), pause_requested_by="ann")
    assert waits_for(api, job_id) == "paused"
    change(api, job_id, pause_requested_at=None)
    with db.writing(api.console.engine) as session:
        session.execute(update(Runner).where(Runner.name == "host-b").values(concurrency=1))
    assert waits_for(api, job_id) == "busy"
    with db.writing(api.console.engine) as session:
        session.execute(update(Runner).values(heartbeat_at=db.clock(-timedelta(hours=1))))
    assert waits_for(api, job_id) == "no_runner"


def test_a_job_of_a_group_that_nobody_serves_is_taken_and_says_so(api: Api) -> None:
    api.add_runner("host-a", "dev")
    answer = api.run(group="nosuch", idempotency_key="k")
    assert answer["waiting_for"]["code"] == "no_runner"
    assert "No runner serves dev.nosuch; there are host-a for dev.default." in answer["waiting_for"]["sentence"]
    again = api.client.post("/api/v1/jobs", json={"bot": "hello", "group": "nosuch", "idempotency_key": "k"})
    assert (again.status_code, again.json()["waiting_for"]["code"]) == (200, "no_runner")
    assert api.run()["waiting_for"] is None, "a job of the default group costs no further look"


def test_a_job_says_that_redis_is_away(stores: Stores, tmp_path: Path) -> None:
    with serving(Stores(stores.name, stores.database_url, "redis://127.0.0.1:1/0"), tmp_path) as api:
        api.add_bot()
        api.add_runner("host-a", "dev")
        assert waits_for(api, api.run()["id"]) == "broker"
