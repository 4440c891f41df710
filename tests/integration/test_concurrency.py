"""Operators' concurrency limits: of an environment, a bot, an asset; counted from running jobs on both databases."""

import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from runner import conclusion, jobs
from runner.concurrency_models import LimitMember
from runner.jobs import Claim
from runner.models import Job
from runner.states import State
from tests.api import Api, serving
from tests.flow_api import FlowApi
from tests.support import Stores
from vault import db

LOGIN = "SAP.LOGIN"


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    """A console with a bot that uses the login, one that does not, and one that declares nothing."""
    with serving(stores, tmp_path) as api:
        api.set_value(LOGIN, b"a-long-login", "prod")
        for name, assets in (("uses", '["SAP.*"]'), ("other", '["DB.*"]')):
            api.add_bot(name, **{"bot.toml": f"assets = {assets}\n"})
        api.add_bot("sees_all")
        yield api


def limit(api: Api, kind: str, at_once: int, target: str = "", environment: str = "prod") -> dict[str, Any]:
    answer = api.client.put(f"/api/v1/concurrency/{environment}/{kind}", json={"at_once": at_once, "target": target})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def claim(
    api: Api, *, group: str = "default", environment: str = "prod", lease: timedelta = jobs.LEASE
) -> Claim | None:
    return jobs.claim(api.direct, environment=environment, group=group, runner="host", lease=lease)


def claimed(api: Api, *, group: str = "default", environment: str = "prod") -> list[str]:
    """The jobs that can be claimed now, in their order."""
    return [str(won.job_id) for won in iter(lambda: claim(api, group=group, environment=environment), None)]


def queue(api: Api, *bots: str, environment: str = "prod", **order: object) -> list[str]:
    return [str(api.run(bot, environment=environment, **order)["id"]) for bot in bots]


def finish(api: Api, job_id: str) -> None:
    assert jobs.finish(api.direct, uuid.UUID(job_id), attempt=1, report=jobs.Report(State.SUCCEEDED, None, exit_code=0))


def test_one_login_is_used_by_one_job_at_a_time(api: Api) -> None:
    limit(api, "asset", 1, LOGIN)
    first, second, other, everything = queue(api, "uses", "uses", "other", "sees_all")
    assert claimed(api) == [first, other], "a bot that declares nothing may see the login, too"
    finish(api, other)
    assert claimed(api) == []
    finish(api, first)
    assert claimed(api) == [everything]
    finish(api, everything)
    assert claimed(api) == [second]


def test_a_limit_holds_in_its_environment_and_in_every_group_of_it(api: Api) -> None:
    limit(api, "asset", 1, LOGIN)
    (running,) = queue(api, "uses")
    assert claimed(api) == [running]
    (elsewhere,) = queue(api, "uses", environment="dev")
    (grouped,) = queue(api, "uses", group="sap")
    assert claimed(api, environment="dev") == [elsewhere]
    assert claimed(api, group="sap") == []
    finish(api, running)
    assert claimed(api, group="sap") == [grouped]


def test_an_environment_and_a_bot_have_limits_of_their_own(api: Api) -> None:
    limit(api, "environment", 2)
    limit(api, "bot", 1, "other")
    first, second, third, fourth = queue(api, "other", "other", "sees_all", "uses")
    assert claimed(api) == [first, third]
    finish(api, first)
    assert claimed(api) == [fourth], "the other's turn comes later, since it has had one"
    finish(api, third)
    assert claimed(api) == [second]


@pytest.mark.parametrize("kind", ["queue", "workflow"])
def test_a_flow_runs_no_more_jobs_than_its_limit(api: Api, kind: str) -> None:
    flows = FlowApi(api)
    flows.save(
        kind, "nightly", {"items": [{"bot": "other"}]} if kind == "queue" else {"steps": {"a": {"bot": "other"}}}
    )
    limit(api, kind, 1, "nightly")
    first, second, free = queue(api, "other", "other", "other")
    with db.writing(api.console.engine) as session:
        of_flow = [uuid.UUID(first), uuid.UUID(second)]
        session.execute(update(Job).where(Job.id.in_(of_flow)).values(cause_kind=kind, cause_name="nightly"))
    assert claimed(api) == [first, free]
    assert api.client.get(f"/api/v1/jobs/{second}").json()["waiting_for"]["code"] == "no_runner"
    api.add_runner("host", "prod")
    assert f"the {kind} nightly in prod" in api.client.get(f"/api/v1/jobs/{second}").json()["waiting_for"]["sentence"]
    finish(api, first)
    assert claimed(api) == [second]


