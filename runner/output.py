"""The stored log of an attempt: masked lines with their stream and time, in one file an attempt.

Files lie in folders that the beginning of the job's id names, which is a time (RFC 9562, UUIDv7): a new folder a
minute, since one a job costs as much as the file.

A record is one JSON line, `[milliseconds, stream, text]`. A position is a byte offset of a record's start, so
that a follower resumes exactly and reading from anywhere costs nothing for what lies before.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from runner.errors import Unavailable

#: Text of one record at most, in characters; longer lines are stored in pieces.
MAX_TEXT = 64 * 1024

#: Hexadecimal digits of a job's id that tell its time to 66 seconds.
_MINUTE = 8

#: Bytes read for one page of a log at most, whatever the limit in lines.
_PAGE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Line:
    """One record; `stream` is `stdout`, `stderr` or `system`; `next` is the position after it."""

    at: datetime
    stream: str
    text: str
    next: int


@dataclass(frozen=True, slots=True)
class Page:
    """Some records and the position to go on from."""

    lines: tuple[Line, ...]
    next: int


def log_path(root: Path, job_id: uuid.UUID, attempt: int) -> Path:
    """The file of one attempt's log; both parts are ids, never text that a person wrote."""
    return root / job_id.hex[:_MINUTE] / f"{job_id}-{attempt}.log"


class LogWriter:
    """Appends masked records to one attempt's log; the caller masks before."""

    def __init__(self, root: Path, job_id: uuid.UUID, attempt: int, *, group: int | None = None) -> None:
        """`group` is the id of a group of the operating system that may read the log too."""
        path = log_path(root, job_id, attempt)
        try:
            self._descriptor = _appending(path)
        except FileNotFoundError:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor = _appending(path)
        if group is not None:
            _share(path.parent, self._descriptor, group)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, stream: str, texts: Iterable[str], *, at: datetime) -> None:
        """Append one record a text, all with the same time, in one system call."""
        milliseconds = int(at.timestamp() * 1000)
        records = [
            json.dumps([milliseconds, stream, piece], ensure_ascii=False, separators=(",", ":"))
            for text in texts
            for piece in _pieces(text)
        ]
        if records:
            data = memoryview(("\n".join(records) + "\n").encode("utf-8", "surrogateescape"))
            while data:
                data = data[os.write(self._descriptor, data) :]

    def close(self) -> None:
        """Release the file; writing afterwards is an error."""
        os.close(self._descriptor)


def read_page(root: Path, job_id: uuid.UUID, attempt: int, *, after: int = 0, limit: int = 1000) -> Page:
    """At most `limit` records from position `after`; an empty page when nothing is there yet.

    Raises:
        Unavailable: when this process may not read the log.
    """
    try:
        descriptor = os.open(log_path(root, job_id, attempt), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return Page((), after)
    except PermissionError:
        raise Unavailable(
            "The console may not read the logs of this runner; set BOTKEEP_LOG_GROUP on the runner to a group that "
            "the console's user belongs to."
        ) from None
    with os.fdopen(descriptor, "rb") as file:
        file.seek(after)
        data = file.read(_PAGE_BYTES)
    lines: list[Line] = []
    position = after
    for raw in data.splitlines(keepends=True):
        if len(lines) == limit or not raw.endswith(b"\n"):
            break  # a record that is still being written belongs to the next page
        position += len(raw)
        record = _parse(raw, position)
        if record is not None:
            lines.append(record)
    return Page(tuple(lines), position)


def _appending(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _share(folder: Path, file: int, group: int) -> None:
    os.chown(folder, -1, group)
    folder.chmod(0o750)
    os.fchown(file, -1, group)
    os.fchmod(file, 0o640)


def _parse(raw: bytes, position: int) -> Line | None:
    try:
        milliseconds, stream, text = json.loads(raw)
        return Line(datetime.fromtimestamp(milliseconds / 1000, UTC), str(stream), str(text), position)
    except (ValueError, TypeError, OverflowError):
        return None  # a torn record after a power cut; what follows is still readable


def _pieces(text: str) -> Iterable[str]:
    if len(text) <= MAX_TEXT:
        return (text,)
    return (text[start : start + MAX_TEXT] for start in range(0, len(text), MAX_TEXT))
