"""Of any number of runners that want one job, one gets it; and nobody reports for an attempt that was taken away."""

import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, func, select, update
from sqlalchemy.exc import IntegrityError

from runner import bots, conclusion, jobs
from runner.archive import canonical
from runner.jobs import Cause, Claim, Priority, Report, Request
from runner.models import Attempt, Job
from runner.states import Reason, State
from runner.workspaces import default_workspace
from tests.api import zipped
from tests.support import Stores
from vault import db
from vault.audit import Actor
from vault.direct import Direct

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DONE = Report(State.SUCCEEDED, None, exit_code=0)
BROKEN = Report(State.FAILED, Reason.EXIT_CODE, exit_code=1)


@dataclass(frozen=True, slots=True)
class Yard:
    """A database with one bot."""

    engine: Engine
    direct: Direct
    request: Request

    def enqueue(self, **different: object) -> uuid.UUID:
        with db.writing(self.engine) as session:
            return jobs.enqueue(session, replace(self.request, **different), now=NOW)  # type: ignore[arg-type]

    def claim(self, runner: str = "one", *, lane: str = "dev.default", lease: timedelta = jobs.LEASE) -> Claim | None:
        environment, _, group = lane.partition(".")
        return jobs.claim(self.direct, environment=environment, group=group, runner=runner, lease=lease)

    def order(self) -> list[uuid.UUID]:
        """All jobs that can be claimed, in the order of their claims."""
        return [claim.job_id for claim in iter(self.claim, None)]

    def finish(self, job_id: uuid.UUID, attempt: int = 1, report: Report = DONE) -> bool:
        return jobs.finish(self.direct, job_id, attempt=attempt, report=report)

    def state(self, job_id: uuid.UUID) -> tuple[str, str | None, int]:
        with db.reading(self.engine) as session:
            job = session.get_one(Job, job_id)
            return job.state, job.reason, job.attempt


@pytest.fixture
def yard(stores: Stores) -> Iterator[Yard]:
    engine = db.engine(stores.database_url, pool_size=32)
    direct = Direct(engine)
    yield Yard(engine, direct, add_bot(engine, "bot"))
    direct.close()
    engine.dispose()


def add_bot(engine: Engine, name: str) -> Request:
    """The request for a new bot."""
    with db.writing(engine) as session:
        workspace_id = default_workspace(session)
        package = canonical(zipped("print()"))
        added = bots.add(session, name, workspace_id=workspace_id, package=package, actor=Actor("t"), now=NOW)
        return Request(workspace_id, added.version.bot_id, added.version.id, "dev", "default", {}, Cause("api", "test"))


def test_an_idempotency_key_cannot_be_queued_twice(yard: Yard) -> None:
    yard.enqueue(idempotency_key="order 7")
    with pytest.raises(IntegrityError):
        yard.enqueue(idempotency_key="order 7")
    assert len(yard.order()) == 1


@pytest.mark.parametrize("claimers", [2, 8, 32])
def test_of_many_claimers_exactly_one_wins_each_job(yard: Yard, claimers: int) -> None:
    ids = {yard.enqueue() for _ in range(3)}
    barrier = threading.Barrier(claimers)

    def want(number: int) -> list[Claim | None]:
        barrier.wait(30)
        return [yard.claim(f"runner-{number}") for _ in ids]

    with ThreadPoolExecutor(claimers) as pool:
        won = [claim for claims in pool.map(want, range(claimers)) for claim in claims if claim is not None]
    assert sorted(claim.job_id for claim in won) == sorted(ids)
    assert all(yard.state(job_id) == ("running", None, 1) for job_id in ids)
    with db.reading(yard.engine) as session:
        assert session.scalar(select(func.count()).select_from(Attempt)) == len(ids)


