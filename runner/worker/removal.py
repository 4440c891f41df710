"""Removes what a bot left, however hard it made that. Standard library only: the spawner's process loads it."""

# pathlib would make the process larger that is copied for each attempt.
# ruff: noqa: PTH101, PTH104, PTH106, PTH108, PTH118

from __future__ import annotations

import os
import stat


def remove(tree: str | os.PathLike[str]) -> None:
    """Removes a folder with all below it, or whatever else has the name; folders without rights are opened first.

    Nothing is followed. Folders may be nested deeper than a path may be long, or a function may call itself: each is
    brought up to the top before it is looked into. Does nothing where nothing is there.

    Raises:
        OSError: something cannot be removed, by its owner and with all rights.
    """
    top = os.fspath(tree)
    try:
        found = os.lstat(top)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(found.st_mode):
        os.unlink(top)
        return
    folders = _taken_out(top, top=top)
    while folders:
        folder = folders.pop()
        folders += _taken_out(folder, top=top)
        os.rmdir(folder)
    os.rmdir(top)


def _taken_out(folder: str, *, top: str) -> list[str]:
    """Removes the files of a folder and brings its folders up to the top; answers where these are."""
    os.chmod(folder, 0o700)
    with os.scandir(folder) as entries:
        inside = [(entry.path, entry.is_dir(follow_symlinks=False)) for entry in entries]
    moved = []
    for path, is_folder in inside:
        if is_folder:
            os.chmod(path, 0o700)  # a folder that its owner may not write cannot be moved
            moved.append(os.path.join(top, os.urandom(16).hex()))
            os.rename(path, moved[-1])
        else:
            os.unlink(path)
    return moved
