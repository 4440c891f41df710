"""A store of objects (`s3://…`, and whatever else fsspec knows), for runners and consoles on many hosts.

A part is one object of at most `PART` bytes, written again while it grows: objects cannot be appended to. Promises
that a store which is away stops no bot: what cannot be written is tried again after `PAUSE`, kept up to `HELD` bytes,
and then lost, oldest first, which the log's reader and the job's warnings say. Credentials come from where the
package of the store looks for them, such as the variables AWS_*; Botkeep keeps none.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

import fsspec

from runner.directory import part_name, place_of
from runner.errors import Invalid, NotFound, Unavailable
from runner.logging import logger

#: Bytes of a part: few enough to write it again every few seconds, and to read as a whole.
PART = 1 << 20

#: Bytes of parts that wait for a store that is away.
HELD = 4 << 20

#: Seconds before another try to write.
PAUSE = 10.0

#: Bytes of an artefact that are read at once.
_BLOCK = 1 << 20

#: What s3fs is told (https://s3fs.readthedocs.io): a store that does not answer is given up for now, and fast.
_OPTIONS: dict[str, dict[str, Any]] = {
    "s3": {"config_kwargs": {"connect_timeout": 3, "read_timeout": 10, "retries": {"max_attempts": 2}}},
}

_log = logger()


class Objects:
    """Logs and artefacts below a URL of fsspec."""

    #: Seconds; each costs a request.
    interval = 3.0

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        options = {**_OPTIONS.get(parts.scheme, {}), "use_listings_cache": False}
        try:
            self._files, root = fsspec.core.url_to_fs(url, **options)
        except ImportError:
            raise Invalid(
                f"BOTKEEP_LOG_URL needs a package that is not installed: pip install 'botkeep[{parts.scheme}]'."
            ) from None
        except (ValueError, TypeError):
            raise Invalid(f"BOTKEEP_LOG_URL begins with {parts.scheme}://, which names no known store.") from None
        self._root = root.rstrip("/")

    def sink(self, job_id: uuid.UUID, attempt: int) -> ObjectSink:
        """What takes the log of a new attempt."""
        return ObjectSink(self._files, self._folder(job_id, attempt), shown=self.shown)

    def parts(self, job_id: uuid.UUID, attempt: int) -> list[ObjectPart]:
        """The parts of a log in their order, by one request. Raises `Unavailable`."""
        folder = self._folder(job_id, attempt)
        with self._answers():
            try:
                paths = self._files.ls(folder, detail=False)
            except FileNotFoundError:
                return []
        found = sorted(path for path in paths if path.endswith(".log"))
        return [ObjectPart(self, path) for path in found]

    def read(self, path: str) -> bytes:
        """A whole object; nothing where it is gone. Raises `Unavailable`."""
        with self._answers():
            try:
                return bytes(self._files.cat_file(path))
            except FileNotFoundError:
                return b""

    def remove(self, job_id: uuid.UUID, attempt: int) -> bool:
        """Remove what is stored of an attempt; false where nothing was there. Raises `Unavailable`."""
        with self._answers():
            try:
                self._files.rm(self._folder(job_id, attempt), recursive=True)
            except FileNotFoundError:
                return False
        return True

    def keep(self, job_id: uuid.UUID, attempt: int, number: int, blocks: Iterable[bytes]) -> None:
        """Store an artefact under its number. Raises `Unavailable`."""
        with self._answers(), self._files.open(self._artefact(job_id, attempt, number), "wb") as file:
            try:
                for block in blocks:
                    file.write(block)
            except BaseException:
                file.discard()
                raise

    def artefact(self, job_id: uuid.UUID, attempt: int, number: int) -> Iterator[bytes]:
        """The content of an artefact, in blocks.

        Raises:
            NotFound: when it is not there.
            Unavailable: when the store does not answer.
        """
        with self._answers():
            try:
                file = self._files.open(self._artefact(job_id, attempt, number), "rb", block_size=_BLOCK)
            except FileNotFoundError:
                raise NotFound(f"The artefact is not in {self.shown}.") from None
        return _blocks(file)

    def discard(self, job_id: uuid.UUID, attempt: int, number: int) -> None:
        """Remove one artefact. Raises `Unavailable`."""
        with self._answers(), contextlib.suppress(FileNotFoundError):
            self._files.rm_file(self._artefact(job_id, attempt, number))

    def _folder(self, job_id: uuid.UUID, attempt: int) -> str:
        return f"{self._root}/{job_id}.{attempt}"

    def _artefact(self, job_id: uuid.UUID, attempt: int, number: int) -> str:
        return f"{self._folder(job_id, attempt)}/artefacts/{number}"

    @contextlib.contextmanager
    def _answers(self) -> Iterator[None]:
        try:
            yield
        except (NotFound, FileNotFoundError):
            raise
        except Exception as error:  # each store has exceptions of its own
            raise Unavailable(
                f"The log store {self.shown} cannot be used now ({type(error).__name__}); check that it answers and "
                "that this process has credentials for it."
            ) from None


class ObjectPart:
    """A part in an object, read as a whole when it is first looked into."""

    def __init__(self, store: Objects, path: str) -> None:
        self._store, self._path = store, path
        self.position, self.line = place_of(path.rpartition("/")[2])
        self._content: bytes | None = None

    @property
    def size(self) -> int:
        """Bytes that it has."""
        return len(self._whole())

    def read(self, offset: int, length: int) -> bytes:
        """Bytes from `offset` on."""
        return self._whole()[offset : offset + length]

    def close(self) -> None:
        """Forget the content."""
        self._content = None

    def _whole(self) -> bytes:
        if self._content is None:
            self._content = self._store.read(self._path)
        return self._content


class ObjectSink:
    """Writes the last part again when it has grown, and a full one for good."""

    def __init__(self, files: Any, folder: str, *, shown: str) -> None:  # noqa: ANN401 - fsspec has no types
        self._files, self._folder, self._shown = files, folder, shown
        self._name = ""
        # What is not stored yet, by part, oldest first; of the last part all of it.
        self._held: dict[str, bytearray] = {}
        self._grown = False
        self._again_at = 0.0
        self.lost = 0

    @property
    def full(self) -> bool:
        """Whether the part has its size."""
        return len(self._held.get(self._name, b"")) >= PART

    def begin(self, position: int, line: int) -> str:
        """Begin a part; the one before is complete."""
        self.settle()
        if self._name and not self._grown:
            self._held.pop(self._name, None)
        self._name = part_name(position, line)
        self._held[self._name] = bytearray()
        while len(self._held) > 1 and sum(map(len, self._held.values())) > HELD:
            self.lost += len(self._held.pop(next(iter(self._held))))
        return self._name

    def write(self, chunk: bytes) -> None:
        """Add a chunk; `settle` stores it."""
        self._held[self._name] += chunk
        self._grown = True

    def settle(self) -> None:
        """Store what is not stored yet; a store that is away is left alone for a while."""
        if self._grown and time.monotonic() >= self._again_at:
            self._store_held()

    def drop(self, name: str) -> None:
        """Remove a part, stored or not."""
        self._held.pop(name, None)
        with contextlib.suppress(Exception):  # what stays is removed with the rest of the log
            self._files.rm_file(f"{self._folder}/{name}")

    def close(self) -> None:
        """Store the rest, or lose it."""
        if self._grown:
            self._store_held()
            if self._grown:
                self.lost += sum(map(len, self._held.values()))
        self._held.clear()

    def _store_held(self) -> None:
        for name, content in list(self._held.items()):
            try:
                self._files.pipe_file(f"{self._folder}/{name}", bytes(content))
            except Exception as error:
                _log.warning("log.delayed", store=self._shown, error=type(error).__name__)
                self._again_at = time.monotonic() + PAUSE
                return
            if name != self._name:
                del self._held[name]
        self._grown = False


def _blocks(file: Any) -> Iterator[bytes]:  # noqa: ANN401 - fsspec has no types
    with file:
        while block := file.read(_BLOCK):
            yield block
