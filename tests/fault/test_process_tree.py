"""A bot's processes until the last one's end, with everything killed that can be killed."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from runner.worker import descendants as tree
from runner.worker.bounds import Bounds
from runner.worker.launch import Launch, SpawnerFailed
from runner.worker.outcomes import Journal, abandoned, taking_over
from runner.worker.process import Process, Spawner
from tests.conftest import Start
from tests.process_bench import (
    Bench,
    all_dead,
    bench,
    can_be_read,
    ended,
    family,
    finish,
    launchers,
    spawner,
    state_of,
    unconfined,
    unprivileged,
    wait_for_line,
)
from tests.support import ROOT, ProcessId, descendants, read_stat, wait_until

__all__ = ["bench", "spawner", "unconfined"]

# The end, by itself and by force


def test_a_bot_out_of_time_is_terminated(bench: Bench) -> None:
    outcome = ended(bench.launch("sleeps", deadline=0.3))
    assert (outcome.reason, outcome.signal) == ("timeout", signal.SIGTERM)
    assert outcome.detail == "The bot ran longer than its limit of 0.3 s."


def test_a_bot_out_of_time_that_ignores_it_is_killed_after_its_grace(bench: Bench) -> None:
    process = bench.launch("ignores_term", deadline=0.5, grace=0.3)
    wait_for_line(process)
    outcome = ended(process)
    assert (outcome.reason, outcome.signal) == ("timeout", signal.SIGKILL)
    assert outcome.ended_at - outcome.started_at < 5


def test_a_terminated_bot_may_tidy_up(bench: Bench) -> None:
    process = bench.launch("obeys_term")
    wait_for_line(process)
    process.terminate()
    outcome = ended(process)
    assert (outcome.reason, outcome.exit_code) == ("killed", 7)


def test_a_bot_may_be_killed_before_it_has_begun(bench: Bench) -> None:
    for order in (Process.kill, Process.terminate):
        process = bench.launch("ignores_term", grace=30)
        order(process)
        process.kill()
        assert ended(process).reason == "killed"


def close(process: Process) -> None:
    process.close()


def kill_launcher(process: Process) -> None:
    assert process.pid
    parent = read_stat(process.pid)
    assert parent is not None
    os.kill(parent.parent, signal.SIGKILL)


@pytest.mark.parametrize("end", [Process.kill, Process.terminate, close, kill_launcher])
def test_no_descendant_survives_an_end_by_force(bench: Bench, end: Callable[[Process], None]) -> None:
    pids = bench.folder / "pids"
    process = bench.launch("forks", variables={"PIDS": pids, "THEN": "sleep"}, grace=0.2)
    members = family(process, pids)
    assert process.started(5)
    end(process)
    wait_until(lambda: all_dead(members), what="the whole family to end")
    wait_until(lambda: (found := bench.entries[0].read()) is not None and found.survivors >= 0, what="the record")
    outcome = bench.entries[0].read()
    assert outcome is not None
    assert outcome.survivors == 0
    reasons: dict[Callable[[Process], None], str] = {close: "worker_died", kill_launcher: "launcher_died"}
    assert outcome.reason == reasons.get(end, "killed")


def test_no_descendant_survives_its_bots_own_end(bench: Bench) -> None:
    pids = bench.folder / "pids"
    outcome, stdout, _ = finish(bench.launch("forks", variables={"PIDS": pids, "THEN": "exit"}))
    assert stdout == b"forked\n"
    assert (outcome.exit_code, outcome.reason, outcome.survivors) == (0, "exit", 0)
    assert [pid for pid in pids.read_text().split() if ProcessId.of(int(pid))] == []
    assert len(pids.read_text().split()) == 4


def test_no_descendant_survives_the_deadline(bench: Bench) -> None:
    pids = bench.folder / "pids"
    process = bench.launch("forks", variables={"PIDS": pids, "THEN": "sleep"}, deadline=1, grace=0.2)
    members = family(process, pids)
    outcome = ended(process)
    assert (outcome.reason, outcome.survivors) == ("timeout", 0)
    assert all_dead(members)


def test_a_chain_of_forks_is_caught_up_with(bench: Bench) -> None:
    outcome, stdout, _ = finish(bench.launch("forks_on"))
    assert stdout == b"forking\n"
    assert (outcome.reason, outcome.survivors) == ("exit", 0)
    assert descendants(launchers(bench.spawner)[0].pid) == []


def test_orphans_that_die_during_the_attempt_are_collected(bench: Bench) -> None:
    process = bench.launch("orphans")
    wait_for_line(process)
    (launcher,) = launchers(bench.spawner)
    assert process.started(5)
    wait_until(lambda: tree.children(launcher.pid) == [process.pid], what="only the bot to be left")


WORKER = """
import signal, sys, uuid
from datetime import timedelta
from pathlib import Path
from runner.worker.bounds import Bounds
from runner.worker.outcomes import Journal
from runner.worker.launch import Launch, python_argv
from runner.worker.process import Spawner
folder = Path(sys.argv[1])
spawner = Spawner()
spawner.start()
argv = python_argv(Path(sys.executable), Path("tests/bots").resolve(), "forks.py", sdk=Path("sdk").resolve())
entry = Journal(folder, instance=uuid.uuid4()).entry(uuid.uuid4(), 1)
launch = Launch(argv, folder, Bounds(), None, timedelta(seconds=30), entry, "bootstrap", {})
process = spawner.launch(launch, f"PIDS={folder / 'pids'}\\0THEN=sleep\\0".encode())
process.started()
import os
print(os.read(process.stdout, 100).decode(), spawner.pid, flush=True)
signal.pause()
"""


def test_a_worker_killed_by_sigkill_leaves_neither_bots_nor_helpers(start: Start, tmp_path: Path) -> None:
    worker = start(sys.executable, "-c", WORKER, tmp_path, name="worker")
    worker.wait_for("forked")
    members = [ProcessId.of(int(pid)) for pid in (tmp_path / "pids").read_text().split()]
    ours = descendants(worker.pid)
    assert len(members) == 4
    assert len(ours) == 6, "spawner, launcher and the four of the bot"
    worker.stop(signal.SIGKILL)
    wait_until(lambda: all_dead(ours), what="spawner, launcher and bot to end")
    (journal,) = abandoned(tmp_path)
    with taking_over(journal) as records:
        (outcome,) = [one.outcome for one in records]
    assert (outcome.reason, outcome.survivors) == ("worker_died", 0)
    assert outcome.detail == "The runner's process ended while the bot ran, so the bot was killed."


def test_a_bot_that_fails_since_its_worker_is_gone_has_lost_it(bench: Bench) -> None:
    process = bench.launch("writes_on")
    wait_for_line(process)
    bot = ProcessId.of(process.pid or 0)
    (launcher,) = launchers(bench.spawner)
    assert bot is not None
    launcher.send(signal.SIGSTOP)  # so that the bot is sooner to fail than its launcher to kill it
    process.close()
    wait_until(lambda: not bot.alive, what="the bot to fail")
    launcher.send(signal.SIGCONT)
    outcome = wait_until(bench.entries[0].read, what="the record")
    assert outcome is not None
    assert (outcome.reason, outcome.signal, (outcome.exit_code or 0) > 0) == ("worker_died", None, True)


def test_no_process_of_the_same_user_can_look_into_spawner_launcher_or_bot(start: Start, tmp_path: Path) -> None:
    worker = start(*unprivileged(), sys.executable, "-c", WORKER, tmp_path, name="worker")
    worker.wait_for("forked")
    assert can_be_read(worker.pid), "an ordinary process can be read, so the test would notice"
    ours = descendants(worker.pid)
    assert len(ours) == 6, "spawner, launcher and the four of the bot"
    assert not any(can_be_read(one.pid) for one in ours)


def test_a_bot_that_kills_its_supervisor_dies_with_all_it_started(unconfined: Bench) -> None:
    bench = unconfined
    pids = bench.folder / "pids"
    process = bench.launch("kills_parent", variables={"PIDS": pids})
    outcome, stdout, _ = finish(process)
    assert stdout == b"killing\n"
    assert (outcome.reason, outcome.survivors) == ("launcher_died", 0)
    assert "ended early (signal 9)" in outcome.detail
    assert bench.entries[0].read() == outcome
    assert [pid for pid in pids.read_text().split() if ProcessId.of(int(pid))] == []
    assert ended(bench.launch("exits", variables={"CODE": 0})).exit_code == 0


def test_a_bot_that_kills_supervisor_and_spawner_dies_and_is_not_reported_clean(unconfined: Bench) -> None:
    bench = unconfined
    pids = bench.folder / "pids"
    first = ProcessId.of(bench.spawner.pid or 0)
    assert first is not None
    process = bench.launch("kills_parent", variables={"PIDS": pids, "BOTH": 1})
    wait_for_line(process)
    bot = int(pids.read_text().split()[0])
    outcome = ended(process)
    assert (outcome.reason, outcome.survivors) == ("launcher_died", -1)
    wait_until(lambda: ProcessId.of(bot) is None, what="the bot to die with its launcher")
    wait_until(lambda: not first.alive, what="the spawner to die")
    assert ended(bench.launch("exits", variables={"CODE": 0})).exit_code == 0
    for pid in pids.read_text().split():
        if orphan := ProcessId.of(int(pid)):
            orphan.send(signal.SIGKILL)


def test_a_killed_spawner_is_replaced_and_what_runs_goes_on(bench: Bench) -> None:
    running = bench.launch("obeys_term")
    wait_for_line(running)
    first = ProcessId.of(bench.spawner.pid or 0)
    assert first is not None
    first.send(signal.SIGKILL)
    wait_until(lambda: not first.alive, what="the spawner to die")
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda _: ended(bench.launch("exits", variables={"CODE": 4})), range(8)))
    assert {outcome.exit_code for outcome in outcomes} == {4}
    assert bench.spawner.pid != first.pid
    assert running.wait(0) is None
    running.terminate()
    assert ended(running).exit_code == 7


def test_a_request_that_a_dying_spawner_left_unread_is_said_to_have_started_nothing(bench: Bench) -> None:
    spawner = ProcessId.of(bench.spawner.pid or 0)
    assert spawner is not None
    spawner.send(signal.SIGSTOP)
    process = bench.launch("exits", variables={"CODE": 0})
    spawner.send(signal.SIGKILL)
    outcome = ended(process)
    assert (outcome.reason, outcome.survivors) == ("spawner_died", 0)
    assert ended(bench.launch("exits", variables={"CODE": 5})).exit_code == 5


def threads(pid: int) -> int:
    """How many threads a process has that are not gone yet, a dead first one included."""
    try:
        return len(list(Path(f"/proc/{pid}/task").iterdir()))
    except FileNotFoundError:
        return 0


def test_a_launcher_killed_while_idle_is_not_given_a_bot(bench: Bench) -> None:
    assert ended(bench.launch("exits", variables={"CODE": 0})).exit_code == 0
    (idle,) = launchers(bench.spawner)
    idle.send(signal.SIGKILL)
    # Its first thread is dead a moment before the one that starts bots, and until then its link stays open.
    wait_until(lambda: not idle.alive and threads(idle.pid) <= 1, what="the launcher to die")
    assert ended(bench.launch("exits", variables={"CODE": 5})).exit_code == 5


def test_signals_to_the_service_do_not_end_what_ends_the_bots(bench: Bench) -> None:
    process = bench.launch("sleeps")
    wait_for_line(process)
    ours = [ProcessId.of(bench.spawner.pid or 0), *launchers(bench.spawner)]
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        for one in ours:
            assert one is not None
            one.send(number)
    process.terminate()
    assert ended(process).signal == signal.SIGTERM
    assert all(one is not None and one.alive for one in ours)


# Pause


def test_a_pause_stops_the_whole_tree_and_its_clock(bench: Bench) -> None:
    pids = bench.folder / "pids"
    process = bench.launch("forks", variables={"PIDS": pids, "THEN": "sleep"}, deadline=1.5, grace=0.2)
    members = family(process, pids)
    process.pause()
    paused_at = time.monotonic()
    wait_until(lambda: {state_of(one) for one in members} == {"T"}, what="all to be stopped")
    assert process.wait(2.0) is None, "the deadline ran during the pause"
    process.resume()
    wait_until(lambda: "T" not in {state_of(one) for one in members}, what="all to go on")
    paused = time.monotonic() - paused_at
    outcome = ended(process)
    assert outcome.reason == "timeout"
    assert outcome.ended_at - outcome.started_at >= 1.4 + paused
    assert all_dead(members)


def test_a_paused_bot_can_be_terminated_and_killed(bench: Bench) -> None:
    for order, code in ((Process.terminate, 7), (Process.kill, None)):
        process = bench.launch("obeys_term")
        wait_for_line(process)
        process.pause()
        order(process)
        assert ended(process).exit_code == code


# The spawner itself


def test_the_spawner_ends_with_its_socket_and_loads_nothing_but_the_standard_library(tmp_path: Path) -> None:
    spawner = Spawner()
    entry = Journal(tmp_path, instance=uuid.uuid4()).entry(uuid.uuid4(), 1)
    with pytest.raises(SpawnerFailed, match=r"call start\(\)"):
        spawner.launch(Launch(("true",), Path("/"), Bounds(), None, timedelta(0), entry, "exec", {}), b"X=1\0")
    spawner.start()
    identity = ProcessId.of(spawner.pid or 0)
    assert identity is not None
    spawner.close()
    assert not identity.alive
    probe = "import sys; sys.path.append(sys.argv[1]); import runner.worker.spawner; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-I", "-S", "-c", probe, ROOT], text=True).split()
    foreign = {name for name in loaded if name.partition(".")[0] not in sys.stdlib_module_names | {"__main__"}}
    assert foreign == {"runner", "runner.worker"} | {
        f"runner.worker.{name}"
        for name in (
            "spawner",
            "launcher",
            "starting",
            "nursery",
            "board",
            "landlock",
            "seccomp",
            "descendants",
            "endlines",
            "cgroups",
            "watch",
            "tenancy",
            "privileges",
            "belongings",
            "clearing",
            "removal",
        )
    }


def test_children_are_found_without_the_kernels_list_of_them() -> None:
    with subprocess.Popen(["sh", "-c", "sleep 3600 & sleep 3600 & wait"]) as parent:
        found = wait_until(lambda: two(tree.children(parent.pid)), what="both children")
        assert tree.scan_children(parent.pid) == found
        for pid in (parent.pid, *found):
            os.kill(pid, signal.SIGKILL)


def two(pids: list[int]) -> list[int]:
    return pids if len(pids) == 2 else []


# The lease


def test_a_bot_whose_worker_falls_silent_is_killed_before_the_lease_is_over(bench: Bench) -> None:
    pids = bench.folder / "pids"
    process = bench.launch("forks", variables={"PIDS": pids, "THEN": "sleep"}, deadline=None, grace=30, patience=1.0)
    members = family(process, pids)
    outcome = ended(process)
    assert (outcome.reason, outcome.signal, outcome.survivors) == ("lease_over", signal.SIGKILL, 0)
    assert outcome.ended_at - outcome.started_at < 1.5
    assert all_dead(members)


def test_a_bot_whose_worker_keeps_its_lease_goes_on_and_an_old_word_counts_for_nothing(bench: Bench) -> None:
    process = bench.launch("sleeps", deadline=None, patience=1.0)
    wait_for_line(process)
    for _ in range(4):
        process.keep(time.monotonic())
        process.keep(0.0)
        assert process.wait(0.5) is None
    assert ended(process, 2.0).reason == "lease_over"


def test_neither_a_pause_nor_a_grace_stops_the_clock_of_the_lease(bench: Bench) -> None:
    paused = bench.launch("sleeps", deadline=None, patience=1.0)
    ending = bench.launch("ignores_term", deadline=None, grace=30, patience=1.0)
    for process in (paused, ending):
        wait_for_line(process)
    paused.pause()
    ending.terminate()
    assert ended(paused, 3.0).reason == "lease_over"
    assert (ended(ending, 3.0).reason, ended(ending).signal) == ("killed", signal.SIGKILL)
