"""Outcomes that launchers recorded and no worker reported: whoever comes next reports them, once."""

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from runner.states import Reason
from runner.worker import adoption, ending
from runner.worker.outcomes import Journal, Outcome
from tests.integration.test_claims import Yard, yard
from tests.integration.test_conclusions import EXPIRED, cancel, claimed, declare, rescue, see
from tests.unit.runner.worker.test_outcomes import write
from vault import db

__all__ = ["yard"]

GOOD = Outcome(0, None, "exit", "", 0, 1000, 0.5, 0.25, 1_000_000.0, 1_000_001.0)
BAD = replace(GOOD, exit_code=4)
DIED = replace(GOOD, exit_code=None, signal=9, reason="worker_died")
ORDERED = replace(GOOD, exit_code=None, signal=15, reason="killed")


def adopt(engine: Engine, root: Path) -> int:
    return adoption.adopt(engine, root, instance=uuid.uuid4(), silence=timedelta(seconds=5))


@pytest.fixture
def left(tmp_path: Path) -> Callable[..., Path]:
    """Leaves the journal of a worker that is gone, with outcomes of a job's attempts in turn; answers its folder."""

    def leave(job_id: uuid.UUID, *outcomes: Outcome) -> Path:
        root = tmp_path / "outcomes"
        journal = Journal(root, instance=uuid.uuid4())
        for number, outcome in enumerate(outcomes, 1):
            write(journal.entry(job_id, number), outcome)
        journal.close()
        return root

    return leave


def test_a_bot_that_ended_ends_its_job_although_its_worker_died(yard: Yard, left: Callable[..., Path]) -> None:
    job_id = claimed(yard)
    root = left(job_id, GOOD)
    assert adopt(yard.engine, root) == 1
    seen = see(yard, job_id)
    assert (seen.job.state, seen.job.reason, seen.ends) == ("succeeded", None, [("succeeded", None, 0)])
    attempt = seen.attempts[0]
    assert attempt.adopted_at is not None
    assert (attempt.max_rss_kb, attempt.cpu_seconds, attempt.survivors) == (1000, 0.75, 0)
    assert seen.job.warnings == [ending.ADOPTED]
    assert list(root.iterdir()) == []
    assert adopt(yard.engine, root) == 0


def test_what_was_reported_is_left_as_it_is(yard: Yard, left: Callable[..., Path]) -> None:
    job_id = claimed(yard)
    assert yard.finish(job_id, 1)
    before = see(yard, job_id)
    root = left(job_id, BAD)
    assert adopt(yard.engine, root) == 0
    assert (see(yard, job_id).ends, see(yard, job_id).attempts[0].detail) == (before.ends, before.attempts[0].detail)
    assert list(root.iterdir()) == []


def test_an_adopted_failure_is_repeated_as_the_bot_says(yard: Yard, left: Callable[..., Path]) -> None:
    declare(yard, limit=1, delay=0)
    job_id = claimed(yard)
    assert adopt(yard.engine, left(job_id, BAD)) == 1
    assert yard.state(job_id) == ("queued", "exit_code", 1)


def test_a_bot_that_was_killed_because_its_worker_died_is_repeated_without_waiting_for_the_lease(
    yard: Yard, left: Callable[..., Path]
) -> None:
    job_id = claimed(yard)
    assert adopt(yard.engine, left(job_id, DIED)) == 1
    seen = see(yard, job_id)
    assert (seen.job.state, seen.job.reason) == ("queued", "runner_lost")
    assert seen.attempts[0].ended_by == "launcher, since the process of runner one ended"
    assert yard.claim() is not None


def test_a_bot_that_was_ended_by_order_is_returned_or_cancelled_if_somebody_wanted_that(
    yard: Yard, left: Callable[..., Path]
) -> None:
    returned, cancelled = claimed(yard), claimed(yard)
    cancel(yard, cancelled)
    for job_id in (returned, cancelled):
        assert adopt(yard.engine, left(job_id, ORDERED)) == 1
    assert yard.state(returned) == ("queued", "runner_stopped", 1)
    assert yard.state(cancelled) == ("cancelled", "cancelled", 1)


