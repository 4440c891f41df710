"""What a limit kept back in one lane starts when a job of another lane ends, or is lost with its runner."""

import signal
from collections.abc import Iterator

import pytest

from tests.conftest import Start
from tests.fault.staying import COUNTS, Counted, alone, assert_ran_once, counted
from tests.support import wait_until
from tests.system import System, start_runner

pytestmark = pytest.mark.timeout(240)

LIMIT = "/api/v1/concurrency/dev/asset"
LOGIN = "SAP.LOGIN"


@pytest.fixture
def one_login(system: System) -> Iterator[System]:
    """A system whose bot `logs_in` may run once at a time."""
    system.set_value(LOGIN, "a-long-login")
    for bot in ("logs_in", "tells"):
        system.add_bot(bot, COUNTS, toml=f'assets = ["{LOGIN}"]\nretries = {{ runner_lost = 2 }}\n')
    assert system.client.put(LIMIT, json={"at_once": 1, "target": LOGIN}).status_code == 200
    yield system
    system.client.delete(LIMIT, params={"target": LOGIN})


def queue(system: System, group: str) -> tuple[str, Counted]:
    bot = counted(system)
    return system.enqueue("logs_in", group=group, parameters=bot.parameters), bot


def test_the_end_of_a_job_starts_what_waited_in_another_lane(one_login: System, start: Start) -> None:
    system, groups = one_login, (alone("first"), alone("second"))
    for group in groups:
        start_runner(system, start, name=group, group=group)
    first, running = queue(system, groups[0])
    running.begun()
    second, waiting = queue(system, groups[1])
    kept = wait_until(lambda: system.job(second)["waiting_for"], 20)
    assert kept["code"] == "concurrency"
    scheduler = system.processes["scheduler"]
    scheduler.popen.send_signal(signal.SIGSTOP)  # so that nobody but the runner announces anything
    try:
        running.gate.touch()
        assert_ran_once_beside(system, first, running)
        waiting.begun()
    finally:
        scheduler.popen.send_signal(signal.SIGCONT)
    waiting.gate.touch()
    assert_ran_once(system, second, waiting)


def test_a_killed_runner_frees_what_waited_in_another_lane(one_login: System, start: Start) -> None:
    system, groups = one_login, (alone("dies"), alone("lives"))
    quick = {"BOTKEEP_LEASE": "6", "BOTKEEP_HEARTBEAT": "1"}
    dies = start_runner(system, start, name=groups[0], group=groups[0], env=quick)
    start_runner(system, start, name=groups[1], group=groups[1])
    lost, running = queue(system, groups[0])
    running.begun()
    second, waiting = queue(system, groups[1])
    dies.stop(signal.SIGKILL)
    waiting.begun()
    assert running.ran == 1, "its own repeat waits for a runner, and holds no limit meanwhile"
    system.client.post(f"/api/v1/jobs/{lost}/cancellation")
    waiting.gate.touch()
    assert_ran_once(system, second, waiting)


def assert_ran_once_beside(system: System, job_id: str, bot: Counted) -> None:
    job = system.wait_for(job_id)
    assert (job["state"], job["attempt"], bot.ran) == ("succeeded", 1, 1), job
