"""The thread that the cradles of a launcher's bots are born of; in a process of its own, since it never ends."""

import subprocess
import sys

from tests.support import ROOT

PROGRAM = """
import _thread
from runner.worker.starting import Nursery

settled, born_by = [], []

def settle():
    settled.append(_thread.get_ident())
    if len(settled) == 1:
        raise OSError(12, "no memory for a filter")

def enter():
    born_by.append(_thread.get_ident())
    if len(born_by) == 2:
        raise PermissionError(1, "no domain")

def tried():
    try:
        cradle = nursery.bear(enter, lambda: 40 + len(born_by))
    except OSError as error:
        return type(error).__name__
    cradle.release()
    return cradle.bot

nursery = Nursery(settle)
print(*(tried() for _ in range(4)), len(settled), _thread.get_ident() in settled + born_by)
"""


def test_a_nursery_settles_once_and_what_fails_is_tried_anew() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, check=True, cwd=ROOT, text=True, timeout=60
    )
    assert done.stdout.split() == ["OSError", "41", "PermissionError", "43", "2", "False"]
