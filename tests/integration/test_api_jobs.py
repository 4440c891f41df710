"""Jobs over HTTP: run, look at, cancel, retry, and what the broker gets to see."""

import base64
import json
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import kombu.utils.functional
import pytest
import redis
import redis.retry
from sqlalchemy import select

from runner import lanes
from runner.models import Job
from runner.states import State
from tests.api import Api, error_of, serving
from tests.services import RedisServer
from tests.support import Stores, wait_until
from vault import db
from vault.models import Reading

KEYS = {
    "id", "bot", "version", "environment", "state", "reason", "exit_code", "attempt", "created_at", "started_at",
    "finished_at", "runner", "cause", "parameters", "warnings", "retry_of",
}  # fmt: skip


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as running:
        running.add_bot()
        yield running


def depth(api: Api, environment: str, group: str = "default") -> int:
    return lanes.depth(api.console.transport, environment=environment, group=group)


def published(api: Api, job_id: str) -> bool:
    with db.reading(api.console.engine) as session:
        at = session.scalar(select(Job.published_at).where(Job.id == uuid.UUID(job_id)))
    return at is not None


def test_a_job_is_queued_in_dev_unless_it_says_otherwise(api: Api) -> None:
    job = api.run()
    assert (job["environment"], job["state"], job["attempt"], job["version"]) == ("dev", "queued", 0, 1)
    assert job["cause"] == {"kind": "api", "name": "root", "id": None}
    assert job.keys() >= KEYS
    shown = api.client.get(f"/api/v1/jobs/{job['id']}").json()
    assert shown == {**job, "attempts": [], "readings": [], "results": {}, "waiting_for": shown["waiting_for"]}
    row = api.audit()[0]
    assert (row["action"], row["environment"], row["actor"]) == ("job.enqueued", "dev", "root")
    assert job["id"] in row["object"]


def test_a_message_goes_to_the_lane_of_environment_and_group_and_holds_no_parameter(api: Api, stores: Stores) -> None:
    api.set_value("SAP.PASSWORD", b"canary-5512", "prod")
    job = api.run(
        environment="prod", group="sap-hosts", parameters={"pw": "{{ASSET.SAP.PASSWORD}}", "note": "canary-6623"}
    )
    assert depth(api, "prod", "sap-hosts") == 1
    assert published(api, job["id"])
    with redis.Redis.from_url(stores.redis_url) as client:
        message = json.loads(client.lrange("botkeep:prod.sap-hosts", 0, 0)[0])
    assert message["headers"]["environment"] == "prod"
    arguments, named, _embed = json.loads(base64.b64decode(message["body"]))
    assert (arguments, named) == ([job["id"]], {})
    for word in ("canary", "SAP", "ASSET"):
        assert word not in json.dumps(message) + json.dumps(arguments)


