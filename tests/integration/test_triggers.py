"""Triggers over HTTP and in the scheduler's duties, on both pairs of stores; time is given, nothing is waited for."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from runner.models import Job
from runner.triggers import Firing, Trigger
from scheduler import completion, due, firing
from scheduler.shots import Fired
from tests.api import Api, error_of, serving
from tests.support import Stores
from vault import db

#: Long after every test's own time, so that what is due is due by the `now` that a test gives.
DAY = datetime(2031, 3, 3, tzinfo=UTC)
SEVEN = DAY.replace(hour=7)


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as api:
        api.add_bot()
        yield api


def save(api: Api, name: str = "daily", status: int = 201, **definition: object) -> dict[str, Any]:
    given = {"bot": "hello", **definition}
    if not {"schedule", "webhook", "file", "completion"} & given.keys():
        given["schedule"] = {"cron": "0 7 * * *"}
    answer = api.client.post("/api/v1/triggers", json={"name": name, "definition": given})
    assert answer.status_code == status, answer.text
    return dict(answer.json())


def wait_for(api: Api, name: str, instant: datetime) -> None:
    """Let a schedule wait for this instant."""
    with db.writing(api.console.engine) as session:
        changed = update(Trigger).where(Trigger.name == name).values(next_instant=instant, next_fire_at=instant)
        session.execute(changed)


def fire(api: Api, now: datetime) -> list[Fired]:
    with db.writing(api.console.engine) as session:
        _, fired = due.fire_batch(session, now=now)
    firing.announce(api.console.engine, api.console.transport, fired)
    return fired


def jobs(api: Api) -> list[dict[str, Any]]:
    return list(reversed(api.client.get("/api/v1/jobs", params={"limit": 500}).json()["items"]))


def firings(api: Api, name: str = "daily") -> list[dict[str, Any]]:
    answer = api.client.get(f"/api/v1/triggers/{name}/firings", params={"limit": 500})
    return list(reversed(answer.json()["items"]))


def test_a_saved_schedule_waits_for_its_next_instant_and_is_listed_and_shown(api: Api) -> None:
    saved = save(api, environment="prod", parameters={"REGION": "eu"})
    assert datetime.fromisoformat(saved["next_fire_at"]).hour == 7
    assert (saved["kind"], saved["target"], saved["environment"]) == (
        "schedule",
        {"kind": "bot", "name": "hello"},
        "prod",
    )
    shown = api.client.get("/api/v1/triggers/daily").json()
    assert shown["parameters"] == {"REGION": "eu"}
    assert [item["name"] for item in api.client.get("/api/v1/triggers").json()["items"]] == ["daily"]
    assert api.audit()[0]["action"] == "trigger.added"


def test_a_due_schedule_queues_its_job_and_winds_on(api: Api) -> None:
    save(api, environment="staging", parameters={"REGION": "eu"})
    wait_for(api, "daily", DAY.replace(hour=7))
    (fired,) = fire(api, DAY.replace(hour=7, second=1))
    (job,) = jobs(api)
    assert (job["bot"], job["environment"], job["parameters"]) == ("hello", "staging", {"REGION": "eu"})
    assert job["cause"] == {"kind": "trigger", "name": "daily", "id": str(fired.id)}
    shown = api.client.get("/api/v1/triggers/daily").json()
    assert datetime.fromisoformat(shown["next_fire_at"]) == DAY + timedelta(days=1, hours=7)
    assert shown["last_firing"]["started"] == {"kind": "bot", "id": job["id"]}
    assert fire(api, DAY.replace(hour=8)) == []


def test_an_instant_that_fired_does_not_fire_again_even_when_the_schedule_waits_for_it(api: Api) -> None:
    save(api)
    for _ in range(2):
        wait_for(api, "daily", DAY.replace(hour=7))
        fire(api, DAY.replace(hour=7))
    assert len(jobs(api)) == len(firings(api)) == 1


@pytest.mark.parametrize(
    ("policy", "started", "skipped"),
    [
        ({}, 1, 1),
        ({"misfire": "all"}, 5, 0),
        ({"misfire": "all", "misfire_limit": 2}, 2, 1),
        ({"misfire": "none"}, 0, 1),
    ],
)
def test_after_a_downtime_the_policy_says_what_fires(
    api: Api, policy: dict[str, Any], started: int, skipped: int
) -> None:
    save(api, schedule={"cron": "0 7 * * *", **policy})
    wait_for(api, "daily", DAY.replace(hour=7))
    fire(api, DAY + timedelta(days=4, hours=12))
    states = [one["state"] for one in firings(api)]
    assert (states.count("started"), states.count("skipped")) == (started, skipped)
    assert len(jobs(api)) == started
    assert all("misfire" in one["why"] for one in firings(api) if one["state"] == "skipped")


def test_overlap_skips_while_the_job_before_is_not_over(api: Api) -> None:
    save(api, overlap="skip")
    for day in range(3):
        wait_for(api, "daily", SEVEN + timedelta(days=day))
        fire(api, SEVEN + timedelta(days=day))
        if day == 1:
            api.finish(api.claim(jobs(api)[0]["id"]))
    assert [one["state"] for one in firings(api)] == ["started", "skipped", "started"]
    assert "overlap" in firings(api)[1]["why"]


def test_overlap_cancels_what_went_before(api: Api) -> None:
    save(api, overlap="cancel_previous")
    for day in range(3):
        wait_for(api, "daily", SEVEN + timedelta(days=day))
        fire(api, SEVEN + timedelta(days=day))
        if day == 1:
            api.claim(jobs(api)[1]["id"])
    first, second, third = jobs(api)
    assert (first["state"], second["state"], third["state"]) == ("cancelled", "running", "queued")
    assert second["cancel_requested_at"] is not None


def test_a_schedule_of_one_instant_disables_itself(api: Api) -> None:
    save(api, schedule={"at": "2031-03-03T08:00", "zone": "Europe/Berlin"})
    fire(api, DAY.replace(hour=7))
    shown = api.client.get("/api/v1/triggers/daily").json()
    assert (shown["enabled"], shown["next_fire_at"], len(jobs(api))) == (False, None, 1)


def test_a_paused_trigger_does_not_fire_and_leaves_that_time_out_when_it_is_resumed(api: Api) -> None:
    save(api)
    assert api.client.put("/api/v1/triggers/daily/pause").json()["paused_by"] == "root"
    assert fire(api, DAY) == []
    resumed = api.client.delete("/api/v1/triggers/daily/pause").json()
    assert resumed["paused_at"] is None
    assert datetime.fromisoformat(resumed["next_fire_at"]) < datetime.now(UTC) + timedelta(days=2)
    assert [row["action"] for row in api.audit()[:2]] == ["trigger.resumed", "trigger.paused"]


def test_run_now_takes_an_environment_and_parameters_and_a_key_makes_one_job(api: Api) -> None:
    save(api, parameters={"A": 1, "B": 1}, enabled=False)
    order = {"environment": "staging", "parameters": {"B": 2}, "idempotency_key": "once"}
    first = api.client.post("/api/v1/triggers/daily/runs", json=order)
    again = api.client.post("/api/v1/triggers/daily/runs", json=order)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["started"] == again.json()["started"]
    (job,) = jobs(api)
    assert (job["environment"], job["parameters"]) == ("staging", {"A": 1, "B": 2})


def test_a_removed_trigger_is_gone_and_its_name_is_free(api: Api) -> None:
    save(api)
    assert api.client.delete("/api/v1/triggers/daily").status_code == 204
    assert api.client.get("/api/v1/triggers/daily").status_code == 404
    assert fire(api, DAY) == []
    save(api)


def test_what_cannot_be_started_any_more_leaves_a_failed_firing_with_the_reason(api: Api) -> None:
    save(api)
    assert api.client.delete("/api/v1/bots/hello").status_code == 204
    wait_for(api, "daily", SEVEN)
    fire(api, SEVEN)
    (failed,) = firings(api)
    assert failed["state"] == "failed"
    assert "no bot" in failed["why"]


def test_the_list_says_how_each_trigger_fired_last(api: Api) -> None:
    save(api)
    save(api, "quiet", webhook={"style": "plain"})
    for day in (SEVEN, SEVEN + timedelta(days=1)):
        wait_for(api, "daily", day)
        fire(api, day)
    listed = api.client.get("/api/v1/triggers").json()["items"]
    newest = firings(api)[-1]
    assert newest["instant"] > firings(api)[0]["instant"]
    assert [(item["name"], item["last_firing"]) for item in listed] == [("daily", newest), ("quiet", None)]


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        ({"schedule": {"cron": "0 0 31 2 *"}}, "schedule.cron: '0 0 31 2 *' means a day that never comes"),
        ({"schedule": {"cron": "61 * * * *"}}, "the minute"),
        ({"schedule": {"cron": "0 7 * * *", "zone": "Europe/Berlim"}}, "schedule.zone: "),
        ({"schedule": {"cron": "0 7 * * *", "calendars": ["none"]}}, "schedule.calendars: "),
        ({"schedule": {"cron": "0 7 * * *", "windows": ["moon 8:00"]}}, "schedule.windows"),
        ({"schedule": {"cron": "0 7 * * *", "every": "1h"}}, "exactly one of cron, every and at"),
        ({"schedule": {}}, "exactly one of cron, every and at"),
        ({"schedule": {"at": "2001-01-01"}}, "schedule: "),
        ({"bot": "nobody"}, "bot: There is no bot 'nobody'"),
        ({"bot": "no\0body"}, "NUL"),
        ({"bot": None}, "exactly one of bot, queue and workflow"),
        ({"environment": "production"}, "environment"),
        ({"parameters": {"X": "{{ASSET.NO.SUCH}}"}}, "parameters: The reference {{ASSET.NO.SUCH}}"),
        ({"parameters_from": {"X": "/a"}}, "parameters_from"),
        ({"overlap": "maybe"}, "overlap: "),
        ({"group": "no group!"}, "group"),
        ({"webhook": {"style": "github"}}, "exactly one of the tables"),
        ({"schedul": {}}, "did you mean schedule?"),
        (
            {"schedule": {"every": "1h", "overlap": "skip"}},
            "schedule.overlap: there is no such key; write overlap at the",
        ),
    ],
)
def test_a_definition_that_could_never_work_is_refused_by_its_field(
    api: Api, definition: dict[str, Any], words: str
) -> None:
    given = {"bot": "hello", "schedule": {"cron": "0 7 * * *"}, **definition}
    answer = api.client.post("/api/v1/triggers", json={"name": "daily", "definition": given})
    assert answer.status_code in {404, 422}, answer.text
    assert words in error_of(answer)


def test_a_missing_required_parameter_and_prod_without_permission_are_refused(api: Api) -> None:
    api.add_bot("asks", **{"bot.toml": "[parameters.REGION]\nrequired = true\n"})
    given = {"bot": "asks", "schedule": {"cron": "0 7 * * *"}}
    refused = api.client.post("/api/v1/triggers", json={"name": "asks", "definition": given})
    assert refused.status_code == 422
    assert "parameters: The bot needs the parameter 'REGION'; write REGION below `parameters`." in error_of(refused)
    developer = api.role("dev", "dev", "staging")
    denied = developer.post(
        "/api/v1/triggers",
        json={"name": "p", "definition": {"bot": "hello", "environment": "prod", "schedule": {"every": "1h"}}},
    )
    assert denied.status_code == 403
    assert "prod" in error_of(denied)


def test_a_calendar_leaves_days_out_also_when_it_changes_later(api: Api) -> None:
    put = api.client.put("/api/v1/calendars/holidays", json={"days": ["2031-03-03"]})
    assert put.status_code == 200, put.text
    save(api, schedule={"cron": "0 7 * * *", "start": "2031-03-03", "calendars": ["holidays"]})
    assert api.client.get("/api/v1/triggers/daily").json()["next_fire_at"].startswith("2031-03-04T07")
    api.client.put("/api/v1/calendars/holidays", json={"days": ["2031-03-03", "2031-03-04"]})
    assert api.client.get("/api/v1/triggers/daily").json()["next_fire_at"].startswith("2031-03-05T07")
    used = api.client.delete("/api/v1/calendars/holidays")
    assert used.status_code == 409
    assert "daily" in error_of(used)
    assert api.client.put("/api/v1/calendars/bad", json={"days": ["soon"]}).status_code == 422


def test_the_preview_marks_the_nights_in_which_the_clock_changes(api: Api) -> None:
    save(api, schedule={"cron": "30 2 * * *", "zone": "Europe/Berlin", "start": "2031-03-29"})
    items = api.client.get("/api/v1/triggers/daily/preview", params={"count": 3}).json()["items"]
    assert [item["local"] for item in items] == [
        "2031-03-29 02:30:00+01:00",
        "2031-03-30 03:00:00+02:00",
        "2031-03-31 02:30:00+02:00",
    ]
    assert [item["note"] for item in items] == ["", "clock goes forward by 60 min", ""]


def end_of_one(api: Api, bot: str = "hello") -> str:
    job = api.run(bot)
    api.finish(api.claim(job["id"]))
    return str(job["id"])


def fire_ended(api: Api) -> int:
    return completion.fire_ended(api.console.engine, api.console.transport)


def test_the_end_of_a_job_fires_once_with_what_it_says(api: Api) -> None:
    api.add_bot("next")
    end_of_one(api)
    save(api, "after", bot="next", completion={"bot": "hello"}, parameters_from={"JOB": "/id", "HOW": "/state"})
    ended = end_of_one(api)
    assert [fire_ended(api), fire_ended(api)] == [1, 0]
    (started,) = [job for job in jobs(api) if job["bot"] == "next"]
    assert started["parameters"] == {"JOB": ended, "HOW": "succeeded"}


def test_a_completion_trigger_fires_only_for_its_states_and_environment(api: Api) -> None:
    api.add_bot("next")
    save(api, "failures", bot="next", completion={"bot": "hello", "states": ["failed"]})
    save(api, "elsewhere", bot="next", completion={"bot": "hello", "environment": "prod"})
    end_of_one(api)
    assert fire_ended(api) == 0


def test_a_circle_is_refused_where_it_is_direct_and_ends_where_it_is_not(api: Api) -> None:
    api.add_bot("other")
    given = {"bot": "hello", "completion": {"bot": "hello"}}
    direct = api.client.post("/api/v1/triggers", json={"name": "self", "definition": given})
    assert direct.status_code == 422
    assert "completion.bot: hello would start itself" in error_of(direct)
    save(api, "there", bot="other", completion={"bot": "hello"})
    save(api, "back", bot="hello", completion={"bot": "other"})
    end_of_one(api)
    while fire_ended(api):
        open_job = next((job for job in jobs(api) if job["state"] == "queued"), None)
        if open_job is None:
            break
        api.finish(api.claim(open_job["id"]))
    with db.reading(api.console.engine) as session:
        states = list(session.scalars(select(Firing.state).order_by(Firing.id)))
        assert session.scalar(select(Job.id).where(Job.state == "queued")) is None
    assert states == ["started"] * 21 + ["skipped"]
