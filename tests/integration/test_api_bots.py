"""Bots over HTTP."""

import http.client
import io
import json
import socket
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from console.api.bots import MAX_ARCHIVE
from tests.api import Api, error_of, serving, zipped
from tests.support import Stores

MANIFEST = 'entry = "main.py"\nassets = ["SAP.*"]\n\n[parameters.MONTH]\nrequired = true\n'


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as running:
        yield running


def add(api: Api, name: str, archive: bytes) -> httpx.Response:
    return api.client.post("/api/v1/bots", params={"name": name}, content=archive)


def test_a_bot_gets_a_version_for_each_new_package(api: Api) -> None:
    first = add(api, "report", zipped("print(1)", {"bot.toml": MANIFEST}))
    assert first.status_code == 201
    assert (first.json()["version"], first.json()["assets"]) == (1, ["SAP.*"])
    same = add(api, "report", zipped("print(1)", {"bot.toml": MANIFEST}))
    assert (same.status_code, same.json()) == (200, first.json())
    second = add(api, "report", zipped("print(2)"))
    assert (second.status_code, second.json()["version"], second.json()["assets"]) == (201, 2, None)
    shown = api.client.get("/api/v1/bots/report").json()
    assert [version["version"] for version in shown["versions"]] == [2, 1]
    assert shown["manifest"]["entry"] == "main.py"
    assert [row["action"] for row in api.audit()[:2]] == ["bot.added", "bot.added"]


def test_bots_are_listed_in_pages_by_name(api: Api) -> None:
    for name in ("c", "a", "B", "d"):
        api.add_bot(name)
    api.client.delete("/api/v1/bots/c")
    names, after = [], None
    while True:
        query: dict[str, str | int] = {"limit": 2} | ({"after": after} if after else {})
        page = api.client.get("/api/v1/bots", params=query).json()
        names += [bot["name"] for bot in page["items"]]
        assert len(names) <= 3
        after = page["next"]
        if after is None:
            break
    assert names == ["B", "a", "d"]


def test_a_removed_bot_is_gone_and_its_name_is_free(api: Api) -> None:
    api.add_bot("once")
    api.set_value("OWN.VALUE", b"of this bot", bot="once")
    assert api.client.delete("/api/v1/bots/once").status_code == 204
    answer = api.client.get("/api/v1/bots/once")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert "'once'" in error_of(answer)
    api.add_bot("once")
    assert api.client.get("/api/v1/assets", params={"bot": "once"}).json()["items"] == []


def test_a_bot_with_waiting_jobs_is_not_removed(api: Api) -> None:
    api.add_bot()
    api.run()
    answer = api.client.delete("/api/v1/bots/hello")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
    assert "1 queued" in error_of(answer)


def test_a_name_that_cannot_be_is_refused(api: Api) -> None:
    for name in ("", "a b", "a/b", "a\n", "ä", "x" * 129, "-x", ".."):
        answer = add(api, name, zipped("print(1)"))
        assert (name, answer.status_code) == (name, 422)
        assert "bot's name" in error_of(answer)
    assert api.client.get("/api/v1/bots").json()["items"] == []


def test_what_is_no_package_is_refused_with_the_reason(api: Api) -> None:
    climbing = io.BytesIO()
    with zipfile.ZipFile(climbing, "w") as archive:
        archive.writestr("../main.py", "print(1)")
    cases = {
        b"": "not a zip",
        b"PK\x03\x04 nothing": "not a zip",
        climbing.getvalue(): "'../main.py'",
        zipped("print(1)", {"bot.toml": "entree = 'main.py'"}): "entree",
    }
    for content, words in cases.items():
        answer = add(api, "odd", content)
        assert answer.status_code == 422
        assert words in error_of(answer)


def test_two_people_who_register_at_once_get_two_versions_or_are_asked_to_try_again(api: Api) -> None:
    archives = [zipped(f"print({number})") for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda archive: add(api, "both", archive), archives))
    assert {answer.status_code for answer in answers} <= {201, 409}
    numbers = sorted(answer.json()["version"] for answer in answers if answer.status_code == 201)
    assert numbers == list(range(1, len(numbers) + 1))
    collided = [error_of(answer) for answer in answers if answer.status_code == 409]
    assert all("at the same time; try again" in message for message in collided)


LARGEST = (
    ("POST", "/api/v1/bots?name=big", MAX_ARCHIVE),
    ("PUT", "/api/v1/assets/G/N/values/dev", 1024 * 1024),
    ("POST", "/api/v1/jobs", 1024 * 1024),
)


def test_a_body_that_is_too_large_is_refused_before_it_is_read(api: Api) -> None:
    for method, path, largest in LARGEST:
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n"
        head += f"Authorization: {api.client.headers['Authorization']}\r\nContent-Length: {largest + 1}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", httpx.URL(api.url).port or 0), timeout=10) as connection:
            connection.sendall(head.encode())
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            found = json.loads(answer.read())["error"]
        assert (answer.status, found["code"]) == (413, "invalid")
        assert f"larger than {largest:,} bytes" in found["message"]


def test_a_body_of_unknown_length_is_refused_when_it_grows_too_large(api: Api) -> None:
    with api.client.stream("PUT", "/api/v1/assets/G/N/values/dev", content=endless(1024 * 1024 + 1)) as answer:
        answer.read()
    assert answer.status_code == 413
    assert api.client.get("/api/v1/assets").json()["items"] == []


def endless(size: int) -> Iterator[bytes]:
    for _ in range(size // 4096 + 1):
        yield b"x" * 4096