def test_a_job_waits_in_the_database_while_the_broker_is_away(
    stores: Stores, tmp_path: Path, new_redis: Callable[[str], RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    for waits in (kombu.utils.functional, redis.retry):  # where the two libraries pause between two tries
        monkeypatch.setattr(waits, "sleep", waited.append)
    broker = new_redis(stores.name)
    with serving(Stores(stores.name, stores.database_url, broker.url), tmp_path) as api:
        api.add_bot()
        broker.stop()
        job = api.run()
        assert job["state"] == "queued"
        assert sum(waited) < 1, "the order is answered at once; kombu would wait for two seconds"
        assert not published(api, job["id"])
        assert api.client.get("/readyz").json()["broker"].startswith("away")
        broker.start()
        assert published(api, api.run()["id"])
        assert depth(api, "dev") == 1


#: Orders that cannot be, with the answer's status and words in its sentence.
IMPOSSIBLE: list[tuple[object, int, str]] = [
    ({"bot": "nobody"}, 404, "no bot 'nobody'"),
    ({"bot": "hello", "environment": "qa"}, 422, "no environment 'qa'"),
    ({"bot": "hello", "environment": None}, 422, "environment: it must be text"),
    ({}, 422, "bot: it is required"),
    ([], 422, "body: "),
    ({"bot": "hello", "param": {}}, 422, "param: there is no such field"),
    ({"bot": "hello", "parameters": []}, 422, "parameters: it must be an object"),
    ({"bot": "hello", "parameters": {"a": "\0"}}, 422, "NUL"),
    ({"bot": "hello", "parameters": {"a": "{{ASSET.X.Y}}"}}, 422, "X.Y, which does not exist"),
    ({"bot": "hello", "parameters": {"a": "{{ASSET.X}}"}}, 422, "{{ASSET.X}}"),
    ({"bot": "hello", "group": "a.b"}, 422, "runner group"),
    ({"bot": "hello", "idempotency_key": ""}, 422, "idempotency key"),
    ({"bot": "hello", "idempotency_key": "k" * 201}, 422, "idempotency key"),
    ({"bot": "hello", "idempotency_key": "k\0"}, 422, "idempotency_key: "),
    ({"bot": "he\0llo"}, 422, "bot: it holds a NUL"),
]

#: Bodies that cannot be kept, or are no JSON.
UNKEPT = [
    '{"bot": "hello", "parameters": {"a": NaN}}',
    '{"bot": "hello", "parameters": {"a": 1e999}}',
    '{"bot": "hello", "parameters": {"a": "\\ud800"}}',
    '{"bot": "hello", "parameters": {"\\ud800": 1}}',
    '{"bot": "\\ud800"}',
    '{"bot": "hello", "parameters": {"a": ' + "[" * 100_000 + "]" * 100_000 + "}}",
    '{"bot": "hello", "parameters": {"a": ' + "1" * 5000 + "}}",
    '{"bot": "hello", "parameters": {"a": "' + "x" * 300_000 + '"}}',
    '{"bot": "hello"',
    "",
]


def test_an_impossible_order_is_refused_naming_what_is_wrong(api: Api) -> None:
    for order, status, words in IMPOSSIBLE:
        answer = api.client.post("/api/v1/jobs", json=order)
        assert (answer.status_code, words in error_of(answer)) == (status, True), answer.text
    assert api.client.get("/api/v1/jobs").json()["items"] == []


def test_json_that_no_database_could_keep_is_refused(api: Api) -> None:
    for body in UNKEPT:
        answer = api.client.post("/api/v1/jobs", content=body, headers={"Content-Type": "application/json"})
        assert (body[:60], answer.status_code) == (body[:60], 422)
        error_of(answer)


def test_a_repeated_key_answers_the_same_job(api: Api) -> None:
    order = {"bot": "hello", "parameters": {"month": 8}, "idempotency_key": "invoice 8"}
    first, second = (api.client.post("/api/v1/jobs", json=order) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    assert depth(api, "dev") == 1


def test_a_key_that_was_used_for_something_else_is_refused(api: Api) -> None:
    api.add_bot("other")
    order: dict[str, object] = {"bot": "hello", "parameters": {"month": 8}, "idempotency_key": "k"}
    job = api.client.post("/api/v1/jobs", json=order).json()
    changes: list[dict[str, object]] = [{"environment": "prod"}, {"bot": "other"}, {"parameters": {"month": 9}}]
    for change in changes:
        answer = api.client.post("/api/v1/jobs", json={**order, **change})
        assert answer.status_code == 409
        assert job["id"] in error_of(answer)


def test_one_key_sent_by_many_at_once_makes_one_job(api: Api) -> None:
    order = {"bot": "hello", "idempotency_key": "at once"}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: api.client.post("/api/v1/jobs", json=order), range(16)))
    assert sorted(answer.status_code for answer in answers) == [200] * 15 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1


def test_history_is_listed_newest_first_in_pages_that_miss_and_double_nothing(api: Api) -> None:
    api.add_bot("other")
    jobs = [api.run("hello" if n % 3 else "other", environment="dev" if n % 2 else "prod") for n in range(7)]
    ids, query = [], {"limit": "2"}
    while True:
        page = api.client.get("/api/v1/jobs", params=query).json()
        ids += [job["id"] for job in page["items"]]
        assert len(ids) <= len(jobs)
        api.run()  # what is new comes before the first page and shifts nothing
        if page["next"] is None:
            break
        query["after"] = page["next"]
    assert ids == [job["id"] for job in reversed(jobs)]
    narrowed = api.client.get("/api/v1/jobs", params={"bot": "other", "environment": "prod", "state": "queued"})
    assert [job["id"] for job in narrowed.json()["items"]] == [jobs[6]["id"], jobs[0]["id"]]


def test_a_list_that_cannot_be_is_refused(api: Api) -> None:
    for query in ("limit=0", "limit=501", "limit=x", "after=x", "state=done", "environment=qa", "bot=%00"):
        answer = api.client.get(f"/api/v1/jobs?{query}")
        assert (query, answer.status_code) == (query, 422)
        error_of(answer)


def test_what_is_no_jobs_id_is_not_found(api: Api) -> None:
    for job_id in ("nope", "1", "{}", "%00", "01920000-0000-7000-8000-00000000000z", "a" * 500):
        for rest in ("", "/log", "/log/stream", "/cancellation", "/retry"):
            method = "POST" if rest in {"/cancellation", "/retry"} else "GET"
            answer = api.client.request(method, f"/api/v1/jobs/{job_id}{rest}")
            assert answer.status_code == (422 if job_id == "%00" else 404)
            error_of(answer)


def test_an_id_in_other_words_is_another_address(api: Api) -> None:
    job_id = api.run()["id"]
    assert api.client.get(f"/api/v1/jobs/{job_id}").status_code == 200
    for other in (job_id.replace("-", ""), f"{{{job_id}}}", f"urn:uuid:{job_id}"):
        assert api.client.get(f"/api/v1/jobs/{other}").status_code == 404


def test_a_queued_job_is_cancelled_at_once_and_stays_so(api: Api) -> None:
    job = api.run()
    cancelled = api.client.post(f"/api/v1/jobs/{job['id']}/cancellation")
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    assert cancelled.json()["reason"] == "cancelled"
    assert cancelled.json()["finished_at"] is not None
    assert "root" in cancelled.json()["detail"]
    again = api.client.post(f"/api/v1/jobs/{job['id']}/cancellation")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "conflict")
    assert [row["action"] for row in api.audit()[:2]] == ["job.cancelled", "job.enqueued"]


