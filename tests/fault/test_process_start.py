"""What a bot is given, starts that fail, and what is read from it."""

import errno
import os
import re
import signal
import stat
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from runner.worker import landlock
from runner.worker.bounds import Bounds
from runner.worker.launch import LaunchRefused
from runner.worker.nursery import KEPT
from runner.worker.outcomes import Entry, File
from tests.process_bench import (
    BASE,
    BOTS,
    Bench,
    bench,
    ended,
    facts,
    finish,
    holds,
    launchers,
    open_descriptors,
    spawner,
)
from tests.support import wait_until

__all__ = ["bench", "spawner"]

CANARY = "c4n4ry-V4lu3"

# What a bot is given


def test_a_bot_ends_with_its_own_exit_code_and_the_record_says_the_same(bench: Bench) -> None:
    before = time.time()
    process = bench.launch("exits", variables={"CODE": 3})
    outcome, _, _ = finish(process)
    assert (outcome.exit_code, outcome.signal, outcome.reason, outcome.survivors) == (3, None, "exit", 0)
    assert before <= outcome.started_at <= outcome.ended_at <= time.time()
    assert outcome.max_rss_kb > 1000
    assert outcome.user_seconds + outcome.system_seconds > 0
    assert bench.entries[0].read() == outcome
    (journal,) = (bench.folder.parent / "outcomes").iterdir()
    assert stat.S_IMODE(journal.stat().st_mode) == 0o600
    assert list(bench.folder.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_bot_that_dies_by_a_signal_has_no_exit_code(bench: Bench, number: int) -> None:
    outcome, _, _ = finish(bench.launch("exits", variables={"CODE": -number}))
    assert (outcome.exit_code, outcome.signal, outcome.reason) == (None, number, "exit")


def test_a_bot_gets_its_own_session_an_empty_input_and_no_descriptor_of_ours(bench: Bench) -> None:
    reading, writing = os.pipe()
    os.set_inheritable(reading, True)
    try:
        found = facts(bench.launch("facts", variables={"X": 1}, bounds=Bounds(open_files=64)))
    finally:
        os.close(reading)
        os.close(writing)
    assert found["session"] == found["group"] == found["pid"]
    assert found["descriptors"] == [0, 1, 2]
    assert found["stdin"] == ""
    assert found["umask"] == 0o077
    assert found["blocked"] == []
    assert found["core"] == [0, 0]
    assert found["files"] == [64, 64]
    assert found["cwd"] == str(bench.folder)
    assert found["argv"] == [str(BOTS / "facts.py")]


def test_a_program_starts_with_default_signals_and_without_new_privileges(bench: Bench) -> None:
    blocked = {signal.SIGUSR1, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    try:
        bench.spawner.close()
        bench.spawner.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)
    process = bench.launch(("cat", "/proc/self/status"))
    _, stdout, _ = finish(process)
    status = dict(line.split(":\t", 1) for line in stdout.decode().splitlines())
    # 32 and 33 belong to the C library, which lets no program change them (signal(7)); make leaves one ignored.
    ours = sum(1 << (number - 1) for number in signal.valid_signals())
    assert [int(status[name], 16) & ours for name in ("SigIgn", "SigBlk", "SigCgt")] == [0, 0, 0]
    assert status["NoNewPrivs"] == "1"
    pid, *_, group, session = finish(bench.launch(("cut", "-d ", "-f1-6", "/proc/self/stat")))[1].split()
    assert pid == group == session
    show = "for n in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do test -e /proc/$$/fd/$n && echo $n; done; true"
    assert finish(bench.launch(("sh", "-c", show)))[1].split() == [b"0", b"1", b"2"]


def test_the_environment_of_a_python_bot_is_nowhere_but_in_its_memory(bench: Bench) -> None:
    process = bench.launch("facts", variables={"KLANGO_X": CANARY, "EMPTY": ""})
    found = facts(process)
    assert found["environ"] == {"KLANGO_X": CANARY, "EMPTY": ""}
    assert CANARY not in found["proc_environ"]
    assert found["proc_environ"].startswith(("PATH=", "denied"))
    ours = [bench.spawner.pid or 0, *(one.pid for one in launchers(bench.spawner))]
    assert len(ours) == 2
    for pid in ours:
        assert CANARY not in Path(f"/proc/{pid}/cmdline").read_text()
        assert not holds(pid, CANARY.encode())


def test_another_command_gets_its_environment_at_exec_past_spawner_and_launcher(bench: Bench) -> None:
    outcome, stdout, _ = finish(bench.launch(("env",), variables={"KLANGO_X": CANARY}))
    assert outcome.exit_code == 0
    assert sorted(stdout.decode().split()) == [f"KLANGO_X={CANARY}", f"PATH={BASE['PATH']}"]
    assert not any(holds(one.pid, CANARY.encode()) for one in launchers(bench.spawner))
    assert holds(os.getpid(), CANARY.encode()), "the search would notice: this process has the value"


@pytest.mark.parametrize("mode", ["bootstrap", "exec"])
def test_a_megabyte_of_environment_arrives_whole(bench: Bench, mode: Literal["bootstrap", "exec"]) -> None:
    variables = {f"BIG_{number}": str(number) * 100_000 for number in range(10)}
    if mode == "bootstrap":
        assert facts(bench.launch("facts", variables=variables))["environ"] == variables
    else:
        _, stdout, _ = finish(bench.launch(("env",), variables=variables))
        assert set(stdout.decode().split()) >= {f"{name}={value}" for name, value in variables.items()}


def test_an_environment_larger_than_any_pipe_arrives_whole(bench: Bench) -> None:
    variables = {f"BIG_{number}": "v" * 1_000_000 for number in range(5)}
    assert facts(bench.launch("facts", variables=variables))["environ"] == variables


def test_an_environment_arrives_whole_where_the_host_gives_no_thread(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    variables = {f"BIG_{number}": "v" * 1_000_000 for number in range(3)}
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        process = bench.launch("facts", variables=variables)
    assert facts(process)["environ"] == variables


def test_a_bot_that_never_reads_its_environment_holds_nobody_up(bench: Bench) -> None:
    threads = threading.active_count()
    process = bench.launch(("true",), mode="bootstrap", variables={"BIG": "v" * 3_000_000})
    assert ended(process).exit_code == 0
    sleeping = bench.launch(("sleep", "3600"), mode="bootstrap", variables={"BIG": "v" * 3_000_000})
    sleeping.kill()
    assert ended(sleeping).reason == "killed"
    wait_until(lambda: threading.active_count() == threads, what="the writing threads to end")


# Starts that fail


@pytest.mark.parametrize(
    ("argv", "cwd", "bounds", "words"),
    [
        (("/nowhere/bot",), None, None, "its program /nowhere/bot cannot be executed (No such file"),
        (("nowhere-bot",), None, None, "its program nowhere-bot cannot be executed (No such file"),
        (("/etc/passwd",), None, None, "/etc/passwd cannot be executed (Permission denied, errno 13)"),
        (("true",), Path("/nowhere"), None, "its working directory /nowhere cannot be entered (No such file"),
        (("true",), None, Bounds(open_files=2**60), "its limits cannot be set on this host (RLIMIT_NOFILE"),
        (("true",), None, Bounds(memory_bytes=-7), "its limits cannot be set on this host (RLIMIT_DATA"),
    ],
)
def test_a_start_that_fails_says_why(
    bench: Bench, argv: tuple[str, ...], cwd: Path | None, bounds: Bounds | None, words: str
) -> None:
    process = bench.launch(argv, cwd=cwd, bounds=bounds, variables={"BIG": "v" * 300_000, "X": CANARY})
    outcome, stdout, stderr = finish(process)
    assert (outcome.reason, outcome.exit_code, outcome.signal, outcome.survivors) == ("start_failed", None, None, 0)
    assert words in outcome.detail or "Argument list too long" in outcome.detail
    assert CANARY not in outcome.detail
    assert (stdout, stderr) == (b"", b"")
    assert bench.entries[0].read() == outcome


def test_a_variable_that_no_program_can_take_fails_the_start(bench: Bench) -> None:
    outcome, _, _ = finish(bench.launch(("true",), variables={"BIG": "v" * 200_000}))
    assert outcome.reason == "start_failed"
    assert "Argument list too long" in outcome.detail


def test_a_command_line_that_fits_no_request_is_refused(bench: Bench) -> None:
    with pytest.raises(LaunchRefused, match="pass long input through its parameters file"):
        bench.launch(("true", "x" * 200_000))


def test_an_outcome_reaches_the_worker_even_if_it_cannot_be_recorded(bench: Bench) -> None:
    full = File(Path("/dev/full"), os.open("/dev/full", os.O_RDWR))
    entry = Entry(uuid.uuid4(), 1, journal=bench.journal, file=full)
    process = bench.launch("exits", variables={"CODE": 0}, entry=entry)
    outcome, _, _ = finish(process)
    assert outcome.exit_code == 0
    assert outcome.detail == "The outcome could not be recorded (No space left on device, errno 28)."
    os.close(full.descriptor)


# Output and descriptors


def test_a_flood_on_both_outputs_is_read_to_the_end(bench: Bench) -> None:
    counts = {"stdout": 0, "stderr": 0}

    def count(name: str, data: bytes) -> None:
        assert set(data) == {ord("o" if name == "stdout" else "e")}
        counts[name] += len(data)

    assert bench.launch("floods").drain(count).exit_code == 0
    assert counts == {"stdout": 32 * 2**20, "stderr": 32 * 2**20}


def test_what_a_dead_bot_wrote_is_still_read(bench: Bench) -> None:
    process = bench.launch(("sh", "-c", "echo late; echo too >&2"))
    assert ended(process).exit_code == 0
    assert finish(process)[1:] == (b"late\n", b"too\n")


def test_a_bot_may_close_its_outputs_and_go_on(bench: Bench) -> None:
    gate = bench.folder / "gate"
    process = bench.launch("closes_pipes", variables={"GATE": gate})
    fed: list[bytes] = []
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(process.drain, lambda _name, data: fed.append(data))
        wait_until(lambda: fed, what="the line before")
        assert not reading.done()
        gate.touch()
        assert reading.result(10).exit_code == 3
    assert fed == [b"closing\n"]


def test_bots_at_once_get_their_own_outputs(bench: Bench) -> None:
    def run(number: int) -> bytes:
        return finish(bench.launch(("sh", "-c", "echo $N; sleep 0.05; echo $N"), variables={"N": number}))[1]

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(run, range(48))) == [b"%d\n%d\n" % (number, number) for number in range(48)]
    wait_until(lambda: len(launchers(bench.spawner)) <= 5, what="launchers beyond the idle ones to end")


def test_a_launcher_serves_one_bot_after_the_other_and_nothing_leaks(bench: Bench) -> None:
    def once() -> int:
        with bench.launch("facts") as process:
            return int(facts(process)["parent"])

    once()
    ours = open_descriptors(os.getpid())
    files = [one.readlink() for one in Path(f"/proc/{bench.spawner.pid}/fd").iterdir()]
    # What every domain grants, and no journal: the spawner may have one of an attempt that has just ended.
    granted = [one for one in files if one.exists() and not one.is_relative_to(bench.folder.parent)]
    ground = len(granted) - 3 + len([one for one in files if "landlock" in one.name])
    served = [once() for _ in range(20)]
    # A launcher that has just told its outcome may still be busy when the next request comes: two take turns.
    assert len(set(served)) <= 2
    assert open_descriptors(os.getpid()) == ours
    domain = 3 if ground else 0  # what is read and written in the domain that is kept for the next bot
    wait_until(
        lambda: all(open_descriptors(pid) == 6 + ground + domain for pid in served),
        what="launchers to have closed all",
    )
    # It hears that a launcher has done its work, and lets go of two descriptors, when it needs one.
    assert open_descriptors(bench.spawner.pid) <= 4 + ground + 3 * len(launchers(bench.spawner))


def test_every_bot_of_a_launcher_is_under_the_filter_and_under_one_only(bench: Bench) -> None:
    ours = int(re.findall(r"Seccomp_filters:\t(\d+)", Path("/proc/self/status").read_text())[0])
    found = []
    for _ in range(4):
        with bench.launch("filtered") as process:
            found.append(facts(process))
        with bench.launch(
            ("grep", "-c", "", "/proc/self/status")
        ) as other:  # forked, beside what other bots are born of
            assert finish(other)[0].exit_code == 0
    assert len({one["parent"] for one in found}) < len(found), "no launcher had a second bot"
    assert [one["filters"] for one in found] == [ours + 1] * 4
    assert [one["refused"] for one in found] == [errno.EPERM] * 4


def threads(pid: int) -> set[str]:
    return {one.name for one in Path(f"/proc/{pid}/task").iterdir()}


@pytest.mark.skipif(landlock.abi() == 0, reason="this kernel has no Landlock")
def test_a_domain_serves_the_next_bot_until_one_of_its_paths_names_another_folder(bench: Bench) -> None:
    def leaves(name: str) -> int:
        with bench.launch("leaves", variables={"NAME": name}) as process:
            outcome, stdout, stderr = finish(process)
            assert outcome.exit_code == 0, stderr
            assert (bench.folder / name).read_text() == "left\n"
            return int(stdout)

    def settled(pid: int) -> set[str]:
        wait_until(lambda: len(threads(pid)) == 3, what="one cradle beside the first thread and the nursery")
        return threads(pid)

    parent = leaves("first")
    before = settled(parent)
    assert leaves("second") == parent, "the same launcher, or nothing is proved"
    assert settled(parent) == before
    # The old folder lives on under another name, so the new one is another file for sure.
    bench.folder.rename(bench.folder.with_name("moved"))
    bench.folder.mkdir()
    assert leaves("third") == parent
    after = settled(parent)
    assert len(after - before) == 1
    assert leaves("fourth") == parent
    assert settled(parent) == after


@pytest.mark.skipif(landlock.abi() == 0, reason="this kernel has no Landlock")
def test_a_launcher_keeps_the_domains_that_were_used_last(bench: Bench) -> None:
    def once(number: int) -> int:
        folder = bench.folder / str(number)
        folder.mkdir(exist_ok=True)
        with replace(bench, folder=folder).launch("leaves", variables={"NAME": "this"}) as process:
            outcome, stdout, stderr = finish(process)
            assert outcome.exit_code == 0, stderr
            return int(stdout)

    (parent,) = {once(number) for number in (0, *range(1, KEPT), 0, KEPT)}
    wait_until(lambda: len(threads(parent)) == 2 + KEPT, what="the cradle of the domain that was used first to end")
    kept = threads(parent)
    assert once(0) == parent
    assert threads(parent) == kept, "it was used again meanwhile, and is kept"


def test_limits_end_a_bot_by_their_own_signal(bench: Bench) -> None:
    burn = bench.launch(("sh", "-c", "while :; do :; done"), bounds=Bounds(cpu_seconds=1))
    assert ended(burn).signal == signal.SIGXCPU
    write = bench.launch(("sh", "-c", "head -c 2000000 /dev/zero > big"), bounds=Bounds(disk_bytes=1_000_000))
    assert finish(write)[0].reason == "exit"
    assert (bench.folder / "big").stat().st_size == 1_000_000
