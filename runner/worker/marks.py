"""What tells a file or folder from what it was: which one it is, and when it was last changed.

Promises that one which has the mark that it had when it was looked at, and whose mark counts (`settled`), has the same
rights, attributes and names in it, and, where it is a file, as many names itself. Of a file's content a mark says
nothing: XFS exchanges extents of two files without telling (XFS_IOC_SWAPEXT).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

#: The inode, and when its rights, attributes or contents were last changed: no process can set that back.
Mark = tuple[int, int]

#: Nanoseconds after which what is changed shows another time of it, on any file system: two seconds is the coarsest.
_SETTLED = 3_000_000_000


def of(found: os.stat_result) -> Mark:
    """The mark of what was looked at."""
    return found.st_ino, found.st_ctime_ns


def at(path: str) -> Mark:
    """The mark of what is there. Raises OSError."""
    return of(os.lstat(path))


def settled(marks: Iterable[Mark]) -> bool:
    """Whether no change from now on can leave one of these marks as it is."""
    before = time.time_ns() - _SETTLED
    return all(changed < before for _, changed in marks)
