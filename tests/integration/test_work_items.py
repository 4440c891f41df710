"""Work items: one bot at a time, tried again or not, in order, and never by who does not hold them."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from runner import jobs, work_items
from runner.errors import Conflict, Invalid
from runner.flow_models import WorkItem
from runner.models import Job
from runner.states import State
from runner.work_items import Holder
from tests.api import Api, error_of, serving
from tests.support import Stores
from vault import db

PATH = "/api/v1/work-items"


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as running:
        running.add_bot()
        yield running


def add(api: Api, data: object = 1, **more: object) -> str:
    answer = api.client.post(PATH, json={"tray": "t", "data": data, "retry_delay": 0, **more})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def item(api: Api, item_id: str) -> dict[str, Any]:
    return dict(api.client.get(f"{PATH}/{item_id}").json())


def holder(api: Api, environment: str = "dev") -> Holder:
    """A running attempt."""
    api.run(environment=environment)
    claim = jobs.claim(api.direct, environment=environment, group="default", runner="host")
    assert claim is not None
    return Holder(claim.workspace_id, environment, claim.job_id, claim.attempt)


def reserve(api: Api, who: Holder, tray: str = "t") -> str | None:
    with db.writing(api.console.engine) as session:
        found = work_items.reserve(session, tray, holder=who)
        return None if found is None else str(found.id)


def complete(api: Api, item_id: str, who: Holder, result: object = None) -> None:
    with db.writing(api.console.engine) as session:
        work_items.complete(session, uuid.UUID(item_id), holder=who, result=result)


def fail(api: Api, item_id: str, who: Holder, *, business: bool = False) -> None:
    with db.writing(api.console.engine) as session:
        work_items.fail(session, uuid.UUID(item_id), holder=who, business=business, message="no")


def end(api: Api, who: Holder) -> None:
    assert jobs.finish(api.direct, who.job_id, attempt=who.attempt, report=jobs.Report(State.SUCCEEDED, None))


def settle(api: Api) -> None:
    with db.writing(api.console.engine) as session:
        work_items.settle(session)


def test_items_come_by_priority_then_deadline_then_age_each_once(api: Api) -> None:
    soon, later = (datetime.now(UTC) + timedelta(hours=hours) for hours in (1, 2))
    old = add(api)
    late = add(api, deadline=later.isoformat())
    urgent = add(api, deadline=soon.isoformat())
    high = add(api, priority="high")
    add(api, not_before=soon.isoformat())
    add(api, environment="prod")
    who, other = holder(api), holder(api)
    taken = [reserve(api, each) for each in (who, other, who, other, who)]
    assert taken == [high, urgent, late, old, None]


def test_a_completed_item_keeps_its_result_and_never_comes_again(api: Api) -> None:
    made, who = add(api, {"n": 1}), holder(api)
    assert reserve(api, who) == made
    assert item(api, made)["state"] == "reserved"
    complete(api, made, who, {"ok": [1]})
    shown = item(api, made)
    assert (shown["state"], shown["result"], shown["tries"], shown["data"]) == ("done", {"ok": [1]}, 1, {"n": 1})
    with pytest.raises(Conflict, match="not held by this attempt"):
        complete(api, made, who)
    end(api, who)
    settle(api)
    assert item(api, made)["state"] == "done"


def test_an_application_failure_is_retried_until_it_is_a_dead_letter(api: Api) -> None:
    made, who = add(api, retries=1), holder(api)
    for state in ("waiting", "dead"):
        assert reserve(api, who) == made
        fail(api, made, who)
        assert (item(api, made)["state"], item(api, made)["reason"]) == (state, "application")
    assert reserve(api, who) is None
    assert api.client.post(f"{PATH}/{made}/retry").json()["tries"] == 0
    assert reserve(api, who) == made
    assert api.client.post(f"{PATH}/{made}/retry").status_code == 409


def test_a_failure_waits_for_its_pause(api: Api) -> None:
    made, who = add(api, retry_delay=3600), holder(api)
    assert reserve(api, who) == made
    fail(api, made, who)
    assert item(api, made)["not_before"] is not None
    assert reserve(api, who) is None


def test_a_business_failure_is_not_retried(api: Api) -> None:
    made, who = add(api), holder(api)
    assert reserve(api, who) == made
    fail(api, made, who, business=True)
    assert (item(api, made)["state"], item(api, made)["detail"]) == ("failed", "no")
    assert reserve(api, who) is None


def test_what_an_ended_attempt_held_is_released_and_counts_as_a_try(api: Api) -> None:
    made = add(api, retries=1)
    for state in ("waiting", "dead"):
        who = holder(api)
        assert reserve(api, who) == made
        settle(api)
        assert item(api, made)["state"] == "reserved", "its attempt runs"
        end(api, who)
        with pytest.raises(Conflict):
            complete(api, made, who)
        settle(api)
        assert (item(api, made)["state"], item(api, made)["reason"]) == (state, "released")


def test_another_bot_takes_what_an_ended_attempt_held_though_no_scheduler_looked(api: Api) -> None:
    made, who = add(api), holder(api)
    assert reserve(api, who) == made
    end(api, who)
    with pytest.raises(Conflict, match="ended"):
        reserve(api, who)
    assert reserve(api, holder(api)) == made


def test_a_job_that_runs_again_does_not_hold_what_its_former_attempt_held(api: Api) -> None:
    made, who = add(api), holder(api)
    assert reserve(api, who) == made
    with db.writing(api.console.engine) as session:
        session.execute(update(Job).where(Job.id == who.job_id).values(attempt=2))
    settle(api)
    assert item(api, made)["state"] == "waiting"


def test_an_item_past_its_deadline_is_a_dead_letter(api: Api) -> None:
    made = add(api, deadline=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    with db.writing(api.console.engine) as session:
        session.execute(update(WorkItem).values(deadline=db.clock(timedelta(seconds=-1))))
    assert reserve(api, holder(api)) is None
    assert (item(api, made)["state"], item(api, made)["reason"]) == ("dead", "deadline")
    again = api.client.post(f"{PATH}/{made}/retry").json()
    assert (again["state"], again["deadline"]) == ("waiting", None)


def test_a_reference_is_taken_once_in_its_tray_and_environment(api: Api) -> None:
    add(api, reference="r")
    answer = api.client.post(PATH, json={"tray": "t", "data": 2, "reference": "r"})
    assert (answer.status_code, "reference 'r'" in error_of(answer)) == (409, True)
    add(api, reference="r", environment="prod")
    assert api.client.post(PATH, json={"tray": "u", "data": 2, "reference": "r"}).status_code == 201


@pytest.mark.parametrize(
    "body",
    [
        {"tray": "", "data": 1},
        {"tray": "a/b", "data": 1},
        {"tray": "t", "data": "x" * 70_000},
        {"tray": "t", "data": "\0"},
        {"tray": "t", "data": 1, "environment": "live"},
        {"tray": "t", "data": 1, "priority": "top"},
        {"tray": "t", "data": 1, "deadline": "2026-08-01T00:00:00"},
        {"tray": "t", "data": 1, "retries": -1},
        {"tray": "t", "data": 1, "reference": ""},
        {"tray": "t", "data": 1, "more": 1},
        {"tray": "t"},
    ],
)
def test_what_cannot_be_stored_is_refused(api: Api, body: dict[str, object]) -> None:
    answer = api.client.post(PATH, json=body)
    assert answer.status_code == 422, answer.text
    assert api.client.get(PATH).json()["items"] == []


def test_a_bot_is_told_that_a_reference_cannot_be_stored(api: Api) -> None:
    draft, who = work_items.Draft(tray="t", data=1, environment="dev", reference="a\0b"), holder(api)
    with db.writing(api.console.engine) as session, pytest.raises(Invalid, match="NUL"):
        work_items.add(session, draft, workspace_id=who.workspace_id, by="bot", now=datetime.now(UTC))


def test_lists_and_removals_know_trays_states_and_environments(api: Api) -> None:
    first, second = add(api), add(api, environment="prod")
    assert [each["id"] for each in api.client.get(PATH, params={"tray": "t"}).json()["items"]] == [second, first]
    assert [each["id"] for each in api.client.get(PATH, params={"environment": "prod"}).json()["items"]] == [second]
    assert api.client.get(PATH, params={"state": "odd"}).status_code == 422
    who = holder(api)
    assert reserve(api, who) == first
    assert api.client.delete(f"{PATH}/{first}").status_code == 409
    assert api.role("operator", "dev").delete(f"{PATH}/{second}").status_code == 403
    assert api.client.delete(f"{PATH}/{second}").status_code == 204
    assert api.client.get(f"{PATH}/{second}").status_code == 404
    assert api.client.get(f"{PATH}/nonsense").status_code == 404