def test_a_lost_attempt_that_ended_well_is_adopted_as_long_as_nobody_has_begun_again(
    yard: Yard, left: Callable[..., Path]
) -> None:
    again, waiting = (claimed(yard, lease=EXPIRED) for _ in range(2))
    assert len(rescue(yard)) == 2
    assert yard.claim("two") is not None
    for job_id in (waiting, again):
        assert adopt(yard.engine, left(job_id, GOOD)) == 1
    assert yard.state(waiting) == ("succeeded", None, 1)
    assert yard.state(again) == ("running", None, 2)
    late = see(yard, again).attempts[0]
    assert (late.reason, late.survivors) == (Reason.RUNNER_LOST, 0)
    assert "Known later, too late to count: it succeeded." in (late.detail or "")


def test_of_two_lines_for_one_attempt_the_first_counts(yard: Yard, tmp_path: Path) -> None:
    job_id = claimed(yard)
    journal = Journal(tmp_path, instance=uuid.uuid4())
    write(journal.entry(job_id, 1), GOOD)
    write(journal.entry(job_id, 1), replace(GOOD, exit_code=None, reason="killed"))
    journal.close()
    assert adopt(yard.engine, tmp_path) == 1
    assert yard.state(job_id)[0] == "succeeded"


def test_what_a_silent_worker_recorded_is_reported_before_its_lease_is_over_and_what_a_living_one_recorded_is_not(
    yard: Yard, tmp_path: Path
) -> None:
    silent, living, not_yet = claimed(yard, lease=timedelta(seconds=4)), claimed(yard), claimed(yard, lease=EXPIRED)
    instance = uuid.uuid4()
    journal = Journal(tmp_path, instance=instance)
    for job_id in (silent, living):
        write(journal.entry(job_id, 1), GOOD)
    write(journal.entry(not_yet, 1), GOOD, final=False)
    assert adoption.adopt(yard.engine, tmp_path, instance=instance, silence=timedelta(seconds=5)) == 0, "its own"
    assert adopt(yard.engine, tmp_path) == 1
    assert yard.state(silent) == ("succeeded", None, 1)
    assert (yard.state(living)[0], yard.state(not_yet)[0]) == ("running", "running")
    assert not yard.finish(silent, 1), "the silent one wakes up and is refused"
    assert yard.finish(living, 1)
    assert adopt(yard.engine, tmp_path) == 0
    journal.close()
    assert adopt(yard.engine, tmp_path) == 1, "its launcher had no time for more"
    assert yard.state(not_yet) == ("succeeded", None, 1)


def test_a_journal_waits_for_a_database_that_is_away(yard: Yard, left: Callable[..., Path], tmp_path: Path) -> None:
    job_id = claimed(yard)
    root = left(job_id, GOOD)
    away = db.engine(f"sqlite:///{tmp_path}/no/such/folder.db")
    assert adopt(away, root) == 0
    assert adopt(yard.engine, root) == 1


def test_a_journal_that_cannot_be_opened_keeps_no_other_from_being_adopted(
    yard: Yard, left: Callable[..., Path]
) -> None:
    job_id = claimed(yard)
    root = left(job_id, GOOD)
    (root / "0-1.jsonl").mkdir()
    assert adopt(yard.engine, root) == 1
    assert yard.state(job_id) == ("succeeded", None, 1)


def test_an_outcome_that_cannot_be_stored_ends_its_job_and_keeps_no_other_from_its_end(
    yard: Yard, tmp_path: Path
) -> None:
    odd, good = claimed(yard), claimed(yard)
    journal = Journal(tmp_path, instance=uuid.uuid4())
    write(journal.entry(odd, 1), replace(GOOD, exit_code=2**80))
    write(journal.entry(good, 1), GOOD)
    journal.close()
    assert adopt(yard.engine, tmp_path) == 2
    assert yard.state(odd) == ("failed", "internal", 1)
    assert yard.state(good) == ("succeeded", None, 1)


def test_a_foreign_journal_changes_nothing(yard: Yard, left: Callable[..., Path]) -> None:
    job_id = claimed(yard)
    assert adopt(yard.engine, left(uuid.uuid4(), GOOD)) == 0
    assert yard.state(job_id) == ("running", None, 1)