def test_a_claimer_whose_job_is_taken_while_it_looks_takes_the_one_that_came_since(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    if yard.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    first, real, later = yard.enqueue(), Direct.write, list[uuid.UUID]()
    with db.writing(yard.engine) as other:  # takes the first job by the hint of a second one
        other.execute(select(Job).where(Job.id == first).with_for_update())

        def looks(direct: Direct, *words: Any) -> Any:  # noqa: ANN401 - as the real one
            found = real(direct, *words)
            if not later:
                assert found == []
                later.append(yard.enqueue())
            return found

        monkeypatch.setattr(Direct, "write", looks)
        won = yard.claim()
    assert won is not None
    assert [won.job_id] == later


@pytest.mark.parametrize("lane", ["prod.default", "staging.default", "dev.other", "dev.", "."])
def test_a_lane_gives_only_its_own_jobs(yard: Yard, lane: str) -> None:
    job_id = yard.enqueue()
    assert yard.claim(lane=lane) is None
    assert yard.state(job_id) == ("queued", None, 0)


def test_a_job_cannot_be_claimed_before_its_time(yard: Yard) -> None:
    yard.enqueue()
    with db.writing(yard.engine) as session:
        session.execute(update(Job).values(not_before=db.clock(timedelta(minutes=1))))
    assert yard.claim() is None
    with db.writing(yard.engine) as session:
        session.execute(update(Job).values(not_before=db.clock(-timedelta(seconds=1))))
    assert yard.claim() is not None


def test_a_paused_job_is_left_in_its_lane(yard: Yard) -> None:
    paused, other = yard.enqueue(), yard.enqueue()
    with db.writing(yard.engine) as session:
        session.execute(update(Job).where(Job.id == paused).values(pause_requested_at=NOW))
    assert yard.order() == [other]


def test_a_bot_with_many_jobs_lets_the_others_take_turns(yard: Yard) -> None:
    many = [yard.enqueue() for _ in range(5)]
    late, later = add_bot(yard.engine, "late"), add_bot(yard.engine, "later")
    few = [yard.enqueue(bot_id=late.bot_id, version_id=late.version_id) for _ in range(2)]
    one = yard.enqueue(bot_id=later.bot_id, version_id=later.version_id)
    assert yard.order() == [many[0], few[0], one, many[1], few[1], *many[2:]]


def test_a_bot_that_comes_late_does_not_pay_for_turns_it_never_had(yard: Yard) -> None:
    many = [yard.enqueue() for _ in range(4)]
    assert [claim.job_id for claim in (yard.claim(), yard.claim()) if claim] == many[:2]
    other = add_bot(yard.engine, "other")
    late = yard.enqueue(bot_id=other.bot_id, version_id=other.version_id)
    assert yard.order() == [many[2], late, many[3]]


def test_a_higher_priority_goes_before_any_turn(yard: Yard) -> None:
    low, normal, high = (yard.enqueue(priority=one) for one in (Priority.LOW, Priority.NORMAL, Priority.HIGH))
    again = yard.enqueue(priority=Priority.HIGH)
    assert yard.order() == [high, again, normal, low]


def test_a_bot_runs_no_more_attempts_than_its_limit(yard: Yard) -> None:
    limited = [yard.enqueue(concurrency=2) for _ in range(4)]
    other = add_bot(yard.engine, "other")
    free = yard.enqueue(bot_id=other.bot_id, version_id=other.version_id)
    assert yard.order() == [limited[0], free, limited[1]]
    assert yard.finish(limited[1])
    assert yard.order() == [limited[2]]


@pytest.mark.parametrize("concurrency", [None, 3])
def test_a_claim_knows_whether_its_job_has_a_limit(yard: Yard, concurrency: int | None) -> None:
    yard.enqueue(concurrency=concurrency)
    claim = yard.claim()
    assert claim is not None
    assert claim.limited is (concurrency is not None), "its runner would look into its lane, and into others, once more"


def test_claims_at_once_do_not_pass_a_bots_limit(yard: Yard) -> None:
    for _ in range(20):
        yard.enqueue(concurrency=3)
    barrier = threading.Barrier(8)

    def want(number: int) -> Claim | None:
        barrier.wait(30)
        return yard.claim(f"runner-{number}")

    with ThreadPoolExecutor(8) as pool:
        assert len([claim for claim in pool.map(want, range(8)) if claim is not None]) <= 3
    assert len(yard.order()) <= 3
    with db.reading(yard.engine) as session:
        assert session.scalar(select(func.count()).where(Job.state == State.RUNNING)) == 3


def test_a_lost_attempt_does_not_hold_its_bots_limit(yard: Yard) -> None:
    for _ in range(2):
        yard.enqueue(concurrency=1)
    assert yard.claim(lease=timedelta(seconds=-1)) is not None
    assert yard.claim() is None
    with db.writing(yard.engine) as session:
        conclusion.lose_expired(session, lot=lambda: 0.0)
    assert yard.claim() is not None


def test_a_second_report_changes_nothing(yard: Yard) -> None:
    job_id = yard.enqueue()
    assert yard.claim() is not None
    assert yard.finish(job_id, 1)
    assert not yard.finish(job_id, 1, BROKEN)
    assert yard.state(job_id) == ("succeeded", None, 1)


def test_a_late_report_after_the_rescue_is_refused(yard: Yard) -> None:
    job_id = yard.enqueue()
    assert yard.claim(lease=timedelta(seconds=-1)) is not None
    with db.writing(yard.engine) as session:
        (lost,) = conclusion.lose_expired(session, lot=lambda: 0.0)
    assert (lost.job_id, lost.attempt, lost.runner) == (job_id, 1, "one")
    assert not yard.finish(job_id, 1)
    assert yard.state(job_id) == ("queued", "runner_lost", 1)
    with db.reading(yard.engine) as session:
        attempt = session.get_one(Attempt, (job_id, 1))
        assert (attempt.state, attempt.reason) == ("failed", "runner_lost")


@pytest.mark.parametrize("attempt", [0, 1, 3])
def test_a_report_of_another_attempt_than_the_running_one_is_refused(yard: Yard, attempt: int) -> None:
    job_id = yard.enqueue()
    assert yard.claim() is not None
    with db.writing(yard.engine) as session:  # as after a further attempt of the same job
        session.execute(update(Job).values(attempt=2))
        session.add(Attempt(job_id=job_id, number=2, runner="two", claimed_at=NOW, state=State.RUNNING))
    assert not yard.finish(job_id, attempt)
    assert yard.state(job_id) == ("running", None, 2)
    assert yard.finish(job_id, 2)


def test_the_rescuer_leaves_an_attempt_alone_whose_lease_holds(yard: Yard) -> None:
    job_id = yard.enqueue()
    assert yard.claim() is not None
    with db.writing(yard.engine) as session:
        assert conclusion.lose_expired(session, lot=lambda: 0.0) == []
    assert yard.state(job_id) == ("running", None, 1)


def test_only_held_attempts_are_extended_and_cancellations_come_with_it(yard: Yard) -> None:
    ids = [yard.enqueue() for _ in range(3)]
    for _ in ids:
        assert yard.claim(lease=timedelta(seconds=1)) is not None
    yard.finish(ids[2], 1)
    with db.writing(yard.engine) as session:
        job = session.get_one(Job, ids[1])
        assert jobs.cancel(session, job, actor=Actor("person"), now=NOW) is State.RUNNING
    with db.writing(yard.engine) as session:
        kept = jobs.extend_leases(session, dict.fromkeys(ids, 1))
        assert {wish.job_id: wish.cancel for wish in kept} == {ids[0]: False, ids[1]: True}
        assert jobs.extend_leases(session, {ids[0]: 2}) == []


def test_a_claim_and_a_cancellation_at_once_leave_one_of_both(yard: Yard) -> None:
    barrier = threading.Barrier(2)

    def cancel(job_id: uuid.UUID) -> State:
        barrier.wait(30)
        with db.writing(yard.engine) as session:
            return jobs.cancel(session, session.get_one(Job, job_id), actor=Actor("person"), now=NOW)

    def claim() -> Claim | None:
        barrier.wait(30)
        return yard.claim()

    with ThreadPoolExecutor(2) as pool:
        for _ in range(8):
            job_id = yard.enqueue()
            cancelled, claimed = pool.submit(cancel, job_id), pool.submit(claim)
            expected = State.CANCELLED if claimed.result() is None else State.RUNNING
            assert cancelled.result() is expected
            assert yard.state(job_id)[0] == expected
