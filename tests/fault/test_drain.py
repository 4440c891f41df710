"""Runners that stop, however often they are asked: what runs ends or is returned, what waits goes to others."""

import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.conftest import Start
from tests.fault.staying import STAYS, alone, bot_of, expire
from tests.services import Services
from tests.support import Started, descendants, wait_until
from tests.system import KINDS, System, lasting, start_runner

pytestmark = pytest.mark.timeout(240)

#: Ignores SIGTERM, as its daemon does, and has a grace of an hour for it.
STUBBORN = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + STAYS
PATIENT = 'name = "tells"\nentry = "main.py"\ngrace = "1h"\n'

#: Leaves a line in the file of its job, so that a second run would be seen, and takes its time.
MARKS = """
import os, json, time
parameters = json.load(open(os.environ["BOTKEEP_PARAMETERS_FILE"]))
with open(os.path.join(parameters["marks"], os.environ["BOTKEEP_JOB_ID"]), "a") as file:
    print(os.getpid(), file=file)
time.sleep(0.4)
"""


@pytest.fixture(scope="module", params=KINDS)
def patient_system(request: pytest.FixtureRequest, services: Services) -> Iterator[System]:
    env, parts = {"BOTKEEP_REPUBLISH_AFTER": "600"}, ("console", "scheduler")
    with lasting(request, services, parts=parts, env=env, forked=True) as system:
        yield system


@pytest.fixture
def patient(patient_system: System, start: Start) -> Iterator[System]:
    """A system without a runner, whose rescuer would come after ten minutes."""
    yield patient_system
    patient_system.clear()
    patient_system.flush_redis()  # no hint of one test's jobs lies in the next one's lane


def status(system: System, name: str) -> str:
    items = system.runners()
    return str(next(each["state"] for each in items if each["name"] == name))


def not_begun(system: System, lane: str, jobs: list[str], *, running_jobs: int) -> list[str]:
    """The jobs that wait while a runner has no slot free: their hints must lie in the lane for others."""
    with contextlib.closing(redis.Redis.from_url(system.stores.redis_url)) as client:

        def waiting() -> list[str]:
            queued = [job_id for job_id in jobs if system.job(job_id)["state"] == "queued"]
            return queued if len(jobs) - len(queued) == running_jobs else []

        found = wait_until(waiting, 60, "the runner to be busy")
        assert client.llen(f"botkeep:{lane}") == len(found)
        return found


def test_a_busy_runner_takes_its_next_jobs_without_the_loop_and_hears_of_a_later_one(
    patient: System, start: Start
) -> None:
    patient.add_bot(source="print()")
    group = alone("busy")
    jobs = [patient.enqueue(group=group) for _ in range(6)]
    start_runner(patient, start, name="busy", group=group, more=("--concurrency", "1"))
    with contextlib.closing(redis.Redis.from_url(patient.stores.redis_url)) as client:

        def ended(some: list[str]) -> bool:
            return all(patient.job(job_id)["state"] == "succeeded" for job_id in some)

        wait_until(lambda: ended(jobs), 60, "the end of the jobs")
        commands = client.info("commandstats")
        assert commands["cmdstat_lmpop"]["calls"] - commands["cmdstat_lmpop"]["failed_calls"] >= len(jobs)
        # The rescuer would come after ten minutes: this one is heard of by a loop that had stopped to listen.
        later = patient.enqueue(group=group)
        wait_until(lambda: ended([later]), 60, "the end of a later job")


@pytest.mark.parametrize("times", [2, 5])
def test_a_further_sigterm_ends_bots_at_once_whatever_the_grace(
    system: System, start: Start, gate: Path, times: int
) -> None:
    system.add_bot(source=STAYS)
    group = alone("hurried")
    runner = start_runner(system, start, name="hurried", group=group, env={"BOTKEEP_DRAIN_GRACE": "3600"})
    job_id = system.enqueue(group=group, parameters={"gate": str(gate)})
    bot = bot_of(system, job_id)
    below = descendants(runner.pid)
    runner.identity.send(signal.SIGTERM)
    runner.wait_for("runner.draining")
    assert bot.alive
    for _ in range(times - 1):
        runner.identity.send(signal.SIGTERM)
    assert runner.wait(30) == 0, runner.log
    assert not any(process.alive for process in below)
    (attempt,) = system.job(job_id)["attempts"]
    assert (attempt["reason"], attempt["survivors"]) == ("runner_stopped", 0)
    assert status(system, "hurried") == "stopped"
    assert "Traceback" not in runner.log


def test_a_bot_that_ignores_sigterm_is_killed_soon_after_the_grace_of_its_runner(
    system: System, start: Start, gate: Path
) -> None:
    system.add_bot(source=STUBBORN, toml=PATIENT)
    group = alone("stubborn")
    runner = start_runner(system, start, name="stubborn", group=group, env={"BOTKEEP_DRAIN_GRACE": "0.3"})
    job_id = system.enqueue(group=group, parameters={"gate": str(gate)})
    bot = bot_of(system, job_id)
    below = descendants(runner.pid)
    assert runner.stop(timeout=40) == 0, runner.log
    assert bot in below
    assert not any(process.alive for process in below)
    (attempt,) = system.job(job_id)["attempts"]
    assert (attempt["reason"], attempt["survivors"]) == ("runner_stopped", 0)
    assert status(system, "stubborn") == "stopped"


