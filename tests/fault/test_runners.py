"""Runners that die at any step, are stopped, or want a name that is taken: nothing runs on, nothing runs twice."""

import os
import signal
import sys
import uuid
from pathlib import Path

import pytest
from sqlalchemy import select

from runner.models import Attempt
from tests.conftest import Start
from tests.fault.staying import STAYS, alone, bot_of, expire
from tests.support import descendants, wait_until
from tests.system import START_WITHIN, System, start_runner

pytestmark = pytest.mark.timeout(240)


def test_a_killed_runner_takes_its_bots_along_and_the_rescuer_ends_its_jobs(
    system: System, start: Start, gate: Path
) -> None:
    system.add_bot(source=STAYS)
    system.set_value("SAP.PASSWORD", "value-1")
    group = alone("killed")
    runner = start_runner(system, start, name="killed", group=group)
    job_id = system.enqueue(group=group, parameters={"gate": str(gate)})
    bot = bot_of(system, job_id)
    below = descendants(runner.pid)
    assert bot in below
    values = Path(f"/proc/{bot.pid}/cwd").resolve()
    assert runner.stop(signal.SIGKILL) == -signal.SIGKILL
    wait_until(lambda: not any(process.alive for process in below), 30, "everything below the runner to end")
    assert system.job(job_id)["state"] == "running", "its lease holds"
    expire(system, job_id)
    job = system.wait_for(job_id)
    assert (job["state"], job["reason"], job["exit_code"]) == ("failed", "runner_lost", None)
    assert "may have done its work" in job["detail"]
    assert values.exists(), "nobody could tidy up"
    left = [path for path in memory_of(system) if job_id.replace("-", "") in str(path)]
    assert left
    again = start_runner(system, start, name="killed-again", group=group)
    assert not values.exists()
    assert not any(path.exists() for path in left)
    gate.touch()
    answer = system.client.post(f"/api/v1/jobs/{job_id}/retry")
    retried = system.wait_for(answer.json()["id"])
    assert (retried["state"], retried["runner"], retried["retry_of"]) == ("succeeded", "killed-again", job_id)
    assert again.popen.poll() is None


def memory_of(system: System) -> list[Path]:
    """Folders of attempts in memory-backed storage."""
    return list(Path(f"/dev/shm/botkeep-{os.geteuid()}").glob("*/*"))


#: Makes the worker kill itself before the named step of an attempt.
DIES_BEFORE = """
import os, signal
from runner.worker import executor
def die(*_arguments, **_words):
    os.kill(os.getpid(), signal.SIGKILL)
executor.{step} = die
"""


@pytest.mark.parametrize(("step", "read", "ran"), [("_preflight", 0, ""), ("_start", 1, ""), ("_report", 1, "ran\n")])
def test_a_job_whose_runner_died_at_any_step_is_ended_once(
    system: System, start: Start, tmp_path: Path, step: str, read: int, ran: str
) -> None:
    marks = tmp_path / "marks"
    system.add_bot(source=f"open({str(marks)!r}, 'a').write('ran\\n')")
    system.set_value("SAP.PASSWORD", "value-1")
    group = alone("dies")
    job_id = system.enqueue(group=group)
    served = ["--environment", "dev", "--group", group, "--name", f"dies{step}"]
    code = DIES_BEFORE.format(step=step) + "import sys\nfrom runner.worker.__main__ import main\nsys.exit(main())"
    runner = start(sys.executable, "-c", code, *served, env=system.env, name="dies")
    assert runner.wait(START_WITHIN) == -signal.SIGKILL, runner.log
    assert seen(marks) == ran
    expire(system, job_id)
    job = system.wait_for(job_id)
    assert (job["state"], job["reason"], len(job["readings"])) == ("failed", "runner_lost", read)
    with system.edit() as session:
        attempt = session.execute(select(Attempt).where(Attempt.job_id == uuid.UUID(job_id))).scalar_one()
        assert (attempt.state, attempt.reason) == ("failed", "runner_lost")
    assert seen(marks) == ran, "it was not run again"


def seen(marks: Path) -> str:
    """What the bot left, if it ran."""
    return marks.read_text() if marks.exists() else ""


