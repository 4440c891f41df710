"""A bot that lacks a value where unset values are refused is not even queued, and the grid says so before."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api import Api, serving
from tests.support import Stores


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    """A console whose prod refuses unset values."""
    with serving(stores, tmp_path) as api:
        assert api.client.put("/api/v1/environments/prod", json={"unset": "refuse"}).status_code == 200
        api.set_value("SAP.LOGIN", b"a-long-login", "dev")
        api.add_bot("uses", **{"bot.toml": 'assets = ["SAP.*", "DB.URL"]\n'})
        api.add_bot("other", **{"bot.toml": 'assets = ["MAIL.*"]\n'})
        yield api


def refusals(api: Api, **query: str) -> list[tuple[str, str, list[str]]]:
    answer = api.client.get("/api/v1/coverage/refusals", params=query)
    assert answer.status_code == 200, answer.text
    return [(item["bot"], item["environment"], item["missing"]) for item in answer.json()["items"]]


def order(api: Api, bot: str, environment: str) -> Any:  # noqa: ANN401 - httpx's answer
    return api.client.post("/api/v1/jobs", json={"bot": bot, "environment": environment})


def test_a_job_that_would_be_refused_is_not_queued(api: Api) -> None:
    answer = order(api, "uses", "prod")
    assert answer.status_code == 422
    message = answer.json()["error"]["message"]
    assert "No value is set in prod for DB.URL, SAP.LOGIN" in message
    assert "botkeep asset set DB.URL --env prod" in message
    assert order(api, "uses", "dev").status_code == 201, "dev only warns"
    assert order(api, "other", "prod").status_code == 201, "a pattern that nothing matches asks for nothing"
    assert refusals(api) == [("uses", "prod", ["DB.URL", "SAP.LOGIN"])]
    assert refusals(api, bot="other") == []
    assert api.client.get("/api/v1/coverage/refusals", params={"bot": "nobody"}).status_code == 404


def test_what_was_missing_can_be_given_even_empty_and_by_the_bots_own_asset(api: Api) -> None:
    api.set_value("SAP.LOGIN", b"", "prod")
    assert refusals(api) == [("uses", "prod", ["DB.URL"])]
    api.set_value("DB.URL", b"a-long-address", "prod", bot="uses")
    assert refusals(api) == []
    assert order(api, "uses", "prod").status_code == 201


def test_a_bots_own_asset_without_a_value_hides_the_workspaces(api: Api) -> None:
    api.set_value("SAP.LOGIN", b"a-long-login", "prod")
    api.set_value("DB.URL", b"a-long-address", "prod")
    assert refusals(api) == []
    api.set_value("DB.URL", b"a-long-address", "dev", bot="uses")
    assert refusals(api) == [("uses", "prod", ["DB.URL"])]
    assert order(api, "uses", "prod").status_code == 422
