"""Of any number of runners that want one job, one gets it; and nobody reports for an attempt that was taken away."""

import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, func, select, update

from runner import bots, jobs
from runner.archive import canonical
from runner.jobs import Cause, Claim, Report, Request
from runner.models import Attempt, Job
from runner.states import Reason, State
from runner.workspaces import default_workspace
from tests.api import zipped
from tests.support import Stores
from vault import db
from vault.audit import Actor
from vault.names import ENVIRONMENTS

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DONE = Report(State.SUCCEEDED, None, exit_code=0)
BROKEN = Report(State.FAILED, Reason.EXIT_CODE, exit_code=1)


@dataclass(frozen=True, slots=True)
class Yard:
    """A database with one bot."""

    engine: Engine
    request: Request

    def enqueue(self) -> uuid.UUID:
        with db.writing(self.engine) as session:
            return jobs.enqueue(session, self.request, now=NOW)

    def claim(self, job_id: uuid.UUID, runner: str = "one", *, lease: timedelta = jobs.LEASE) -> Claim | None:
        with db.writing(self.engine) as session:
            return jobs.claim(
                session, job_id, runner=runner, environments=ENVIRONMENTS, groups=("default",), lease=lease
            )

    def finish(self, job_id: uuid.UUID, attempt: int, report: Report = DONE) -> bool:
        with db.writing(self.engine) as session:
            return jobs.finish(session, job_id, attempt=attempt, report=report)

    def state(self, job_id: uuid.UUID) -> tuple[str, str | None, int]:
        with db.reading(self.engine) as session:
            job = session.get_one(Job, job_id)
            return job.state, job.reason, job.attempt


@pytest.fixture
def yard(stores: Stores) -> Iterator[Yard]:
    engine = db.engine(stores.database_url, pool_size=32)
    with db.writing(engine) as session:
        workspace_id = default_workspace(session)
        package = canonical(zipped("print()"))
        added = bots.add(session, "bot", workspace_id=workspace_id, package=package, actor=Actor("t"), now=NOW)
        request = Request(
            workspace_id, added.version.bot_id, added.version.id, "dev", "default", {}, Cause("api", "test")
        )
    yield Yard(engine, request)
    engine.dispose()


@pytest.mark.parametrize("claimers", [2, 8, 32])
def test_of_many_claimers_exactly_one_wins(yard: Yard, claimers: int) -> None:
    ids = [yard.enqueue() for _ in range(3)]
    barrier = threading.Barrier(claimers)

    def want(number: int) -> list[Claim | None]:
        barrier.wait(30)
        return [yard.claim(job_id, f"runner-{number}") for job_id in ids]

    with ThreadPoolExecutor(claimers) as pool:
        results = list(pool.map(want, range(claimers)))
    for place, job_id in enumerate(ids):
        won = [claims[place] for claims in results if claims[place] is not None]
        assert len(won) == 1
        assert yard.state(job_id) == ("running", None, 1)
    with db.reading(yard.engine) as session:
        assert session.scalar(select(func.count()).select_from(Attempt)) == len(ids)


@pytest.mark.parametrize(
    ("environments", "groups"), [(("staging", "prod"), ("default",)), (("dev",), ("other",)), ((), ())]
)
def test_a_runner_cannot_claim_what_it_does_not_serve(
    yard: Yard, environments: tuple[str, ...], groups: tuple[str, ...]
) -> None:
    job_id = yard.enqueue()
    with db.writing(yard.engine) as session:
        assert jobs.claim(session, job_id, runner="r", environments=environments, groups=groups) is None
    assert yard.state(job_id) == ("queued", None, 0)


def test_a_job_cannot_be_claimed_before_its_time(yard: Yard) -> None:
    job_id = yard.enqueue()
    with db.writing(yard.engine) as session:
        session.execute(update(Job).values(not_before=db.clock(timedelta(minutes=1))))
    assert yard.claim(job_id) is None
    with db.writing(yard.engine) as session:
        session.execute(update(Job).values(not_before=db.clock(-timedelta(seconds=1))))
    assert yard.claim(job_id) is not None


def test_a_second_report_changes_nothing(yard: Yard) -> None:
    job_id = yard.enqueue()
    assert yard.claim(job_id) is not None
    assert yard.finish(job_id, 1)
    assert not yard.finish(job_id, 1, BROKEN)
    assert yard.state(job_id) == ("succeeded", None, 1)


def test_a_late_report_after_the_rescue_is_refused(yard: Yard) -> None:
    job_id = yard.enqueue()
    assert yard.claim(job_id, lease=timedelta(seconds=-1)) is not None
    with db.writing(yard.engine) as session:
        assert jobs.lose_expired(session) == [(job_id, 1, "one")]
    assert not yard.finish(job_id, 1)
    assert yard.state(job_id) == ("failed", "runner_lost", 1)
    with db.reading(yard.engine) as session:
        attempt = session.get_one(Attempt, (job_id, 1))
        assert (attempt.state, attempt.reason) == ("failed", "runner_lost")


@pytest.mark.parametrize("attempt", [0, 1, 3])
def test_a_report_of_another_attempt_than_the_running_one_is_refused(yard: Yard, attempt: int) -> None:
    job_id = yard.enqueue()
    assert yard.claim(job_id) is not None
    with db.writing(yard.engine) as session:  # as after a further attempt of the same job
        session.execute(update(Job).values(attempt=2))
        session.add(Attempt(job_id=job_id, number=2, runner="two", claimed_at=NOW, state=State.RUNNING))
    assert not yard.finish(job_id, attempt)
    assert yard.state(job_id) == ("running", None, 2)
    assert yard.finish(job_id, 2)


def test_the_rescuer_leaves_an_attempt_alone_whose_lease_holds(yard: Yard) -> None:
    job_id = yard.enqueue()
    assert yard.claim(job_id) is not None
    with db.writing(yard.engine) as session:
        assert jobs.lose_expired(session) == []
    assert yard.state(job_id) == ("running", None, 1)


def test_only_held_attempts_are_extended_and_cancellations_come_with_it(yard: Yard) -> None:
    ids = [yard.enqueue() for _ in range(3)]
    for job_id in ids:
        assert yard.claim(job_id, lease=timedelta(seconds=1)) is not None
    yard.finish(ids[2], 1)
    with db.writing(yard.engine) as session:
        job = session.get_one(Job, ids[1])
        assert jobs.cancel(session, job, actor=Actor("person"), now=NOW) is State.RUNNING
    with db.writing(yard.engine) as session:
        kept = jobs.extend_leases(session, [(ids[0], 1), (ids[1], 1), (ids[2], 1)])
        assert sorted(kept) == sorted([(ids[0], False), (ids[1], True)])
        assert jobs.extend_leases(session, [(ids[0], 2)]) == []


def test_a_claim_and_a_cancellation_at_once_leave_one_of_both(yard: Yard) -> None:
    ids = [yard.enqueue() for _ in range(8)]
    barrier = threading.Barrier(2)

    def cancel(job_id: uuid.UUID) -> State:
        barrier.wait(30)
        with db.writing(yard.engine) as session:
            return jobs.cancel(session, session.get_one(Job, job_id), actor=Actor("person"), now=NOW)

    def claim(job_id: uuid.UUID) -> Claim | None:
        barrier.wait(30)
        return yard.claim(job_id)

    with ThreadPoolExecutor(2) as pool:
        for job_id in ids:
            cancelled, claimed = pool.submit(cancel, job_id), pool.submit(claim, job_id)
            expected = State.CANCELLED if claimed.result() is None else State.RUNNING
            assert cancelled.result() is expected
            assert yard.state(job_id)[0] == expected
