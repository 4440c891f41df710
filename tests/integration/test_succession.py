"""The end of a job and the claim of the next are one transaction, and each keeps what it promises alone."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

from runner import succession
from runner.jobs import Claim, Report
from runner.models import Attempt, Job
from runner.states import State
from tests.integration.test_claims import DONE, Yard, add_bot, yard
from vault import db

__all__ = ["yard"]


def finish_and_claim(
    yard: Yard, job_id: uuid.UUID, *, attempt: int = 1, report: Report = DONE, lane: str = "dev.default"
) -> tuple[bool, Claim | None]:
    environment, _, group = lane.partition(".")
    return succession.finish_and_claim(
        yard.direct, job_id, attempt=attempt, report=report, environment=environment, group=group, runner="one"
    )


def attempts(yard: Yard) -> list[tuple[uuid.UUID, int, str, bool]]:
    with db.reading(yard.engine) as session:
        found = session.scalars(select(Attempt).order_by(Attempt.job_id)).all()
        return [(one.job_id, one.number, one.state, one.finished_at is not None) for one in found]


def test_a_job_ends_and_the_next_one_begins(yard: Yard) -> None:
    first, second, third = (yard.enqueue(parameters={"number": number}) for number in range(3))
    assert yard.claim() is not None
    ended, claim = finish_and_claim(yard, first)
    assert ended
    assert claim is not None
    assert (claim.job_id, claim.attempt, claim.parameters, claim.limited) == (second, 1, {"number": 1}, False)
    assert [yard.state(job_id) for job_id in (first, second, third)] == [
        ("succeeded", None, 1),
        ("running", None, 1),
        ("queued", None, 0),
    ]
    assert attempts(yard) == [(first, 1, "succeeded", True), (second, 1, "running", False)]
    with db.reading(yard.engine) as session:
        lease = session.execute(select(Job.runner, Job.lease_expires_at > db.clock()).where(Job.id == second)).one()
    assert lease == ("one", True)


@pytest.mark.parametrize("lane", ["dev.other", "prod.default"])
def test_a_lane_without_a_job_keeps_no_end_back(yard: Yard, lane: str) -> None:
    first, second = yard.enqueue(), yard.enqueue()
    assert yard.claim() is not None
    assert finish_and_claim(yard, first, lane=lane) == (True, None)
    assert yard.state(first) == ("succeeded", None, 1)
    assert yard.state(second) == ("queued", None, 0)


@pytest.mark.parametrize("attempt", [0, 2])
def test_a_fence_that_refuses_the_end_keeps_nobody_from_the_claim(yard: Yard, attempt: int) -> None:
    first, second = yard.enqueue(), yard.enqueue()
    assert yard.claim() is not None
    ended, claim = finish_and_claim(yard, first, attempt=attempt)
    assert (ended, claim and claim.job_id) == (False, second)
    assert yard.state(first) == ("running", None, 1)
    assert attempts(yard) == [(first, 1, "running", False), (second, 1, "running", False)]


def test_no_limit_is_passed(yard: Yard) -> None:
    limited = [yard.enqueue(concurrency=1) for _ in range(3)]
    other = add_bot(yard.engine, "other")
    free = [yard.enqueue(bot_id=other.bot_id, version_id=other.version_id) for _ in range(2)]
    assert [claim and claim.job_id for claim in (yard.claim(), yard.claim())] == [limited[0], free[0]]
    ended, claim = finish_and_claim(yard, free[0])
    assert (ended, claim and claim.job_id) == (True, free[1]), "the bot's one place is taken"
    assert yard.finish(limited[0])
    ended, claim = finish_and_claim(yard, free[1])
    assert ended
    claim = claim or yard.claim()
    assert claim is not None
    assert (claim.job_id, claim.limited) == (limited[1], True)
    assert yard.claim() is None


def test_what_cannot_be_written_changes_neither(yard: Yard) -> None:
    first, second = yard.enqueue(), yard.enqueue()
    assert yard.claim() is not None
    with pytest.raises(TypeError):
        finish_and_claim(yard, first, report=Report(State.SUCCEEDED, None, steps={"claim": object()}))  # type: ignore[dict-item]
    assert [yard.state(job_id)[0] for job_id in (first, second)] == ["running", "queued"]
    ended, claim = finish_and_claim(yard, first)
    assert (ended, claim and claim.job_id) == (True, second)


def test_many_runners_at_once_run_each_job_once(yard: Yard) -> None:
    for _ in range(60):
        yard.enqueue()
    barrier = threading.Barrier(8)

    def run(_number: int) -> list[uuid.UUID]:
        ran: list[uuid.UUID] = []
        claim = yard.claim()
        barrier.wait(30)
        while claim is not None:
            ended, following = finish_and_claim(yard, claim.job_id)
            assert ended
            ran.append(claim.job_id)
            claim = following
        return ran

    with ThreadPoolExecutor(8) as pool:
        ran = [job_id for some in pool.map(run, range(8)) for job_id in some]
    assert len(ran) == len(set(ran)) == 60
    with db.reading(yard.engine) as session:
        ends = session.execute(select(Attempt.state, func.count()).group_by(Attempt.state)).all()
        assert [tuple(row) for row in ends] == [("succeeded", 60)]
