"""Scratch space of a worker: one private tree per attempt, removed at its end whatever ended it.

Values that must be files (and the resolved parameters) lie in memory-backed `/dev/shm` where the host has it, so
that they never reach a disk. Each worker process locks its own tree; what a killed worker left behind is
recognised by its free lock and removed at the next start.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from pathlib import Path

from runner.worker.environment import Folders

#: Memory-backed on Linux (tmpfs, shm_overview(7)).
_MEMORY = Path("/dev/shm")  # noqa: S108 - a private, locked tree is made below it


class Scratch:
    """This process's trees: `disk` for work folders, `memory` for values."""

    def __init__(self, root: Path, *, instance: uuid.UUID, memory: Path = _MEMORY) -> None:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        in_memory = memory.is_dir() and os.access(memory, os.W_OK)
        vault = memory / f"botkeep-{os.geteuid()}" if in_memory else root / "memory"
        vault.mkdir(mode=0o700, exist_ok=True)
        _check_private(vault)
        for tree in (root, vault):
            _sweep(tree)
        self._disk, self._memory = root / instance.hex, vault / instance.hex
        self._locks = [_claim(self._disk), _claim(self._memory)]

    def open(self, job_id: uuid.UUID, attempt: int) -> Folders:
        """Make the folders of one attempt; all are empty and private."""
        name = f"{job_id.hex}-{attempt}"
        root, values = self._disk / name, self._memory / name
        folders = Folders(
            root=root,
            package=root / "package",
            home=root / "home",
            tmp=root / "tmp",
            output=root / "output",
            assets=values,
            parameters=values / "parameters.json",
        )
        for folder in (root, folders.home, folders.tmp, folders.output, values):
            folder.mkdir(mode=0o700)
        return folders

    def discard(self, folders: Folders) -> None:
        """Remove an attempt's folders, values first."""
        for folder in (folders.assets, folders.root):
            _remove(folder)

    def close(self) -> None:
        """Remove this process's trees."""
        for tree in (self._memory, self._disk):
            _remove(tree)
        for descriptor in self._locks:
            os.close(descriptor)


def _claim(tree: Path) -> int:
    # Locked under a name that sweepers pass over, then given its own: a tree is never seen without its lock held.
    fresh = tree.with_name(f".{tree.name}")
    fresh.mkdir(mode=0o700)
    descriptor = os.open(fresh / ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fresh.rename(tree)
    return descriptor


def _sweep(root: Path) -> None:
    """Remove the trees of workers that are gone."""
    for lock in root.glob("[!.]*/.lock"):
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue  # its worker lives
        else:
            _remove(lock.parent)
        finally:
            os.close(descriptor)


def _remove(tree: Path) -> None:
    """Remove a tree that a bot may have made hard to remove: folders without rights are opened first."""

    def open_up(_function: object, path: str, _error: object) -> None:
        folder = Path(path)
        for one in (folder.parent, folder):
            if one.is_dir() and not one.is_symlink():
                one.chmod(0o700)
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder, ignore_errors=True)
        else:
            folder.unlink(missing_ok=True)

    if tree.exists():
        shutil.rmtree(tree, onerror=open_up)


def _check_private(folder: Path) -> None:
    status = folder.lstat()
    if status.st_uid != os.geteuid() or status.st_mode & 0o077 or folder.is_symlink():
        raise PermissionError(
            f"{folder} belongs to somebody else or can be read by others; remove it, then start the runner again."
        )
