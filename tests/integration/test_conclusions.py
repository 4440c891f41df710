"""How attempts end for their jobs: with another attempt, or for good, whoever reports, and however late."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from sqlalchemy import select, text, update

from runner import announcements, conclusion, jobs
from runner.conclusion import Conclusion, Lost
from runner.jobs import Report
from runner.models import Attempt, Job, PackageVersion
from runner.retry import STOPPED_LIMIT
from runner.states import Reason, State
from tests.integration.test_claims import BROKEN, DONE, NOW, Yard, yard
from vault import db
from vault.audit import Actor

__all__ = ["yard"]

LOST = Report(State.FAILED, Reason.RUNNER_LOST, detail=Reason.RUNNER_LOST.sentence)
STOPPED = Report(State.FAILED, Reason.RUNNER_STOPPED, detail=Reason.RUNNER_STOPPED.sentence)
EXPIRED = timedelta(seconds=-1)
#: Repeats at once, so that a test need not wait.
SOON = {"limit": 2, "delay": 0}


@dataclass(frozen=True, slots=True)
class Seen:
    """A job and its attempts as history has them."""

    job: Job
    attempts: list[Attempt]

    @property
    def ends(self) -> list[tuple[str, str | None, int | None]]:
        return [(each.state, each.reason, each.exit_code) for each in self.attempts]


def declare(yard: Yard, **retries: object) -> None:
    """Let the bot have this policy."""
    with db.writing(yard.engine) as session:
        manifest = session.scalars(select(PackageVersion.manifest)).one()
        session.execute(update(PackageVersion).values(manifest={**manifest, "retries": retries}))


def conclude(yard: Yard, job_id: uuid.UUID, attempt: int, report: Report) -> Conclusion | None:
    with db.writing(yard.engine) as session:
        return conclusion.conclude(session, job_id, attempt=attempt, report=report, lot=0.0)


def rescue(yard: Yard) -> list[Lost]:
    with db.writing(yard.engine) as session:
        return conclusion.lose_expired(session, lot=lambda: 0.0)


def cancel(yard: Yard, job_id: uuid.UUID) -> State:
    with db.writing(yard.engine) as session:
        return jobs.cancel(session, session.get_one(Job, job_id), actor=Actor("ann"), now=NOW)


def see(yard: Yard, job_id: uuid.UUID) -> Seen:
    with db.reading(yard.engine) as session:
        attempts = session.scalars(select(Attempt).where(Attempt.job_id == job_id).order_by(Attempt.number)).all()
        return Seen(session.get_one(Job, job_id), list(attempts))


def due(yard: Yard) -> list[uuid.UUID]:
    """The jobs that the rescuer would announce now although it waits an hour for those it announced."""
    hour = timedelta(hours=1)
    with db.reading(yard.engine) as session:
        lanes = announcements.waiting_lanes(session, older_than=hour)
        return [row.id for lane in lanes for row in announcements.due_in_lane(session, lane, older_than=hour)]


def claimed(yard: Yard, *, lease: timedelta = jobs.LEASE) -> uuid.UUID:
    job_id = yard.enqueue()
    assert yard.claim(lease=lease) is not None
    return job_id


def test_a_failed_attempt_is_followed_by_another_of_the_same_job_up_to_the_limit(yard: Yard) -> None:
    declare(yard, **SOON)
    job_id = claimed(yard)
    for attempt in (1, 2):
        assert conclude(yard, job_id, attempt, replace(BROKEN, exit_code=attempt, warnings=(f"note {attempt}",)))
        seen = see(yard, job_id)
        assert (seen.job.state, seen.job.reason, seen.job.exit_code) == ("queued", "exit_code", attempt)
        assert (seen.job.finished_at, seen.job.lease_expires_at) == (None, None)
        assert due(yard) == [job_id]
        assert yard.claim() is not None
        job = see(yard, job_id).job
        assert (job.state, job.reason, job.detail, job.exit_code, job.not_before) == ("running", None, None, None, None)
    assert conclude(yard, job_id, 3, replace(BROKEN, exit_code=3)) == Conclusion(State.FAILED, Reason.EXIT_CODE)
    seen = see(yard, job_id)
    assert seen.ends == [("failed", "exit_code", number) for number in (1, 2, 3)]
    assert seen.job.warnings == ["note 1", "note 2"], "each attempt adds its own"
    assert seen.job.finished_at is not None


def test_a_repeat_waits_by_the_databases_clock_and_is_announced_when_it_is_due(yard: Yard) -> None:
    declare(yard, limit=1, delay=3600, jitter=0.0)
    job_id = claimed(yard)
    assert conclude(yard, job_id, 1, BROKEN) == Conclusion(State.QUEUED, Reason.EXIT_CODE, timedelta(hours=1))
    with db.reading(yard.engine) as session:
        left = session.get_one(Job, job_id).not_before - db.database_time(session)  # type: ignore[operator]
    assert timedelta(minutes=59) < left <= timedelta(hours=1)
    assert yard.claim() is None
    assert due(yard) == []
    with db.writing(yard.engine) as session:
        session.execute(update(Job).values(not_before=db.clock(EXPIRED)))
    assert due(yard) == [job_id]
    assert yard.claim() is not None


@pytest.mark.parametrize("manifest", ["[]", "5", "null", '"x"', "none of it is JSON"])
def test_a_bots_row_that_was_edited_by_hand_keeps_no_job_from_its_end(yard: Yard, manifest: str) -> None:
    ends, lost = claimed(yard), claimed(yard, lease=EXPIRED)
    with db.writing(yard.engine) as session:
        if yard.engine.dialect.name == "postgresql" and manifest.startswith("none"):
            manifest = "[1]"  # its column takes nothing else than JSON
        session.execute(text("UPDATE package_versions SET manifest = :manifest"), {"manifest": manifest})
    assert conclude(yard, ends, 1, BROKEN) == Conclusion(State.FAILED, Reason.EXIT_CODE)
    assert [(one.job_id, one.conclusion.state) for one in rescue(yard)] == [(lost, State.FAILED)]


def test_a_success_and_a_business_error_are_final_whatever_the_policy(yard: Yard) -> None:
    declare(yard, **SOON)
    for report in (DONE, Report(State.FAILED, Reason.BUSINESS, exit_code=73)):
        job_id = claimed(yard)
        assert conclude(yard, job_id, 1, report) == Conclusion(report.state, report.reason)
        assert conclude(yard, job_id, 1, report) is None
        assert see(yard, job_id).job.state == report.state


def test_a_job_that_succeeds_at_its_second_attempt_keeps_the_first_ones_end(yard: Yard) -> None:
    declare(yard, **SOON)
    job_id = claimed(yard)
    assert conclude(yard, job_id, 1, BROKEN)
    assert yard.claim("two") is not None
    assert conclude(yard, job_id, 2, replace(DONE, steps={"claim": 0.0, "start": 0.5}))
    seen = see(yard, job_id)
    assert (seen.job.state, seen.job.reason, seen.job.exit_code) == ("succeeded", None, 0)
    assert seen.ends == [("failed", "exit_code", 1), ("succeeded", None, 0)]
    assert [each.runner for each in seen.attempts] == ["one", "two"]
    assert seen.attempts[1].steps == {"claim": 0.0, "start": 0.5}


def test_an_attempt_of_a_runner_that_stops_is_returned_without_touching_the_limit(yard: Yard) -> None:
    job_id = claimed(yard)
    for attempt in range(1, STOPPED_LIMIT + 1):
        assert conclude(yard, job_id, attempt, STOPPED) == Conclusion(State.QUEUED, Reason.RUNNER_STOPPED, timedelta(0))
        assert yard.claim() is not None
    assert conclude(yard, job_id, STOPPED_LIMIT + 1, STOPPED) == Conclusion(State.FAILED, Reason.RUNNER_STOPPED)


def test_a_poison_job_fails_after_its_third_lost_runner(yard: Yard) -> None:
    declare(yard, delay=0)
    job_id = claimed(yard, lease=EXPIRED)
    for attempt in (1, 2):
        (lost,) = rescue(yard)
        assert (lost.job_id, lost.attempt, lost.conclusion.state) == (job_id, attempt, State.QUEUED)
        assert yard.claim(lease=EXPIRED) is not None
    (lost,) = rescue(yard)
    assert lost.conclusion == Conclusion(State.FAILED, Reason.RUNNER_LOST)
    seen = see(yard, job_id)
    assert (seen.job.state, seen.job.reason) == ("failed", "runner_lost")
    assert seen.job.detail is not None
    assert "attempt 3, and the bot is not tried again; see whether it brings its runner down" in seen.job.detail
    assert seen.ends == [("failed", "runner_lost", None)] * 3
    assert {each.ended_by for each in seen.attempts} == {conclusion.RESCUER}
    assert [note for note in seen.job.warnings if "may have done its work" in note] == [
        f"Attempt {number} was lost with its runner; the bot may have done its work then." for number in (1, 2)
    ]


def test_a_bot_that_must_not_repeat_fails_with_its_runner(yard: Yard) -> None:
    declare(yard, runner_lost=0, limit=5)
    job_id = claimed(yard, lease=EXPIRED)
    (lost,) = rescue(yard)
    assert lost.conclusion == Conclusion(State.FAILED, Reason.RUNNER_LOST)
    assert see(yard, job_id).job.detail == Reason.RUNNER_LOST.sentence


def test_two_rescuers_at_once_end_each_attempt_once(yard: Yard) -> None:
    ids = [claimed(yard, lease=EXPIRED) for _ in range(20)]
    barrier = threading.Barrier(4)

    def one(_number: int) -> list[Lost]:
        barrier.wait(30)
        return rescue(yard)

    with ThreadPoolExecutor(4) as pool:
        ended = [lost.job_id for found in pool.map(one, range(4)) for lost in found]
    assert sorted(ended) == sorted(ids)
    assert {yard.state(job_id) for job_id in ids} == {("queued", "runner_lost", 1)}


@pytest.mark.parametrize("report", [LOST, STOPPED])
def test_a_request_to_cancel_goes_before_a_repeat(yard: Yard, report: Report) -> None:
    job_id = claimed(yard)
    assert cancel(yard, job_id) is State.RUNNING
    assert conclude(yard, job_id, 1, report) == Conclusion(State.CANCELLED, Reason.CANCELLED)
    job = see(yard, job_id).job
    assert job.detail is not None
    assert job.detail.startswith("Cancelled by ann while it ran.")


def test_a_job_that_was_to_be_cancelled_is_cancelled_when_its_runner_is_lost(yard: Yard) -> None:
    job_id = claimed(yard, lease=EXPIRED)
    assert cancel(yard, job_id) is State.RUNNING
    (lost,) = rescue(yard)
    assert lost.conclusion == Conclusion(State.CANCELLED, Reason.CANCELLED)
    seen = see(yard, job_id)
    assert (seen.job.state, seen.ends) == ("cancelled", [("failed", "runner_lost", None)])
    assert "may have done its work" in (seen.job.detail or "")


def test_a_failure_of_the_bot_under_a_request_to_cancel_is_final_and_stays_a_failure(yard: Yard) -> None:
    declare(yard, **SOON)
    job_id = claimed(yard)
    assert cancel(yard, job_id) is State.RUNNING
    assert conclude(yard, job_id, 1, BROKEN) == Conclusion(State.FAILED, Reason.EXIT_CODE)


def test_a_cancelled_attempt_says_who_wanted_it(yard: Yard) -> None:
    job_id = claimed(yard)
    assert cancel(yard, job_id) is State.RUNNING
    assert conclude(yard, job_id, 1, Report(State.CANCELLED, Reason.CANCELLED))
    seen = see(yard, job_id)
    assert (seen.attempts[0].ended_by, seen.job.detail) == ("ann", "Cancelled by ann while it ran.")


def test_a_job_that_waits_for_its_next_attempt_can_be_cancelled(yard: Yard) -> None:
    declare(yard, limit=1, delay=3600)
    job_id = claimed(yard)
    assert conclude(yard, job_id, 1, BROKEN)
    assert cancel(yard, job_id) is State.CANCELLED
    assert see(yard, job_id).job.detail == "Cancelled by ann before its next attempt."


def test_a_repeat_and_a_cancellation_at_once_leave_one_of_both(yard: Yard) -> None:
    declare(yard, **SOON)
    ids = [claimed(yard) for _ in range(8)]
    barrier = threading.Barrier(2)

    def want_cancelled(job_id: uuid.UUID) -> State:
        barrier.wait(30)
        return cancel(yard, job_id)

    def want_repeated(job_id: uuid.UUID) -> Conclusion | None:
        barrier.wait(30)
        return conclude(yard, job_id, 1, STOPPED)

    with ThreadPoolExecutor(2) as pool:
        for job_id in ids:
            cancelled = pool.submit(want_cancelled, job_id)
            ended = pool.submit(want_repeated, job_id)
            ended.result()
            assert cancelled.result() in {State.CANCELLED, State.RUNNING}
            assert yard.state(job_id)[0] == "cancelled"


def test_a_bot_that_ended_although_its_runner_was_lost_ends_its_job_while_nobody_runs_it_again(yard: Yard) -> None:
    job_id = claimed(yard, lease=EXPIRED)
    assert len(rescue(yard)) == 1
    assert conclude(yard, job_id, 1, DONE) == Conclusion(State.SUCCEEDED, None)
    seen = see(yard, job_id)
    assert (seen.job.state, seen.job.not_before, seen.ends) == ("succeeded", None, [("succeeded", None, 0)])
    assert yard.claim() is None
    assert "may have done its work" in seen.job.warnings[0]


def test_a_late_failure_that_would_be_repeated_anyway_leaves_the_job_queued(yard: Yard) -> None:
    declare(yard, **SOON)
    job_id = claimed(yard, lease=EXPIRED)
    assert len(rescue(yard)) == 1
    assert conclude(yard, job_id, 1, BROKEN) is None
    assert yard.state(job_id) == ("queued", "runner_lost", 1)


def test_a_report_after_the_next_attempt_has_begun_is_refused_and_recorded(yard: Yard) -> None:
    job_id = claimed(yard, lease=EXPIRED)
    assert len(rescue(yard)) == 1
    assert yard.claim("two") is not None
    for _ in range(2):
        assert conclude(yard, job_id, 1, replace(DONE, survivors=0, max_rss_kb=7)) is None
    seen = see(yard, job_id)
    assert (seen.job.state, seen.job.attempt) == ("running", 2)
    first = seen.attempts[0]
    assert (first.state, first.reason, first.survivors, first.max_rss_kb) == ("failed", "runner_lost", 0, 7)
    assert first.detail == f"{Reason.RUNNER_LOST.sentence} Known later, too late to count: it succeeded."


def test_jobs_that_a_broker_forgot_are_announced_again_at_once(yard: Yard) -> None:
    job_id = yard.enqueue()
    assert due(yard) == []
    with db.writing(yard.engine) as session:
        assert announcements.forget(session) == 1
    assert due(yard) == [job_id]
