"""Who a process is to the kernel, and what it may do: users (credentials(7)) and capabilities (capabilities(7)).

Promises that a process which has `become` a bot's user is nobody else any more, and has no capability; that it was
looked at, not believed; and that a thread which sees `as_user` sees files with that user's rights only. Capabilities
belong to threads: what is kept or passed on here concerns the calling one, and those that it starts later.
Standard library only: the spawner's process loads it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from collections.abc import Iterator

#: What it takes to give bots users of their own: to become them, to end them, to give them their folders. Numbers
#: of linux/capability.h. Not among them: to pass over the rights of files (CAP_DAC_OVERRIDE, CAP_FOWNER).
NEEDED = {"CAP_CHOWN": 0, "CAP_KILL": 5, "CAP_SETGID": 6, "CAP_SETUID": 7}
NEEDED_BITS = sum(1 << number for number in NEEDED.values())

PR_SET_DUMPABLE = 4
PR_CAPBSET_DROP = 24
PR_CAP_AMBIENT = 47
AMBIENT_RAISE, AMBIENT_CLEAR_ALL = 2, 4
#: _LINUX_CAPABILITY_VERSION_3: 64 bits in two halves of three words.
VERSION = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)
_Header = ctypes.c_uint32 * 2
_Data = ctypes.c_uint32 * 6


class NotAllowed(OSError):
    """The kernel did not make this process what it was to be."""


def capabilities() -> tuple[int, int, int]:
    """The calling thread's effective, permitted and inheritable sets, as bits."""
    data = _Data()
    _checked(_libc.capget(_Header(VERSION, 0), data))
    return tuple(data[one] | data[one + 3] << 32 for one in range(3))  # type: ignore[return-value]


def set_capabilities(effective: int, permitted: int, inheritable: int) -> None:
    """Replaces the calling thread's sets. Raises OSError."""
    halves = [bits >> shift & 0xFFFFFFFF for shift in (0, 32) for bits in (effective, permitted, inheritable)]
    _checked(_libc.capset(_Header(VERSION, 0), _Data(*halves)))


def missing() -> list[str]:
    """The capabilities that this process lacks to give bots users of their own; none for root as it usually is."""
    _, permitted, _ = capabilities()
    return [name for name, number in NEEDED.items() if not permitted >> number & 1]


def forget_ambient() -> None:
    """From here on nothing that this thread executes gets a capability, unless it is root's or passed on."""
    try:
        _prctl(PR_CAP_AMBIENT, AMBIENT_CLEAR_ALL)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a kernel that has no such set
            raise


def lay_aside() -> None:
    """Keeps what is needed where it can be passed on, but not in force: this process itself has no use for it."""
    forget_ambient()
    if os.geteuid() != 0:
        set_capabilities(0, NEEDED_BITS, NEEDED_BITS)


def take_up() -> None:
    """In a process that was passed them: in force here, and for nothing that is executed from here on."""
    forget_ambient()
    if os.geteuid() != 0:
        _, permitted, _ = capabilities()
        set_capabilities(permitted, permitted, 0)


@contextlib.contextmanager
def passed_on(*, on: bool = True) -> Iterator[None]:
    """What this thread executes within the block gets what is laid aside. Raises OSError. Root passes it anyway."""
    if not on or os.geteuid() == 0:
        yield
        return
    try:
        for number in NEEDED.values():
            _prctl(PR_CAP_AMBIENT, AMBIENT_RAISE, number)
        yield
    finally:
        forget_ambient()


def become(user: int, group: int) -> None:
    """Makes this process, which has one thread, a process of that user and group, for good and without capabilities.

    Clears the parent-death signal (prctl(2)). Raises OSError, and then the process must end.
    """
    if user <= 0 or group <= 0:
        raise NotAllowed(f"nobody becomes user {user} and group {group}")
    os.setgroups([])
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)
    forget_ambient()
    set_capabilities(0, 0, 0)
    require(user, group)


def require(user: int, group: int) -> None:
    """Raises `NotAllowed` unless this process is that user's, wholly, and without capabilities."""
    found = (os.getresuid(), os.getresgid(), os.getgroups(), capabilities())
    if found != ((user,) * 3, (group,) * 3, [], (0, 0, 0)) or user == 0:
        raise NotAllowed(f"this process did not become one of user {user} and group {group} alone")


@contextlib.contextmanager
def as_user(user: int, group: int) -> Iterator[None]:
    """Within the block the calling thread reaches files as that user does (setfsuid(2)); nobody may signal it for that.

    Raises `NotAllowed`.
    """
    own, own_group = os.geteuid(), os.getegid()
    try:
        _libc.setfsgid(group)
        _libc.setfsuid(user)
        if (_libc.setfsgid(-1), _libc.setfsuid(-1)) != (group, user):
            raise NotAllowed(f"files cannot be reached as user {user}")
        yield
    finally:
        _libc.setfsuid(own)
        _libc.setfsgid(own_group)
        _prctl(PR_SET_DUMPABLE, 0)  # the kernel has set it anew


def drop_bounds() -> None:
    """Empties the bounding set of root: what it executes from here on has no capability."""
    with contextlib.suppress(OSError):  # EINVAL: that was the kernel's last one; EPERM: somebody has bounded it before
        for number in range(64):
            _prctl(PR_CAPBSET_DROP, number)


def unlock(file: int) -> None:
    """Lets go of an flock(2) for everybody who shares it."""
    _checked(_libc.flock(file, 8))


def _prctl(operation: int, argument: int, third: int = 0) -> None:
    zero = ctypes.c_ulong(0)
    _checked(_libc.prctl(operation, ctypes.c_ulong(argument), ctypes.c_ulong(third), zero, zero))


def _checked(answer: int) -> None:
    if answer != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
