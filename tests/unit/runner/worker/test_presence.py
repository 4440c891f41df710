"""The end of a runner's process is known at once, and a living one is never taken for dead."""

import signal
import subprocess
import sys
import uuid

from runner.worker import presence
from tests.support import ROOT

HOLDS = """
import sys, uuid
from runner.worker import presence
presence.hold(uuid.UUID(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_process_is_gone_only_when_it_has_ended() -> None:
    instance = uuid.uuid4()
    command = [sys.executable, "-c", HOLDS, str(instance)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        assert not presence.gone(instance)
        assert presence.gone(uuid.uuid4()), "another instance is another name"
        process.send_signal(signal.SIGKILL)
    assert presence.gone(instance)


def test_asking_whether_a_process_is_gone_holds_nothing() -> None:
    instance = uuid.uuid4()
    assert presence.gone(instance)
    assert presence.gone(instance)
    presence.hold(instance)
    assert not presence.gone(instance)
    presence.hold(instance)
