"""The threads that a launcher's bots are born of; in a process of its own, since the first of them never ends."""

import subprocess
import sys

from tests.support import ROOT

PROGRAM = """
import _thread, os
from runner.worker import landlock, nursery

settled, entered, born_by = [], [], []

class Ground:
    handled = 0
    def opened(self, readable, writable): return [(os.open(path, os.O_PATH), 0) for path in (*readable, *writable)]
    def ruleset(self, rules): return os.open("/", os.O_PATH)
    def settle(self):
        settled.append(_thread.get_ident())
        if len(settled) == 1:
            raise OSError(12, "no memory for a filter")

def enter(ruleset):
    entered.append(_thread.get_ident())
    if len(entered) == 2:
        raise PermissionError(1, "no domain")

def spawn():
    born_by.append(_thread.get_ident())
    if len(born_by) == 2:
        raise FileNotFoundError(2, "no program")
    return 40 + len(born_by)

def tried(*paths):
    try:
        return ours.bear(paths, (), spawn)
    except OSError as error:
        return type(error).__name__

landlock.enter = enter
ours = nursery.Nursery(Ground())
print(tried("/"), tried("/"), tried("/"), tried("/"), tried("/usr"), tried("/usr"), tried("/"))
print(len(settled), len(entered), len(set(born_by)), _thread.get_ident() in settled + born_by)
ours.forget()
print(tried("/"), len(entered), len([name for name in os.listdir("/proc/self/fd")]))

def no_thread(life, arguments):
    raise RuntimeError("can't start new thread")

begin, _thread.start_new_thread = _thread.start_new_thread, no_thread
other = nursery.Nursery(Ground())
def errors():
    try:
        return other.bear(("/",), (), spawn)
    except OSError as error:
        return error.errno
without_nursery = errors()
_thread.start_new_thread = begin
print(without_nursery, errors())
"""


def test_what_fails_is_tried_anew_and_what_stands_is_used_again() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, check=True, cwd=ROOT, text=True, timeout=60
    )
    first, counts, last, threads = done.stdout.splitlines()
    # The filter of system calls, then a program that is not there, then a domain that cannot be entered.
    assert first.split() == ["OSError", "41", "FileNotFoundError", "43", "PermissionError", "44", "45"]
    assert counts.split() == ["2", "3", "2", "False"]
    # Standard streams, the listing itself, and the one path of the one domain.
    assert last.split() == ["46", "4", "5"]
    # A host without threads says so as one without processes does (EAGAIN), and is asked again.
    assert threads.split() == ["11", "47"]