def test_a_limit_counts_what_was_queued_and_added_before_and_after_it(api: Api) -> None:
    before = queue(api, "uses", "uses")
    limit(api, "asset", 1, LOGIN)
    assert claimed(api) == before[:1]
    api.add_bot("uses", "print('newer')\n", **{"bot.toml": 'assets = ["SAP.LOGIN"]\n'})
    api.add_bot("late", **{"bot.toml": 'assets = ["SAP.LOGIN"]\n'})
    after = queue(api, "uses", "late")
    assert claimed(api) == []
    limit(api, "asset", 3, LOGIN)
    assert claimed(api) == [before[1], after[1]]
    answer = api.client.delete("/api/v1/concurrency/prod/asset", params={"target": LOGIN})
    assert answer.status_code == 204, answer.text
    assert claimed(api) == [after[0]]
    with db.reading(api.console.engine) as session:
        assert session.scalar(select(func.count()).select_from(LimitMember)) == 0


def test_a_lost_runner_frees_what_it_held(api: Api) -> None:
    limit(api, "asset", 1, LOGIN)
    queue(api, "uses", "uses")
    assert claim(api, lease=timedelta(seconds=-1)) is not None
    assert claim(api) is None
    with db.writing(api.console.engine) as session:
        conclusion.lose_expired(session, lot=lambda: 0.0)
    assert claim(api) is not None
    assert claim(api) is None


@pytest.mark.parametrize("kind", ["environment", "asset"])
def test_claims_at_once_do_not_pass_a_limit_that_bots_share(api: Api, kind: str) -> None:
    limit(api, kind, 3, LOGIN if kind == "asset" else "")
    queue(api, *["uses", "sees_all"] * 8)
    barrier = threading.Barrier(8)

    def want(_number: int) -> Claim | None:
        barrier.wait(30)
        return claim(api)

    with ThreadPoolExecutor(8) as pool:
        assert len([won for won in pool.map(want, range(8)) if won is not None]) <= 3
    claimed(api)
    with db.reading(api.console.engine) as session:
        assert session.scalar(select(func.count()).where(Job.state == State.RUNNING)) == 3


def test_a_job_that_a_limit_keeps_back_says_so(api: Api) -> None:
    limit(api, "asset", 1, LOGIN)
    first, second = queue(api, "uses", "uses")
    api.add_runner("host", "prod")
    assert claimed(api) == [first]
    waits = api.client.get(f"/api/v1/jobs/{second}").json()["waiting_for"]
    assert (waits["code"], "the asset SAP.LOGIN in prod allows 1 at once" in waits["sentence"]) == ("concurrency", True)
    (item,) = api.client.get("/api/v1/concurrency").json()["items"]
    assert (item["kind"], item["target"], item["at_once"], item["running"]) == ("asset", LOGIN, 1, 1)


@pytest.mark.parametrize(
    ("path", "body", "status", "word"),
    [
        ("prod/asset", {"at_once": 0, "target": LOGIN}, 422, "1 to 10,000"),
        ("prod/asset", {"at_once": 1, "target": "SAP.NONE"}, 404, "SAP.NONE"),
        ("prod/asset", {"at_once": 1, "target": "nonsense"}, 422, "GROUP.NAME"),
        ("prod/bot", {"at_once": 1, "target": "nobody"}, 404, "nobody"),
        ("prod/queue", {"at_once": 1, "target": "nobody"}, 404, "nobody"),
        ("prod/environment", {"at_once": 1, "target": "x"}, 422, "no further target"),
        ("live/environment", {"at_once": 1}, 422, "dev, staging, prod"),
        ("prod/moon", {"at_once": 1}, 404, "moon"),
        ("prod/environment", {"at_once": "1"}, 422, "at_once"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(api: Api, path: str, body: object, status: int, word: str) -> None:
    answer = api.client.put(f"/api/v1/concurrency/{path}", json=body)
    assert (answer.status_code, word in answer.text) == (status, True), answer.text
    assert api.client.get("/api/v1/concurrency").json()["items"] == []


def test_a_limit_that_is_not_there_cannot_be_removed_and_changes_are_in_the_audit(api: Api) -> None:
    assert api.client.delete("/api/v1/concurrency/prod/environment").status_code == 404
    limit(api, "environment", 5)
    limit(api, "environment", 6)
    assert api.client.delete("/api/v1/concurrency/prod/environment").status_code == 204
    told = [(row["action"], row["outcome"]) for row in api.audit() if row["action"].startswith("concurrency.")]
    assert sorted(told) == [
        ("concurrency.removed", "done"),
        ("concurrency.set", "done"),
        ("concurrency.set", "done"),
    ], told
