"""Runs one command for as long as another process lives: `python -I guard.py OWNER USER SIGNAL COMMAND...`.

Promises that the command is sent SIGNAL when OWNER (a pid) ends, however it ends, or when the guard itself
is told to stop, and that the guard ends after its command. A test run that is killed therefore leaves no
database server behind. USER is `-` for the user who calls, or the account to run the command as.
Standard library only; it neither restarts the command nor writes anything.
"""

import os
import select
import signal
import subprocess
import sys
from types import FrameType


def main(argv: list[str]) -> int:
    owner, user, number, *command = argv
    stopping, stop = os.pipe()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        os.write(stop, b".")

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        watched = os.pidfd_open(int(owner))
    except ProcessLookupError:
        return 0
    child = start(command, user)
    finished = os.pidfd_open(child.pid)
    ready, _, _ = select.select([stopping, watched, finished], [], [])
    if finished not in ready:
        child.send_signal(int(number))
    return child.wait()


def start(command: list[str], user: str) -> subprocess.Popen[bytes]:
    if user == "-":
        return subprocess.Popen(command, stdin=subprocess.DEVNULL)
    import pwd

    account = pwd.getpwnam(user)
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        user=account.pw_uid,
        group=account.pw_gid,
        extra_groups=[],
        cwd="/",
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
