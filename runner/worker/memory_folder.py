"""Which folder in memory values lie in that must be files; looked for where bots have no business at all.

`/dev/shm` is the last choice: while values lie below it, bots get nothing of it, and so no locks of `multiprocessing`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

#: Memory-backed on Linux (tmpfs, shm_overview(7)), for bots, too.
SHARED = Path("/dev/shm")  # noqa: S108 - a private, locked tree is made below it

#: File systems without a disk (tmpfs(5), the kernel's ramfs-rootfs-initramfs).
_IN_MEMORY = {"tmpfs", "ramfs"}

MOUNTS = Path("/proc/self/mountinfo")


def folder(environ: Mapping[str, str], *, mounts: str, shared: bool = False) -> Path | None:
    """The service manager's `$RUNTIME_DIRECTORY`, the user's `$XDG_RUNTIME_DIR` or `/dev/shm`, the first in memory.

    Not the user's where it is to be `shared` with other users: its sockets are kept from them by the folder alone.
    `mounts` is the text of `/proc/self/mountinfo`. `None` where this host has none that we may write to.
    """
    private = "" if shared else environ.get("XDG_RUNTIME_DIR", "")
    named = [environ.get("RUNTIME_DIRECTORY", "").partition(":")[0], private]
    types = dict(_mounted(mounts))
    for candidate in (*(Path(name) for name in named if name), SHARED):
        if candidate.is_dir() and os.access(candidate, os.W_OK | os.X_OK) and _type(candidate, types) in _IN_MEMORY:
            return candidate.resolve()
    return None


def _type(path: Path, types: Mapping[Path, str]) -> str | None:
    real = path.resolve()
    return next((types[place] for place in (real, *real.parents) if place in types), None)


def _mounted(mounts: str) -> Iterator[tuple[Path, str]]:
    """Each mount's place and type; of two at one place the later one is seen (proc_pid_mountinfo(5))."""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        place = before.split()[4].encode().decode("unicode_escape")  # a space in it is \040
        yield Path(place), after.split()[0]
