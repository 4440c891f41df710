"""A bot that lacks a value where unset values are refused is not even queued, and the grid says so before."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from runner.states import State
from runner.triggers import Trigger
from scheduler import due
from scheduler.models import Run
from tests.api import Api, error_of, serving
from tests.flow_api import FlowApi
from tests.support import Stores
from vault import db


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


def save_trigger(api: Api, name: str = "nightly", **definition: object) -> None:
    given = {"environment": "prod", "schedule": {"cron": "0 7 * * *"}, **definition}
    answer = api.client.post("/api/v1/triggers", json={"name": name, "definition": given})
    assert answer.status_code == 201, answer.text


def firings(api: Api, name: str = "nightly") -> list[tuple[str, str | None]]:
    items = api.client.get(f"/api/v1/triggers/{name}/firings").json()["items"]
    return [(item["state"], item["why"]) for item in reversed(items)]


def fire_at_seven(api: Api, day: datetime) -> None:
    engine, instant = api.console.engine, day.replace(hour=7)
    with db.writing(engine) as session:
        session.execute(update(Trigger).values(next_instant=instant, next_fire_at=instant))
        due.fire_batch(session, now=instant)


def unset(api: Api, name: str) -> None:
    answer = api.client.delete(f"/api/v1/assets/{name.replace('.', '/')}/values/prod")
    assert answer.status_code in {200, 204}, answer.text


def jobs_in_prod(api: Api) -> list[str]:
    items = api.client.get("/api/v1/jobs", params={"environment": "prod"}).json()["items"]
    return [item["state"] for item in items]


@pytest.fixture
def complete(api: Api) -> Api:
    """Every value of the bot `uses` is set in prod."""
    api.set_value("SAP.LOGIN", b"a-long-login", "prod")
    api.set_value("DB.URL", b"a-long-address", "prod")
    return api


def test_a_trigger_that_is_run_by_hand_is_refused_where_its_bot_would_be(complete: Api) -> None:
    save_trigger(complete, bot="uses")
    unset(complete, "DB.URL")
    answer = complete.client.post("/api/v1/triggers/nightly/runs", json={})
    assert answer.status_code == 422
    assert "No value is set in prod for DB.URL" in error_of(answer)
    assert firings(complete) == []
    assert jobs_in_prod(complete) == []
    assert complete.client.post("/api/v1/triggers/nightly/runs", json={"environment": "dev"}).status_code == 201


def test_a_reference_that_nothing_resolves_is_refused_when_a_trigger_is_run_by_hand(complete: Api) -> None:
    save_trigger(complete, bot="uses")
    order = {"parameters": {"login": "{{ASSET.NO.SUCH}}"}}
    answer = complete.client.post("/api/v1/triggers/nightly/runs", json=order)
    assert answer.status_code == 422
    assert "which does not exist" in error_of(answer)
    assert jobs_in_prod(complete) == []


@pytest.mark.parametrize("kind", ["bot", "queue"])
def test_a_schedule_whose_target_cannot_run_leaves_a_firing_that_says_why_and_no_job(complete: Api, kind: str) -> None:
    items = {"items": [{"bot": "other"}, {"bot": "uses"}]}
    assert complete.client.post("/api/v1/queues", params={"name": "q"}, json=items).status_code == 201
    save_trigger(complete, overlap="cancel_previous", **{kind: "q" if kind == "queue" else "uses"})
    fire_at_seven(complete, datetime(2031, 3, 3, tzinfo=UTC))
    unset(complete, "DB.URL")
    fire_at_seven(complete, datetime(2031, 3, 4, tzinfo=UTC))
    complete.set_value("DB.URL", b"a-long-address", "prod")
    begun, refused = firings(complete)
    assert begun == ("started", None)
    assert refused[0] == "failed"
    place = "items.1: " if kind == "queue" else ""
    assert str(refused[1]).startswith(f"{place}No value is set in prod for DB.URL, and the workspace refuses")
    with db.reading(complete.console.engine) as session:
        assert session.scalars(select(Run.cancel_requested_at)).all() == ([None] if kind == "queue" else [])
    assert jobs_in_prod(complete) == ([] if kind == "queue" else ["queued"]), "what goes on is not cancelled for it"
    fire_at_seven(complete, datetime(2031, 3, 5, tzinfo=UTC))
    assert [state for state, _ in firings(complete)] == ["started", "failed", "started"]


def test_a_restart_is_refused_where_a_step_that_is_done_again_would_be(complete: Api) -> None:
    world = FlowApi(complete)
    steps = {"first": {"bot": "uses"}, "last": {"bot": "other", "after": "first"}}
    complete.set_value("MAIL.USER", b"a-long-user", "prod")
    world.save("workflow", "w", {"environment": "prod", "steps": steps})
    run_id = world.start("workflow", "w")
    world.do(environment="prod")
    world.do(State.FAILED, environment="prod")
    assert world.run(run_id)["state"] == "failed"
    unset(complete, "DB.URL")
    unset(complete, "MAIL.USER")
    answer = complete.client.post(f"/api/v1/runs/{run_id}/restart", json={})
    assert answer.status_code == 422
    assert error_of(answer).startswith("steps.last: No value is set in prod for MAIL.USER")
    complete.set_value("MAIL.USER", b"a-long-user", "prod")
    answer = complete.client.post(f"/api/v1/runs/{run_id}/restart", json={"from": "first"})
    assert error_of(answer).startswith("steps.first: No value is set in prod for DB.URL")
    assert len(complete.client.get("/api/v1/runs").json()["items"]) == 1
    answer = complete.client.post(f"/api/v1/runs/{run_id}/restart", json={})
    assert answer.status_code == 201, "what is taken over needs no value"
