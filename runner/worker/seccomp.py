"""What Landlock leaves open between processes of one user, closed by a filter of system calls (seccomp(2)).

Refuses, with EPERM: to limit, renice or schedule another process (prlimit(2), setpriority(2), sched_setaffinity(2) and
the like, for anybody but the caller itself, which is process 0), and the things that are named for a whole user: System
V IPC, POSIX message queues, the kernel's keyrings. All else is allowed, and mostly not even looked at: the kernel
remembers which calls a filter always allows. Standard library only: the spawner's process loads it.
"""

from __future__ import annotations

import ctypes
import os
import struct

#: Instructions of the classic BPF (linux/bpf_common.h): load a word, jump if equal, jump if greater or equal, return.
LOAD, EQUAL, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06
ALLOW, REFUSE = 0x7FFF0000, 0x00050001
#: Where struct seccomp_data has the number, the architecture and the low words of the arguments.
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16
#: The x32 ABI has the architecture of x86_64 and this bit in its numbers.
X32 = 0x40000000

SET_MODE_FILTER, SPEC_ALLOW = 1, 4
SECCOMP = {"x86_64": 317, "aarch64": 277}

#: Calls whose first argument names a process; the two that name it by their second, after what kind of name it is;
#: and calls that are refused whatever they ask for.
OF_PROCESS = ("prlimit64", "sched_setparam", "sched_setscheduler", "sched_setaffinity", "sched_setattr")
OF_KIND = {"setpriority": 2, "ioprio_set": 3}  # the kind that is a whole user
REFUSED = ("shmget", "shmat", "semget", "msgget", "mq_open", "add_key", "request_key", "keyctl", "ipc")
NAMES = (*OF_PROCESS, *OF_KIND, *REFUSED)

#: Numbers in the order of `NAMES` (arch/x86/entry/syscalls/*.tbl, asm-generic/unistd.h), by AUDIT_ARCH.
NUMBERS: dict[str, dict[int, tuple[int | None, ...]]] = {
    "x86_64": {
        0xC000003E: (302, 142, 144, 203, 314, 141, 251, 29, 30, 64, 68, 240, 248, 249, 250, None),
        0x40000003: (340, 154, 156, 241, 351, 97, 289, 395, 397, 393, 399, 277, 286, 287, 288, 117),
    },
    "aarch64": {0xC00000B7: (261, 118, 119, 122, 274, 140, 30, 194, 196, 190, 186, 180, 217, 218, 219, None)},
}

_seccomp = ctypes.CFUNCTYPE(
    ctypes.c_long, ctypes.c_long, ctypes.c_long, ctypes.c_long, ctypes.c_char_p, use_errno=True
)(("syscall", ctypes.CDLL(None, use_errno=True)))


class Filter:
    """A program for this machine, made once."""

    __slots__ = ("_call", "_program", "_text")

    def __init__(self, machine: str) -> None:
        self._call = SECCOMP[machine]
        self._text = ctypes.create_string_buffer(program(machine))
        count = (len(self._text) - 1) // 8
        self._program = struct.pack("@HP", count, ctypes.addressof(self._text))

    def enter(self) -> None:
        """Holds for the calling thread and all that it starts; needs `no_new_privs`. Raises OSError."""
        if _seccomp(self._call, SET_MODE_FILTER, SPEC_ALLOW, self._program) < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


def program(machine: str) -> bytes:
    """The instructions; a foreign architecture may call nothing."""
    blocks = b"".join(block(architecture, numbers) for architecture, numbers in NUMBERS[machine].items())
    return one(LOAD, ARCHITECTURE) + blocks + one(RETURN, REFUSE)


def block(architecture: int, numbers: tuple[int | None, ...]) -> bytes:
    """Begins and, for another architecture, ends with the architecture loaded."""
    rules = [one(LOAD, NUMBER), one(AT_LEAST, X32, 0, 1), one(RETURN, REFUSE)]
    for name, number in zip(NAMES, numbers, strict=True):
        if number is not None:
            does = what(name)
            rules += [one(EQUAL, number, 0, len(does) // 8), does]
    inner = b"".join(rules) + one(RETURN, ALLOW)
    return one(EQUAL, architecture, 0, len(inner) // 8) + inner


def what(name: str) -> bytes:
    """What is done about one call."""
    if name in OF_PROCESS:
        return itself(0)
    if name in OF_KIND:
        return one(LOAD, ARGUMENTS) + one(EQUAL, OF_KIND[name], 0, 1) + one(RETURN, REFUSE) + itself(1)
    return one(RETURN, REFUSE)


def itself(argument: int) -> bytes:
    return one(LOAD, ARGUMENTS + 8 * argument) + one(EQUAL, 0, 0, 1) + one(RETURN, ALLOW) + one(RETURN, REFUSE)


def one(code: int, operand: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, operand)
