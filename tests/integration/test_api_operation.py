"""What an operator relies on: probes, numbers, headers, and errors that show nothing of our insides."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis
from sqlalchemy import text

from console.page_permissions import PAGES
from console.permissions import PERMISSIONS
from tests.api import Api, error_of, serving
from tests.integration.ruled import copy_of_ruled, ruled_cluster
from tests.services import PostgresServer, migrate
from tests.support import Stores, wait_until
from vault import db


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as running:
        yield running


def test_a_console_with_its_stores_is_ready(api: Api) -> None:
    stranger = api.as_token(None)
    assert stranger.get("/healthz").json() == {"status": "ok"}
    ready = stranger.get("/readyz")
    assert (ready.status_code, ready.json()["ready"]) == (200, True)
    assert (ready.json()["database"], ready.json()["broker"]) == ("ok", "ok")


def test_a_console_on_another_schema_is_not_ready_and_says_what_to_run(api: Api) -> None:
    for other, words in (("0999", "Start the newer version"), ("0001", "botkeep migrate")):
        with db.writing(api.console.engine) as session:
            session.execute(text("UPDATE alembic_version SET version_num = :other"), {"other": other})
        ready = api.client.get("/readyz")
        assert (ready.status_code, ready.json()["ready"]) == (503, False)
        assert words in ready.json()["error"]["message"]


def test_a_database_that_is_away_is_said_to_be_and_comes_back(
    own_postgres: PostgresServer, postgres: PostgresServer, tmp_path: Path
) -> None:
    database = own_postgres.create_database("away")
    migrate(database)
    with serving(Stores("server", database, "redis://127.0.0.1:1/0"), tmp_path) as api:
        api.add_bot()
        with own_postgres.connect() as connection:
            connection.execute("CHECKPOINT")  # these servers write lazily, and stop as in a crash
        own_postgres.stop()
        for method, path in (("GET", "/api/v1/bots"), ("POST", "/api/v1/jobs"), ("GET", "/metrics")):
            answer = api.client.request(method, path, json={"bot": "hello"})
            assert (path, answer.status_code) == (path, 503)
            assert answer.json()["error"]["code"] == "unavailable"
            assert "try again when it is back" in error_of(answer)
        assert api.client.get("/healthz").status_code == 200
        ready = httpx.get(f"{api.url}/readyz")
        assert (ready.status_code, "connection to server failed" in error_of(ready)) == (503, True)
        assert not re.search(r"127\.0\.0\.1|localhost|/|\d{4}", error_of(ready)), "strangers need not know its place"
        own_postgres.start()
        wait_until(lambda: api.client.get("/readyz").status_code == 200, 20, "the console to be ready again")
        assert api.client.get("/api/v1/bots/hello").status_code == 200


def test_the_console_does_all_its_work_with_its_own_database_role(
    postgres: PostgresServer, stores: Stores, tmp_path: Path
) -> None:
    if stores.name == "embedded":
        pytest.skip("SQLite has no roles.")
    with ruled_cluster(postgres) as server, copy_of_ruled(server) as name:
        own = Stores("server", server.url(name, "botkeep_console"), stores.redis_url)
        with serving(own, tmp_path, set_up_as=server.url(name)) as api:
            api.add_bot()
            api.add_bot(source="print('again')\n")
            api.set_value("SAP.PASSWORD", b"a value", "prod")
            api.set_value("SAP.PASSWORD", b"another value", "prod", description="new")
            api.set_value("SAP.PASSWORD", b"its own", "dev", bot="hello")
            value = "/api/v1/assets/SAP/PASSWORD/values/prod"
            answers = [
                api.client.post(f"{value}/rollback", json={"number": 1}),
                api.client.delete(value),
                api.role("viewer").delete(value),
                api.client.get("/api/v1/coverage", params={"bot": "hello"}),
                api.client.get("/api/v1/assets/SAP/PASSWORD"),
                api.client.delete("/api/v1/assets/SAP/PASSWORD"),
                api.client.put("/api/v1/environments/prod", json={"unset": "refuse"}),
                api.client.get("/api/v1/environments"),
                api.client.get("/api/v1/runners", params={"limit": 500}),
                api.client.get("/metrics"),
                api.client.get("/readyz"),
            ]
            assert [answer.status_code for answer in answers] == [200, 204, 403, 200, 200, 204, *[200] * 5]
            job = f"/api/v1/jobs/{api.run(idempotency_key='k')['id']}"
            answers = [
                api.client.get(f"{job}/log"),
                api.client.post(f"{job}/cancellation"),
                api.client.post(f"{job}/retry"),
                api.client.get(job),
                api.client.get("/api/v1/jobs"),
                api.client.get("/api/v1/audit"),
            ]
            assert [answer.status_code for answer in answers] == [200, 200, 201, 200, 200, 200]
            api.client.post(f"/api/v1/jobs/{answers[2].json()['id']}/cancellation")
            assert api.client.delete("/api/v1/bots/hello").status_code == 204
            assert api.client.delete("/api/v1/tokens/root").status_code == 204


def test_the_numbers_count_open_jobs_runners_and_answers_by_route(api: Api) -> None:
    api.add_bot()
    running = api.run()["id"]
    api.run()
    api.claim(running)
    api.add_runner("host-1")
    api.client.get("/api/v1/bots/one-bot")
    api.client.get("/no/such/path")
    numbers = api.as_token(None).get("/metrics").text.splitlines()
    for line in (
        'botkeep_jobs{state="queued"} 1',
        'botkeep_jobs{state="running"} 1',
        'botkeep_runners{state="online"} 1',
        'botkeep_http_requests_total{method="GET",route="/api/v1/bots/{name}",status="404"} 1',
        'botkeep_http_requests_total{method="any",route="none",status="404"} 1',
    ):
        assert line in numbers


def test_the_interface_is_described_with_a_summary_and_the_token_of_each_route(api: Api) -> None:
    described = api.as_token(None).get("/api/v1/openapi.json").json()
    routes = {(method.upper(), path) for path, methods in described["paths"].items() for method in methods}
    # OpenAPI has no word for a part of a path that may hold slashes; pages are no part of the interface.
    entries = {
        (method, path.replace(":path}", "}")): entry
        for (method, path), entry in PERMISSIONS.items()
        if (method, path) not in PAGES
    }
    assert routes == set(entries) - {("GET", "/api/v1/openapi.json")}
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], path
            assert "HTTPValidationError" not in str(operation), path
            public = entries[method.upper(), path] is None
            assert operation.get("security", []) == ([] if public else [{"token": []}]), path
    assert described["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    assert api.client.get("/docs").status_code == api.client.get("/redoc").status_code == 404


def test_every_answer_carries_the_security_headers_and_none_of_another_origin(api: Api) -> None:
    origin = {"Origin": "https://elsewhere.example"}
    for path in ("/healthz", "/api/v1/bots", "/api/v1/bots/none", "/no/such/path", "/api/v1/jobs?limit=x"):
        headers = api.client.get(path, headers=origin).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert not [name for name in headers if name.startswith("access-control")]
        assert "server" not in headers or "uvicorn" not in headers["server"]
    assert api.client.options("/api/v1/bots", headers=origin).status_code == 405


def test_an_unforeseen_failure_shows_an_id_and_nothing_else(
    api: Api, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    api.add_bot()
    job_id = api.run(parameters={"a": "canary-4411"})["id"]
    with db.writing(api.console.engine) as session:
        session.execute(text("UPDATE jobs SET state = 'canary-4410'"))
    answer = api.client.post(f"/api/v1/jobs/{job_id}/retry")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "failed")
    shown = answer.text + "".join(capfd.readouterr()) + caplog.text
    assert "canary" not in shown
    assert "Traceback" not in shown
    assert error_of(answer).rpartition(" ")[2].strip(".") in shown
    assert "/" not in answer.text


def test_no_value_reaches_the_broker_or_the_database_in_clear(api: Api, stores: Stores) -> None:
    api.add_bot()
    api.set_value("SAP.PASSWORD", b"marker-8801-value", "dev")
    api.run(parameters={"pw": "{{ASSET.SAP.PASSWORD}}"})
    with contextlib.closing(redis.Redis.from_url(stores.redis_url)) as client:
        assert b"marker" not in b"".join(client.dump(key) or b"" for key in client.keys("*"))
    if stores.name == "embedded":
        database = Path(stores.database_url.removeprefix("sqlite:///"))
        files = list(database.parent.iterdir())
        assert database in files
        assert [file for file in files if b"marker" in file.read_bytes()] == []
