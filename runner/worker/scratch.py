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
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from runner.worker import marks
from runner.worker.environment import Folders
from runner.worker.marks import Mark
from runner.worker.removal import remove
from runner.worker.unpacking import Layout, Listing

#: The folders of each tree on disk, beside the package's.
_FOLDERS = ("home", "tmp", "output")
_PACKAGE = "package"
_OURS = frozenset({*_FOLDERS, _PACKAGE})

#: The mode of folders through which bots' own users pass, who list and write nothing in them.
PASSAGE = 0o711

#: Mode, owner and inode.
_Kind = tuple[int, int, int]


@dataclass(slots=True)
class _Tree:
    """The folders of one attempt after another, with their paths as text: path objects cost more than the looks."""

    folders: Folders
    package: Layout
    values: str
    parameters: str
    #: Those on disk: the root, and the folders in it.
    disk: tuple[str, ...]
    #: Mode, owner and inode of `values`, and of the root, as they were made.
    made: tuple[_Kind, _Kind]
    #: The size of `values` with one name in it, where a folder's size says how many there are; else -1.
    one: int
    #: The marks of those on disk, as they were when they were found empty.
    seen: tuple[Mark, ...] | None = None

    @classmethod
    def make(cls, root: Path, values: Path, *, one: int) -> _Tree:
        """`one` is the size of another folder with one name in it, beside that of values."""
        home, tmp, output = (root / name for name in _FOLDERS)
        for folder in (values, root, home, tmp, output):
            folder.mkdir(mode=0o700)
        folders = Folders(root, root / _PACKAGE, home, tmp, output, values, values / "parameters.json")
        disk, found = (str(root), str(home), str(tmp), str(output)), values.lstat()
        return cls(
            folders,
            Layout(folders.package),
            str(values),
            str(folders.parameters),
            disk,
            made=(_kind(found), _kind(root.lstat())),
            one=one if one > found.st_size else -1,
        )


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
        self._one = -1 if memory is None else self._memory.lstat().st_size
        self._free: list[_Tree] = []
        #: By the identity of their folders, which `open` gave: to compare paths costs more.
        self._used: dict[int, _Tree] = {}
        self._made = count(1)

    def open(self) -> Folders:
        """The folders of one attempt. All are private and empty, but `package` may hold an earlier one's unchanged."""
        try:
            tree = self._free.pop()
        except IndexError:
            name = str(next(self._made))
            tree = _Tree.make(self._disk / name, self._memory / name, one=self._one)
        self._used[id(tree.folders)] = tree
        return tree.folders

    def lay_out(self, folders: Folders, content: bytes, *, listed: Listing) -> None:
        """Make the package's folder hold the files of a verified package; see `Layout.restore`."""
        self._used[id(folders)].package.restore(content, listed=listed)

    def discard(self, folders: Folders, *, again: bool = True) -> None:
        """Remove what an attempt left, values first.

        Not `again`: something of the attempt may live on and reach its folders, so no other attempt gets them.
        """
        tree = self._used.pop(id(folders))
        if again and _emptied_values(tree) and self._without_changes(tree) and (_untouched(tree) or _emptied(tree)):
            self._free.append(tree)
            return
        self._remove(folders.assets)
        self._remove(folders.root)

    def _without_changes(self, tree: _Tree) -> bool:
        """Remove a package that its bot changed or added to; false where it cannot be removed by itself."""
        try:
            if tree.package.is_changed():
                if _kind(os.lstat(tree.disk[0])) != tree.made[1]:
                    return False  # what is below a link in its place is somebody else's
                self._remove(tree.folders.package)
        except OSError:
            return False
        return True

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
        tree = self._used[id(folders)]
        try:
            return tree.seen is not None and tree.seen[-1] == marks.at(tree.disk[-1])
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
        found = os.lstat(tree.values)
        if _kind(found) != tree.made[0] or os.listxattr(tree.values, follow_symlinks=False):
            return False
        if found.st_size == tree.one:
            os.unlink(tree.parameters)  # noqa: PTH108 - a path object costs more
            return True
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
        if _kind(os.lstat(root)) != tree.made[1] or not all(map(_is_plain, tree.disk)):
            return False
        for name in os.listdir(root):
            if name not in _OURS:
                remove(f"{root}/{name}")
        for folder in inside:
            for name in os.listdir(folder):
                remove(f"{folder}/{name}")
    except OSError:
        return False
    if before is not None and before == _marks(tree) and marks.settled(before):
        tree.seen = before
    return True


def _marks(tree: _Tree) -> tuple[Mark, ...] | None:
    try:
        return tuple(map(marks.at, tree.disk))
    except OSError:
        return None


def _kind(found: os.stat_result) -> _Kind:
    return found.st_mode, found.st_uid, found.st_ino


def _is_plain(folder: str) -> bool:
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
