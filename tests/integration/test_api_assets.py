"""Assets over HTTP: values go in, and nothing that comes out holds one."""

import base64
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api import Api, error_of, serving
from tests.support import Stores

CANARY = "Canary-7f3a91c0-value"


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as running:
        yield running


def test_a_value_is_numbered_for_each_environment_and_shown_without_itself(api: Api) -> None:
    first = api.set_value("sap.password", b"first value", "prod", description="the ERP")
    assert first == {
        "asset": "SAP.PASSWORD",
        "environment": "prod",
        "scope": "workspace",
        "number": 1,
        "warnings": [],
    }
    assert api.set_value("SAP.PASSWORD", b"second value", "prod")["number"] == 2
    assert api.set_value("SAP.PASSWORD", b"", "dev")["warnings"] != []
    shown = api.client.get("/api/v1/assets/Sap/Password").json()
    assert (shown["description"], shown["scope"], shown["overrides"]) == ("the ERP", "workspace", False)
    assert shown["environments"]["staging"] is None
    assert shown["environments"]["dev"]["empty"] is True
    assert shown["environments"]["prod"]["number"] == 2
    assert [(past["number"], past["current"]) for past in shown["history"]["prod"]] == [(2, True), (1, False)]
    grid = api.client.get("/api/v1/coverage").json()["items"]
    row = {"asset": "SAP.PASSWORD", "scope": "workspace", "dev": "empty", "staging": "missing", "prod": "set"}
    assert grid == [row]


def test_a_value_is_rolled_back_by_number_and_unset(api: Api) -> None:
    for text in (b"first value", b"second value"):
        api.set_value("SAP.PASSWORD", text)
    path = "/api/v1/assets/SAP/PASSWORD/values/dev"
    back = api.client.post(f"{path}/rollback", json={"number": 1})
    assert (back.status_code, back.json()["number"]) == (200, 1)
    unknown = api.client.post(f"{path}/rollback", json={"number": 3})
    assert unknown.status_code == 404
    assert "no value number 3 in dev" in error_of(unknown)
    for number in (0, -1, 2**40, "1.5", None, True):
        answer = api.client.post(f"{path}/rollback", json={"number": number})
        assert (number, answer.status_code) in {(number, 422), (True, 404), (True, 200)}
    assert api.client.delete(path).status_code == 204
    shown = api.client.get("/api/v1/assets/SAP/PASSWORD").json()
    assert shown["environments"]["dev"] is None
    assert len(shown["history"]["dev"]) == 2
    assert [row["action"] for row in api.audit()[:1]] == ["asset.unset"]


def test_a_bots_own_asset_hides_the_workspaces(api: Api) -> None:
    api.add_bot("report")
    api.set_value("SAP.PASSWORD", b"of everyone")
    own = api.set_value("SAP.PASSWORD", b"of one bot", "prod", bot="report")
    assert (own["scope"], own["number"]) == ("report", 1)
    listed = api.client.get("/api/v1/assets", params={"bot": "report"}).json()["items"]
    assert [(row["asset"], row["scope"], row["overrides"]) for row in listed] == [("SAP.PASSWORD", "report", True)]
    api.set_value("DB.URL", b"of everyone")
    grid = api.client.get("/api/v1/coverage", params={"bot": "report"}).json()["items"]
    assert [(row["asset"], row["scope"], row["dev"], row["prod"]) for row in grid] == [
        ("DB.URL", "workspace", "set", "missing"),
        ("SAP.PASSWORD", "report", "missing", "set"),
    ]
    assert api.client.delete("/api/v1/assets/SAP/PASSWORD", params={"bot": "report"}).status_code == 204
    assert api.client.get("/api/v1/assets/SAP/PASSWORD").status_code == 200


def test_the_coverage_of_a_bot_is_what_its_newest_version_declares(api: Api) -> None:
    for declared in ('"DB.*"', '"SAP.*"'):
        api.add_bot("report", **{"bot.toml": f'name = "report"\nentry = "main.py"\nassets = [{declared}]\n'})
    for name in ("DB.URL", "SAP.PASSWORD"):
        api.set_value(name, b"of everyone")
    grid = api.client.get("/api/v1/coverage", params={"bot": "report"}).json()["items"]
    assert [row["asset"] for row in grid] == ["SAP.PASSWORD"]


def test_an_unknown_bot_or_asset_names_itself(api: Api) -> None:
    for method, path in (
        ("GET", "/api/v1/assets?bot=nobody"),
        ("GET", "/api/v1/coverage?bot=nobody"),
        ("PUT", "/api/v1/assets/A/B/values/dev?bot=nobody"),
        ("GET", "/api/v1/assets/NO/THING"),
        ("DELETE", "/api/v1/assets/NO/THING"),
        ("DELETE", "/api/v1/assets/NO/THING/values/dev"),
    ):
        answer = api.client.request(method, path)
        assert (path, answer.status_code) == (path, 404)
        assert "nobody" in error_of(answer) or "NO.THING" in error_of(answer)


