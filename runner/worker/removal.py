"""Removes what a bot left, however hard it made that."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path


def remove(tree: Path) -> None:
    """Removes a folder with all below it, or whatever else has the name; folders without rights are opened first.

    Nothing is followed. Does nothing where nothing is there.
    """

    def open_up(_function: object, path: str, _error: object) -> None:
        folder = Path(path)
        for one in (folder.parent, folder):
            if one.is_dir() and not one.is_symlink():
                one.chmod(0o700)
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder, ignore_errors=True)
        else:
            folder.unlink(missing_ok=True)

    try:
        found = os.lstat(tree)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(found.st_mode):
        shutil.rmtree(tree, onerror=open_up)
    else:
        tree.unlink()
