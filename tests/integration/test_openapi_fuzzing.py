"""What the interface's own description allows, and what it forbids, is answered without a fault of the server."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from tests.api import Api, serving
from tests.support import Stores

#: Requests of each operation, of those that it allows and those that it forbids; the same in every run.
EXAMPLES = {schemathesis.GenerationMode.POSITIVE: 4, schemathesis.GenerationMode.NEGATIVE: 2}

#: A test's deadline; the machine may have other work.
pytestmark = pytest.mark.timeout(300)

#: What there is of each kind of thing, for half of the requests; an id of nothing for the others.
KNOWN = {
    "/api/v1/bots": {"name": "hello"},
    "/api/v1/assets": {"group": "DB", "name": "URL", "environment": "dev"},
    "/api/v1/queues": {"name": "q"},
    "/api/v1/workflows": {"name": "w"},
    "/api/v1/triggers": {"name": "t"},
    "/api/v1/sources": {"name": "lines"},
    "/api/v1/environments": {"name": "prod", "environment": "prod"},
    "/api/v1/retention": {"kind": "runs"},
}


@schemathesis.serializer("application/zip", "application/octet-stream", "application/toml")
def as_it_is(_context: schemathesis.SerializationContext, value: Any) -> bytes:  # noqa: ANN401
    """A body that is no JSON."""
    return value if isinstance(value, bytes) else str(value).encode(errors="surrogatepass")


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as api:
        api.add_bot()
        api.set_value("DB.URL", b"a-long-address")
        post = api.client.post
        assert post("/api/v1/queues", params={"name": "q"}, json={"items": [{"bot": "hello"}]}).status_code == 201
        steps = {"steps": {"a": {"bot": "hello"}}}
        assert post("/api/v1/workflows", params={"name": "w"}, json=steps).status_code == 201
        trigger = {"name": "t", "definition": {"queue": "q", "schedule": {"every": "1h"}}}
        assert post("/api/v1/triggers", json=trigger).status_code == 201
        source = {"connection": f"sqlite:///{tmp_path}/x.db", "query": "SELECT 1"}
        assert post("/api/v1/sources", json={"name": "lines", "kind": "sql", "definition": source}).status_code == 201
        yield api


def known(api: Api) -> dict[str, dict[str, str]]:
    """With the ids of a job that has ended and of a run, whose streams end at once."""
    job = str(api.run()["id"])
    api.finish(api.claim(job))
    run = str(api.client.post("/api/v1/queues/q/runs", json={}).json()["id"])
    item = str(api.client.post("/api/v1/work-items", json={"tray": "t", "data": 1}).json()["id"])
    return {
        **KNOWN,
        "/api/v1/jobs": {"job_id": job},
        "/api/v1/runs": {"run_id": run, "step": "hello"},
        "/api/v1/work-items": {"item_id": item},
    }


def operations(api: Api) -> list[Any]:
    """Every operation, removals last."""
    schema = schemathesis.openapi.from_dict(api.client.get("/api/v1/openapi.json").json())
    found: list[Any] = [cast("Any", result).ok() for result in schema.get_all_operations()]
    return sorted(found, key=lambda one: (one.method.upper() == "DELETE", one.path, one.method))


def sent(case: Any, session: requests.Session, api: Api) -> str:  # noqa: ANN401 - a case of schemathesis
    """What was wrong with the answer, if anything was."""
    token = {"Authorization": api.client.headers["Authorization"]}
    try:
        answer = case.call(base_url=api.url, session=session, headers=token, timeout=30)
    except (ValueError, requests.exceptions.InvalidHeader):
        return ""  # no client could send it
    if answer.status_code < 500:
        return ""
    return (
        f"{case.method} {case.formatted_path} {case.query} {case.body!r:.300}: {answer.status_code} {answer.text:.200}"
    )


@pytest.mark.parametrize("stores", ["server"], indirect=True)  # which refuses more than the other
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.value)
def test_no_request_is_answered_with_a_fault_of_the_server(api: Api, mode: schemathesis.GenerationMode) -> None:
    there, faults, answered = known(api), list[str](), 0
    with requests.Session() as session:
        for operation in operations(api):
            values = next((some for prefix, some in there.items() if operation.path.startswith(prefix)), {})

            @hypothesis.seed(0)
            @hypothesis.settings(
                max_examples=EXAMPLES[mode],
                derandomize=True,
                database=None,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                phases=[hypothesis.Phase.generate],
            )
            @given(case=operation.as_strategy(generation_mode=mode), real=st.booleans())
            def ask(case: Any, real: bool) -> None:  # noqa: ANN401, FBT001
                nonlocal answered
                for name in case.path_parameters or {}:
                    if real and name in values:  # noqa: B023
                        case.path_parameters[name] = values[name]  # noqa: B023
                    elif name.endswith("_id") and mode is schemathesis.GenerationMode.POSITIVE:
                        case.path_parameters[name] = str(uuid.UUID(int=7))
                fault = sent(case, session, api)
                answered += 1
                faults.extend([fault] if fault else [])

            try:
                ask()
            except hypothesis.errors.Unsatisfiable:
                continue  # an operation that takes nothing cannot be asked wrongly
    assert faults == []
    assert answered > 100
