"""A store of objects (`s3://…`, and whatever else fsspec knows), for runners and consoles on many hosts.

A part of a log is one object, written again while it grows (`runner.object_sink`). Credentials come from where the
package of the store looks for them, such as the variables AWS_*; Botkeep keeps none.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

import fsspec

from runner.directory import place_of
from runner.errors import Invalid, NotFound, Unavailable
from runner.object_sink import ObjectSink

#: Bytes of an artefact that are read at once.
_BLOCK = 1 << 20

#: What s3fs is told (https://s3fs.readthedocs.io): a store that does not answer is given up for now, and fast.
_OPTIONS: dict[str, dict[str, Any]] = {
    "s3": {"config_kwargs": {"connect_timeout": 3, "read_timeout": 10, "retries": {"max_attempts": 2}}},
}


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
        if parts.scheme == "s3":
            self._files.retries = 2  # beside those of its client; five would keep the end of an attempt for minutes
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


def _blocks(file: Any) -> Iterator[bytes]:  # noqa: ANN401 - fsspec has no types
    with file:
        while block := file.read(_BLOCK):
            yield block