def test_a_drain_is_heard_at_once_and_waits_for_a_bot_without_limit(system: System, start: Start, gate: Path) -> None:
    system.add_bot(source=STAYS)
    group = alone("told")
    runner = start_runner(system, start, name="told", group=group, env={"BOTKEEP_DRAIN_GRACE": "0.1"})
    job_id = system.enqueue(group=group, parameters={"gate": str(gate)})
    bot = bot_of(system, job_id)
    beat = heartbeat(system, "told")
    wait_until(lambda: heartbeat(system, "told") != beat, 30, "a heartbeat")
    assert system.client.put("/api/v1/runners/told/drain").json()["state"] == "draining"
    runner.wait_for("runner.draining", 3)  # the next heartbeat is 5 s away
    assert status(system, "told") == "draining"
    gate.touch()
    assert system.wait_for(job_id)["state"] == "succeeded"
    assert not bot.alive
    assert runner.wait(30) == 0, runner.log
    assert status(system, "told") == "stopped"


def heartbeat(system: System, name: str) -> str:
    items = system.runners()
    return str(next(each["heartbeat_at"] for each in items if each["name"] == name))


def test_what_a_draining_runner_has_not_begun_is_another_ones_at_once(
    patient: System, start: Start, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    patient.add_bot(source=STAYS)
    only_two = {"BOTKEEP_CONCURRENCY": "2"}
    first = start_runner(patient, start, name="first", group="default", env=only_two)
    jobs = [patient.enqueue(parameters={"gate": str(gate)}) for _ in range(4)]
    waiting = not_begun(patient, "dev.default", jobs, running_jobs=2)
    first.identity.send(signal.SIGTERM)
    first.wait_for("runner.draining")
    start_runner(patient, start, name="second", group="default", env=only_two)
    for job_id in waiting:
        assert patient.wait_for(job_id, "running", timeout=20)["runner"] == "second"
    assert first.popen.poll() is None, "its own bots still run"
    gate.touch()
    assert {patient.wait_for(job_id)["state"] for job_id in jobs} == {"succeeded"}
    assert first.wait(30) == 0, first.log


def test_what_a_killed_runner_had_not_begun_is_another_ones(system: System, start: Start, gate: Path) -> None:
    system.add_bot(source=STAYS)
    group = alone("hoards")
    only_two = {"BOTKEEP_CONCURRENCY": "2"}
    killed = start_runner(system, start, name="hoards", group=group, env=only_two)
    jobs = [system.enqueue(group=group, parameters={"gate": str(gate)}) for _ in range(4)]
    waiting = not_begun(system, f"dev.{group}", jobs, running_jobs=2)
    bots = [bot_of(system, job_id) for job_id in jobs if job_id not in waiting]
    assert killed.stop(signal.SIGKILL) == -signal.SIGKILL
    # A bot that found the gate open before its launcher killed it would have done its work, and not be lost.
    wait_until(lambda: not any(bot.alive for bot in bots), 30, "the end of its bots")
    gate.touch()
    start_runner(system, start, name="rescued", group=group, env=only_two)
    for job_id in waiting:
        job = system.wait_for(job_id, timeout=60)
        assert (job["state"], job["runner"], job["attempt"]) == ("succeeded", "rescued", 1)
    for job_id in set(jobs) - set(waiting):
        expire(system, job_id)
        job = system.wait_for(job_id)
        assert job["attempts"][0]["reason"] == "runner_lost"


def test_runners_are_upgraded_one_by_one_and_no_job_is_lost_fails_or_is_left_to_the_rescuer(
    patient: System, start: Start, tmp_path: Path
) -> None:
    patient.add_bot("marks", MARKS)
    jobs: list[str] = []

    def enqueue(count: int) -> None:
        jobs.extend(patient.enqueue("marks", parameters={"marks": str(tmp_path)}) for _ in range(count))

    def begin(name: str) -> Started:
        return start_runner(patient, start, name=name, group="default", env={"BOTKEEP_CONCURRENCY": "2"})

    runners = {name: begin(name) for name in ("one", "two")}
    for name, runner in runners.items():
        enqueue(12)
        # On a slow machine all of them may have run before anybody looks.
        wait_until(lambda: any(patient.job(job_id)["state"] != "queued" for job_id in jobs[-12:]), 30, "a start")
        runner.identity.send(signal.SIGTERM)
        enqueue(6)
        assert runner.wait(60) == 0, runner.log
        begin(name)
        enqueue(6)
    ended = [patient.wait_for(job_id, timeout=60) for job_id in jobs]
    assert {(job["state"], job["attempt"]) for job in ended} == {("succeeded", 1)}
    assert {job["runner"] for job in ended} == {"one", "two"}
    assert [len((tmp_path / job_id).read_text().splitlines()) for job_id in jobs] == [1] * len(jobs)


def test_a_drain_that_begins_while_redis_is_away_ends_all_the_same(system: System, start: Start, gate: Path) -> None:
    system.add_bot(source=STAYS)
    group = alone("cut-off")
    runner = start_runner(system, start, name="cut-off", group=group)
    job_id = system.enqueue(group=group, parameters={"gate": str(gate)})
    bot_of(system, job_id)
    with system.without_redis():
        begun = time.monotonic()
        runner.identity.send(signal.SIGTERM)
        gate.touch()
        assert system.wait_for(job_id)["state"] == "succeeded"
        assert runner.wait(60) == 0, runner.log
        assert time.monotonic() - begun < 30
    assert status(system, "cut-off") == "stopped"
