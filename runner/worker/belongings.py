"""The folders of an attempt whose bot has a user of its own: given to that user at the start, taken back at the end.

Promises that nothing is followed, and that nothing changes its owner but what belonged to the giver: what is given was
made by the runner, while nobody else could reach it; what is taken back belonged to the bot's user, whose processes are
all dead. So no link, hard link or name that a bot made leads to another's file. Needs CAP_CHOWN alone: folders without
rights are opened by whom they belong to.
Standard library only: the spawner's process loads it.
"""

# pathlib would make the process larger that is copied for each attempt.
# ruff: noqa: PTH101

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable

#: Folders below each other within which descriptors are kept open; what is deeper is brought up to the top.
DEEPEST = 48

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class Strange(Exception):
    """There is something that the runner has not made."""


def hand_over(trees: Iterable[str], user: int, group: int) -> None:
    """Gives each tree to the bot's user. Raises OSError and, for what is not the runner's alone, `Strange`."""
    for tree in trees:
        folder = os.open(tree, _FOLDER)
        try:
            _give(folder, user, group)
            os.fchown(folder, user, group)
        finally:
            os.close(folder)


def _give(folder: int, user: int, group: int) -> None:
    """All below a folder, the deepest first: who has given a folder away cannot enter it any more."""
    for name in os.listdir(folder):
        found = os.lstat(name, dir_fd=folder)
        if found.st_uid != os.geteuid():
            raise Strange(f"{name!r} belongs to another user")
        if stat.S_ISDIR(found.st_mode):
            inner = os.open(name, _FOLDER, dir_fd=folder)
            try:
                _give(inner, user, group)
                os.fchown(inner, user, group)
            finally:
                os.close(inner)
        elif not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise Strange(f"{name!r} is no file, or has a second name")
        else:
            os.chown(name, user, group, dir_fd=folder, follow_symlinks=False)


def take_back(trees: Iterable[str], user: int) -> None:
    """Makes each tree the runner's again, with all in it that was that user's; folders can be entered again.

    Files with a second name, links and the like stay as they are: who owns the folder can remove them. What cannot be
    taken stays, too. Processes of that user must be dead.
    """
    for tree in trees:
        with contextlib.suppress(OSError):
            top = _taken(tree, user, at=None)
            if top is not None:
                try:
                    _take_all(top, user)
                finally:
                    os.close(top)


def _take_all(top: int, user: int) -> None:
    deep: list[str] = []
    _take(top, user, top=top, depth=0, deep=deep)
    while deep:
        with contextlib.suppress(OSError):
            inner = os.open(deep.pop(), _FOLDER, dir_fd=top)
            try:
                _take(inner, user, top=top, depth=1, deep=deep)
            finally:
                os.close(inner)


def _take(folder: int, user: int, *, top: int, depth: int, deep: list[str]) -> None:
    """All below a folder that was taken. What lies too deep goes to the top, and its new name to `deep`."""
    for name in os.listdir(folder):
        with contextlib.suppress(OSError):
            inner = _taken(name, user, at=folder)
            if inner is None:
                continue
            try:
                if depth < DEEPEST:
                    _take(inner, user, top=top, depth=depth + 1, deep=deep)
                else:
                    up = f".deep-{os.urandom(16).hex()}"
                    os.rename(name, up, src_dir_fd=folder, dst_dir_fd=top)
                    deep.append(up)
            finally:
                os.close(inner)


def _taken(name: str, user: int, *, at: int | None) -> int | None:
    """Takes one thing; the descriptor of a folder that can be looked into."""
    seen = os.open(name, _LOOK, dir_fd=at)
    try:
        found = os.fstat(seen)
        folder = stat.S_ISDIR(found.st_mode)
        if found.st_uid == user and (folder or (stat.S_ISREG(found.st_mode) and found.st_nlink == 1)):
            # By the very thing that was looked at, whatever has its name by now.
            os.chown(f"/proc/self/fd/{seen}", os.geteuid(), os.getegid())
        if not folder:
            return None
        if stat.S_IMODE(found.st_mode) != 0o700:
            os.chmod(f"/proc/self/fd/{seen}", 0o700)
        return os.open(f"/proc/self/fd/{seen}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    finally:
        os.close(seen)
