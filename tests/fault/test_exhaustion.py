"""A runner whose disk is full or whose descriptors are used up: each job ends with its reason, the runner goes on."""

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.fault.staying import COUNTS, alone, assert_ran_once, counted
from tests.support import ProcessId, Started, clean_environment, descendants, wait_until
from tests.system import System, start_runner

pytestmark = pytest.mark.timeout(240)

#: Bytes of a runner's own small disk.
SMALL = 24 * 1024 * 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder that has a file system of its own, soon full."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    folder = tmp_path / "small"
    folder.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL},mode=0700", "none", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this root may not mount anything")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """Not a byte is free in the folder for the time of the block."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1024 * 1024, 4096, 1):
            try:
                while file.write(b"\0" * size) == size:
                    pass
            except OSError:
                continue
    assert shutil.disk_usage(folder).free == 0
    try:
        yield
    finally:
        filler.unlink()


def runner_on(system: System, start: Start, folder: Path, group: str) -> Started:
    """A runner that keeps everything but its keys on the small disk, the bots' logs too."""
    env = {"BOTKEEP_HOME": str(folder), "BOTKEEP_KEY_DIR": str(system.home / "keys")}
    return start_runner(system, start, name=group, group=group, env=env)


def test_a_job_that_finds_the_disk_full_ends_and_the_next_one_runs_when_there_is_room(
    system: System, start: Start, small_disk: Path
) -> None:
    system.add_bot(source=COUNTS)
    group = alone("full")
    runner = runner_on(system, start, small_disk, group)
    first, second, third = (counted(system) for _ in range(3))
    for bot in (first, second, third):
        bot.gate.touch()
    assert system.run(group=group, parameters=first.parameters)["state"] == "succeeded"
    with full(small_disk):
        job = system.run(group=group, parameters=second.parameters)
        assert (job["state"], job["reason"]) == ("failed", "internal"), job
        assert "log has the details" in job["detail"]
        assert (job["attempt"], second.ran <= 1) == (1, True), "it may have run before its output found no room"
    assert "No space left on device" in runner.log
    assert_ran_once(system, system.enqueue(group=group, parameters=third.parameters), third)
    assert runner.popen.poll() is None


def test_a_disk_that_fills_while_a_bot_runs_ends_it_once_and_leaves_nothing(
    system: System, start: Start, small_disk: Path
) -> None:
    system.add_bot(source=COUNTS)
    group = alone("fills")
    runner = runner_on(system, start, small_disk, group)
    bot, after = counted(system), counted(system)
    job_id = system.enqueue(group=group, parameters=bot.parameters)
    bot.begun()
    with full(small_disk):
        bot.gate.touch()  # now it prints, and there is no room for it
        job = system.wait_for(job_id, timeout=60)
        assert (job["state"], job["attempt"], bot.ran) == ("failed", 1, 1), job
        assert job["reason"] in {"internal", "disk"}, job
        assert not any(ProcessId.of(pid) for pid in bot.processes())
    after.gate.touch()
    assert_ran_once(system, system.enqueue(group=group, parameters=after.parameters), after)
    assert runner.popen.poll() is None


def schedulers_of(up: Started) -> set[ProcessId]:
    def words(process: ProcessId) -> list[str]:
        with suppress(OSError):
            return Path(f"/proc/{process.pid}/cmdline").read_text().split("\0")
        return []

    return {process for process in descendants(up.pid) if words(process)[-2:-1] == ["scheduler"]}


def test_up_says_that_the_disk_is_full_and_outlives_it(start: Start, small_disk: Path) -> None:
    environ = {"BOTKEEP_HOME": str(small_disk), "BOTKEEP_RUN_AS_ROOT": "true"}
    words = [sys.executable, "-m", "cli", "up", "--port", "0"]
    with full(small_disk):
        env = {**clean_environment(), **environ}
        refused = subprocess.run([*words, "--detach"], env=env, capture_output=True, text=True, timeout=60, check=False)
        assert (refused.returncode, "No space left on device. Make room there" in refused.stderr) == (1, True), refused
    up = start(*words, env=environ, name="up")
    up.wait_for("Botkeep is ready", 150)
    (first,) = schedulers_of(up)
    with full(small_disk):
        looked = subprocess.run(
            [*words[:3], "doctor"], env=env, capture_output=True, text=True, timeout=60, check=False
        )
        assert f"fail  disk: The disk of {small_disk} has 0 MiB left. Make room there" in looked.stdout
        first.send(signal.SIGKILL)
        wait_until(lambda: schedulers_of(up) - {first}, 60, "the next scheduler")
        assert up.popen.poll() is None
    assert up.stop() == 0, up.log


@contextmanager
def no_descriptor_left(process: ProcessId) -> Iterator[None]:
    """The process may open nothing for the time of the block (getrlimit(2): the limit is one above the highest)."""
    before = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    lowest = next(number for number in range(65536) if not Path(f"/proc/{process.pid}/fd/{number}").is_symlink())
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (lowest, before[1]))
    try:
        yield
    finally:
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, before)


def test_a_runner_without_a_free_descriptor_ends_or_delays_its_jobs_and_recovers(system: System, start: Start) -> None:
    system.add_bot(source=COUNTS)
    group = alone("descriptors")
    runner = start_runner(system, start, name=group, group=group)
    bots = [counted(system) for _ in range(4)]
    for bot in bots:
        bot.gate.touch()
    assert system.run(group=group, parameters=bots[0].parameters)["state"] == "succeeded"
    with no_descriptor_left(runner.identity):
        said = len(runner.log)
        ids = [system.enqueue(group=group, parameters=bot.parameters) for bot in bots[1:]]
        wait_until(lambda: "Too many open files" in runner.log[said:], 60, f"a complaint of {runner.name}")
    for job_id, bot in zip(ids, bots[1:], strict=True):
        job = system.wait_for(job_id, timeout=90)
        if job["state"] == "succeeded":
            assert bot.ran == 1
        else:
            assert (job["state"], job["reason"] in {"internal", "start_failed"}, bot.ran) == ("failed", True, 0), job
    last = counted(system)
    last.gate.touch()
    assert_ran_once(system, system.enqueue(group=group, parameters=last.parameters), last)
    assert runner.popen.poll() is None


def test_a_running_bot_outlives_a_time_without_descriptors_in_its_runner(system: System, start: Start) -> None:
    system.add_bot(source=COUNTS)
    group = alone("meanwhile")
    runner = start_runner(system, start, name=group, group=group)
    bot, other = counted(system), counted(system)
    job_id = system.enqueue(group=group, parameters=bot.parameters)
    bot.begun()
    other.gate.touch()
    with no_descriptor_left(runner.identity):
        said = len(runner.log)
        unlucky = system.enqueue(group=group, parameters=other.parameters)
        wait_until(lambda: "Too many open files" in runner.log[said:], 60, f"a complaint of {runner.name}")
        assert (bot.ran, system.job(job_id)["state"]) == (1, "running")
    bot.gate.touch()
    assert_ran_once(system, job_id, bot)
    assert system.wait_for(unlucky)["attempts"]
    assert runner.popen.poll() is None
