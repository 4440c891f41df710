"""Collects what a bot left in its output folder, when all its processes have ended.

Promises: only plain files that the bot owns and that lie in the folder are taken, through descriptors that follow no
link; text is masked before it is stored, names too; a binary file in which a value is found is withheld, and said to
be. Refuses links, hard links, devices, pipes, sockets and what is beyond a limit, each with a sentence. It cannot see
values inside of compressed or encrypted files.
"""

from __future__ import annotations

import codecs
import hashlib
import os
import stat
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from runner.artefacts import Kept
from runner.stores import Store
from runner.worker.masker import Masker, Stream

#: Files of one attempt, folders below each other, and characters of a path, at most.
MOST_FILES, DEEPEST, LONGEST_PATH = 1_000, 32, 1_024

#: Sentences about what was refused; more are counted.
_SENTENCES = 10

#: Bytes that are read at once, and by which a text is told from a binary file.
_BLOCK = 64 * 1024

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

WITHHELD = "A value of an asset was found in this binary file, so it was not kept."


@dataclass(slots=True)
class Collected:
    """What was taken, and a sentence about each thing that was not."""

    files: list[Kept] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    unsaid: int = 0

    def refuse(self, path: str, why: str) -> None:
        """Say that something was not taken."""
        if len(self.refused) < _SENTENCES:
            self.refused.append(f"The artefact {path} was not kept: {why}.")
        else:
            self.unsaid += 1


@dataclass(frozen=True, slots=True)
class _Seen:
    path: str
    descriptor: int
    size: int


def collect(folder: Path, masker: Masker, *, store: Store, job_id: uuid.UUID, attempt: int, most: int) -> Collected:
    """Store the files below `folder`, together at most `most` bytes, in the order of their paths."""
    collected = Collected()
    room = most
    taken: set[str] = set()
    for seen in _files(folder, masker, collected):
        try:
            if len(collected.files) >= MOST_FILES:
                collected.refuse(seen.path, f"there are more than {MOST_FILES:,}")
            elif seen.size > room:
                collected.refuse(seen.path, f"together they have more than {most:,} bytes")
            elif seen.path in taken:
                collected.refuse(seen.path, "another one has this name once both are masked")
            else:
                number = len(collected.files)
                found = _Copy(seen, masker).store(store, job_id, attempt, number)
                taken.add(seen.path)
                collected.files.append(found)
                room -= seen.size
        finally:
            os.close(seen.descriptor)
    if collected.unsaid:
        collected.refused.append(f"{collected.unsaid:,} further artefacts were not kept.")
    return collected


class _Copy:
    """One file on its way into the store."""

    def __init__(self, seen: _Seen, masker: Masker) -> None:
        self._seen = seen
        self._stream = Stream(masker)
        self._before, self._after = hashlib.sha256(), hashlib.sha256()
        self._size = 0

    def store(self, store: Store, job_id: uuid.UUID, attempt: int, number: int) -> Kept:
        first = os.pread(self._seen.descriptor, _BLOCK, 0)
        text = _is_text(first, whole=len(first) < _BLOCK)
        store.keep(job_id, attempt, number, self._masked())
        masked = self._before.digest() != self._after.digest()
        withheld = WITHHELD if masked and not text else None
        if withheld:
            store.discard(job_id, attempt, number)
        return Kept(
            number=number,
            path=self._seen.path,
            size=0 if withheld else self._size,
            digest="" if withheld else self._after.hexdigest(),
            masked=masked,
            withheld=withheld,
        )

    def _masked(self) -> Iterator[bytes]:
        left = self._seen.size
        while left > 0 and (block := os.read(self._seen.descriptor, min(_BLOCK, left))):
            left -= len(block)
            self._before.update(block)
            yield self._counted(self._stream.feed(block))
        yield self._counted(self._stream.flush())

    def _counted(self, block: bytes) -> bytes:
        self._size += len(block)
        self._after.update(block)
        return block


def _files(folder: Path, masker: Masker, collected: Collected) -> Iterator[_Seen]:
    """Each file below the folder that may be taken, open; folders in the order of their names."""
    try:
        top = os.open(folder, _FOLDER)
    except (FileNotFoundError, NotADirectoryError, OSError):
        if os.path.lexists(folder) and folder.is_symlink():
            collected.refuse("BOTKEEP_OUTPUT_DIR", "the folder was replaced by a link")
        return
    try:
        yield from _below(top, "", masker, collected, depth=0)
    finally:
        os.close(top)


def _below(folder: int, prefix: str, masker: Masker, collected: Collected, *, depth: int) -> Iterator[_Seen]:
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries)
    for name in names:
        path = prefix + masker.mask_text(_printable(name))
        found = os.lstat(name, dir_fd=folder)
        if stat.S_ISDIR(found.st_mode):
            if depth >= DEEPEST:
                collected.refuse(path, f"it lies deeper than {DEEPEST} folders")
            else:
                yield from _inside(folder, name, f"{path}/", masker, collected, depth=depth + 1)
        elif why := _unfit(found, path):
            collected.refuse(path, why)
        elif (seen := _opened(folder, name, path)) is not None:
            yield seen
        else:
            collected.refuse(path, "it cannot be read")


def _inside(
    folder: int, name: str, prefix: str, masker: Masker, collected: Collected, *, depth: int
) -> Iterator[_Seen]:
    try:
        inner = os.open(name, _FOLDER, dir_fd=folder)
    except OSError:
        collected.refuse(prefix, "it cannot be read")
        return
    try:
        yield from _below(inner, prefix, masker, collected, depth=depth)
    finally:
        os.close(inner)


def _opened(folder: int, name: str, path: str) -> _Seen | None:
    try:
        descriptor = os.open(name, _FILE, dir_fd=folder)
    except OSError:
        return None
    # What was looked at by its name may be another file by now.
    found = os.fstat(descriptor)
    if _unfit(found, path):
        os.close(descriptor)
        return None
    return _Seen(path, descriptor, found.st_size)


def _unfit(found: os.stat_result, path: str) -> str | None:
    if stat.S_ISLNK(found.st_mode):
        return "it is a link"
    if not stat.S_ISREG(found.st_mode):
        return "it is no file"
    if found.st_nlink != 1:
        return "it has a second name, so that it may be a file of somebody else"
    if found.st_uid != os.geteuid():
        return "it belongs to another user"
    return "its path is too long" if len(path) > LONGEST_PATH else None


def _printable(name: str) -> str:
    """A name as text: bytes that are no UTF-8, and characters that steer a terminal, are written out."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _is_text(first: bytes, *, whole: bool) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(first, final=whole)
    except UnicodeDecodeError:
        return False
    return b"\0" not in first
