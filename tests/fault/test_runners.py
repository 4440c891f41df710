"""Runners that die at any step, are stopped, or want a name that is taken: nothing runs on, nothing runs twice."""

import os
import signal
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runner import journals
from runner.journals import OUTCOMES
from runner.worker import ending
from scheduler import rescuer
from tests.conftest import Start
from tests.fault.staying import STAYS, alone, bot_of, expire
from tests.nursery import Program
from tests.support import descendants, wait_until
from tests.system import START_WITHIN, System, start_runner

pytestmark = pytest.mark.timeout(240)


def test_a_killed_runner_takes_its_bots_along_and_the_next_one_repeats_its_jobs(
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
    instance = values.parent.parent.name
    left = list(Path(f"/dev/shm/botkeep-{os.geteuid()}").glob(f"{instance}/*/parameters.json"))
    assert left
    assert runner.stop(signal.SIGKILL) == -signal.SIGKILL
    wait_until(lambda: not any(process.alive for process in below), 30, "everything below the runner to end")
    job = system.wait_for(job_id, "queued")
    assert (job["reason"], job["exit_code"], job["finished_at"]) == ("runner_lost", None, None)
    assert "may have done its work" in job["detail"]
    assert values.exists(), "nobody could tidy up"
    again = start_runner(system, start, name="killed-again", group=group)
    assert not values.exists()
    assert not any(path.exists() for path in left)
    gate.touch()
    job = system.wait_for(job_id)
    assert (job["state"], job["attempt"], job["runner"]) == ("succeeded", 2, "killed-again")
    first, second = job["attempts"]
    assert (first["reason"], first["survivors"], second["reason"]) == ("runner_lost", 0, None)
    assert first["ended_by"] == "launcher, since the process of runner killed ended"
    assert any("may have done its work" in warning for warning in job["warnings"])
    assert again.popen.poll() is None


#: Makes the worker kill itself before the named step of an attempt.
DIES_BEFORE = """
import os, signal
from runner.worker import executor
def die(*_arguments, **_words):
    os.kill(os.getpid(), signal.SIGKILL)
executor.{step} = die
"""


def dies_at(system: System, start: Start, step: str, group: str) -> None:
    """A runner that wins one job of the group and kills itself before this step."""
    served = ["--environment", "dev", "--group", group, "--name", f"dies{step}"]
    program = Program("runner.worker", DIES_BEFORE.format(step=step))
    runner = start(program, *served, env=system.env, name="dies")
    assert runner.wait(START_WITHIN) == -signal.SIGKILL, runner.log


@pytest.mark.parametrize(("step", "readings"), [("_preflight", 1), ("_start", 2)])
def test_a_job_whose_runner_died_before_the_bot_began_is_run_by_the_next_one_once(
    system: System, start: Start, tmp_path: Path, step: str, readings: int
) -> None:
    marks = tmp_path / "marks"
    system.add_bot(source=f"open({str(marks)!r}, 'a').write('ran\\n')")
    system.set_value("SAP.PASSWORD", "value-1")
    group = alone("dies")
    job_id = system.enqueue(group=group)
    dies_at(system, start, step, group)
    assert (seen(marks), system.job(job_id)["state"]) == ("", "running"), "nothing was recorded, and its lease holds"
    expire(system, job_id)
    assert system.wait_for(job_id, "queued")["attempts"][0]["ended_by"] == "scheduler, since the lease ran out"
    start_runner(system, start, name="follows", group=group)
    job = system.wait_for(job_id)
    assert (job["state"], job["attempt"], len(job["readings"]), seen(marks)) == ("succeeded", 2, readings, "ran\n")


def test_a_bot_that_ended_before_its_runner_died_is_not_run_again(system: System, start: Start, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    system.add_bot(source=f"open({str(marks)!r}, 'a').write('ran\\n'); raise SystemExit(3)")
    group = alone("ended")
    job_id = system.enqueue(group=group)
    dies_at(system, start, "_report", group)
    job = system.wait_for(job_id, timeout=20)
    assert (job["state"], job["reason"], job["exit_code"], job["attempt"]) == ("failed", "exit_code", 3, 1)
    assert job["attempts"][0]["adopted_at"] is not None
    assert job["attempts"][0]["max_rss_kb"] > 1000
    assert job["warnings"] == [ending.ADOPTED]
    start_runner(system, start, name="later", group=group)
    assert system.run(group=group)["state"] == "failed"
    assert seen(marks) == "ran\n" * 2, "once for each job"


#: Breaks its own first attempt while the bot runs.
BREAKS = """
import os, time
from runner.worker import executor
real, broken = executor._pump, []
def breaks(*arguments):
    if broken:
        return real(*arguments)
    broken.append(True)
    while not os.path.exists({marks!r}):
        time.sleep(0.01)
    raise RuntimeError("broken on purpose")
executor._pump = breaks
"""


def test_a_bot_whose_end_nobody_saw_shares_no_folder_with_the_next_one(
    system: System, start: Start, tmp_path: Path
) -> None:
    marks = tmp_path / "marks"
    group = alone("breaks")
    system.add_bot(
        source=f"""
import json, os, time
stays = not os.path.exists({str(marks)!r})
with open({str(marks)!r}, "a") as file:
    print(os.environ["HOME"], os.environ["BOTKEEP_ASSET_DIR"], file=file)
if stays:
    time.sleep(3600)
"""
    )
    more = ("--concurrency", "1")
    runner = start_runner(system, start, name="breaks", group=group, code=BREAKS.format(marks=str(marks)), more=more)
    assert system.run(group=group)["reason"] == "internal"
    assert [system.run(group=group)["state"] for _ in range(2)] == ["succeeded"] * 2
    broken, second, third = (list(map(Path, line.split())) for line in seen(marks).splitlines())
    assert [folder.exists() for folder in broken] == [False, False]
    assert not {*broken} & {*second}
    assert second == third, "as long as nothing is wrong, the folders stay the same"
    assert runner.popen.poll() is None


def test_a_job_that_ends_its_runner_each_time_fails_after_the_third(
    system: System, start: Start, tmp_path: Path
) -> None:
    marks = tmp_path / "marks"
    poison = f"import time; open({str(marks)!r}, 'a').write('ran\\n'); time.sleep(3600)"
    system.add_bot(source=poison, toml="retries = { delay = 0 }\n")
    group = alone("poison")
    job_id = system.enqueue(group=group)
    for number in (1, 2, 3):
        code = f"""
import os, signal, time
from runner.worker import executor
def die(*_arguments, **_words):
    while not os.path.exists({str(marks)!r}) or len(open({str(marks)!r}).readlines()) < {number}:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
executor._pump = die
"""
        served = ["--environment", "dev", "--group", group, "--name", f"poisoned-{number}"]
        runner = start(Program("runner.worker", code), *served, env=system.env, name="poisoned")
        assert runner.wait(START_WITHIN) == -signal.SIGKILL, runner.log
        job = system.wait_for(job_id, "queued" if number < 3 else "failed")
    assert (job["state"], job["reason"], job["attempt"]) == ("failed", "runner_lost", 3)
    assert "is not tried again; see whether it brings its runner down" in job["detail"]
    assert [each["survivors"] for each in job["attempts"]] == [0, 0, 0]
    assert seen(marks) == "ran\n" * 3


def test_a_bot_that_must_not_repeat_fails_with_its_runner(system: System, start: Start, gate: Path) -> None:
    system.add_bot(source=STAYS, toml="retries = { runner_lost = false }\n")
    group = alone("once")
    runner = start_runner(system, start, name="once", group=group)
    job_id = system.enqueue(group=group, parameters={"gate": str(gate)})
    bot_of(system, job_id)
    runner.stop(signal.SIGKILL)
    job = system.wait_for(job_id)
    assert (job["state"], job["reason"], job["attempt"]) == ("failed", "runner_lost", 1)
    assert "may have done its work" in job["detail"]


#: A lease that a test can wait for.
SHORT = {"BOTKEEP_LEASE": "4", "BOTKEEP_HEARTBEAT": "0.5"}


def test_a_frozen_runners_bot_is_dead_before_the_next_attempt_begins(system: System, start: Start, gate: Path) -> None:
    system.add_bot(source=STAYS)
    group = alone("frozen")
    runner = start_runner(system, start, name="frozen", group=group, env=SHORT)
    job_id = system.enqueue(group=group, parameters={"gate": str(gate)})
    bot = bot_of(system, job_id)
    below = descendants(bot.pid)
    start_runner(system, start, name="thawed", group=group, env=SHORT)
    with system.edit():  # so that it does not freeze while it is the one writer that SQLite has
        runner.identity.send(signal.SIGSTOP)
    wait_until(lambda: not any(each.alive for each in (bot, *below)), 10, "the launcher to kill the bot's tree")
    dead_at = datetime.now(UTC)
    wait_until(lambda: system.job(job_id)["attempt"] == 2, 20, "the next attempt to begin")
    runner.identity.send(signal.SIGCONT)
    runner.wait_for("report.refused")
    gate.touch()
    job = system.wait_for(job_id)
    assert (job["state"], job["runner"], job["attempt"]) == ("succeeded", "thawed", 2)
    first, second = job["attempts"]
    assert datetime.fromisoformat(second["claimed_at"]) > dead_at
    assert (first["reason"], first["survivors"]) == ("runner_lost", 0)
    assert first["adopted_at"] or "Known later" in first["detail"], "by the other runner, or by its own"
    assert system.run(group=group, parameters={"gate": str(gate)})["state"] == "succeeded"


def test_a_bot_that_ended_under_a_frozen_runner_is_not_run_again(system: System, start: Start, gate: Path) -> None:
    system.add_bot(source=STAYS)
    group = alone("asleep")
    runner = start_runner(system, start, name="asleep", group=group, env=SHORT)
    job_id = system.enqueue(group=group, parameters={"gate": str(gate)})
    bot = bot_of(system, job_id)
    start_runner(system, start, name="awake", group=group, env=SHORT)
    with system.edit():  # as above
        runner.identity.send(signal.SIGSTOP)
    gate.touch()
    job = system.wait_for(job_id)
    assert not bot.alive
    assert (job["state"], job["attempt"], job["runner"]) == ("succeeded", 1, "asleep")
    assert job["warnings"] == [ending.ADOPTED]
    runner.identity.send(signal.SIGCONT)
    runner.wait_for("report.refused")
    job = system.job(job_id)
    assert (job["state"], len(job["attempts"]), job["attempts"][0]["reason"]) == ("succeeded", 1, None)
    assert system.run(group=group, parameters={"gate": str(gate)})["attempt"] == 1


def test_a_bot_that_ended_under_the_one_runner_of_its_home_waits_for_its_return(
    system: System, start: Start, gate: Path
) -> None:
    system.add_bot(source=STAYS)
    group = alone("napping")
    runner = start_runner(system, start, name="napping", group=group)
    job_id = system.enqueue(group=group, parameters={"gate": str(gate)})
    bot = bot_of(system, job_id)
    system.runner.identity.send(signal.SIGSTOP)  # it would adopt what the other one cannot report
    try:
        with system.edit():
            runner.identity.send(signal.SIGSTOP)
        gate.touch()
        recorded = {(uuid.UUID(job_id), 1)}
        wait_until(lambda: journals.ended(system.home / OUTCOMES, recorded), 30, "the launcher to record the end")
        assert not bot.alive
        expire(system, job_id)
        assert rescuer.end_lost(system.engine, system.home / OUTCOMES) == 0
        assert system.job(job_id)["state"] == "running"
    finally:
        system.runner.identity.send(signal.SIGCONT)
        runner.identity.send(signal.SIGCONT)
    job = system.wait_for(job_id)
    assert (job["state"], job["attempt"]) == ("succeeded", 1)


def seen(marks: Path) -> str:
    """What the bot left, if it ran."""
    return marks.read_text() if marks.exists() else ""


def test_a_runner_that_lost_its_lease_ends_the_bot_before_it_begins_again(
    system: System, start: Start, gate: Path
) -> None:
    system.add_bot(source=STAYS)
    group = alone("late")
    runner = start_runner(system, start, name="late", group=group)
    job_id = system.enqueue(group=group, parameters={"gate": str(gate)})
    bot = bot_of(system, job_id)

    def ended() -> bool:
        expire(system, job_id, attempt=1)  # again and again: until the rescuer looks, the runner extends it
        return not bot.alive

    wait_until(ended, 30, "the bot to be ended")
    dead_at = datetime.now(UTC)
    runner.wait_for("report.refused")
    gate.touch()
    job = system.wait_for(job_id)
    assert (job["state"], job["attempt"], job["runner"]) == ("succeeded", 2, "late")
    first, second = job["attempts"]
    assert (first["reason"], first["survivors"]) == ("runner_lost", 0)
    assert "Known later, too late to count: it failed (runner_lost)." in first["detail"]
    assert datetime.fromisoformat(second["claimed_at"]) > dead_at - timedelta(seconds=0.1)


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
    states = {each["name"]: each["state"] for each in system.runners()}
    assert states["drained"] == "stopped"


def test_a_bot_that_outlasts_the_grace_ends_with_its_runner_and_is_repeated_by_another(
    system: System, start: Start, gate: Path
) -> None:
    system.add_bot(source=STAYS)
    group = alone("grace")
    runner = start_runner(system, start, name="grace", group=group, env={"BOTKEEP_DRAIN_GRACE": "0.3"})
    job_id = system.enqueue(group=group, parameters={"gate": str(gate)})
    bot = bot_of(system, job_id)
    assert runner.stop(timeout=60) == 0, runner.log
    job = system.job(job_id)
    assert (job["state"], job["reason"], job["attempt"]) == ("queued", "runner_stopped", 1)
    assert job["attempts"][0]["ended_by"] == "runner grace, which was stopping"
    assert not bot.alive
    start_runner(system, start, name="grace-again", group=group)
    gate.touch()
    job = system.wait_for(job_id)
    assert (job["state"], job["attempt"], job["runner"]) == ("succeeded", 2, "grace-again")


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
    second = start(Program("runner.worker"), "--name", name, env=system.env, name="second")
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
    refused = start(Program("runner.worker"), "--name", "rooted", env=env, name="rooted")
    assert refused.wait(START_WITHIN) == 5
    assert "BOTKEEP_RUN_AS_ROOT" in refused.log


def test_a_lease_of_less_than_a_few_heartbeats_is_refused(system: System, start: Start) -> None:
    env = {**system.env, "BOTKEEP_LEASE": "4", "BOTKEEP_HEARTBEAT": "2"}
    refused = start(Program("runner.worker"), "--name", "hasty", env=env, name="hasty")
    assert refused.wait(START_WITHIN) == 5
    assert "BOTKEEP_LEASE (4 s) must be at least 4 times BOTKEEP_HEARTBEAT (2 s)" in refused.log
    assert "Traceback" not in refused.log
