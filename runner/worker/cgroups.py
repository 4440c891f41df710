"""A control group for each launcher and its bots, where the host lets us make one (the kernel's cgroup-v2).

A launcher joins its own before its first bot, so that all it starts is born in there, and one word (`cgroup.kill`,
Linux 5.14) ends what is left when launcher, or launcher and spawner, were killed: also a process that found another
parent. A launcher joins once in its life, since that may take milliseconds. Promises to change nothing where it is not
allowed.
Standard library only: the spawner's process loads it.
"""

# pathlib would make the process larger that is copied for each attempt.
# ruff: noqa: PTH102, PTH103, PTH106, PTH110, PTH112, PTH118, PTH123, PTH208

from __future__ import annotations

import contextlib
import os
import time

#: What our groups are called, before the instance of the worker.
PREFIX = "botkeep-"

#: Seconds within which killed processes are gone; looked for so many seconds apart.
PATIENCE, PAUSE = 5.0, 0.002


def home(cgroups: str, mounts: str) -> str | None:
    """The folder of this process's own group, by `/proc/self/cgroup` and `/proc/self/mountinfo`; `None` without v2."""
    own = next((line[3:] for line in cgroups.splitlines() if line.startswith("0::/")), None)
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        if own is not None and after.startswith("cgroup2 "):
            root, place = before.split()[3:5]
            inside = own if root == "/" else own.removeprefix(root)
            return os.path.normpath(place + "/" + inside)
    return None


def make(home: str | None, name: str) -> str | None:
    """A group of ours in a group that may be ours to divide; `None` where it is not, or cannot kill."""
    if home is None:
        return None
    path = os.path.join(home, PREFIX + name)
    try:
        os.mkdir(path, 0o755)
    except OSError:
        return None
    # Who may not write here may not bring a process from here into it either.
    if os.access(os.path.join(home, "cgroup.procs"), os.W_OK) and os.path.exists(os.path.join(path, "cgroup.kill")):
        return path
    os.rmdir(path)
    return None


def join(parent: str | None, name: str) -> None:
    """Makes a group in `parent` and brings this process into it; without one it goes on where it is."""
    if parent is not None:
        path = os.path.join(parent, name)
        with contextlib.suppress(OSError):
            os.makedirs(path, 0o755, exist_ok=True)
            with open(os.path.join(path, "cgroup.procs"), "wb", buffering=0) as file:
                file.write(b"0")


def end(path: str) -> bool:
    """Kills all in a group and below it and removes it; false where it is not there, or somebody does not die."""
    try:
        with open(os.path.join(path, "cgroup.kill"), "wb", buffering=0) as file:
            file.write(b"1")
        give_up = time.monotonic() + PATIENCE
        while populated(path):
            if time.monotonic() > give_up:
                return False
            time.sleep(PAUSE)
        for name in os.listdir(path):
            if os.path.isdir(os.path.join(path, name)):
                os.rmdir(os.path.join(path, name))
        os.rmdir(path)
    except OSError:
        return False
    return True


def populated(path: str) -> bool:
    """Whether a process lives in a group or below it; one that is dead and not collected does not count."""
    with open(os.path.join(path, "cgroup.events"), "rb") as file:
        return b"populated 1" in file.read()


def instances(home: str | None) -> list[str]:
    """The names of all groups of ours that are there."""
    if home is None:
        return []
    try:
        return [name.removeprefix(PREFIX) for name in os.listdir(home) if name.startswith(PREFIX)]
    except OSError:
        return []
