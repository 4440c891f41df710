"""The files of a verified package, laid out for an attempt.

An attempt has a copy of its own, which its bot may change. The next attempt of the same package gets that copy again
if it holds the package's bytes and nothing else, since looking costs a tenth of writing; else it is written anew. Every
byte is compared each time; rights, attributes and names only where marks do not say that they are what they were.
A copy that a bot changed goes with its attempt: what it wrote there may be a value.
Refuses to follow or to replace anything that is in the way.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from runner.archive import File, files_of
from runner.worker import marks
from runner.worker.marks import Mark
from runner.worker.removal import remove

#: Bytes compared at once.
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """What one file of a package must be: its mode, its size in bytes, and the SHA-256 of its content."""

    mode: int
    size: int
    digest: bytes


#: Nothing is known of any file.
_NOTHING: Mapping[str, Mark] = {}

#: What a package holds, by name; the names of folders are those of their files.
Listing = Mapping[str, Entry]


def listing(files: Mapping[str, File]) -> Listing:
    """What the files of a package are, without their contents."""
    return {
        name: Entry(_mode(file), len(file.content), hashlib.sha256(file.content).digest())
        for name, file in files.items()
    }


class Layout:
    """A directory in which one attempt after another finds its package. Belongs to one attempt at a time."""

    def __init__(self, directory: Path) -> None:
        self._directory, self._path = directory, str(directory)
        #: What was found there, and the marks of its folders and files, where these say that they stayed as they were.
        self._listed: Listing | None = None
        #: What the attempt that has it found there.
        self._given: Listing | None = None
        self._folders: list[tuple[str, Mark]] = []
        self._files: dict[str, Mark] = {}

    def restore(self, content: bytes, *, listed: Listing) -> None:
        """Makes the directory hold the files of the verified archive `content`, which are `listed`, and nothing else.

        Raises:
            PackageInvalid: the bytes are no package; verify them first.
            OSError: its parent does not exist, the disk is full.
        """
        if not self._holds(listed):
            self._listed = None
            remove(self._path)
            unpack(content, self._directory)
        self._given = listed

    def is_changed(self) -> bool:
        """Whether the attempt that has it left something else than it found; asked once, at its end."""
        given, self._given = self._given, None
        if given is None:
            return False
        # Marks differ, too, where another user had it meanwhile.
        return not (self._listed is given and self._is_untouched()) and not self._holds(given)

    def _is_untouched(self) -> bool:
        files = ((f"{self._path}/{name}", mark) for name, mark in self._files.items())
        try:
            return all(marks.at(path) == mark for path, mark in (*self._folders, *files))
        except OSError:
            return False

    def _holds(self, listed: Listing) -> bool:
        """Whether everything in it is as `unpack` leaves it; the content of each file is read in any case."""
        try:
            if self._listed is listed and all(marks.at(path) == mark for path, mark in self._folders):
                return all(_found(self._path, *one, seen=self._files) is not None for one in listed.items())
            self._listed, self._folders, self._files = None, [], {}
            if set(_names(self._path, "", self._folders)) != listed.keys():
                return False
            for name, entry in listed.items():
                mark = _found(self._path, name, entry)
                if mark is None:
                    return False
                self._files[name] = mark
        except (OSError, _Strange):
            return False
        if marks.settled([*self._files.values(), *(mark for _, mark in self._folders)]):
            self._listed = listed
        return True


class _Strange(Exception):
    """Something that no package holds."""


def _names(folder: str, prefix: str, seen: list[tuple[str, Mark]]) -> Iterator[str]:
    """The names of all files below a folder that is as `unpack` makes it; notes each folder in `seen`."""
    found = os.lstat(folder)
    if stat.S_IMODE(found.st_mode) != 0o700 or os.listxattr(folder, follow_symlinks=False):
        raise _Strange
    seen.append((folder, marks.of(found)))
    empty = True
    with os.scandir(folder) as entries:
        for entry in entries:
            empty = False
            if entry.is_dir(follow_symlinks=False):
                yield from _names(entry.path, f"{prefix}{entry.name}/", seen)
            else:
                yield prefix + entry.name
    if empty:
        raise _Strange


def _found(directory: str, name: str, wanted: Entry, *, seen: Mapping[str, Mark] = _NOTHING) -> Mark | None:
    """The mark of a file that is what it must be, else `None`; with the mark in `seen`, only its content can differ."""
    descriptor = os.open(f"{directory}/{name}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        mark = marks.of(found)
        if found.st_size != wanted.size:
            return None
        if mark != seen.get(name):
            if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1 or os.listxattr(descriptor):
                return None
            if stat.S_IMODE(found.st_mode) != wanted.mode:
                return None
        digest, left = hashlib.sha256(), wanted.size
        while left and (data := os.read(descriptor, min(left, _CHUNK))):
            digest.update(data)
            left -= len(data)
        return mark if digest.digest() == wanted.digest else None
    finally:
        os.close(descriptor)


def unpack(content: bytes, directory: Path) -> None:
    """Writes the files of a verified canonical archive into `directory`, which must not exist yet.

    Directories get mode 0700, files 0600, or 0700 where executable. Nothing that is in the way is followed or
    replaced, and what was written of a package that could not be written wholly is removed.

    Raises:
        PackageInvalid: the bytes are no package; verify them first.
        FileExistsError, OSError: `directory` exists, its parent does not, the disk is full.
    """
    files = files_of(content)
    directory.mkdir(mode=0o700)
    try:
        _unpack(files, directory)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise


def _unpack(files: Mapping[str, File], directory: Path) -> None:
    """Names are sorted, so each folder is entered once; `open_folders` leads to the last file."""
    parts: list[str] = []
    open_folders = [os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)]
    try:
        for name, file in files.items():
            *folders, last = name.split("/")
            while parts != folders[: len(parts)]:
                parts.pop()
                os.close(open_folders.pop())
            for folder in folders[len(parts) :]:
                os.mkdir(folder, 0o700, dir_fd=open_folders[-1])
                parts.append(folder)
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                open_folders.append(os.open(folder, flags, dir_fd=open_folders[-1]))
            _write_file(last, file, folder=open_folders[-1])
    finally:
        for descriptor in open_folders:
            os.close(descriptor)


def _write_file(name: str, file: File, *, folder: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, _mode(file), dir_fd=folder)
    try:
        rest = memoryview(file.content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    finally:
        os.close(descriptor)


def _mode(file: File) -> int:
    return 0o700 if file.executable else 0o600