def test_a_runner_that_lost_its_lease_ends_the_bot_and_its_report_is_refused(
    system: System, start: Start, gate: Path
) -> None:
    system.add_bot(source=STAYS)
    group = alone("late")
    runner = start_runner(system, start, name="late", group=group)
    job_id = system.enqueue(group=group, parameters={"gate": str(gate)})
    bot = bot_of(system, job_id)
    expire(system, job_id)
    assert system.wait_for(job_id)["reason"] == "runner_lost"
    wait_until(lambda: not bot.alive, 30, "the bot to be ended")
    runner.wait_for("report.refused")
    job = system.job(job_id)
    assert (job["state"], job["reason"], job["attempts"][0]["reason"]) == ("failed", "runner_lost", "runner_lost")


def test_a_stopped_runner_lets_its_bots_end_and_claims_nothing_more(system: System, start: Start, gate: Path) -> None:
    system.add_bot(source=STAYS)
    group = alone("drained")
    runner = start_runner(system, start, name="drained", group=group)
    job_id = system.enqueue(group=group, parameters={"gate": str(gate)})
    bot = bot_of(system, job_id)
    runner.identity.send(signal.SIGTERM)
    runner.wait_for("runner.draining")
    later = system.enqueue(group=group, parameters={"gate": str(gate)})
    assert bot.alive
    gate.touch()
    assert system.wait_for(job_id)["state"] == "succeeded"
    assert runner.wait(60) == 0, runner.log
    assert system.job(later)["state"] == "queued"
    states = {each["name"]: each["state"] for each in system.client.get("/api/v1/runners").json()["items"]}
    assert states["drained"] == "stopped"


def test_a_bot_that_outlasts_the_grace_ends_with_its_runner(system: System, start: Start, gate: Path) -> None:
    system.add_bot(source=STAYS)
    group = alone("grace")
    runner = start_runner(system, start, name="grace", group=group, env={"BOTKEEP_DRAIN_GRACE": "0.3"})
    job_id = system.enqueue(group=group, parameters={"gate": str(gate)})
    bot = bot_of(system, job_id)
    assert runner.stop(timeout=60) == 0, runner.log
    job = system.job(job_id)
    assert (job["state"], job["reason"]) == ("failed", "runner_stopped")
    assert not bot.alive


def test_draining_through_the_api_stops_the_runner_after_its_bots(system: System, start: Start, gate: Path) -> None:
    system.add_bot(source=STAYS)
    group = alone("asked")
    runner = start_runner(system, start, name="asked", group=group)
    job_id = system.enqueue(group=group, parameters={"gate": str(gate)})
    bot_of(system, job_id)
    assert system.client.put("/api/v1/runners/asked/drain").json()["state"] == "draining"
    runner.wait_for("runner.draining")
    gate.touch()
    assert system.wait_for(job_id)["state"] == "succeeded"
    assert runner.wait(60) == 0, runner.log


def test_a_second_runner_of_the_same_name_refuses_to_start(system: System, start: Start) -> None:
    system.add_bot()
    name = system.run()["runner"]
    second = start(sys.executable, "-m", "runner.worker", "--name", name, env=system.env, name="second")
    assert second.wait(START_WITHIN) == 75, "a status that says: try later"
    assert f"A runner named {name!r} is alive" in second.log
    assert "Traceback" not in second.log
    assert system.run()["state"] == "succeeded"


def test_a_runner_follows_a_killed_one_of_its_name_at_once(system: System, start: Start) -> None:
    group = alone("follows")
    first = start_runner(system, start, name="followed", group=group)
    assert first.stop(signal.SIGKILL) == -signal.SIGKILL
    second = start_runner(system, start, name="followed", group=group)
    system.add_bot()
    assert system.run(group=group)["runner"] == "followed"
    assert second.popen.poll() is None


def test_a_runner_refuses_to_run_bots_as_root_unless_it_is_told_to(system: System, start: Start) -> None:
    if os.geteuid() != 0:
        pytest.skip("the tests do not run as root")
    env = {**system.env, "BOTKEEP_RUN_AS_ROOT": ""}
    refused = start(sys.executable, "-m", "runner.worker", "--name", "rooted", env=env, name="rooted")
    assert refused.wait(START_WITHIN) == 5
    assert "BOTKEEP_RUN_AS_ROOT" in refused.log
