"""The store of logs and artefacts, chosen by URL: a directory by default, any object store of fsspec for many hosts.

A log is a few parts, each a sequence of chunks (`runner.chunks`): a directory appends to a part, an object store
writes it again while it grows. Promises that names come from ids and numbers alone, and that an error says where the
store lies without the credentials that its URL may hold.
"""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from runner.directory import Directory
from runner.errors import Invalid


class Part(Protocol):
    """A part of a stored log; `position` and `line` are those of its first chunk."""

    position: int
    line: int

    @property
    def size(self) -> int:
        """Bytes that it has now."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """Bytes from `offset` on, fewer at the end; none where the part is gone."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class Sink(Protocol):
    """Takes one attempt's log. Belongs to one thread."""

    @property
    def lost(self) -> int:
        """Bytes of chunks that could not be stored."""
        ...

    @property
    def full(self) -> bool:
        """Whether the next chunk had better begin a new part."""
        ...

    def begin(self, position: int, line: int) -> str:
        """Begin a part, and name it for `drop`."""
        ...

    def write(self, chunk: bytes) -> None:
        """Add a chunk to the part."""
        ...

    def settle(self) -> None:
        """Make what was written readable for others."""
        ...

    def drop(self, name: str) -> None:
        """Forget a part."""
        ...

    def close(self) -> None:
        """Settle, and let go."""
        ...


class Store(Protocol):
    """Where the logs and the artefacts of attempts lie. Threads may share it."""

    #: Its address as people may see it.
    shown: str
    #: Seconds after which a line that was printed can be read from the store.
    interval: float

    def sink(self, job_id: uuid.UUID, attempt: int) -> Sink:
        """What takes the log of a new attempt; nothing is made before its first part."""
        ...

    def parts(self, job_id: uuid.UUID, attempt: int) -> Sequence[Part]:
        """The parts of a log in their order; none where there is no log. Raises `Unavailable`."""
        ...

    def remove(self, job_id: uuid.UUID, attempt: int) -> bool:
        """Remove the log and the artefacts of an attempt; false where there was nothing. Raises `Unavailable`."""
        ...

    def keep(self, job_id: uuid.UUID, attempt: int, number: int, blocks: Iterable[bytes]) -> None:
        """Store an artefact under its number; nothing of it stays where this fails."""
        ...

    def artefact(self, job_id: uuid.UUID, attempt: int, number: int) -> Iterator[bytes]:
        """The content of an artefact, in blocks. Raises `NotFound`, `Unavailable`."""
        ...

    def discard(self, job_id: uuid.UUID, attempt: int, number: int) -> None:
        """Remove one artefact."""
        ...


def store(url: str, *, group: int | None = None) -> Store:
    """The store at a URL; `group` is one of the operating system that may read and prune a directory's logs.

    Raises:
        Invalid: for a URL that names none, or a kind whose package is not installed.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme == "file":
        if parts.netloc not in {"", "localhost"} or not parts.path.startswith("/"):
            raise Invalid("BOTKEEP_LOG_URL names no folder: write file:///var/log/botkeep, with three slashes.")
        return Directory(Path(parts.path), host=socket.gethostname(), group=group)
    if not parts.scheme or not (parts.netloc or parts.path.strip("/")):
        raise Invalid("BOTKEEP_LOG_URL is not an address: write file:///FOLDER or s3://BUCKET/PREFIX.")
    from runner.objects import Objects  # noqa: PLC0415 - fsspec takes 0.1 s to import, for those who use it

    return Objects(url)


def directory(root: Path, *, group: int | None = None) -> Store:
    """The store in a folder of this host."""
    return Directory(root, host=socket.gethostname(), group=group)
