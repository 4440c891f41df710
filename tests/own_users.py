"""Users for the bots of tests that run as root: numbers that no other test of this host has at the same time."""

import os
import sys
from functools import cache
from pathlib import Path

import pytest

from runner.worker.leases import BotUser, valet

#: A process has this many users for its tests; its number is nobody else's while it lives.
USERS_OF_A_PROCESS = 8
FIRST = 200_000

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may make processes of other users")


def numbers() -> list[int]:
    """The users of this process."""
    first = FIRST + os.getpid() * USERS_OF_A_PROCESS
    return list(range(first, first + USERS_OF_A_PROCESS))


def some(count: int) -> list[BotUser]:
    """Some of them, as a pool has them."""
    return [BotUser(number, number, str(number)) for number in numbers()[:count]]


@cache
def python() -> Path:
    """A Python that other users may start; the one of the tests may lie where only root may look."""
    able = "import sys; sys.exit(sys.version_info < (3, 11))"
    for one in (sys.executable, "/usr/bin/python3"):
        if valet("run", numbers()[-1], numbers()[-1], one, "-I", "-c", able).returncode == 0:
            return Path(one)
    pytest.skip("no Python that other users may start")