def test_a_running_job_is_asked_to_stop(api: Api) -> None:
    job = api.run()
    api.claim(job["id"])
    answer = api.client.post(f"/api/v1/jobs/{job['id']}/cancellation").json()
    assert (answer["state"], answer["runner"], answer["attempt"]) == ("running", "host", 1)
    assert answer["cancel_requested_at"] is not None


def test_a_retry_is_a_new_job_that_points_at_the_old_one(api: Api) -> None:
    job = api.run(environment="staging", group="sap", parameters={"month": 8})
    early = api.client.post(f"/api/v1/jobs/{job['id']}/retry")
    assert early.status_code == 409
    assert "has not ended" in error_of(early)
    api.client.post(f"/api/v1/jobs/{job['id']}/cancellation")
    before = api.client.get(f"/api/v1/jobs/{job['id']}").json()
    api.add_bot(source="print('a newer version')\n")
    retried = api.client.post(f"/api/v1/jobs/{job['id']}/retry")
    assert retried.status_code == 201
    new = retried.json()
    assert new["cause"] == {"kind": "retry", "name": "root", "id": job["id"]}
    assert (new["retry_of"], new["version"], new["state"]) == (job["id"], 2, "queued")
    for key in ("environment", "group", "parameters"):
        assert new[key] == job[key]
    assert api.client.get(f"/api/v1/jobs/{job['id']}").json() == before
    assert api.audit()[0]["action"] == "job.retried"
    assert depth(api, "staging", "sap") == 2


def test_a_job_shows_its_attempts_and_the_numbers_of_the_values_it_was_given(api: Api) -> None:
    job = api.run()
    claim = api.claim(job["id"])
    with db.writing(api.console.engine) as session:
        session.add(
            Reading(
                job_id=claim.job_id,
                attempt=1,
                asset_id=uuid.uuid4(),
                asset="SAP.PASSWORD",
                scope="workspace",
                environment="dev",
                number=3,
                runner="host",
                read_at=api.console.now(),
            )
        )
    api.finish(claim, State.SUCCEEDED)
    shown = api.client.get(f"/api/v1/jobs/{job['id']}").json()
    assert (shown["state"], shown["exit_code"]) == ("succeeded", 0)
    assert shown["readings"] == [{"asset": "SAP.PASSWORD", "scope": "workspace", "number": 3, "attempt": 1}]
    (attempt,) = shown["attempts"]
    assert (attempt["number"], attempt["runner"], attempt["state"]) == (1, "host", "succeeded")


def test_a_drained_runner_is_asked_and_a_living_one_is_not_removed(api: Api) -> None:
    api.add_runner("host-1", "dev")
    drained = api.client.put("/api/v1/runners/host-1/drain")
    assert (drained.status_code, drained.json()["state"]) == (200, "draining")
    assert api.client.delete("/api/v1/runners/host-1").status_code == 409
    for method, path in (("PUT", "/api/v1/runners/nobody/drain"), ("DELETE", "/api/v1/runners/nobody")):
        answer = api.client.request(method, path)
        assert answer.status_code == 404
        assert "'nobody'" in error_of(answer)
    assert [row["action"] for row in api.audit()[:2]] == ["runner.drained", "bot.added"]


def test_the_policy_for_unset_values_is_shown_and_changed(api: Api) -> None:
    listed = api.client.get("/api/v1/environments").json()["items"]
    assert [row["environment"] for row in listed] == ["dev", "staging", "prod"]
    assert all(row["unset"] == "warn" and len(row["recipient"]) == 32 for row in listed)
    changed = api.client.put("/api/v1/environments/prod", json={"unset": "refuse"})
    assert (changed.status_code, changed.json()["unset"]) == (200, "refuse")
    assert api.client.get("/api/v1/environments").json()["items"][2]["unset"] == "refuse"
    assert api.client.put("/api/v1/environments/prod", json={"unset": "maybe"}).status_code == 422
    assert api.client.put("/api/v1/environments/qa", json={"unset": "warn"}).status_code == 404


def test_the_audit_is_listed_in_pages(api: Api) -> None:
    for _ in range(3):
        api.run()
    everything = api.audit()
    assert len(everything) == 5
    first = api.client.get("/api/v1/audit", params={"limit": 2}).json()
    second = api.client.get("/api/v1/audit", params={"limit": 500, "after": first["next"]}).json()
    assert [*first["items"], *second["items"]] == everything
    wait_until(lambda: depth(api, "dev") == 3, what="three messages")