def test_a_name_that_cannot_be_is_refused_with_the_rule(api: Api) -> None:
    for part in ("A-B", "A B", "A%0A", "%D0%9F%D0%90", "A.B", "x" * 256, "%7B%7B", "%FF"):
        for path in (f"/api/v1/assets/{part}/N/values/dev", f"/api/v1/assets/G/{part}/values/dev"):
            answer = api.client.put(path, content=CANARY.encode())
            assert (path, answer.status_code) == (path, 422)
            assert "ASCII letters" in error_of(answer)
            assert CANARY not in answer.text
    assert api.client.get("/api/v1/assets").json()["items"] == []


def test_a_part_that_is_no_segment_of_a_path_is_never_made_one(api: Api) -> None:
    for part in ("", "A%2FB", "..", "%2e%2e"):
        # httpx would normalise the dots away, so the path goes over the socket as it is.
        target = f"/api/v1/assets/{part}/N/values/dev".encode()
        request = api.client.build_request("PUT", api.url, content=b"x", extensions={"target": target})
        answer = api.client.send(request)
        assert answer.status_code in {404, 422}
        error_of(answer)


def test_an_unknown_environment_is_refused(api: Api) -> None:
    for environment in ("qa", "PROD", "prod%20", "prod%0A"):
        answer = api.client.put(f"/api/v1/assets/G/N/values/{environment}", content=b"x")
        assert (environment, answer.status_code) == (environment, 422)
        assert "no environment" in error_of(answer)


def test_names_that_would_share_a_variable_are_refused_naming_both(api: Api) -> None:
    api.add_bot("report")
    api.set_value("A_B.C", b"some value")
    clash = api.client.put("/api/v1/assets/a/b_c/values/prod?bot=report", content=b"x")
    assert (clash.status_code, clash.json()["error"]["code"]) == (409, "conflict")
    assert "A_B.C" in error_of(clash)
    assert "A.B_C" in error_of(clash)
    reserved = api.client.put("/api/v1/assets/GLOBAL/JOB_ID/values/dev", content=b"x")
    assert reserved.status_code == 409
    assert "KLANGO_JOB_ID" in error_of(reserved)


def test_a_value_that_is_too_large_for_a_variable_is_stored_with_a_warning(api: Api) -> None:
    assert "128 KiB" in api.set_value("BIG.ONE", b"x" * 1024 * 1024)["warnings"][0]
    assert "NUL" in " ".join(api.set_value("NUL.ONE", b"a\0bcdef")["warnings"])
    assert "not UTF-8" in " ".join(api.set_value("RAW.ONE", b"\xff\xfe\x00\x01abc")["warnings"])


def test_no_answer_and_no_log_ever_holds_a_value(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    bodies: list[str] = []
    client = api.client
    client.event_hooks["response"] = [lambda answer: bodies.append(answer.read().decode("utf-8", "replace"))]
    viewer = api.as_token(api.token("viewer"))
    viewer.event_hooks = client.event_hooks
    api.add_bot()
    value = CANARY.encode()
    path = "/api/v1/assets/SAP/PASSWORD/values"
    for environment in ("dev", "staging", "prod"):
        api.set_value("SAP.PASSWORD", value, environment)
    viewer.put(f"{path}/dev", content=value)
    client.put("/api/v1/assets/A-B/C/values/dev", content=value)
    client.put(f"{path}/qa", content=value)
    client.put(f"{path}/dev?bot=nobody", content=value)
    client.put(f"{path}/dev", content=value * 60_000)
    client.put(f"{path}/dev?description={'d' * 2000}", content=value)
    client.post("/api/v1/jobs", content=b'{"bot": ' + value, headers={"Content-Type": "application/json"})
    client.post("/api/v1/jobs", json={"bot": [CANARY], "environment": {CANARY: 1}})
    client.post("/api/v1/jobs", json=[CANARY])
    client.post("/api/v1/jobs", content=value)
    client.post(f"{path}/dev/rollback", json={"number": CANARY})
    job = api.run(parameters={"password": "{{ASSET.SAP.PASSWORD}}"})
    for read in ("assets", "assets/SAP/PASSWORD", "coverage", "jobs", f"jobs/{job['id']}", "audit", "tokens"):
        assert client.get(f"/api/v1/{read}").status_code == 200
    client.get("/metrics")
    client.delete("/api/v1/assets/SAP/PASSWORD")
    assert len(bodies) > 15
    everything = "\n".join([*bodies, caplog.text])
    for form in (CANARY, base64.b64encode(value).decode().rstrip("="), value.hex(), CANARY[:12]):
        assert form not in everything
