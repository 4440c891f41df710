"""Pauses over HTTP: idempotent both ways, refused where they make no sense, and always in the audit."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner import announcements, jobs, lanes, signals
from runner.models import Job
from tests.api import TESTER, Api, error_of, serving
from tests.support import Stores
from vault import db


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as running:
        running.add_bot()
        yield running


def path(job_id: str) -> str:
    return f"/api/v1/jobs/{job_id}/pause"


def claimed(api: Api) -> bool:
    """Whether a runner finds anything in the lane."""
    return jobs.claim(api.direct, environment="dev", group="default", runner="host") is not None


def test_a_queued_job_that_is_paused_is_neither_claimed_nor_announced_until_it_is_resumed(api: Api) -> None:
    job_id = str(api.run()["id"])
    paused = api.client.put(path(job_id))
    assert (paused.status_code, paused.json()["state"], paused.json()["pause_requested_by"]) == (200, "queued", "root")
    assert not claimed(api)
    with db.writing(api.console.engine) as session:
        jobs.not_published(session, uuid.UUID(job_id))
    with db.reading(api.console.engine) as session:
        assert announcements.waiting_lanes(session, older_than=jobs.LEASE) == []
        lane = announcements.Waiting("dev", "default", 1)
        assert announcements.due_in_lane(session, lane, older_than=jobs.LEASE) == []
    before = lanes.depth(api.console.transport, environment="dev")
    resumed = api.client.delete(path(job_id)).json()
    assert (resumed["pause_requested_at"], resumed["pause_requested_by"]) == (None, None)
    assert lanes.depth(api.console.transport, environment="dev") == before + 1, "it was announced"
    with db.reading(api.console.engine) as session:
        assert session.get_one(Job, uuid.UUID(job_id)).published_at is not None
    assert claimed(api)


def test_whoever_paused_first_is_remembered_and_repeating_either_changes_nothing(api: Api) -> None:
    job_id = str(api.run()["id"])
    first = api.client.put(path(job_id)).json()
    again = api.role("operator").put(path(job_id))
    assert (again.status_code, again.json()) == (200, first)
    before = lanes.depth(api.console.transport, environment="dev")
    answers = [api.client.delete(path(job_id)) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    assert lanes.depth(api.console.transport, environment="dev") == before + 1, "it was announced once"
    actions = [row["action"] for row in api.audit() if row["action"].startswith("job.")]
    assert actions == ["job.resumed", "job.resumed", "job.paused", "job.paused", "job.enqueued"]


def test_a_job_that_has_ended_or_is_being_cancelled_is_not_paused(api: Api) -> None:
    ended, cancelled = (str(api.run()["id"]) for _ in range(2))
    api.finish(api.claim(ended))
    api.claim(cancelled)
    assert api.client.post(f"/api/v1/jobs/{cancelled}/cancellation").status_code == 200
    for job_id, words in ((ended, "has ended (succeeded)"), (cancelled, "is being cancelled")):
        refused = api.client.put(path(job_id))
        assert refused.status_code == 409
        assert words in error_of(refused)
    refused = api.client.delete(path(ended))
    assert refused.status_code == 409
    assert "nothing to resume" in error_of(refused)
    assert "job.paused" not in {row["action"] for row in api.audit()}


def test_a_paused_job_can_be_cancelled_and_the_end_takes_the_pause_away(api: Api) -> None:
    running = str(api.run()["id"])
    claim = api.claim(running)
    queued = str(api.run()["id"])
    for job_id in (queued, running):
        api.client.put(path(job_id))
    listed = api.client.get("/api/v1/jobs", params={"state": "paused"}).json()["items"]
    assert {job["id"] for job in listed} == {queued, running}
    assert api.client.post(f"/api/v1/jobs/{queued}/cancellation").json()["state"] == "cancelled"
    assert api.client.post(f"/api/v1/jobs/{running}/cancellation").json()["cancel_requested_at"]
    with db.reading(api.console.engine) as session:
        (wish,) = jobs.wishes(session, {uuid.UUID(running): 1})
    assert (wish.cancel, wish.pause) == (True, True)
    api.finish(claim)
    assert api.client.get("/api/v1/jobs", params={"state": "paused"}).json()["items"] == []


def test_a_token_of_another_environment_pauses_nothing(api: Api) -> None:
    job_id = str(api.run(environment="prod")["id"])
    client = api.role("operator", "dev")
    assert client.put(path(job_id)).status_code == 403
    assert client.delete(path(job_id)).status_code == 403
    assert api.client.get(f"/api/v1/jobs/{job_id}").json()["pause_requested_at"] is None


def test_a_signal_says_which_job_is_to_be_looked_at_and_nothing_else(api: Api) -> None:
    job_id = str(api.run()["id"])
    api.claim(job_id)
    api.add_runner("host-1", "dev")
    heard: list[signals.Signal] = []
    with signals.subscription(api.console.transport, signals.JOBS, signals.RUNNERS) as subscription:
        while len(heard) < 3:
            signal = subscription.next()
            if signal is None and not heard:
                api.client.put(path(job_id))
                api.client.delete(path(job_id))
                api.client.put("/api/v1/runners/host-1/drain")
            elif signal is not None:
                heard.append(signal)
    about_the_job = signals.Signal(job_id=uuid.UUID(job_id))
    assert heard == [about_the_job, about_the_job, signals.Signal(runner="host-1")]
    assert TESTER.name not in repr(heard)


def test_an_idle_subscription_lives_on(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "IDLE", 0.05)
    monkeypatch.setattr(signals, "SILENT", 0.5)
    with signals.subscription(api.console.transport, signals.JOBS, signals.RUNNERS) as subscription:
        for _ in range(40):
            assert subscription.next() is None
        assert signals.look_at_runner(api.console.transport, "host-1")
        heard = [subscription.next() for _ in range(4)]
    assert signals.Signal(runner="host-1") in heard
