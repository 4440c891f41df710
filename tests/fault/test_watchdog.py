"""A runner that is alive and receives nothing ends in order, is started again, and loses no bot."""

import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery
from redis.exceptions import RedisError

from runner import lanes
from tests.conftest import Start
from tests.fault.staying import STAYS, alone, bot_of
from tests.nursery import Program
from tests.support import Started, wait_until
from tests.system import START_WITHIN, System, start_runner

pytestmark = pytest.mark.timeout(240)

#: Exit status of a runner that stalled.
STALLED = 70

QUICK = {"BOTKEEP_STALL_AFTER": "1.5", "BOTKEEP_CONCURRENCY": "2"}


@contextlib.contextmanager
def control(system: System) -> Iterator[Celery]:
    """Celery's own remote control of the system's runners."""
    app = lanes.transport(system.stores.redis_url)
    yield app
    app.close()


def stop_consuming(system: System, runner: str, group: str) -> None:
    """Make a runner pull from its lane no more; it goes on with everything else."""

    def told() -> bool:
        # A command may be lost with its connection, as any; it does no harm twice.
        with contextlib.suppress(RedisError), control(system) as app:
            answers = app.control.cancel_consumer(f"dev.{group}", reply=True, timeout=3) or []
            return any(name.startswith(f"{runner}@") for answer in answers for name in answer)
        return False

    wait_until(told, 30, f"the runner {runner} to obey")


def test_a_runner_that_receives_nothing_lets_its_bots_end_and_the_next_one_runs_what_waited(
    system: System, start: Start, gate: Path
) -> None:
    system.add_bot(source=STAYS)
    system.add_bot("quick", "print('ran')")
    group = alone("deaf")
    runner = start_runner(system, start, name="deaf", group=group, env=QUICK)
    long = system.enqueue(group=group, parameters={"gate": str(gate)})
    bot = bot_of(system, long)
    stop_consuming(system, "deaf", group)
    waiting = [system.enqueue("quick", group=group) for _ in range(3)]
    runner.wait_for("runner.stalled", 30)
    runner.wait_for("runner.draining")
    assert (bot.alive, runner.popen.poll()) == (True, None), "its bot goes on"
    gate.touch()
    assert system.wait_for(long)["state"] == "succeeded"
    assert runner.wait(60) == STALLED, runner.log
    start_runner(system, start, name="deaf", group=group, env=QUICK)
    for job_id in waiting:
        job = system.wait_for(job_id, timeout=60)
        assert (job["state"], job["attempt"]) == ("succeeded", 1)


#: Keeps one runner running as `botkeep up` keeps its own; argv: the log, then the command.
KEEPS = """
import os, sys, time
from pathlib import Path
from cli.supervisor import Program, Signals, Supervisor
with Signals() as signals:
    tell = lambda text: print(text, flush=True)
    kept = Supervisor(signals, tell, changed=lambda: None, drained=lambda _: False)
    kept.start(Program("runner", tuple(sys.argv[2:]), Path(sys.argv[1]), dict(os.environ)))
    while not signals.stops:
        signals.wait(min(1.0, kept.keep(time.monotonic())))
    kept.stop(["runner"], grace=20.0)
"""


def test_a_supervisor_starts_a_runner_that_stalled_again_and_jobs_run(
    system: System, start: Start, tmp_path: Path
) -> None:
    system.add_bot("quick", "print('ran')")
    group, log = alone("kept"), tmp_path / "kept-runner.log"
    words = [sys.executable, "-m", "runner.worker", "--environment", "dev", "--group", group, "--name", "kept"]
    keeper = start(sys.executable, "-c", KEEPS, log, *words, env={**system.env, **QUICK}, name="keeper")
    wait_until(lambda: log.exists() and "runner.ready" in log.read_text(), START_WITHIN, "the runner")
    assert system.run("quick", group=group)["state"] == "succeeded"
    stop_consuming(system, "kept", group)
    job = system.wait_for(system.enqueue("quick", group=group), timeout=90)
    assert (job["state"], job["attempt"], job["runner"]) == ("succeeded", 1, "kept")
    assert f"The runner ended with exit status {STALLED}; it starts again in 0.5 s." in keeper.log
    assert keeper.stop(timeout=60) == 0


#: Makes Celery's loop hang at its next turn once the file in argv[-1] is there, as a call that never returns would.
HANGS = """
import os, sys, time
from kombu.asynchronous import hub
asleep, path = hub.Hub.fire_timers, sys.argv.pop()
def hang(*arguments, **words):
    while os.path.exists(path):
        time.sleep(0.1)
    return asleep(*arguments, **words)
hub.Hub.fire_timers = hang
"""


def test_a_runner_whose_loop_hangs_ends_itself_when_its_last_bot_has_ended(
    system: System, start: Start, gate: Path, tmp_path: Path
) -> None:
    system.add_bot(source=STAYS)
    group, hang = alone("hangs"), tmp_path / "hang"
    served = ["--environment", "dev", "--group", group, "--name", "hangs"]
    env = {**system.env, **QUICK, "BOTKEEP_CONCURRENCY": "4"}
    runner: Started = start(Program("runner.worker", HANGS), *served, hang, env=env, name="hangs")
    runner.wait_for("runner.ready", START_WITHIN)
    job_id = system.enqueue(group=group, parameters={"gate": str(gate)})
    bot = bot_of(system, job_id)
    hang.touch()
    for _ in range(3):  # the loop may take one more before it hangs
        system.enqueue(group=group, parameters={"gate": str(gate)})
    runner.wait_for("runner.stalled", 30)
    assert bot.alive
    gate.touch()
    assert system.wait_for(job_id)["state"] == "succeeded"
    assert runner.wait(60) == STALLED, runner.log
    assert "runner.abandoned" in runner.log


def test_a_runner_that_was_frozen_has_not_stalled(system: System, start: Start) -> None:
    system.add_bot("quick", "print('ran')")
    group = alone("frozen")
    runner = start_runner(system, start, name="frozen", group=group, env={**QUICK, "BOTKEEP_STALL_AFTER": "3"})
    assert system.run("quick", group=group)["state"] == "succeeded"
    runner.identity.send(signal.SIGSTOP)
    waiting = [system.enqueue("quick", group=group) for _ in range(4)]
    with contextlib.suppress(AssertionError):
        wait_until(lambda: system.job(waiting[0])["state"] != "queued", 6, "nobody: it is frozen")
    runner.identity.send(signal.SIGCONT)
    for job_id in waiting:
        assert system.wait_for(job_id, timeout=60)["state"] == "succeeded"
    assert (runner.popen.poll(), "runner.stalled" in runner.log) == (None, False)
