"""A rescuer that can read the journals of its home gives up no attempt whose bot has ended, and every other one."""

import uuid
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from runner import journals
from runner.models import Job
from runner.worker.outcomes import Journal
from scheduler import rescuer
from tests.integration.test_adoption import DIED, GOOD
from tests.integration.test_claims import Yard, yard
from tests.integration.test_conclusions import EXPIRED, claimed
from tests.unit.runner.worker.test_outcomes import write
from vault import db

__all__ = ["yard"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / journals.OUTCOMES


def test_an_attempt_whose_bot_ended_waits_for_its_runner_and_another_does_not(yard: Yard, root: Path) -> None:
    ended, died, unknown = (claimed(yard, lease=EXPIRED) for _ in range(3))
    journal = Journal(root, instance=uuid.uuid4())
    write(journal.entry(ended, 1), GOOD)
    write(journal.entry(died, 1), DIED)
    write(journal.entry(unknown, 2), GOOD)
    assert rescuer.end_lost(yard.engine, root) == 2
    assert [yard.state(one)[0] for one in (ended, died, unknown)] == ["running", "queued", "queued"]
    assert rescuer.end_lost(yard.engine, root) == 0
    assert yard.finish(ended, 1), "its runner wakes up"
    journal.close()


def test_a_runner_that_does_not_come_back_is_not_waited_for_without_end(yard: Yard, root: Path) -> None:
    job_id = claimed(yard, lease=EXPIRED)
    journal = Journal(root, instance=uuid.uuid4())
    write(journal.entry(job_id, 1), replace(GOOD, exit_code=3))
    assert rescuer.end_lost(yard.engine, root) == 0
    with db.writing(yard.engine) as session:
        long_ago = db.clock(-rescuer.ADOPTED_WITHIN - timedelta(seconds=1))
        session.execute(update(Job).where(Job.id == job_id).values(lease_expires_at=long_ago))
    assert rescuer.end_lost(yard.engine, root) == 1
    journal.close()


def test_a_lease_that_runs_out_after_the_look_has_its_turn_in_the_next_round(
    yard: Yard, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = claimed(yard, lease=EXPIRED)
    second: list[uuid.UUID] = []
    real = journals.ended

    def looks(*arguments: object) -> set[uuid.UUID]:
        second.append(claimed(yard, lease=EXPIRED))
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(journals, "ended", looks)
    assert rescuer.end_lost(yard.engine, root) == 1
    assert (yard.state(first)[0], yard.state(second[0])[0]) == ("queued", "running")


def test_journals_that_cannot_be_read_spare_nobody(yard: Yard, tmp_path: Path) -> None:
    claimed(yard, lease=EXPIRED)
    assert rescuer.end_lost(yard.engine, tmp_path / "missing") == 1
    (tmp_path / "x.jsonl").write_bytes(b'\n{"job": 7}\nnull\n[]\n\xff\n{"job": "x", "attempt": 1, "exit_code": 0}\n')
    assert journals.ended(tmp_path, {(uuid.uuid4(), 1)}) == set()
