"""Removes what a bot left, however hard it made that."""

from __future__ import annotations

import os
import stat
import uuid
from pathlib import Path


def remove(tree: Path) -> None:
    """Removes a folder with all below it, or whatever else has the name; folders without rights are opened first.

    Nothing is followed. Folders may be nested deeper than a path may be long, or a function may call itself: each is
    brought up to the top before it is looked into. Does nothing where nothing is there.

    Raises:
        OSError: something cannot be removed, by its owner and with all rights.
    """
    try:
        found = tree.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(found.st_mode):
        tree.unlink()
        return
    folders = _taken_out(tree, top=tree)
    while folders:
        folder = folders.pop()
        folders += _taken_out(folder, top=tree)
        folder.rmdir()
    tree.rmdir()


def _taken_out(folder: Path, *, top: Path) -> list[Path]:
    """Removes the files of a folder and brings its folders up to the top; answers where these are."""
    folder.chmod(0o700)
    with os.scandir(folder) as entries:
        inside = [(Path(entry.path), entry.is_dir(follow_symlinks=False)) for entry in entries]
    moved = []
    for path, is_folder in inside:
        if is_folder:
            path.chmod(0o700)  # a folder that its owner may not write cannot be moved
            moved.append(path.rename(top / uuid.uuid4().hex))
        else:
            path.unlink()
    return moved
