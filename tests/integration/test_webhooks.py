"""Deliveries to webhooks, signed as their senders sign them, on both pairs of stores."""

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from console.api import hooks
from console.models import HookKey
from tests.api import Api, error_of, serving
from tests.support import Stores
from vault import db

KEY = "a key that the sender made"
BODY = {"id": "evt_1", "ref": "refs/heads/main", "commits": [{"id": 7, "author": {"name": "Ada"}}]}


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as api:
        api.add_bot()
        yield api


def add(api: Api, style: str, *, key: str | None = KEY, more: dict[str, Any] | None = None, **webhook: object) -> str:
    """The path of a new webhook."""
    definition = {"bot": "hello", "webhook": {"style": style, **webhook}, **(more or {})}
    answer = api.client.post("/api/v1/triggers", json={"name": "hook", "definition": definition})
    assert answer.status_code in {200, 201}, answer.text
    if key is not None:
        assert api.client.put("/api/v1/triggers/hook/key", json={"key": key}).status_code == 200
    return str(answer.json()["hook"])


def mac(signed: bytes, key: str = KEY) -> str:
    return hmac.new(key.encode(), signed, hashlib.sha256).hexdigest()


def github(body: bytes, key: str = KEY, delivery: str = "1") -> dict[str, str]:
    return {"X-Hub-Signature-256": f"sha256={mac(body, key)}", "X-GitHub-Delivery": delivery}


def stripe(body: bytes, key: str = KEY, age: int = 0, header: str = "Stripe-Signature") -> dict[str, str]:
    stamp = str(int(time.time()) - age)
    return {header: f"t={stamp},v1=0000,v1={mac(stamp.encode() + b'.' + body, key)}"}


def headers(style: str, body: bytes, key: str = KEY) -> dict[str, str]:
    if style == "github":
        return github(body, key)
    if style == "plain":
        return {"X-Botkeep-Key": key}
    return stripe(body, key, header="Stripe-Signature" if style == "stripe" else "X-Botkeep-Signature")


def send(api: Api, path: str, given: dict[str, str], body: bytes) -> httpx.Response:
    return api.as_token(None).post(path, content=body, headers=given)


def jobs(api: Api) -> list[dict[str, Any]]:
    return list(api.client.get("/api/v1/jobs").json()["items"])


@pytest.mark.parametrize("style", ["github", "stripe", "botkeep", "plain"])
def test_a_signed_delivery_starts_one_job_with_what_the_mapping_takes(api: Api, style: str) -> None:
    mapping = {"parameters_from": {"BRANCH": "/ref", "WHO": "/commits/0/author/name", "N": "/commits/0/id"}}
    path, body = add(api, style, more=mapping), json.dumps(BODY).encode()
    first = send(api, path, headers(style, body), body)
    again = send(api, path, headers(style, body), body)
    assert (first.status_code, again.status_code) == (201, 200), (first.text, again.text)
    assert first.json()["started"] == again.json()["started"]
    (job,) = jobs(api)
    assert job["id"] == first.json()["started"]["id"]
    assert job["parameters"] == {"BRANCH": "refs/heads/main", "WHO": "Ada", "N": 7}
    assert job["cause"]["kind"] == "trigger"


@pytest.mark.parametrize("style", ["github", "stripe", "botkeep", "plain"])
def test_a_wrong_signature_is_refused_and_audited(api: Api, style: str) -> None:
    path, body = add(api, style), json.dumps(BODY).encode()
    refused = [
        send(api, path, headers(style, body, "another key altogether"), body),
        send(api, path, {}, body),
        send(api, path, headers(style, body, ""), body),
    ]
    assert [answer.status_code for answer in refused] == [401, 401, 401]
    rows = [row for row in api.audit() if row["action"] == "webhook.delivered"]
    assert [(row["outcome"], row["object"]) for row in rows] == [("refused", "trigger hook")] * 3
    assert jobs(api) == []


@pytest.mark.parametrize("style", ["github", "stripe", "botkeep"])
def test_a_signature_of_another_body_is_refused(api: Api, style: str) -> None:
    path, body = add(api, style), json.dumps(BODY).encode()
    assert send(api, path, headers(style, body), body + b" ").status_code == 401


@pytest.mark.parametrize(("age", "status"), [(0, 201), (290, 201), (310, 401), (-310, 401)])
def test_an_old_or_future_timestamp_is_refused(api: Api, age: int, status: int) -> None:
    path, body = add(api, "stripe"), json.dumps(BODY).encode()
    assert send(api, path, stripe(body, age=age), body).status_code == status


def test_a_replay_of_what_was_signed_starts_nothing_again(api: Api) -> None:
    path, body = add(api, "botkeep"), b'{"no": "id"}'
    given = stripe(body, header="X-Botkeep-Signature")
    assert [send(api, path, given, body).status_code for _ in range(2)] == [201, 200]
    assert len(jobs(api)) == 1


