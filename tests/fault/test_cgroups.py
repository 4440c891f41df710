"""Where the host lets a runner make control groups, nothing of a bot outlives launcher and spawner together."""

import os
import signal
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.worker import cgroups, memory_folder
from runner.worker.outcomes import Journal
from runner.worker.process import Spawner
from tests.conftest import Start
from tests.process_bench import Bench, all_dead, ended, family, launchers
from tests.support import ProcessId, wait_until

HOME = cgroups.home(Path("/proc/self/cgroup").read_text(), memory_folder.MOUNTS.read_text())
TRIED = cgroups.make(HOME, f"try-{os.getpid()}")
if TRIED is not None:
    cgroups.end(TRIED)

delegated = pytest.mark.skipif(TRIED is None, reason="This host gives us no control group to divide.")


@pytest.fixture
def grouped(tmp_path: Path) -> Iterator[Bench]:
    """Launches bots of launchers with control groups, without Landlock."""
    group = cgroups.make(HOME, f"test-{uuid.uuid4().hex}")
    bench = Bench(Spawner(group=group), tmp_path, Journal(tmp_path / "outcomes", instance=uuid.uuid4()), [], [])
    bench.spawner.start()
    yield bench
    for process in bench.launched:
        process.close()
    bench.spawner.close()
    assert group is None or not Path(group).exists()


@delegated
def test_every_process_of_a_bot_is_born_in_its_launchers_group(grouped: Bench) -> None:
    pids = grouped.folder / "pids"
    process = grouped.launch("forks", variables={"PIDS": pids, "THEN": "sleep"})
    members = family(process, pids)
    assert process.started(5)
    (launcher,) = launchers(grouped.spawner)
    inside = Path(f"{grouped.spawner.group}/{launcher.pid}/cgroup.procs").read_text().split()
    assert {str(one.pid) for one in (launcher, *members)} <= set(inside)
    assert str(grouped.spawner.pid) not in inside
    process.kill()
    assert ended(process).survivors == 0


@delegated
@pytest.mark.parametrize("first", ["spawner", "launcher"])
def test_nothing_outlives_launcher_and_spawner_together(grouped: Bench, first: str) -> None:
    pids = grouped.folder / "pids"
    process = grouped.launch("forks", variables={"PIDS": pids, "THEN": "sleep"})
    members = family(process, pids)
    assert process.started(5)
    (launcher,) = launchers(grouped.spawner)
    spawner = ProcessId.of(grouped.spawner.pid or 0)
    assert spawner is not None
    guards = [spawner, launcher] if first == "spawner" else [launcher, spawner]
    spawner.send(signal.SIGSTOP)  # it must not finish what the launcher leaves
    for guard in guards:
        guard.send(signal.SIGKILL)
    outcome = ended(process)
    assert (outcome.reason, outcome.survivors) == ("launcher_died", 0)
    assert outcome.detail.endswith("and then all that was left of the bot.")
    wait_until(lambda: all_dead(members), what="the whole family to end")
    assert ended(grouped.launch("exits", variables={"CODE": 4})).exit_code == 4


#: A worker that is killed with everything that would end its bot.
WORKER = """
import os, signal, sys, time, uuid
from pathlib import Path
from runner.worker import cgroups
from tests import process_bench
from tests.process_bench import *
from runner.worker.process import Spawner
spawner = Spawner(group=cgroups.make(sys.argv[2], sys.argv[3]))
spawner.start()
folder = Path(sys.argv[1])
bench = Bench(spawner, folder, Journal(folder / "outcomes", instance=uuid.uuid4()), [], [])
process = bench.launch("forks", variables={"PIDS": folder / "pids", "THEN": "sleep"})
wait_for_line(process)
assert process.started(5)
supervisors = launchers(spawner)
os.kill(spawner.pid, signal.SIGSTOP)
for one in supervisors:
    os.kill(one.pid, signal.SIGKILL)
os.kill(spawner.pid, signal.SIGKILL)
os.kill(os.getpid(), signal.SIGKILL)
"""


@delegated
def test_what_outlived_worker_spawner_and_launcher_ends_with_the_next_start(start: Start, tmp_path: Path) -> None:
    name = uuid.uuid4().hex
    worker = start(sys.executable, "-c", WORKER, tmp_path, HOME or "", name, name="worker")
    assert worker.wait(60) == -9, worker.log
    left = [one for pid in (tmp_path / "pids").read_text().split() if (one := ProcessId.of(int(pid))) is not None]
    assert left, "a daemon of the bot has to live, or the test proves nothing"
    assert name in cgroups.instances(HOME)
    assert cgroups.end(f"{HOME}/{cgroups.PREFIX}{name}")
    wait_until(lambda: not any(one.alive for one in left), what="the daemon to end")
    assert name not in cgroups.instances(HOME)


def test_no_group_is_made_where_it_is_not_ours(tmp_path: Path) -> None:
    assert cgroups.home("1:name=systemd:/", "") is None
    mounts = "30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw"
    assert cgroups.home("0::/user.slice/a.scope", mounts) == "/sys/fs/cgroup/user.slice/a.scope"
    inside = "30 24 0:26 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup2 rw"
    assert cgroups.home("0::/docker/abc/own", inside) == "/sys/fs/cgroup/own"
    assert cgroups.make(str(tmp_path), "x") is None, "no control group at all"
    assert list(tmp_path.iterdir()) == []
    assert cgroups.make(str(tmp_path / "missing"), "x") is None
    cgroups.join(str(tmp_path / "missing"), "x")
    assert not cgroups.end(str(tmp_path / "missing"))
    assert cgroups.instances(None) == cgroups.instances(str(tmp_path / "missing")) == []
