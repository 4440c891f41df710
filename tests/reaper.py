"""Ends what a test process started and left when it was killed itself: `python -I reaper.py`, told by its input.

Each line of the input is a process id and the time that it began, as proc(5) `stat` has it. Promises that at the end
of the input, so when the test process is gone, each of those that still lives is killed, and nothing else. Standard
library only.
"""

import contextlib
import os
import signal
import sys


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for line in sys.stdin.read().splitlines():
        pid, began = line.split()
        with contextlib.suppress(OSError):
            handle = os.pidfd_open(int(pid))
            with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123 - it starts without pathlib
                fields = file.read().rpartition(")")[2].split()
            if fields[19] == began:
                signal.pidfd_send_signal(handle, signal.SIGKILL)


if __name__ == "__main__":
    main()
