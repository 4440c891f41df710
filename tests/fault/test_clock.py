"""A host whose clock is wrong by an hour: leases, heartbeats and rescues go by the database's clock alone."""

import shutil
import signal
import sys
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runner import runners
from runner.models import Job
from tests.conftest import Start
from tests.fault.staying import STAYS, alone, bot_of
from tests.services import services_required
from tests.support import ProcessId, wait_until
from tests.system import START_WITHIN, System, start_runner
from vault.db import database_time

pytestmark = pytest.mark.timeout(240)


def shifted(by: str) -> dict[str, str]:
    """The variables that shift a process's clock of the day (faketime(1)); its monotonic one stays right."""
    if not shutil.which("faketime"):
        assert not services_required(), "There is no faketime on this machine: run `make services`."
        pytest.skip("There is no faketime on this machine: install it, or run `make services`.")
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    return {"LD_PRELOAD": str(library), "FAKETIME": by, "FAKETIME_DONT_FAKE_MONOTONIC": "1", "PYTHONFAULTHANDLER": "1"}


@pytest.fixture(autouse=True)
def no_file_of_faketime_is_left() -> Iterator[None]:
    """It leaves one in memory for each process that was killed."""
    yield
    for path in Path("/dev/shm").glob("*faketime_*"):
        if ProcessId.of(int(path.name.rpartition("_")[2])) is None:
            path.unlink(missing_ok=True)


def skewed(begin: Callable[[], object]) -> None:
    """Start a process with a wrong clock; libfaketime itself breaks one start in ten of those with many threads."""
    for tries_left in (2, 1, 0):
        try:
            begin()
        except AssertionError as error:
            if not tries_left or f"ended with {-signal.SIGSEGV}" not in str(error):
                raise
        else:
            return


def start_scheduler(system: System, start: Start, *, by: str) -> None:
    """A scheduler with a wrong clock, which says so itself."""
    rescuer = start(sys.executable, "-m", "scheduler", env={**system.env, **shifted(by)}, name="skewed-scheduler")
    rescuer.wait_for("scheduler.ready", START_WITHIN)
    says = next(line for line in rescuer.log.splitlines() if "scheduler.ready" in line)
    assert f'"timestamp": "{datetime.now(UTC).isoformat()[:13]}' not in says, "its clock is not wrong at all"


@pytest.mark.parametrize("by", ["+1h", "-1h"])
def test_a_host_whose_clock_is_an_hour_wrong_changes_nothing(system: System, start: Start, gate: Path, by: str) -> None:
    if system.stores.name == "embedded":
        pytest.skip("SQLite's clock is that of the one host there is.")
    system.add_bot(source=STAYS)
    group, name = alone("skewed"), f"skewed-{uuid.uuid4().hex[:8]}"
    skewed(lambda: start_runner(system, start, name=name, group=group, env=shifted(by), executed=True))
    skewed(lambda: start_scheduler(system, start, by=by))
    job_id = system.enqueue(group=group, parameters={"gate": str(gate)})
    bot = bot_of(system, job_id)
    claimed = extended = lease_of(system, job_id)

    def beaten() -> bool:
        nonlocal extended
        extended = lease_of(system, job_id)
        return extended > claimed

    wait_until(beaten, 30, "a heartbeat")
    with system.edit() as session:
        ahead = extended - database_time(session)
    assert timedelta(0) < ahead < timedelta(minutes=5), "the lease is measured by the database's clock"
    (seen,) = (each for each in system.runners() if each["name"] == name)
    assert seen["state"] == "online"
    with system.edit() as session:
        ago = database_time(session) - datetime.fromisoformat(seen["heartbeat_at"])
    assert ago < runners.LOST_AFTER
    assert (bot.alive, system.job(job_id)["state"]) == (True, "running"), "the rescuer did not take it"
    gate.touch()
    job = system.wait_for(job_id)
    assert (job["state"], job["attempt"]) == ("succeeded", 1)
    (attempt,) = job["attempts"]
    order = [attempt[name] for name in ("claimed_at", "started_at", "finished_at")]
    assert order == sorted(order), "history shows no hour that never was"
    with system.edit() as session:
        assert database_time(session) - datetime.fromisoformat(attempt["started_at"]) < timedelta(minutes=5)


def lease_of(system: System, job_id: str) -> datetime:
    """Until when the job is its runner's."""
    with system.edit() as session:
        until = session.get_one(Job, uuid.UUID(job_id)).lease_expires_at
    assert until is not None
    return until
