"""Scratch space of a worker: private folders for each attempt, empty again at its end whatever ended it.

The folders are used again by a later attempt, if nothing but their contents tells them from new ones: making and
removing them and a package for each attempt cost more than all else that the worker does with files, and what was
prepared for a folder (a ruleset of Landlock, say) stays true of it. A path never stands for two folders: where one
cannot be used again, the next attempt gets all of them anew, under another name.

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
from dataclasses import dataclass
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


@dataclass(slots=True)
class _Tree:
    """The folders of one attempt after another, with their paths as text: path objects cost more than the looks."""

    folders: Folders
    values: str
    root: str
    #: Those on disk: the root, and the folders in it.
    disk: tuple[str, ...]
    #: The inodes of `values` and `root`, which are below nothing else that is compared.
    inodes: tuple[int, int]
    #: The marks of those on disk, as they were when they were found empty.
    seen: tuple[_Mark, ...] | None = None

    @classmethod
    def make(cls, root: Path, values: Path) -> _Tree:
        home, tmp, output = (root / name for name in _FOLDERS)
        for folder in (values, root, home, tmp, output):
            folder.mkdir(mode=0o700)
        folders = Folders(root, root / _PACKAGE, home, tmp, output, values, values / "parameters.json")
        disk = (str(root), str(home), str(tmp), str(output))
        return cls(folders, str(values), str(root), disk, (values.lstat().st_ino, root.lstat().st_ino))


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
        self._free: list[_Tree] = []
        self._used: dict[Path, _Tree] = {}
        self._made = count(1)

    def open(self) -> Folders:
        """The folders of one attempt. All are private and empty, but `package` may hold what its last attempt left."""
        try:
            tree = self._free.pop()
        except IndexError:
            name = str(next(self._made))
            tree = _Tree.make(self._disk / name, self._memory / name)
        self._used[tree.folders.root] = tree
        return tree.folders

    def discard(self, folders: Folders, *, again: bool = True) -> None:
        """Remove what an attempt left, values first.

        Not `again`: something of the attempt may live on and reach its folders, so no other attempt gets them.
        """
        tree = self._used.pop(folders.root)
        if again and _emptied_values(tree) and (_untouched(tree) or _emptied(tree)):
            self._free.append(tree)
            return
        self._remove(folders.assets)
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
        tree = self._used[folders.root]
        try:
            return tree.seen is not None and tree.seen[-1] == _mark(tree.disk[-1])
        except OSError:
            return False

    def close(self) -> None:
        """Remove this process's trees."""
        for tree in (self._memory, self._disk):
            self._remove(tree)
        for descriptor in self._locks:
            os.close(descriptor)


def _emptied_values(tree: _Tree) -> bool:
    """Empty the folder of an attempt's values; false where something else than its contents was changed."""
    try:
        if not _is_plain(tree.values, inode=tree.inodes[0]):
            return False
        for name in os.listdir(tree.values):
            remove(f"{tree.values}/{name}")
    except OSError:
        return False
    return True


def _untouched(tree: _Tree) -> bool:
    return tree.seen is not None and tree.seen == _marks(tree)


def _emptied(tree: _Tree) -> bool:
    """Empty an attempt's folders on disk; false where something else than their contents was changed."""
    before = _marks(tree)
    root, *inside = tree.disk
    try:
        # Before anything below them is touched: a link in the place of a folder leads elsewhere.
        if not (_is_plain(root, inode=tree.inodes[1]) and all(map(_is_plain, inside))):
            return False
        for name in os.listdir(root):
            if name not in _OURS:
                remove(f"{root}/{name}")
        for folder in inside:
            for name in os.listdir(folder):
                remove(f"{folder}/{name}")
    except OSError:
        return False
    settled = time.time_ns() - _SETTLED
    if before is not None and before == _marks(tree) and all(changed < settled for _, changed in before):
        tree.seen = before
    return True


def _marks(tree: _Tree) -> tuple[_Mark, ...] | None:
    try:
        return tuple(map(_mark, tree.disk))
    except OSError:
        return None


def _mark(folder: str) -> _Mark:
    found = os.lstat(folder)
    return found.st_ino, found.st_ctime_ns


def _is_plain(folder: str, *, inode: int | None = None) -> bool:
    """Whether it is a private folder without attributes or access lists, which the next bot would inherit; and that of
    this inode.
    """
    found = os.lstat(folder)
    return (
        (found.st_mode, found.st_uid) == (stat.S_IFDIR | 0o700, os.geteuid())
        and inode in {None, found.st_ino}
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
