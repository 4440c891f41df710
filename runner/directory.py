"""A store in a folder: one small file for a usual log, found by the job's id without a list of any folder.

A shard holds the logs of the jobs that were queued within 17 minutes (ids are UUIDv7), so that an attempt makes one
inode, and its log's parts beyond the first, and its artefacts, lie in a folder of their own only where there are any.
Follows no link in a file's place.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

from runner.errors import NotFound, Unavailable
from runner.scatter import scatter

#: Hexadecimal digits of a job's id that name its shard: 28 of the 48 bits of milliseconds.
_SHARD = 7

#: Bytes of an artefact that are read at once.
BLOCK = 256 * 1024

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Directory:
    """Logs and artefacts below `root`, on `host`; `group` may read and remove them, too."""

    #: Seconds; a write of a chunk costs some 20 µs.
    interval = 1.0

    def __init__(self, root: Path, *, host: str, group: int | None = None) -> None:
        self.root = root
        self.shown = f"file://{host}{root}"
        self._group = group

    def sink(self, job_id: uuid.UUID, attempt: int) -> DirectorySink:
        """What takes the log of a new attempt."""
        return DirectorySink(self, f"{self.root}/{_place(job_id, attempt)}")

    def parts(self, job_id: uuid.UUID, attempt: int) -> list[FilePart]:
        """The parts of a log in their order.

        Raises:
            Unavailable: when this process may not read the log.
        """
        stem = self._stem(job_id, attempt)
        with self._readable(stem):
            found = [FilePart.open(stem.with_name(f"{stem.name}.log"), position=0, line=0)]
            try:
                names = sorted(path.name for path in _parts_of(stem).iterdir() if path.suffix == ".log")
            except FileNotFoundError:
                names = []
            for name in names:
                position, line = place_of(name)
                found.append(FilePart.open(_parts_of(stem) / name, position=position, line=line))
        return [part for part in found if part is not None]

    def remove(self, job_id: uuid.UUID, attempt: int) -> bool:
        """Remove what is stored of an attempt, and its shard when that is empty then; false where nothing was there.

        Raises:
            Unavailable: when this process may not.
        """
        stem, found = self._stem(job_id, attempt), False
        try:
            for folder in (_parts_of(stem), _artefacts_of(stem)):
                with contextlib.suppress(FileNotFoundError):
                    shutil.rmtree(folder)
                    found = True
            with contextlib.suppress(FileNotFoundError):
                stem.with_name(f"{stem.name}.log").unlink()
                found = True
            with contextlib.suppress(OSError):
                stem.parent.rmdir()
        except OSError as error:
            raise Unavailable(
                f"What is stored in {self.shown} cannot be removed: {error.strerror}. Give the scheduler's user the "
                "group of BOTKEEP_LOG_GROUP."
            ) from None
        return found

    def keep(self, job_id: uuid.UUID, attempt: int, number: int, blocks: Iterable[bytes]) -> None:
        """Store an artefact under its number."""
        path = _artefacts_of(self._stem(job_id, attempt)) / str(number)
        with contextlib.ExitStack() as undo:
            undo.callback(path.unlink, missing_ok=True)
            with os.fdopen(self.make(path), "wb") as file:
                for block in blocks:
                    file.write(block)
            undo.pop_all()

    def artefact(self, job_id: uuid.UUID, attempt: int, number: int) -> Iterator[bytes]:
        """The content of an artefact, in blocks.

        Raises:
            NotFound: when it is not there.
            Unavailable: when this process may not read it.
        """
        stem = self._stem(job_id, attempt)
        with self._readable(stem):
            try:
                descriptor = os.open(_artefacts_of(stem) / str(number), _READ)
            except FileNotFoundError:
                raise NotFound(f"The artefact is not in {self.shown}.") from None
        return _blocks(descriptor)

    def discard(self, job_id: uuid.UUID, attempt: int, number: int) -> None:
        """Remove one artefact."""
        (_artefacts_of(self._stem(job_id, attempt)) / str(number)).unlink(missing_ok=True)

    def make(self, path: Path | str) -> int:
        """A descriptor of a new file; what had its name goes, since an attempt is begun once."""
        try:
            descriptor = os.open(path, _MAKE, 0o600)
        except FileNotFoundError:
            self._make_folder(Path(path).parent)
            return self.make(path)
        except FileExistsError:
            Path(path).unlink()
            return self.make(path)
        if self._group is not None:
            os.fchown(descriptor, -1, self._group)
            os.fchmod(descriptor, 0o640)
        return descriptor

    def _make_folder(self, folder: Path) -> None:
        if folder == self.root:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return
        if not folder.parent.exists():
            self._make_folder(folder.parent)
        if folder.parent == self.root:
            scatter(self.root)
        # By another name first: ext4 derives the folder's place from it, and the shards of all stores have the same.
        fresh = folder.with_name(f".{uuid.uuid4().hex}")
        fresh.mkdir(mode=0o700)
        try:
            if self._group is not None:
                os.chown(fresh, -1, self._group)
                fresh.chmod(0o770)
            fresh.rename(folder)
        except OSError as error:
            fresh.rmdir()
            if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:  # else somebody was faster
                raise

    def _stem(self, job_id: uuid.UUID, attempt: int) -> Path:
        return self.root / _place(job_id, attempt)

    @contextlib.contextmanager
    def _readable(self, stem: Path) -> Iterator[None]:
        try:
            yield
        except PermissionError:
            raise Unavailable(
                f"The console may not read {stem.name} in {self.shown}; set BOTKEEP_LOG_GROUP on the runner to a "
                "group that the console's user belongs to."
            ) from None


class FilePart:
    """A part in a file, open for reading."""

    def __init__(self, descriptor: int, *, position: int, line: int) -> None:
        self._descriptor = descriptor
        self.position, self.line = position, line

    @classmethod
    def open(cls, path: Path, *, position: int, line: int) -> FilePart | None:
        """The part; `None` where it is not there."""
        try:
            return cls(os.open(path, _READ), position=position, line=line)
        except FileNotFoundError:
            return None

    @property
    def size(self) -> int:
        """Bytes that it has now."""
        return os.fstat(self._descriptor).st_size

    def read(self, offset: int, length: int) -> bytes:
        """Bytes from `offset` on."""
        return os.pread(self._descriptor, length, offset)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


class DirectorySink:
    """Appends to one file, and to others where the log is cut in the middle."""

    #: A file can grow for ever.
    full = False

    def __init__(self, store: Directory, stem: str) -> None:
        """`stem` is the path of the first file, without `.log`: text, as a path object costs more than the file."""
        self._store, self._stem = store, stem
        self._file = -1
        self.lost = 0

    def begin(self, position: int, line: int) -> str:
        """Begin a part."""
        self.close()
        name = part_name(position, line)
        self._file = self._store.make(_parts_of(Path(self._stem)) / name if position else f"{self._stem}.log")
        return name

    def write(self, chunk: bytes) -> None:
        """Append a chunk, in one system call unless the disk is full."""
        data = memoryview(chunk)
        while data:
            data = data[os.write(self._file, data) :]

    def settle(self) -> None:
        """Nothing to do: what was written can be read."""

    def drop(self, name: str) -> None:
        """Remove a part."""
        (_parts_of(Path(self._stem)) / name).unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _place(job_id: uuid.UUID, attempt: int) -> str:
    # Ids and numbers only, never text that a person wrote.
    return f"{job_id.hex[:_SHARD]}/{job_id}.{attempt}"


def part_name(position: int, line: int) -> str:
    """The name of a part by the place of its first byte and line; names sort as their parts do."""
    return f"{position:016x}-{line:x}.log"


def place_of(name: str) -> tuple[int, int]:
    """The place of the first byte and line of a part, by its name."""
    position, _, line = name.removesuffix(".log").partition("-")
    return int(position, 16), int(line or "0", 16)


def _parts_of(stem: Path) -> Path:
    return stem.with_name(f"{stem.name}.parts")


def _artefacts_of(stem: Path) -> Path:
    return stem.with_name(f"{stem.name}.artefacts")


def _blocks(descriptor: int) -> Iterator[bytes]:
    with os.fdopen(descriptor, "rb") as file:
        while block := file.read(BLOCK):
            yield block
