"""Where a file system puts the folders that are made in a folder.

ext4 looks for the inode of a new file in the part of the disk where its folder is, and passes over all that were
removed there in the last minutes, one by one: where bots make and remove files beside their runner, that took 0.4 to
0.9 ms for each log, and 0.014 in a part of its own (2026-11-26).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct

#: "The folders in it are not related, and should be spread" (chattr(1), T).
TOP_OF_HIERARCHIES = 0x00020000

#: ioctl_iflags(2), as numbers of most architectures: on others the call is refused.
_GET, _SET = ((way << 30) | (struct.calcsize("l") << 16) | (ord("f") << 8) | number for way, number in ((2, 1), (1, 2)))


def scatter(folder: str | os.PathLike[str]) -> None:
    """Asks the file system to put each new folder of this one in a part of the disk of its own.

    Does nothing where it does not know such a thing, or the folder is somebody else's.
    """
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            flags = attributes(descriptor)
            if not flags & TOP_OF_HIERARCHIES:
                fcntl.ioctl(descriptor, _SET, struct.pack("l", flags | TOP_OF_HIERARCHIES))
        finally:
            os.close(descriptor)


def attributes(descriptor: int) -> int:
    """The attributes of an open file or folder. Raises OSError where its file system has none."""
    found: int = struct.unpack("i", fcntl.ioctl(descriptor, _GET, bytes(struct.calcsize("l")))[:4])[0]
    return found
