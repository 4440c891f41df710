"""One launcher for bot after bot: asked directly, replaced when it dies, and known to the spawner in all it does."""

import errno
import os
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runner.worker import links
from runner.worker.launch import SpawnerFailed
from runner.worker.outcomes import Journal
from runner.worker.process import Spawner
from tests.process_bench import BASE, Bench, bench, ended, launchers, open_descriptors, spawner, wait_for_line
from tests.support import ROOT, ProcessId, wait_until

__all__ = ["bench", "spawner"]


def identity(pid: int | None) -> ProcessId:
    found = ProcessId.of(pid or 0)
    assert found is not None
    return found


def idle_launcher(bench: Bench) -> ProcessId:
    """The one launcher that there is, which has just ended a bot."""
    assert ended(bench.launch("exits", variables={"CODE": 0})).exit_code == 0
    (launcher,) = launchers(bench.spawner)
    return launcher


@contextmanager
def frozen(process: ProcessId) -> Iterator[None]:
    """The process stands still for the time of the block."""
    process.send(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send(signal.SIGCONT)


def test_the_next_bot_needs_no_spawner_and_is_ended_all_the_same_when_its_launcher_is_killed(bench: Bench) -> None:
    launcher = idle_launcher(bench)
    with frozen(identity(bench.spawner.pid)):
        assert ended(bench.launch("exits", variables={"CODE": 5})).exit_code == 5
        process = bench.launch("sleeps")
        wait_for_line(process)
        bot = identity(process.pid)
        launcher.send(signal.SIGKILL)
    outcome = ended(process)
    assert (outcome.reason, outcome.survivors) == ("launcher_died", 0)
    assert bench.entries[-1].read() == outcome
    assert not bot.alive


def test_what_a_killed_launcher_had_not_begun_another_one_does(bench: Bench) -> None:
    killed = idle_launcher(bench)
    with frozen(identity(bench.spawner.pid)):
        killed.send(signal.SIGSTOP)
        process = bench.launch("exits", variables={"CODE": 5})
        killed.send(signal.SIGKILL)
        wait_until(lambda: not killed.alive, what="the launcher to die")
    assert ended(process).exit_code == 5
    assert ended(bench.launch("exits", variables={"CODE": 6})).exit_code == 6
    wait_until(lambda: len(launchers(bench.spawner)) == 1, what="the second launcher to end with what it was for")


def test_a_launcher_makes_room_for_a_fresh_one(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "ATTEMPTS", 2)

    def server() -> int:
        process = bench.launch(("sh", "-c", "echo $PPID"), variables=BASE)
        pid = int(wait_for_line(process))
        ended(process)
        return pid

    served = [server() for _ in range(4)]
    assert served[0] == served[1] != served[2] == served[3]
    wait_until(lambda: ProcessId.of(served[0]) is None, what="the first to end")


def test_the_launcher_of_a_bot_that_is_let_go_ends_with_it(bench: Bench) -> None:
    process = bench.launch("sleeps")
    wait_for_line(process)
    (launcher,) = launchers(bench.spawner)
    process.close()
    wait_until(lambda: not launcher.alive, what="the launcher to end")
    wait_until(lambda: launchers(bench.spawner) == [], what="the spawner to collect it")


def test_a_request_that_no_descriptor_is_left_for_leaves_nothing_open(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ETOOMANYREFS, os.strerror(errno.ETOOMANYREFS))

    for launched in range(2):  # without a launcher that could be asked, then with one
        before = open_descriptors(os.getpid())
        with monkeypatch.context() as patch:
            patch.setattr(links.Link, "ask", full)
            with pytest.raises(SpawnerFailed, match="raise its limit of open files"):
                bench.launch("exits", variables={"CODE": 0})
        assert open_descriptors(os.getpid()) == before - launched
        with bench.launch("exits", variables={"CODE": 5}) as process:
            assert ended(process).exit_code == 5


#: A spawner of which something is replaced.
PATCHED = """
import errno, os, sys
sys.path.append({root!r})
from runner.worker import launcher, spawner
{patch}
spawner.main()
"""
#: Launchers that die before they begin anything; each notes that it was there.
DIES_AT_ONCE = """
def serve(*_, **__):
    os.close(os.open({notes!r} + "/" + str(os.getpid()), os.O_CREAT))
    os._exit(3)
launcher.serve = serve
"""
#: A host without a process to spare.
FORKS_NOTHING = """
def fork():
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
os.fork = fork
"""


@pytest.fixture
def patched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Bench]]:
    benches = []

    def start(patch: str) -> Bench:
        (tmp_path / "spawner.py").write_text(PATCHED.format(root=str(ROOT), patch=patch))
        monkeypatch.setattr("runner.worker.process.HERE", tmp_path)
        benches.append(Bench(Spawner(), tmp_path, Journal(tmp_path / "outcomes", instance=uuid.uuid4()), [], []))
        benches[-1].spawner.start()
        return benches[-1]

    yield start
    for one in benches:
        for process in one.launched:
            process.close()
        one.spawner.close()


def test_launchers_that_die_at_once_are_tried_twice_and_no_more(
    patched: Callable[[str], Bench], tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    bench = patched(DIES_AT_ONCE.format(notes=str(notes)))
    for count in (2, 4):
        outcome = ended(bench.launch("exits", variables={"CODE": 0}))
        assert (outcome.reason, outcome.exit_code, outcome.survivors) == ("launcher_died", None, 0)
        assert "ended early (exit status 3)" in outcome.detail
        assert len(list(notes.iterdir())) == count


def test_a_bot_for_which_there_is_no_process_is_said_not_to_have_been_started(
    patched: Callable[[str], Bench],
) -> None:
    bench = patched(FORKS_NOTHING)
    for _ in range(3):
        outcome = ended(bench.launch("exits", variables={"CODE": 0}))
        assert (outcome.reason, outcome.survivors) == ("start_failed", 0)
        assert "no further process or descriptor" in outcome.detail
        assert bench.entries[-1].read() == outcome
