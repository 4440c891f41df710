"""How long logs and artefacts are kept: rules by age and size, a dry run, and the pruner that follows them."""

import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from runner import artefacts, jobs, retention
from runner.artefacts import Kept
from runner.models import Attempt, Runner
from runner.output import LogWriter
from runner.retention import DEFAULT, Keep
from runner.states import State
from scheduler.pruner import NOTHING_THERE, Pruner
from tests.api import Api, error_of, serving
from tests.support import Stores
from vault import db


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as running:
        running.add_bot()
        running.add_bot("other")
        yield running


def ended(api: Api, *, bot: str = "hello", environment: str = "dev", days: float = 0.0, size: int = 0) -> str:
    """A job that ended so many days ago, with a log, a file, and as many bytes as `size` says, if it says so."""
    job_id = str(api.run(bot, environment=environment)["id"])
    claim = api.claim(job_id)
    with LogWriter(api.console.store, claim.job_id, 1) as log:
        log.write("stdout", ["hello"], at=api.console.now())
    api.console.store.keep(claim.job_id, 1, 0, [b"file"])
    kept = Kept(0, "file.txt", 4, "0" * 64, masked=False, withheld=None)
    report = jobs.Report(State.SUCCEEDED, None, log_bytes=size or log.size, artefacts=(kept,))
    assert jobs.finish(api.direct, claim.job_id, attempt=1, report=report)
    at = datetime.now(UTC) - timedelta(days=days)
    with db.writing(api.console.engine) as session:
        artefacts.record(session, claim.job_id, attempt=1, files=[kept])
        session.execute(update(Attempt).where(Attempt.job_id == claim.job_id).values(finished_at=at))
    return job_id


def pruner(api: Api) -> Pruner:
    return Pruner(api.console.engine, api.console.store, every=0.0)


def prune(api: Api) -> int:
    made, count = pruner(api), 0
    count += made.check()
    while made._left:
        count += made.check()
    return count


def attempt(api: Api, job_id: str) -> dict[str, Any]:
    return dict(api.client.get(f"/api/v1/jobs/{job_id}").json()["attempts"][0])


def decide(api: Api, **rule: str) -> None:
    answer = api.client.put("/api/v1/retention", json=rule)
    assert answer.status_code == 200, answer.text


