"""Scratch space of a worker: private folders for each attempt, empty again at its end whatever ended it.

The folders on disk are used again by a later attempt, if nothing but their contents tells them from new ones: making
and removing six folders and a package for each attempt cost more than all else that the worker does on disk.

Values that must be files (and the resolved parameters) lie in memory (`memory.py`) where the host allows it, so that
they never reach a disk. Each worker process locks its own tree; what a killed worker left behind is
recognised by its free lock and removed at the next start.
"""

from __future__ import annotations

import fcntl
import os
import stat
import uuid
from itertools import count
from pathlib import Path

from runner.worker.environment import Folders
from runner.worker.removal import remove

#: The folders of each tree on disk, beside the package's.
_FOLDERS = ("home", "tmp", "output")


class Scratch:
    """This process's trees: `disk` for work folders, `memory` for values."""

    def __init__(self, root: Path, *, instance: uuid.UUID, memory: Path | None) -> None:
        """`memory` is a folder in memory, if this host has one (`memory.folder`)."""
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        vault = root / "memory" if memory is None else memory / f"botkeep-{os.geteuid()}"
        vault.mkdir(mode=0o700, exist_ok=True)
        _check_private(vault)
        for tree in (root, vault):
            _sweep(tree)
        #: Where values lie.
        self.memory = vault
        self._disk, self._memory = root / instance.hex, vault / instance.hex
        self._locks = [_claim(self._disk), _claim(self._memory)]
        self._free: list[Path] = []
        self._made = count(1)

    def open(self, job_id: uuid.UUID, attempt: int) -> Folders:
        """The folders of one attempt. All are private and empty, but `package` may hold what its last attempt left."""
        values = self._memory / f"{job_id.hex}-{attempt}"
        values.mkdir(mode=0o700)
        try:
            root = self._free.pop()
        except IndexError:
            root = _new_tree(self._disk / str(next(self._made)))
        return Folders(
            root=root,
            package=root / "package",
            home=root / "home",
            tmp=root / "tmp",
            output=root / "output",
            assets=values,
            parameters=values / "parameters.json",
        )

    def discard(self, folders: Folders) -> None:
        """Remove what an attempt left, values first."""
        remove(folders.assets)
        if _emptied(folders):
            self._free.append(folders.root)
        else:
            remove(folders.root)

    def close(self) -> None:
        """Remove this process's trees."""
        for tree in (self._memory, self._disk):
            remove(tree)
        for descriptor in self._locks:
            os.close(descriptor)


def _new_tree(root: Path) -> Path:
    for folder in (root, *(root / name for name in _FOLDERS)):
        folder.mkdir(mode=0o700)
    return root


def _emptied(folders: Folders) -> bool:
    """Empty an attempt's folders; false where something else than their contents was changed."""
    try:
        # Before anything below them is touched: a link in the place of a folder leads elsewhere.
        if not all(_is_plain(path) for path in (folders.root, *(folders.root / name for name in _FOLDERS))):
            return False
        strange = [path for path in folders.root.iterdir() if path.name not in {*_FOLDERS, folders.package.name}]
        for left in (*strange, *(path for name in _FOLDERS for path in (folders.root / name).iterdir())):
            remove(left)
    except OSError:
        return False
    return True


def _is_plain(folder: Path) -> bool:
    """Whether it is a private folder without attributes or access lists, which the next bot would inherit."""
    found = os.lstat(folder)
    return (
        stat.S_ISDIR(found.st_mode)
        and (stat.S_IMODE(found.st_mode), found.st_uid) == (0o700, os.geteuid())
        and not os.listxattr(folder, follow_symlinks=False)
    )


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
            remove(lock.parent)
        finally:
            os.close(descriptor)


def _check_private(folder: Path) -> None:
    status = folder.lstat()
    if status.st_uid != os.geteuid() or status.st_mode & 0o077 or folder.is_symlink():
        raise PermissionError(
            f"{folder} belongs to somebody else or can be read by others; remove it, then start the runner again."
        )