def test_a_key_is_made_once_and_stored_sealed(api: Api) -> None:
    path, body = add(api, "github", key=None), json.dumps(BODY).encode()
    assert send(api, path, github(body), body).status_code == 404, "a hook without a key takes nothing"
    key = api.client.post("/api/v1/triggers/hook/key").json()["key"]
    assert send(api, path, github(body, key), body).status_code == 201
    shown = api.client.get("/api/v1/triggers/hook")
    assert shown.json()["key_set"] is True
    assert key not in shown.text
    with db.reading(api.console.engine) as session:
        sealed = session.scalars(select(HookKey.sealed)).one()
    assert key.encode() not in sealed
    assert "trigger.key_made" in [row["action"] for row in api.audit()]


def test_another_style_needs_another_key(api: Api) -> None:
    add(api, "github")
    path, body = add(api, "plain", key=None), json.dumps(BODY).encode()
    assert api.client.get("/api/v1/triggers/hook").json()["key_set"] is False
    assert send(api, path, headers("plain", body), body).status_code == 404


def test_without_the_consoles_file_a_hook_is_unavailable_and_says_nothing(api: Api) -> None:
    path, body = add(api, "github"), json.dumps(BODY).encode()
    api.console.key_file.path.unlink()
    api.console.key_file._cipher = None
    answer = send(api, path, github(body), body)
    assert answer.status_code == 503
    assert "hooks.key" not in answer.text


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"ref=main", "not JSON"),
        (b'{"ref": "a\\u0000b"}', "not JSON"),
        (b'{"ref": NaN}', "not JSON"),
        (b'{"ref": ' + b"[" * 40 + b"]" * 40 + b"}", "nested"),
        (b"[" * 100_000, "not JSON"),
        (b'{"other": 1}', "nothing at /ref"),
        (b"[1, 2]", "nothing at /ref"),
        (b"7", "nothing at /ref"),
        (b'{"ref": "{{ASSET.SAP.PASSWORD}}"}', "looks like a reference"),
        (b'{"ref": ["x", {"y": "secret://SAP/PASSWORD"}]}', "looks like a reference"),
    ],
)
def test_a_body_that_cannot_be_used_is_refused_and_starts_nothing(api: Api, body: bytes, words: str) -> None:
    path = add(api, "github", more={"parameters_from": {"BRANCH": "/ref"}})
    answer = send(api, path, github(body), body)
    assert answer.status_code == 422, answer.text
    assert words in error_of(answer)
    assert jobs(api) == []


def test_a_delivery_that_failed_may_come_again_once_its_reason_is_mended(api: Api) -> None:
    path, body = add(api, "github", more={"parameters_from": {"X": "/missing"}}), json.dumps(BODY).encode()
    assert send(api, path, github(body), body).status_code == 422
    add(api, "github", key=None, more={"parameters_from": {"X": "/ref"}})
    assert send(api, path, github(body), body).status_code == 201


def test_too_large_too_many_and_paused_are_said(api: Api) -> None:
    path = add(api, "plain", max_size=100, rate=2)
    given = {"X-Botkeep-Key": KEY}
    assert send(api, path, given, b"[" + b"1," * 100 + b"1]").status_code == 413
    api.client.put("/api/v1/triggers/hook/pause")
    paused = send(api, path, given, b"{}")
    api.client.delete("/api/v1/triggers/hook/pause")
    answers = [send(api, path, given, b"{}") for _ in range(2)]
    assert [paused.status_code, *(answer.status_code for answer in answers)] == [503, 201, 429]
    assert int(answers[1].headers["Retry-After"]) in range(1, 31)
    assert len(jobs(api)) == 1


def test_who_keeps_failing_is_turned_away_before_it_costs_rows(api: Api) -> None:
    path = add(api, "github")
    answers = [send(api, path, {}, b"{}").status_code for _ in range(hooks.FAILURES + 5)]
    assert answers == [401] * hooks.FAILURES + [429] * 5
    assert len([row for row in api.audit() if row["action"] == "webhook.delivered"]) == hooks.FAILURES


def test_unknown_hooks_and_other_methods_say_nothing(api: Api) -> None:
    add(api, "github")
    for unknown in ("0190a0b0-0000-7000-8000-000000000000", "hook", "%2e%2e"):
        assert send(api, f"/hooks/{unknown}", {}, b"{}").status_code == 404
    assert api.as_token(None).get("/hooks/hook").status_code == 405


def test_a_short_key_is_refused(api: Api) -> None:
    add(api, "github", key=None)
    answer = api.client.put("/api/v1/triggers/hook/key", json={"key": "short"})
    assert answer.status_code == 422
    assert "key: it must have 16" in error_of(answer)