@pytest.fixture(autouse=True)
def ids_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs of tests are queued now and ended long ago; for real ones the id is the older of the two."""
    monkeypatch.setattr(retention, "first_id", lambda _at: uuid.UUID(int=(1 << 128) - 1))


def test_what_is_older_than_thirty_days_goes_by_itself_and_says_so(api: Api) -> None:
    old, young = ended(api, days=31), ended(api, days=29)
    assert prune(api) == 1
    assert prune(api) == 0
    assert attempt(api, young)["pruned_at"] is None
    gone = attempt(api, old)
    assert gone["pruned_at"] is not None
    assert gone["pruned_by"] == "age 30d of hello in dev"
    page = api.client.get(f"/api/v1/jobs/{old}/log").json()
    assert page["items"] == []
    assert page["note"].startswith("This log was pruned at 20")
    assert "age 30d of hello in dev" in page["note"]
    listed = api.client.get(f"/api/v1/jobs/{old}/outputs").json()["items"]
    assert [item["path"] for item in listed] == ["file.txt"]
    answer = api.client.get(f"/api/v1/jobs/{old}/outputs/file.txt")
    assert answer.status_code == 409
    assert "It was pruned at" in error_of(answer)
    assert api.client.get(f"/api/v1/jobs/{young}/log").json()["items"][0]["text"] == "hello"
    assert api.client.get(f"/api/v1/jobs/{young}/outputs/file.txt").content == b"file"


def test_what_a_pruner_that_died_had_removed_already_is_marked_by_the_next_one(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """Passes everything, as the end of a process does."""

    def mark(*_arguments: object) -> None:
        raise Killed

    old, young = ended(api, days=31), ended(api, days=29)
    with monkeypatch.context() as dying:
        dying.setattr(retention, "mark", mark)
        with pytest.raises(Killed):
            prune(api)
    assert attempt(api, old)["pruned_at"] is None, "the store was emptied, and the row does not know"
    assert api.client.get(f"/api/v1/jobs/{old}/log").json()["items"] == []
    assert prune(api) == 1
    assert attempt(api, old)["pruned_by"] == "age 30d of hello in dev" + NOTHING_THERE
    assert api.client.get(f"/api/v1/jobs/{young}/log").json()["items"][0]["text"] == "hello"


def test_the_oldest_go_where_together_they_are_too_large_each_bot_and_environment_by_itself(api: Api) -> None:
    first, second, third = (ended(api, size=400_000) for _ in range(3))
    other, staging = ended(api, bot="other", size=900_000), ended(api, environment="staging", size=900_000)
    decide(api, size="1MB")
    assert prune(api) == 1
    assert attempt(api, first)["pruned_by"] == "size 1MB of hello in dev"
    assert all(attempt(api, job)["pruned_at"] is None for job in (second, third, other, staging))


def test_a_dry_run_says_the_same_and_removes_nothing(api: Api) -> None:
    ended(api, days=31, size=1000)
    ended(api, days=40, size=500)
    ended(api, bot="other", size=3 << 20)
    decide(api, bot="other", size="2MB")
    before = sorted(api.console.store.root.rglob("*"))  # type: ignore[attr-defined]
    due = api.client.get("/api/v1/retention/due").json()["items"]
    assert [(item["bot"], item["rule"], item["attempts"], item["bytes"]) for item in due] == [
        ("hello", "age 30d of hello in dev", 2, 1508),
        ("other", "size 2MB of other in dev", 1, (3 << 20) + 4),
    ]
    assert sorted(api.console.store.root.rglob("*")) == before  # type: ignore[attr-defined]
    assert prune(api) == 3
    assert api.client.get("/api/v1/retention/due").json()["items"] == []


def test_the_narrowest_rule_counts_and_a_rule_of_nothing_is_none(api: Api) -> None:
    decide(api, age="10d")
    decide(api, environment="prod", age="forever")
    decide(api, bot="hello", size="5GB")
    decide(api, bot="hello", environment="prod", age="12h")
    with db.reading(api.console.engine) as session:
        made = retention.rules(session, workspace_id=api.workspace_id)
    hello = uuid.UUID(next(rule.bot for rule in made if rule.bot))
    day = timedelta(days=1)
    assert retention.keep_for(made, hello, "prod") == Keep(day / 2, 5 << 30)
    assert retention.keep_for(made, hello, "dev") == Keep(10 * day, 5 << 30)
    assert retention.keep_for(made, uuid.uuid4(), "prod") == Keep(None, DEFAULT.size)
    assert retention.keep_for(made, uuid.uuid4(), "dev") == replace(DEFAULT, age=10 * day)
    listed = api.client.get("/api/v1/retention").json()["items"]
    assert [(item["bot"], item["environment"], item["age"], item["size"]) for item in listed] == [
        ("hello", "prod", "12h", "default"),
        ("hello", None, "default", "5GB"),
        (None, "prod", "forever", "default"),
        (None, None, "10d", "default"),
        (None, None, "30d", "1GB"),
    ]
    decide(api, environment="prod")
    assert len(api.client.get("/api/v1/retention").json()["items"]) == 4


@pytest.mark.parametrize(
    ("rule", "status"),
    [
        ({"age": "30"}, 422),
        ({"age": "-1d"}, 422),
        ({"size": "0MB"}, 422),
        ({"size": "much"}, 422),
        ({"bot": "nobody", "age": "1d"}, 404),
        ({"environment": "moon", "age": "1d"}, 404),
        ({"what": "else"}, 422),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(api: Api, rule: dict[str, str], status: int) -> None:
    assert api.client.put("/api/v1/retention", json=rule).status_code == status


def test_a_running_job_keeps_its_log_and_those_that_ended_after_it_go(api: Api) -> None:
    running = api.run()["id"]
    claim = api.claim(running)
    with LogWriter(api.console.store, claim.job_id, 1) as log:
        log.write("stdout", ["still here"], at=api.console.now())
    later = ended(api, days=50)
    assert prune(api) == 1
    assert attempt(api, later)["pruned_at"] is not None
    assert api.client.get(f"/api/v1/jobs/{running}/log").json()["items"][0]["text"] == "still here"
    assert ended(api, days=50)
    assert prune(api) == 1


def test_a_log_that_lies_elsewhere_is_said_to(api: Api) -> None:
    job_id = ended(api, days=31)
    api.console.store.remove(uuid.UUID(job_id), 1)
    page = api.client.get(f"/api/v1/jobs/{job_id}/log").json()
    assert "somebody else has removed it" in page["note"]
    api.add_runner("host")
    with db.writing(api.console.engine) as session:
        session.execute(update(Runner).values(log_store="file://host-a/logs"))
    note = api.client.get(f"/api/v1/jobs/{job_id}/log").json()["note"]
    assert note.startswith("The log lies in file://host-a/logs, the store of runner host, which is not that of this")
    assert "BOTKEEP_LOG_URL=s3://" in note
    assert prune(api) == 1
    assert attempt(api, job_id)["pruned_by"].endswith(NOTHING_THERE)
