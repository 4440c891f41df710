"""Limits: each ends the bot that goes beyond it, and is named; and what is within them is left alone."""

import contextlib
import os
import signal
from pathlib import Path

from runner.states import Reason, State
from runner.worker import ending, watch
from runner.worker.bounds import Bounds
from runner.worker.outcomes import Outcome
from runner.worker.removal import remove
from tests.process_bench import Bench, bench, finish, spawner
from tests.support import wait_until

__all__ = ["bench", "spawner"]

MB = 1 << 20


def run(bench: Bench, script: str, bounds: Bounds) -> tuple[Outcome, bytes]:
    """A Python bot with this text, started by our bootstrap."""
    (bench.folder / "limited.py").write_text(script)
    process = bench.launch("limited", bounds=bounds, package=bench.folder)
    outcome, stdout, stderr = finish(process)
    return outcome, stdout + stderr


def judged(outcome: Outcome) -> tuple[State, Reason | None, str]:
    report = ending.report(outcome, ended_by=None, runner="r1", warnings=())
    return report.state, report.reason, report.detail or ""


def test_memory_of_one_process_ends_in_its_own_error_and_names_the_limit(bench: Bench) -> None:
    outcome, text = run(bench, "keep = bytearray(200 << 20)", Bounds(memory_bytes=64 * MB))
    assert b"MemoryError" in text
    state, reason, detail = judged(outcome)
    assert (state, reason, "`memory`" in detail) == (State.FAILED, Reason.LIMIT, True)
    assert outcome.max_rss_kb < 64 * 1024


def test_memory_of_all_processes_together_is_limited(bench: Bench) -> None:
    script = (
        "import os, time\nfor _ in range(5):\n    if os.fork() == 0: break\nkeep = b'x' * (30 << 20)\ntime.sleep(60)"
    )
    outcome, _ = run(bench, script, Bounds(memory_bytes=100 * MB))
    assert (outcome.reason, outcome.survivors) == ("limit", 0)
    assert "MB of memory, and its limit `memory` is 100 MB." in outcome.detail
    assert judged(outcome) == (State.FAILED, Reason.LIMIT, outcome.detail)


def test_memory_that_is_only_reserved_is_not_counted(bench: Bench) -> None:
    script = "import mmap, time\nkeep = mmap.mmap(-1, 1 << 34, prot=0, flags=mmap.MAP_PRIVATE)\n"
    script += "time.sleep(0.6)\nprint('done')"
    outcome, text = run(bench, script, Bounds(memory_bytes=64 * MB))
    assert (outcome.exit_code, text) == (0, b"done\n")


def test_cpu_time_of_one_process_and_of_all_together_is_limited(bench: Bench) -> None:
    outcome, _ = run(bench, "while True: pass", Bounds(cpu_seconds=1))
    assert judged(outcome)[1] is Reason.LIMIT
    assert "`cpu_time`" in judged(outcome)[2]
    both = "import os\nfor _ in range(3): os.fork()\nwhile True: pass"
    outcome, _ = run(bench, both, Bounds(cpu_seconds=2))
    assert (outcome.reason, outcome.survivors) == ("limit", 0)
    assert "`cpu_time` is 2 s." in outcome.detail
    assert outcome.user_seconds + outcome.system_seconds < 6


def test_a_bomb_of_forks_is_ended_at_the_limit(bench: Bench) -> None:
    script = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
    outcome, _ = run(bench, script, Bounds(processes=20))
    assert (outcome.reason, outcome.survivors) == ("limit", 0)
    assert "its limit `processes` is 20." in outcome.detail


def test_open_files_are_limited_and_named(bench: Bench) -> None:
    outcome, text = run(bench, "kept = [open('/dev/null') for _ in range(100)]", Bounds(open_files=32))
    assert b"Too many open files" in text
    assert judged(outcome)[1:] == (
        Reason.LIMIT,
        "The bot reached its limit `open_files` and ended; its log may say where.",
    )


def test_one_file_that_is_too_large_is_named(bench: Bench) -> None:
    outcome, text = run(bench, "open('big', 'wb').write(bytes(3 << 20))", Bounds(disk_bytes=2 * MB))
    assert b"File too large" in text
    assert "`disk`" in judged(outcome)[2]
    process = bench.launch(("head", "-c", "3000000", "/dev/zero"), bounds=Bounds(disk_bytes=2 * MB))
    assert finish(process)[0].exit_code == 0, "a pipe is no file"


def test_many_files_in_the_work_folder_are_limited_together(bench: Bench) -> None:
    script = "import os, time\nos.makedirs('a/b')\n"
    script += "for n in range(8): open(f'a/b/{n}', 'wb').write(bytes(1 << 20))\ntime.sleep(60)"
    outcome, _ = run(bench, script, Bounds(disk_bytes=4 * MB))
    assert (outcome.reason, outcome.signal) == ("limit", signal.SIGTERM)
    assert "MB on disk, and its limit `disk` is 4 MB." in outcome.detail


def test_the_size_of_a_folder_is_bounded_in_depth_number_and_reach(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(100_000))
    (tmp_path / "link").symlink_to("/usr")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert 100_000 <= watch.size_of(str(tmp_path)) < 200_000
    with contextlib.chdir(tmp_path):
        for _ in range(1500):
            Path("d").mkdir()
            os.chdir("d")
    try:
        assert watch.size_of(str(tmp_path)) >= 100_000
    finally:
        remove(tmp_path / "d")  # pytest's own way to remove a folder does not reach its end
    assert watch.size_of(str(tmp_path / "nowhere")) == 0


def test_a_paused_bot_is_not_looked_at_and_its_limit_holds_afterwards(bench: Bench) -> None:
    script = "import time\nopen('ready', 'w')\nkeep = [b'x' * (8 << 20) for _ in range(3)]\ntime.sleep(60)"
    (bench.folder / "limited.py").write_text(script)
    process = bench.launch("limited", bounds=Bounds(memory_bytes=512 * MB, processes=5), package=bench.folder)
    wait_until((bench.folder / "ready").exists, what="the bot to start")
    process.pause()
    assert process.wait(1.0) is None
    process.resume()
    assert process.wait(0.6) is None
    process.kill()
    outcome = process.wait(10)
    assert outcome is not None
    assert outcome.reason == "killed"
