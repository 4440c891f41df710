"""Landlock (landlock(7)): a domain that a thread enters, for ever, with all that it starts.

Promises that what is born in a domain reads and executes only below what is readable, writes only below what is
writable, and looks into, traces and (from ABI 6 on) signals no process outside of it, nor connects to an abstract
socket of one; that a path which is not there grants nothing; and that no file or folder becomes reachable by a link.
Refuses nothing by itself about networks and sockets that have a path: the kernel does not offer it. What else is open
between processes of one user, `seccomp` closes.
Standard library only: the spawner's process loads it.
"""

# pathlib would make the process larger that is copied for each attempt.
# ruff: noqa: PTH112

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterable

from runner.worker.seccomp import SECCOMP, Filter

#: Numbers of the system calls, the same on every architecture (linux/include/uapi/asm-generic/unistd.h).
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
#: Flag that asks for the ABI instead of making a ruleset, and the kind of rule for a path.
VERSION, PATH_BENEATH = 1, 1

# Rights (linux/landlock.h). What follows MAKE_SYM came with ABI 2, 3 and 5.
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REMOVE_DIR, REMOVE_FILE, MAKE_DIR, MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
UP_TO_MAKE_SYM = (1 << 13) - 1
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
#: What a rule about something else than a folder may grant.
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
#: Scopes, from ABI 6 on: abstract Unix sockets and signals.
SCOPES = 3
SCOPED_SINCE = 6

READ = EXECUTE | READ_FILE | READ_DIR
DEVICE = READ_FILE | WRITE_FILE | TRUNCATE | IOCTL_DEV
#: Shared memory: open, make and remove by name, but list nothing.
SHARED = READ_FILE | WRITE_FILE | MAKE_REG | REMOVE_FILE | TRUNCATE

#: A descriptor of a file or folder, and what is granted at and below it.
Rule = tuple[int, int]

_libc = ctypes.CDLL(None, use_errno=True)
_LONG = ctypes.c_long
_create = ctypes.CFUNCTYPE(_LONG, _LONG, ctypes.c_char_p, ctypes.c_size_t, _LONG, use_errno=True)(("syscall", _libc))
_add = ctypes.CFUNCTYPE(_LONG, _LONG, _LONG, _LONG, ctypes.c_char_p, _LONG, use_errno=True)(("syscall", _libc))
_restrict = ctypes.CFUNCTYPE(_LONG, _LONG, _LONG, _LONG, use_errno=True)(("syscall", _libc))


def abi() -> int:
    """The kernel's version of Landlock; 0 where it has none, or forbids it to us."""
    return max(0, int(_create(CREATE_RULESET, None, 0, VERSION)))


def rights(version: int) -> int:
    """All rights to files that a kernel of this ABI knows and we do."""
    newer = ((2, REFER), (3, TRUNCATE), (5, IOCTL_DEV))
    return UP_TO_MAKE_SYM | sum(right for since, right in newer if version >= since)


class Ground:
    """What every domain grants, opened once; a domain adds what is one attempt's own.

    `granted` maps paths to rights, and so does `wall`, which is a domain around that one: what it does not name, no
    attempt gets. Descriptors stay open, and close at exec.
    """

    __slots__ = ("calls", "handled", "rules", "scoped", "wall")

    def __init__(self, version: int, granted: Iterable[tuple[str, int]], wall: Iterable[tuple[str, int]] = ()) -> None:
        machine = os.uname().machine
        self.calls = Filter(machine) if machine in SECCOMP else None
        self.handled = rights(version)
        self.scoped = SCOPES if version >= SCOPED_SINCE else 0
        self.rules = [rule for path, wanted in granted if (rule := self._opened(path, wanted)) is not None]
        self.wall = self._built(wall)

    def opened(self, readable: Iterable[str], writable: Iterable[str]) -> list[Rule]:
        """What a domain grants beyond the ground, for `ruleset`; to be closed by `close`."""
        wanted = [*((path, READ) for path in readable), *((path, self.handled) for path in writable)]
        return [rule for path, rights in wanted if (rule := self._opened(path, rights)) is not None]

    def ruleset(self, rules: Iterable[Rule]) -> int:
        """A descriptor to `enter` by. Raises OSError."""
        ruleset = create(self.handled, self.scoped)
        try:
            for file, wanted in (*self.rules, *rules):
                add(ruleset, file, wanted)
        except BaseException:
            os.close(ruleset)
            raise
        return ruleset

    def scopes(self) -> int | None:
        """As `ruleset`, but files are left alone: for bubblewrap, whose mounts a domain about files would refuse.

        `None` where the kernel has no scopes.
        """
        return create(0, self.scoped) if self.scoped else None

    def settle(self, *, walled: bool = True) -> None:
        """Puts the calling thread, and all that it starts from now on, under what is the same for every bot: the filter
        of system calls and, for domains about files, the wall. Needs `no_new_privs`.
        """
        if walled and self.wall is not None:
            enter(self.wall)
        if self.calls is not None:
            self.calls.enter()

    def enter(self, ruleset: int, *, walled: bool) -> None:
        """As `settle`, and into the domain of one attempt."""
        self.settle(walled=walled)
        enter(ruleset)

    def _built(self, wall: Iterable[tuple[str, int]]) -> int | None:
        ruleset = None
        for path, wanted in wall:
            if ruleset is None:
                ruleset = create(self.handled, 0)
            if (rule := self._opened(path, wanted)) is not None:
                try:
                    add(ruleset, *rule)
                finally:
                    os.close(rule[0])
        return ruleset

    def _opened(self, path: str, wanted: int) -> Rule | None:
        try:
            file = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            return None
        # A path that ends with a slash names a folder: saves a look at most of them.
        folder = path.endswith("/") or os.path.isdir(path)
        return file, wanted & self.handled & (-1 if folder else OF_FILES)


def close(rules: Iterable[Rule]) -> None:
    """Closes what `Ground.opened` opened; a ruleset that was made of it stays as it is."""
    for file, _ in rules:
        os.close(file)


def create(handled: int, scoped: int) -> int:
    """A new ruleset: all that is `handled` is denied, but for what rules grant."""
    # The third field came with ABI 6; a shorter attribute is understood by all.
    attribute = struct.pack("QQQ", handled, 0, scoped) if scoped else struct.pack("Q", handled)
    return checked(_create(CREATE_RULESET, attribute, len(attribute), 0))


def add(ruleset: int, file: int, wanted: int) -> None:
    """Grants rights at and below what `file` is opened on."""
    checked(_add(ADD_RULE, ruleset, PATH_BENEATH, struct.pack("=Qi", wanted, file), 0))


def enter(ruleset: int) -> None:
    """The domain alone."""
    checked(_restrict(RESTRICT_SELF, ruleset, 0))


def checked(answer: int) -> int:
    if answer < 0:
        number = ctypes.get_errno() or errno.EINVAL
        raise OSError(number, os.strerror(number))
    return int(answer)
