"""The test support itself: what it promises to end does end."""

import signal
import sys
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.support import ProcessId, Started, start_process, wait_until

SLEEPER = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); {}"


def test_wait_until_returns_the_first_truthy_value() -> None:
    answers = iter([0, None, 7])
    assert wait_until(lambda: next(answers), 1, "seven") == 7


def test_wait_until_fails_with_the_words_of_what_was_awaited() -> None:
    with pytest.raises(AssertionError, match=r"in vain for the cows; the last answer was False"):
        wait_until(lambda: False, 0.01, "the cows")


def test_an_identity_is_not_alive_once_its_process_is_a_zombie(start: Start) -> None:
    started = start(sys.executable, "-c", "import time; time.sleep(600)")
    started.identity.send(signal.SIGKILL)
    wait_until(lambda: not started.identity.alive, 5, "the kill")
    assert ProcessId.of(started.pid) is None
    assert started.wait() == -signal.SIGKILL


def test_a_recycled_pid_is_not_signalled(start: Start) -> None:
    started = start(sys.executable, "-c", "import time; time.sleep(600)")
    ProcessId(started.pid, started.identity.started - 1).send(signal.SIGKILL)
    assert started.identity.alive


def test_a_process_that_outlives_its_parent_is_found_and_fails_the_test(pytester: pytest.Pytester) -> None:
    orphan, family = (SLEEPER.format(then) for then in ("", "import time; time.sleep(600)"))
    pytester.makepyfile(f"""
        import os, subprocess, sys
        import pytest
        from tests.support import descendants, wait_until
        @pytest.mark.parametrize("code", [{orphan!r}, {family!r}])
        def test_leaves_one(code):
            subprocess.Popen([sys.executable, "-c", code])
            wait_until(lambda: descendants(os.getpid()), 5, "it")
    """)
    pytester.makeconftest("from tests.conftest import *")
    result = pytester.runpytest_subprocess("-p", "no:randomly", "-p", "no:xdist")
    result.assert_outcomes(passed=2, errors=2)
    result.stdout.fnmatch_lines(["*The test left processes running (now killed)*"] * 2)


def test_a_command_that_ends_too_early_shows_its_log(tmp_path: Path) -> None:
    started: Started = start_process([sys.executable, "-c", "print('oh no')"], log_path=tmp_path / "early.log")
    with pytest.raises(AssertionError, match=r"(?s)early ended with 0 and without 'ready'.*oh no"):
        started.wait_for("ready")


def test_what_a_killed_test_process_had_started_is_ended(start: Start) -> None:
    code = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from tests import support\n"
        "support.start_reaper()\n"
        "sleeper = [sys.executable, '-c', 'import time; time.sleep(600)']\n"
        "print('started', support.start_process(sleeper, log_path=Path(os.devnull)).pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    process = start(sys.executable, "-c", code)
    below = ProcessId.of(int(process.wait_for("started").split()[1]))
    assert below is not None
    assert below.alive
    process.stop(signal.SIGKILL)
    wait_until(lambda: not below.alive, 30, "what it had started to be killed")
