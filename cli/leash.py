"""Runs a program that ends when the process that started it does: `python -I -S leash.py PARENT PROGRAM …`.

Run as a file, standard library only. It asks the kernel for SIGTERM at the parent's death (prctl(2),
PR_SET_PDEATHSIG; kept across exec) and becomes the program. Where there is no prctl the program runs without
it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

#: `PR_SET_PDEATHSIG` of linux/prctl.h.
SET_DEATH_SIGNAL = 1


def leash(parent: int, argv: list[str]) -> None:
    """Become the program, leashed to the parent."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(SET_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            # The parent died before the kernel knew of our wish.
            raise SystemExit(1)
    os.execv(argv[0], argv)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    leash(int(sys.argv[1]), sys.argv[2:])
