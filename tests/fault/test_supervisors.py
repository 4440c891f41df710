"""A bot's end is known whatever became of those who watch it: its launcher, the spawner, or both."""

import signal
import uuid
from pathlib import Path

import pytest

from runner.worker.outcomes import Journal
from runner.worker.process import Spawner
from tests.process_bench import Bench, bench, ended, launchers, spawner, wait_for_line
from tests.support import ROOT, read_stat, wait_until

__all__ = ["bench", "spawner"]


def test_a_bot_that_had_ended_before_its_supervisor_was_killed_has_ended_so(bench: Bench) -> None:
    script = "echo ready; while [ ! -e gate ]; do sleep 0.05; done; exit 7"
    process = bench.launch(("sh", "-c", script), variables={"PATH": "/usr/bin:/bin"})
    wait_for_line(process)
    assert process.started(10)
    (supervisor,) = launchers(bench.spawner)
    supervisor.send(signal.SIGSTOP)
    (bench.folder / "gate").touch()
    bot = process.pid or 0
    wait_until(
        lambda: (found := read_stat(bot)) is not None and found.state == "Z", what="the bot to have ended, unseen"
    )
    supervisor.send(signal.SIGKILL)
    outcome = ended(process)
    assert (outcome.reason, outcome.exit_code, outcome.survivors) == ("exit", 7, 0)
    assert bench.entries[0].read() == outcome


#: A spawner whose launchers die, with it or alone, when they have collected their bot and not recorded its end yet.
DIES_AFTER_COLLECTING = """
import os, signal, sys
sys.path.append({root!r})
from runner.worker import launcher, spawner
real = launcher.sweep
def dies(spared, usage):
    real(spared, usage)
    if {both}:
        os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
launcher.sweep = dies
spawner.main()
"""


@pytest.mark.parametrize(("both", "survivors"), [(False, 0), (True, -1)])
def test_the_end_of_a_bot_is_known_although_its_supervisor_died_before_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, both: bool, survivors: int
) -> None:
    (tmp_path / "spawner.py").write_text(DIES_AFTER_COLLECTING.format(root=str(ROOT), both=both))
    monkeypatch.setattr("runner.worker.process.HERE", tmp_path)
    bench = Bench(Spawner(), tmp_path, Journal(tmp_path / "outcomes", instance=uuid.uuid4()), [], [])
    bench.spawner.start()
    process = bench.launch(("sh", "-c", "exit 7"), variables={"PATH": "/usr/bin:/bin"})
    outcome = ended(process)
    assert (outcome.reason, outcome.exit_code, outcome.survivors) == ("exit", 7, survivors)
    assert bench.entries[0].read() == outcome
    process.close()
    bench.spawner.close()
