"""Scratch space of a worker: private folders for each attempt, empty again at its end whatever ended it.

The folders on disk are used again by a later attempt, if nothing but their contents tells them from new ones: making
and removing six folders and a package for each attempt cost more than all else that the worker does on disk.

Values that must be files (and the resolved parameters) lie in memory (`memory_folder`) where the host allows it,
so that they never reach a disk. Each worker process locks its own tree; what a killed worker left behind is
recognised by its free lock and removed at the next start.
"""

# pathlib's ways to list cost more than the listing.
# ruff: noqa: PTH208

from __future__ import annotations

import fcntl
import os
import stat
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

from runner.worker.environment import Folders
from runner.worker.removal import remove

#: The folders of each tree on disk, beside the package's.
_FOLDERS = ("home", "tmp", "output")
_PACKAGE = "package"
_OURS = frozenset({*_FOLDERS, _PACKAGE})

#: The mode of folders through which bots' own users pass, who list and write nothing in them.
PASSAGE = 0o711

#: Nanoseconds after which a folder that is changed shows another time of it, on any file system: two seconds is the
#: coarsest.
_SETTLED = 3_000_000_000

#: Which folder it is, and when its rights, attributes or contents were last changed: no process can set that back.
_Mark = tuple[int, int]


class Scratch:
    """This process's trees: `disk` for work folders, `memory` for values."""

    def __init__(
        self,
        root: Path,
        *,
        instance: uuid.UUID,
        memory: Path | None,
        take_back: Callable[[Path], object] | None = None,
    ) -> None:
        """`memory` is a folder in memory, if this host has one (`memory_folder.folder`).

        Where bots have users of their own, these may pass through the trees, and `take_back` makes what nobody else
        could take back any more ours again.
        """
        self._take_back = take_back
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        vault = root / "memory" if memory is None else memory / f"botkeep-{os.geteuid()}"
        vault.mkdir(mode=0o700, exist_ok=True)
        _check_private(vault)
        for tree in (root, vault):
            _sweep(tree, self._remove)
        #: Where values lie.
        self.memory = vault
        self._disk, self._memory = root / instance.hex, vault / instance.hex
        self._locks = [_claim(self._disk), _claim(self._memory)]
        if take_back is not None:
            for folder in (root, vault, self._disk, self._memory):
                folder.chmod(PASSAGE)
        self._free: list[Folders] = []
        self._made = count(1)
        #: By the root of each tree the marks of its folders, as they were when they were found empty.
        self._seen: dict[Path, tuple[_Mark, ...]] = {}

    def open(self, job_id: uuid.UUID, attempt: int) -> Folders:
        """The folders of one attempt. All are private and empty, but `package` may hold what its last attempt left."""
        values = self._memory / f"{job_id.hex}-{attempt}"
        values.mkdir(mode=0o700)
        try:
            known = self._free.pop()
        except IndexError:
            known = _new_tree(self._disk / str(next(self._made)))
        return replace(known, assets=values, parameters=values / "parameters.json")

    def discard(self, folders: Folders) -> None:
        """Remove what an attempt left, values first."""
        self._remove(folders.assets)
        if self._untouched(folders) or self._emptied(folders):
            self._free.append(folders)
        else:
            self._seen.pop(folders.root, None)
            self._remove(folders.root)

    def _remove(self, tree: Path) -> None:
        try:
            remove(tree)
        except PermissionError:
            if self._take_back is None:
                raise
            self._take_back(tree)
            remove(tree)

    def is_unused(self, folders: Folders) -> bool:
        """Whether the output folder is known to be empty; it may be so, too, where this says no."""
        seen = self._seen.get(folders.root)
        try:
            return seen is not None and seen[-1] == _mark(folders.output)
        except OSError:
            return False

    def _untouched(self, folders: Folders) -> bool:
        seen = self._seen.get(folders.root)
        return seen is not None and seen == _marks(folders)

    def _emptied(self, folders: Folders) -> bool:
        before = _marks(folders)
        if not _emptied(folders):
            return False
        settled = time.time_ns() - _SETTLED
        if before is not None and before == _marks(folders) and all(changed < settled for _, changed in before):
            self._seen[folders.root] = before
        return True

    def close(self) -> None:
        """Remove this process's trees."""
        for tree in (self._memory, self._disk):
            self._remove(tree)
        for descriptor in self._locks:
            os.close(descriptor)


def _new_tree(root: Path) -> Folders:
    """The folders on disk, with no place for values yet."""
    home, tmp, output = (root / name for name in _FOLDERS)
    for folder in (root, home, tmp, output):
        folder.mkdir(mode=0o700)
    return Folders(root, root / _PACKAGE, home, tmp, output, assets=root, parameters=root)


def _emptied(folders: Folders) -> bool:
    """Empty an attempt's folders; false where something else than their contents was changed."""
    inside = (folders.home, folders.tmp, folders.output)
    try:
        # Before anything below them is touched: a link in the place of a folder leads elsewhere.
        if not all(map(_is_plain, (folders.root, *inside))):
            return False
        for name in os.listdir(folders.root):
            if name not in _OURS:
                remove(folders.root / name)
        for folder in inside:
            for name in os.listdir(folder):
                remove(folder / name)
    except OSError:
        return False
    return True


def _marks(folders: Folders) -> tuple[_Mark, ...] | None:
    try:
        return tuple(map(_mark, (folders.root, folders.home, folders.tmp, folders.output)))
    except OSError:
        return None


def _mark(folder: Path) -> _Mark:
    found = os.lstat(folder)
    return found.st_ino, found.st_ctime_ns


def _is_plain(folder: Path) -> bool:
    """Whether it is a private folder without attributes or access lists, which the next bot would inherit."""
    found = os.lstat(folder)
    return (found.st_mode, found.st_uid) == (stat.S_IFDIR | 0o700, os.geteuid()) and not os.listxattr(
        folder, follow_symlinks=False
    )


def _claim(tree: Path) -> int:
    # Locked under a name that sweepers pass over, then given its own: a tree is never seen without its lock held.
    fresh = tree.with_name(f".{tree.name}")
    fresh.mkdir(mode=0o700)
    descriptor = os.open(fresh / ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fresh.rename(tree)
    return descriptor


def _sweep(root: Path, remove: Callable[[Path], object]) -> None:
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
    if status.st_uid != os.geteuid() or status.st_mode & 0o077 & ~PASSAGE or folder.is_symlink():
        raise PermissionError(
            f"{folder} belongs to somebody else or can be read by others; remove it, then start the runner again."
        )
