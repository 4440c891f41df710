"""Forked processes of ours are like executed ones: a child of the tests, with what is its own and nothing else."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import nursery
from tests.conftest import Start
from tests.nursery import Program
from tests.support import ROOT, children, identity_of, nurseries, wait_until

#: Says what a process is given, and ends with a status of its own.
SAYS = """
import json, os, resource, sys
def opened(number):
    try:
        return bool(os.fstat(number))
    except OSError:
        return False
print(json.dumps({
    "parent": os.getppid(),
    "session": os.getsid(0),
    "environment": dict(os.environ),
    "folder": os.getcwd(),
    "words": sys.argv[1:],
    "descriptors": [number for number in range(256) if opened(number)],
    "input": sys.stdin.read(),
}))
print("and more", file=sys.stderr)
sys.exit(3)
"""

#: Finds whether another process's change of a module is seen, and makes it.
MARKS = """
import sys
from vault import names
print(hasattr(names, "marked"))
names.marked = True
sys.exit()
"""

STAYS = "import time\nprint('stays', flush=True)\ntime.sleep(600)"


def test_a_forked_process_has_what_it_is_given_and_nothing_of_the_nursery() -> None:
    done = nursery.run(Program("vault", SAYS), "one", "two words", env={"ONLY": "this"})
    assert (done.returncode, done.stderr) == (3, "and more\n")
    assert json.loads(done.stdout) == {
        "parent": os.getpid(),
        "session": os.getsid(0),
        "environment": {"ONLY": "this"},
        "folder": str(ROOT),
        "words": ["one", "two words"],
        "descriptors": [0, 1, 2],
        "input": "",
    }


def test_descriptors_are_passed_on_under_their_numbers(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with (tmp_path / "log").open("wb") as log, os.fdopen(reading, "rb") as pipe:
        code = f"import os, sys\nos.write({writing}, b'here')\nsys.exit()"
        outputs = (log.fileno(), log.fileno())
        forked = nursery.fork(Program("vault", code), [], outputs=outputs, env={}, fds=[writing])
        os.close(writing)
        assert pipe.read() == b"here"
        assert forked.wait(10) == 0


def test_a_program_does_its_work_as_if_it_had_been_executed(home: Path) -> None:
    env = {"BOTKEEP_HOME": str(home), "BOTKEEP_DATABASE_URL": "mysql://x/y"}
    done = nursery.run(Program("vault"), "list", env=env)
    executed = subprocess.run([*Program("vault").command, "list"], cwd=ROOT, env=env, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (
        executed.returncode,
        executed.stdout.decode(),
        executed.stderr.decode(),
    )
    assert (done.returncode, "sqlite:///PATH" in done.stderr) == (5, True)


def test_what_one_process_changes_in_its_memory_no_other_sees() -> None:
    said = [nursery.run(Program("vault", MARKS), env={}).stdout for _ in range(2)]
    assert said == ["False\n"] * 2


def test_what_breaks_says_so_and_the_next_one_is_well(start: Start) -> None:
    broken = start(Program("vault", "raise ValueError('broken on purpose')"))
    assert broken.wait() == 1
    assert "ValueError: broken on purpose" in broken.log
    assert start(Program("vault", MARKS)).wait() == 0


def test_a_forked_process_is_a_child_of_the_tests_and_can_be_ended(start: Start) -> None:
    process = start(Program("vault", STAYS))
    process.wait_for("stays")
    assert process.identity in children()
    assert process.identity not in nurseries() <= children()
    assert process.popen.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.popen.wait(0.01)
    process.popen.send_signal(signal.SIGTERM)
    assert [process.wait(), process.popen.poll(), process.popen.returncode] == [-signal.SIGTERM] * 3
    assert process.identity not in children()


def test_a_nursery_ends_with_the_process_it_works_for(start: Start) -> None:
    code = """
import time
from tests import nursery
from tests.nursery import Program
from tests.support import adopt_orphans
adopt_orphans()
nursery.run(Program("vault", "import sys; sys.exit()"), env={})
print("nursery", *nursery.pids(), "ready", flush=True)
time.sleep(600)
"""
    process = start(sys.executable, "-c", code)
    nursed = identity_of(int(process.wait_for("ready").split()[1]))
    process.stop(signal.SIGKILL)
    wait_until(lambda: not nursed.alive, 20, "the nursery to end")
