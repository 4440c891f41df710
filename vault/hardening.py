"""What a process that will hold keys does in its first line."""

from __future__ import annotations

import ctypes
import os
import resource

#: prctl(2): a process that is not dumpable cannot be traced or read through /proc by others of the same user.
_PR_SET_DUMPABLE = 4

#: Descriptors enough for the largest concurrency (512 jobs, about ten each) with room to spare.
_OPEN_FILES = 16_384


def harden() -> None:
    """Make this process non-dumpable, without core dumps, and private in the files it makes.

    A core dump would hold the private keys; `/proc/PID/mem` and ptrace would show them to any bot of the same user.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o077)
    # A job takes several descriptors; the usual soft limit of 1,024 is for programs that use select(2).
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "The kernel refused to protect this process against being read.")
