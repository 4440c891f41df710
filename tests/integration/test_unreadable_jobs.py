"""A queued job that nobody can read ends, and keeps no other job of its lane waiting."""

import uuid
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from runner import unreadable
from runner.states import Reason, State
from tests.integration.test_claims import Yard, yard
from tests.support import Start
from tests.system import PARKED, System, start_runner
from vault import db
from vault.errors import DamagedRow

__all__ = ["yard"]

#: No document, or none that Python's reader takes: not UTF-8, nested too deeply, a number.
JUNK = ["''", "'{'", "x'00ff'", "CAST(x'7b2261223a22ff227d' AS TEXT)", f"'{'[' * 100_000}{']' * 100_000}'", "7"]


def spoil(yard: Yard, job_id: uuid.UUID, column: str, junk: str) -> None:
    with yard.engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.execute("PRAGMA foreign_keys = OFF")
        driver.execute(f"UPDATE jobs SET {column} = {junk} WHERE id = '{job_id.hex}'")
        driver.execute("PRAGMA foreign_keys = ON")


def refuse(yard: Yard, group: str = "default") -> bool:
    return unreadable.refuse(yard.direct, environment="dev", group=group)


def ends(yard: Yard) -> list[tuple[str, str | None, str | None]]:
    with db.reading(yard.engine) as session:
        rows = session.execute(text("SELECT state, reason, detail FROM jobs ORDER BY turn, created_at, state")).all()
    return [(state, reason, detail) for state, reason, detail in rows]


@pytest.mark.parametrize("stores", ["embedded"], indirect=True)
@pytest.mark.parametrize(
    ("column", "junk"),
    [
        *(("parameters", junk) for junk in JUNK),
        ("workspace_id", "'none'"),
        ("version_id", "7"),
        ("bot_id", "substr(bot_id, 1, 8) || '-' || substr(bot_id, 9)"),
        ("id", "'ju<n>k'"),
        ("id", "upper(id)"),
    ],
)
def test_only_what_cannot_be_read_ends_and_says_so(yard: Yard, column: str, junk: str) -> None:
    spoiled, other = yard.enqueue(), yard.enqueue()
    elsewhere = yard.enqueue(group="other")
    spoil(yard, spoiled, column, junk)
    spoil(yard, elsewhere, "parameters", "''")
    with pytest.raises(DamagedRow):
        yard.claim()
    assert refuse(yard)
    assert ends(yard).count((State.FAILED, Reason.INTERNAL, unreadable.SENTENCE)) == 1
    assert yard.order() == [other]
    assert not refuse(yard)
    assert [state for state, _, _ in ends(yard)].count(State.QUEUED) == 1


def test_what_can_be_read_stays(yard: Yard) -> None:
    jobs = [yard.enqueue(), yard.enqueue(parameters={"a": "'"})]
    assert not refuse(yard)
    assert yard.order() == jobs


@pytest.fixture(params=[0, 2])
def before(request: pytest.FixtureRequest, system: System) -> list[str]:
    """Parked jobs that are claimed first."""
    system.add_bot("any", "print('done')")
    return [system.enqueue("any", group=PARKED) for _ in range(request.param)]


@pytest.fixture
def spoiled(system: System, before: list[str]) -> Iterator[str]:
    """A parked job that cannot be read until the test is over."""
    job_id = system.enqueue("any", group=PARKED)
    place = {"id": uuid.UUID(job_id).hex}
    with system.engine.begin() as connection:
        connection.execute(text("UPDATE jobs SET parameters = '' WHERE id = :id"), place)
    yield job_id
    with system.engine.begin() as connection:
        connection.execute(text("UPDATE jobs SET parameters = '{}' WHERE id = :id"), place)


@pytest.mark.parametrize("shared_system", ["embedded"], indirect=True)
def test_a_runner_goes_on_with_the_jobs_behind(system: System, start: Start, before: list[str], spoiled: str) -> None:
    others = [*before, *(system.enqueue("any", group=PARKED) for _ in range(3))]
    # Full with one job, it claims the next one together with the end of that.
    start_runner(system, start, name="parked", group=PARKED, env={"BOTKEEP_CONCURRENCY": "1"})
    assert [system.wait_for(job_id)["state"] for job_id in others] == ["succeeded"] * len(others)
    with system.engine.connect() as connection:
        (found,) = connection.execute(
            text("SELECT state, detail FROM jobs WHERE id = :id"), {"id": uuid.UUID(spoiled).hex}
        ).all()
    assert found == (State.FAILED, unreadable.SENTENCE)
