"""Pause, resume and cancel reach a bot with all its descendants, whoever dies or is away meanwhile."""

import signal
import time
import uuid
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.conftest import Start
from tests.fault.staying import alone, expire
from tests.nursery import Program
from tests.support import ProcessId, Stores, descendants, identity_of, read_stat, wait_until
from tests.system import START_WITHIN, System, running, start_runner

pytestmark = pytest.mark.timeout(240)

#: Counts into a file of its own, as a child, a grandchild in another session and the bot itself do, until the gate is
#: there; the bot then says how often it counted and waits for nobody.
COUNTS = """
import json, os, sys, time
parameters = json.load(open(os.environ["BOTKEEP_PARAMETERS_FILE"]))
def count(name, gate):
    with open(os.path.join(parameters["folder"], name), "a", buffering=1) as file:
        number = 0
        while not os.path.exists(gate):
            number += 1
            print(number, file=file)
            time.sleep(0.005)
    return number
if os.fork() == 0:
    if os.fork() == 0:
        os.setsid()
        count("grandchild", "/never")
    count("child", "/never")
print(os.getpid(), flush=True)
print("counted", count("bot", parameters["gate"]), flush=True)
"""

WHO = ("bot", "child", "grandchild")


class Counting:
    """A job whose processes count."""

    def __init__(self, system: System, folder: Path, *, group: str = "default", toml: str = "") -> None:
        self.system, self.folder, self.gate = system, folder, folder / "gate"
        system.add_bot("counts", COUNTS, toml=toml)
        parameters = {"gate": str(self.gate), "folder": str(folder)}
        self.id = system.enqueue("counts", group=group, parameters=parameters)

    def counts(self) -> dict[str, int]:
        """How often each process counted so far; 0 where it has not begun."""
        files = {name: self.folder / name for name in WHO}
        return {name: len(file.read_text().splitlines()) if file.exists() else 0 for name, file in files.items()}

    def wait_until_they_count(self) -> None:
        before = self.counts()
        wait_until(lambda: all(self.counts()[name] > before[name] for name in WHO), 60, "every process to count on")

    def ask(self, verb: str, what: str = "pause") -> dict[str, Any]:
        answer = self.system.client.request(verb, f"/api/v1/jobs/{self.id}/{what}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def pause(self, timeout: float = 10) -> dict[str, int]:
        """Pauses and waits until the runner says that it is so; answers the counts then."""
        wait_until(lambda: self.job["paused_at"] is None, 10, "the pause before to be over")
        self.ask("PUT")
        wait_until(lambda: self.job["paused_at"], timeout, "the bot to stand still")
        return self.counts()

    @property
    def job(self) -> dict[str, Any]:
        return self.system.job(self.id)

    def stands(self, counts: dict[str, int], seconds: float = 0.5) -> bool:
        """Whether nobody counts for a while: a hundred counts at their pace."""
        until = time.monotonic() + seconds
        wait_until(lambda: time.monotonic() > until or self.counts() != counts, seconds + 5)
        return self.counts() == counts

    def end(self) -> dict[str, Any]:
        self.gate.touch()
        return self.system.wait_for(self.id)

    def bot(self) -> ProcessId:
        lines = wait_until(lambda: self.system.log(self.id, "stdout"), 60, "the bot to say its process id")
        return identity_of(int(lines[0]))


@pytest.fixture
def counting(system: System, tmp_path: Path) -> Counting:
    made = Counting(system, tmp_path)
    made.wait_until_they_count()
    return made


def test_a_pause_freezes_the_whole_tree_and_a_resumed_bot_goes_on_where_it_stood(counting: Counting) -> None:
    counts = counting.pause()
    assert counting.stands(counts)
    bot = counting.bot()
    job = counting.job
    assert (job["state"], job["pause_requested_by"]) == ("running", "tests")
    assert [read_state(process) for process in (bot, *descendants(bot.pid))] == ["T"] * 3
    resumed = counting.ask("DELETE")
    assert resumed["pause_requested_at"] is None
    counting.wait_until_they_count()
    wait_until(lambda: counting.job["paused_at"] is None, 10, "the runner to say that it goes on")
    ended = counting.end()
    assert (ended["state"], ended["attempt"], ended["paused_at"]) == ("succeeded", 1, None)
    numbers = [int(line) for line in (counting.folder / "bot").read_text().splitlines()]
    assert numbers == list(range(1, len(numbers) + 1))
    assert counting.system.log(counting.id, "stdout")[-1] == f"counted {len(numbers)}"
    assert 0.4 < ended["attempts"][0]["paused_seconds"] < 60
    assert ended["attempts"][0]["survivors"] == 0


def read_state(process: ProcessId) -> str:
    found = read_stat(process.pid)
    assert found is not None
    return found.state


def test_the_time_limit_of_a_paused_bot_does_not_run(system: System, tmp_path: Path) -> None:
    counting = Counting(system, tmp_path, toml='name = "counts"\nentry = "main.py"\ntimeout = "4s"\n')
    counting.wait_until_they_count()
    counts = counting.pause()
    assert counting.stands(counts, seconds=4.5)
    counting.ask("DELETE")
    counting.wait_until_they_count()
    ended = counting.end()
    assert ended["state"] == "succeeded", ended


def test_the_time_limit_of_a_resumed_bot_runs_again(system: System, tmp_path: Path) -> None:
    counting = Counting(system, tmp_path, toml='name = "counts"\nentry = "main.py"\ntimeout = "2s"\n')
    counting.wait_until_they_count()
    counting.pause()
    counting.ask("DELETE")
    ended = system.wait_for(counting.id)
    assert (ended["state"], ended["reason"]) == ("failed", "timeout")


def test_a_paused_bot_is_cancelled_at_once(counting: Counting) -> None:
    counting.pause()
    bot = counting.bot()
    tree = [bot, *descendants(bot.pid)]
    counting.ask("POST", "cancellation")
    ended = counting.system.wait_for(counting.id)
    assert (ended["state"], ended["reason"], ended["paused_at"]) == ("cancelled", "cancelled", None)
    assert len(tree) == 3
    assert not any(process.alive for process in tree)
    assert ended["attempts"][0]["paused_seconds"] > 0


def test_a_queued_job_that_is_paused_is_not_started_until_it_is_resumed(
    system: System, start: Start, tmp_path: Path
) -> None:
    group = alone("waits")
    folders = tmp_path / "paused", tmp_path / "other"
    for folder in folders:
        folder.mkdir()
    counting, other = (Counting(system, folder, group=group) for folder in folders)
    counting.ask("PUT")
    start_runner(system, start, name="waits", group=group)
    other.wait_until_they_count()
    assert other.end()["state"] == "succeeded"
    assert (counting.job["state"], counting.job["attempt"]) == ("queued", 0)
    paused = system.client.get("/api/v1/jobs", params={"state": "paused"}).json()["items"]
    assert [job["id"] for job in paused] == [counting.id]
    asked_at = time.monotonic()
    counting.ask("DELETE")
    system.wait_for(counting.id, "running")
    assert time.monotonic() - asked_at < 1.5, "it was announced at once, before the rescuer could"
    assert counting.end()["state"] == "succeeded"


def test_pause_resume_and_cancel_reach_the_bot_within_5_s_without_redis(counting: Counting) -> None:
    with counting.system.without_redis():
        counts = counting.pause(timeout=5)
        assert counting.stands(counts)
        counting.ask("DELETE")
        wait_until(lambda: all(counting.counts()[name] > counts[name] for name in WHO), 5, "all to count on")
        counting.ask("POST", "cancellation")
        assert counting.system.wait_for(counting.id, timeout=5)["state"] == "cancelled"


#: A runner that looks by itself once in an hour hears of a pause by a signal, or not at all.
NO_POLL = "import datetime, runner.worker.held; runner.worker.held.POLL = datetime.timedelta(hours=1)"


def test_signals_are_heard_again_after_redis_was_away(system: System, start: Start, tmp_path: Path) -> None:
    group = alone("hears")
    # Nor does it extend its lease, which would be a look, too.
    runner = start_runner(system, start, name="hears", group=group, env={"BOTKEEP_LEASE": "600"}, code=NO_POLL)
    counting = Counting(system, tmp_path, group=group)
    counting.wait_until_they_count()
    before = runner.log.count("signals.heard")
    with system.without_redis():
        pass
    wait_until(lambda: runner.log.count("signals.heard") > before, 30, "the runner to hear signals again")
    counts = counting.pause(timeout=60)
    assert counting.stands(counts, seconds=0.1)
    counting.ask("DELETE")
    assert counting.end()["state"] == "succeeded"


def test_junk_on_the_channels_changes_nothing(counting: Counting) -> None:
    with redis.Redis.from_url(counting.system.stores.redis_url) as client:
        channels = ("botkeep:look.job", "botkeep:look.runner")
        for channel in channels:  # another test may just have restarted Redis
            wait_until(partial(client.publish, channel, b""), 30, f"somebody to listen on {channel}")
        ids = (str(uuid.uuid4()).encode(), counting.id.encode())
        for word in (b"junk", b"\xff\xfe", b"x" * 100_000, b"{}", *ids):
            for channel in channels:
                assert client.publish(channel, word) >= 1
    counting.wait_until_they_count()
    counts = counting.pause(timeout=2)
    assert counting.stands(counts)
    counting.ask("DELETE")
    assert counting.end()["state"] == "succeeded"


def test_a_killed_runner_leaves_nothing_of_a_paused_bot(system: System, start: Start, tmp_path: Path) -> None:
    group = alone("paused")
    runner = start_runner(system, start, name="paused", group=group)
    counting = Counting(system, tmp_path, group=group)
    counting.wait_until_they_count()
    counting.pause()
    below = descendants(runner.pid)
    assert counting.bot() in below
    assert runner.stop(signal.SIGKILL) == -signal.SIGKILL
    wait_until(lambda: not any(process.alive for process in below), 30, "everything below the runner to end")
    expire(system, counting.id)
    wait_until(lambda: counting.job["state"] != "running" and counting.job, 30, "the rescuer")
    job = counting.job
    assert job["paused_at"] is None
    assert job["attempts"][0]["reason"] == "runner_lost"


def test_a_pause_survives_the_console(stores: Stores, start: Start, tmp_path: Path) -> None:
    with running(stores, forked=True) as system:
        counting = Counting(system, system.shared)
        counting.wait_until_they_count()
        counts = counting.pause()
        assert system.processes["console"].stop(signal.SIGKILL) == -signal.SIGKILL
        assert counting.stands(counts)
        again = start(Program("console"), "--port", str(system.client.base_url.port), env=system.env)
        again.wait_for("console.started", START_WITHIN)
        job = counting.job
        assert (job["state"], job["pause_requested_by"]) == ("running", "tests")
        assert job["paused_at"]
        counting.ask("DELETE")
        counting.wait_until_they_count()
        assert counting.end()["state"] == "succeeded"


#: Makes a worker wait before it resolves, until it has heard of a pause: a slow build, say.
SLOW_BUILD = """
import os, time
from runner.worker import executor
prepare = executor._prepare
def slow(run, package):
    made = prepare(run, package)
    open(os.environ["BOTKEEP_HOME"] + "/building", "w").close()
    while not run.hold.paused:
        time.sleep(0.005)
    return made
executor._prepare = slow
"""


def test_a_job_paused_before_its_bot_starts_reads_no_value_until_it_is_resumed(
    system: System, start: Start, tmp_path: Path
) -> None:
    group = alone("early")
    system.set_value("SAP.PASSWORD", "value-1")
    start_runner(system, start, name="early", group=group, code=SLOW_BUILD)
    building = system.home / "building"
    building.unlink(missing_ok=True)
    counting = Counting(system, tmp_path, group=group)
    wait_until(building.exists, START_WITHIN, "the build")
    assert counting.stands(counting.pause())
    assert counting.counts() == dict.fromkeys(WHO, 0)
    assert counting.job["readings"] == []
    counting.ask("DELETE")
    counting.wait_until_they_count()
    ended = counting.end()
    assert (ended["state"], len(ended["readings"])) == ("succeeded", 1)
    assert ended["attempts"][0]["paused_seconds"] > 0.4


def test_a_job_cancelled_while_it_is_paused_before_its_bot_starts_reads_no_value(
    system: System, start: Start, tmp_path: Path
) -> None:
    group = alone("never")
    system.set_value("SAP.PASSWORD", "value-1")
    start_runner(system, start, name="never", group=group, code=SLOW_BUILD)
    building = system.home / "building"
    building.unlink(missing_ok=True)
    counting = Counting(system, tmp_path, group=group)
    wait_until(building.exists, START_WITHIN, "the build")
    counting.pause()
    counting.ask("POST", "cancellation")
    ended = system.wait_for(counting.id)
    assert (ended["state"], ended["readings"], ended["attempts"][0]["started_at"]) == ("cancelled", [], None)
    assert counting.counts() == dict.fromkeys(WHO, 0)
