"""Runs a program in its process group, which ends with the process that asked for it: `guard.py PARENT PROGRAM …`.

Run as a file, by `python -I -S`, standard library only; the first of its group, whose processes are all killed when the
parent is gone, however it went. Ends as its program did, with 128 and the signal where that was killed.
"""

from __future__ import annotations

import os
import select
import signal
import sys


def guard(parent: int, argv: list[str]) -> int:
    """The exit status of the program; does not return where the parent ends first."""
    try:
        watched = os.pidfd_open(parent)
    except ProcessLookupError:
        return 1
    if os.getppid() != parent:
        return 1  # its number may be another's by now
    program = os.posix_spawn(argv[0], argv, dict(os.environ))
    ended = os.pidfd_open(program)
    poll = select.poll()
    poll.register(watched, select.POLLIN)
    poll.register(ended, select.POLLIN)
    if watched in {file for file, _ in poll.poll()}:
        os.killpg(0, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(program, 0)[1])
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    raise SystemExit(guard(int(sys.argv[1]), sys.argv[2:]))
