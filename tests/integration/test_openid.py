"""Signing in with OpenID Connect, against a real provider in a process of its own, well-behaved and hostile."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api import Api, serving
from tests.conftest import Start
from tests.openid_provider import CLIENT, CREDENTIAL
from tests.person import Person
from tests.support import Stores

FAULTS = [
    "nonce",
    "no nonce",
    "audience",
    "party",
    "expired",
    "issuer",
    "subject",
    "key",
    "unsigned",
    "symmetric",
    "answer",
    "discovery",
]


@pytest.fixture
def issuer(start: Start) -> str:
    process = start(sys.executable, "-m", "tests.openid_provider", name="provider")
    return process.wait_for("127.0.0.1").splitlines()[0]


@pytest.fixture
def api(stores: Stores, tmp_path: Path, issuer: str) -> Iterator[Api]:
    with opened(stores, tmp_path, issuer, oidc_role="dev") as running:
        yield running


def opened(stores: Stores, folder: Path, issuer: str, **more: Any) -> AbstractContextManager[Api]:  # noqa: ANN401 - settings of any kind
    file = folder / "credential"
    file.write_text(CREDENTIAL + "\n")
    file.chmod(0o600)
    return serving(stores, folder, oidc_issuer=issuer, oidc_client_id=CLIENT, oidc_credential_file=file, **more)


def control(issuer: str, **given: object) -> None:
    assert httpx.post(f"{issuer}/control", json=given).status_code == 200


def leave(person: Person, path: str = "/sign-in/openid?next=/bots") -> str:
    """To the provider and back: the address with which the browser comes back."""
    away = person.client.get(path)
    assert away.status_code == 303, away.text
    return str(httpx.get(away.headers["location"]).headers["location"])


def enter(api: Api) -> tuple[Person, httpx.Response]:
    person = Person.new(api)
    return person, person.client.get(leave(person))


def test_a_new_person_gets_an_account_and_is_the_same_one_the_next_time(api: Api, issuer: str) -> None:
    person, answer = enter(api)
    assert (answer.status_code, answer.headers["location"]) == (303, "/bots")
    assert person.client.get("/api/v1/bots").status_code == 200
    control(issuer, person={"sub": "u-1", "preferred_username": "renamed"}, rotate="second")
    assert enter(api)[1].status_code == 303
    users = api.client.get("/api/v1/users").json()["items"]
    assert [(user["name"], user["role"], user["openid"], user["password"]) for user in users] == [
        ("anna", "dev", True, False)
    ]
    actions = [(row["actor"], row["action"]) for row in api.audit()]
    assert actions[:3] == [("anna", "session.begun"), ("anna", "session.begun"), ("openid", "user.added")]


def test_what_a_hostile_provider_sends_signs_nobody_in(api: Api, issuer: str) -> None:
    assert enter(api)[1].status_code == 303
    for fault in FAULTS:
        api.console.openid._metadata = None  # type: ignore[union-attr]
        control(issuer, fault=fault)
        person = Person.new(api)
        away = person.client.get("/sign-in/openid")
        if away.status_code == 303:
            answer = person.client.get(httpx.get(away.headers["location"]).headers["location"])
        else:
            answer = away
        assert (fault, answer.status_code) == (fault, 422)
        assert "did not work" in answer.text
        assert person.client.get("/api/v1/bots").status_code == 401
        assert "botkeep=" not in str(answer.headers.get_list("set-cookie"))
    control(issuer)
    api.console.openid._metadata = None  # type: ignore[union-attr]
    assert enter(api)[1].status_code == 303
    refused = [row for row in api.audit() if row["outcome"] == "refused"]
    assert len(refused) == len(FAULTS) - 1  # the provider that calls itself otherwise is not even asked


def test_a_state_works_once_and_only_for_the_browser_that_began(api: Api) -> None:
    victim, thief = Person.new(api), Person.new(api)
    back = leave(victim)
    assert thief.client.get(back).status_code == 422
    begun = leave(thief)
    assert thief.client.get(back).status_code == 422
    assert victim.client.get(back).status_code == 303
    assert victim.client.get(back).status_code == 422
    assert victim.client.get(begun).status_code == 422
    url = httpx.URL(leave(victim))
    assert victim.client.get(url.copy_set_param("state", "x")).status_code == 422
    assert victim.client.get(url.copy_set_param("code", "x")).status_code == 422
    assert victim.client.get(url).status_code == 422  # its state was used up by the try before


def test_accounts_are_made_for_whom_the_settings_say(stores: Stores, tmp_path: Path, issuer: str) -> None:
    rules: dict[str, Any] = {"oidc_groups": {"ops": "operator", "root": "admin"}, "oidc_domains": ("corp.example",)}
    people: list[tuple[dict[str, object], str]] = [
        ({"email": "a@corp.example", "email_verified": True, "groups": ["ops", "root", "x"]}, "admin"),
        ({"email": "b@corp.example", "email_verified": True, "groups": ["ops"]}, "operator"),
        ({"email": "c@corp.example", "email_verified": True, "groups": []}, ""),
        ({"email": "d@corp.example", "email_verified": False, "groups": ["ops"]}, ""),
        ({"email": "e@evil.example", "email_verified": True, "groups": ["ops"]}, ""),
        ({"groups": "root"}, ""),
    ]
    with opened(stores, tmp_path, issuer, **rules) as api:
        for number, (claims, role) in enumerate(people):
            person = {"sub": f"u-{number}", "preferred_username": f"p{number}", **claims}
            control(issuer, person=person)
            answer = enter(api)[1]
            assert (number, answer.status_code) == (number, 303 if role else 422)
        found = {user["name"]: user["role"] for user in api.client.get("/api/v1/users").json()["items"]}
        assert found == {f"p{number}": role for number, (_, role) in enumerate(people) if role}


def test_an_account_of_the_same_name_is_never_taken_over(api: Api, issuer: str) -> None:
    api.client.post("/api/v1/users", json={"name": "Anna", "role": "admin"})
    answer = enter(api)[1]
    assert answer.status_code == 422
    assert "account named anna" in answer.text
    api.client.delete("/api/v1/users/anna")
    assert (
        api.client.post("/api/v1/users", json={"name": "anna", "role": "viewer", "subject": "u-1"}).status_code == 201
    )
    person, answer = enter(api)
    assert answer.status_code == 303
    assert person.client.post("/api/v1/jobs", json={}).status_code == 403


def test_a_provider_that_is_away_is_said(api: Api, issuer: str) -> None:
    api.console.openid._metadata = None  # type: ignore[union-attr]
    control(issuer, fault="discovery")
    answer = Person.new(api).client.get("/sign-in/openid")
    assert answer.status_code == 422
    assert "Sign in with your organisation" in answer.text
