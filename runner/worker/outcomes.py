"""The outcome journal: how attempts ended, written durably by their launchers before anybody is told.

One append-only file for each worker process (and a further one when it has grown), `INSTANCE-N.jsonl`. Launchers are
handed its descriptor, so one flock(2) on it lasts until the worker and the last of its launchers have ended: who gets
the lock knows that nobody will write any more. A file is removed when all that it could hold is reported.
Promises that a line is whole or ignored (a torn one after a power cut), and holds no value of an asset.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

#: Attempts after which a new file is begun: about half a megabyte of lines.
ATTEMPTS_PER_FILE = 1500

EndReason = Literal[
    "exit", "timeout", "limit", "killed", "worker_died", "lease_over", "spawner_died", "launcher_died", "start_failed"
]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt's process ended. Times are seconds since the epoch, by this host's clock, which may be wrong;
    `started_after` are the seconds from before the claim to the start, by its monotonic one.

    `signal` is the number of the signal that ended the bot; with it `exit_code` is `None`. Both are `None` where
    nobody saw the bot's end. `survivors` counts descendants that could not be killed: 0, or -1 for unknown.
    `mode` is how the bot was started: a Python bot by our bootstrap, or another command by `exec`. `user` is the one
    that it had for itself, of a runner that has such.
    """

    exit_code: int | None
    signal: int | None
    reason: EndReason
    detail: str
    survivors: int
    max_rss_kb: int
    user_seconds: float
    system_seconds: float
    started_at: float
    ended_at: float
    mode: Literal["bootstrap", "exec"] = "bootstrap"
    paused_seconds: float = 0.0
    started_after: float | None = None
    user: str | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """One line of a journal.

    One that is not `final` was written when the bot had ended and its descendants were still to be killed; it counts
    where no final one follows, since its launcher was killed in between.
    """

    job_id: uuid.UUID
    attempt: int
    outcome: Outcome
    final: bool = True


@dataclass(slots=True)
class File:
    """One file of the journal: how many attempts were begun in it, and how many of these are not reported yet."""

    path: Path
    descriptor: int
    begun: int = 0
    open: int = 0


class Entry:
    """The place of one attempt in the journal; as a context manager it says at its end that all is reported."""

    def __init__(self, job_id: uuid.UUID, attempt: int, *, journal: Journal, file: File) -> None:
        self.job_id, self.attempt = job_id, attempt
        self._journal, self._file = journal, file

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:  # else its line is still wanted, by whoever adopts it
            self._journal.release(self._file)

    def fileno(self) -> int:
        """The descriptor that a launcher writes the line to."""
        return self._file.descriptor

    def read(self) -> Outcome | None:
        """The outcome, once a launcher has written it."""
        for one in standing(_records(self._file.descriptor)):
            if (one.job_id, one.attempt) == (self.job_id, self.attempt):
                return one.outcome
        return None


class Journal:
    """The journal of this worker process."""

    def __init__(self, root: Path, *, instance: uuid.UUID) -> None:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._root, self._instance = root, instance
        self._lock = threading.Lock()
        self._number = 0
        self._file = self._new()

    def entry(self, job_id: uuid.UUID, attempt: int) -> Entry:
        """The place of an attempt that is about to be launched."""
        with self._lock:
            if self._file.begun >= ATTEMPTS_PER_FILE:
                self._follow()
            self._file.begun += 1
            self._file.open += 1
            return Entry(job_id, attempt, journal=self, file=self._file)

    def release(self, file: File) -> None:
        """One attempt of this file is reported."""
        with self._lock:
            file.open -= 1
            if file is not self._file and file.open == 0:
                _drop(file)

    def close(self) -> None:
        """Remove the file, unless an attempt in it was not reported."""
        with self._lock:
            if self._file.open == 0:
                _drop(self._file)
            else:
                os.close(self._file.descriptor)

    def _follow(self) -> None:
        try:
            former, self._file = self._file, self._new()
        except OSError:
            return  # a full disk: the old file is still there
        if former.open == 0:
            _drop(former)

    def _new(self) -> File:
        # Locked under a name that adopters pass over, then given its own: it is never seen without its lock held.
        self._number += 1
        path = self._root / f"{self._instance.hex}-{self._number}.jsonl"
        fresh = path.with_name(f".{path.name}")
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(fresh, flags, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fresh.rename(path)
        _synchronise(self._root)
        return File(path, descriptor)


def abandoned(root: Path) -> Iterator[Path]:
    """Every journal below `root`; whether it is abandoned tells `taking_over`."""
    yield from sorted(root.glob("[!.]*.jsonl"))


def standing(records: Iterable[Recorded]) -> list[Recorded]:
    """The line that counts for each attempt: the first final one, by who saw the bot's end; else the last."""
    found: dict[tuple[uuid.UUID, int], Recorded] = {}
    for one in records:
        known = found.get((one.job_id, one.attempt))
        if known is None or not known.final:
            found[one.job_id, one.attempt] = one
    return list(found.values())


def peek(path: Path) -> list[Recorded]:
    """What a journal holds for good that somebody may still write; nothing where it is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return []
    try:
        return [one for one in standing(_records(descriptor)) if one.final]
    finally:
        os.close(descriptor)


@contextmanager
def taking_over(path: Path) -> Iterator[list[Recorded]]:
    """What an abandoned journal holds, nothing where somebody may still write it; removed when the block succeeds."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        yield []
        return
    try:
        if _ours(descriptor):
            yield standing(_records(descriptor))
            path.unlink()
        else:
            yield []
    finally:
        os.close(descriptor)


def _ours(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return os.fstat(descriptor).st_nlink > 0  # else another adopter was faster


def _records(descriptor: int) -> Iterator[Recorded]:
    content = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    for line in content.split(b"\n"):
        if one := _record(line):
            yield one


def _record(line: bytes) -> Recorded | None:
    """A line's record; `None` for a torn one, and for what another version may have written."""
    try:
        raw: dict[str, Any] = json.loads(line)
        known = {field.name: raw[field.name] for field in fields(Outcome) if field.name in raw}
        return Recorded(uuid.UUID(raw["job"]), int(raw["attempt"]), Outcome(**known), raw.get("final", True) is True)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _drop(file: File) -> None:
    file.path.unlink(missing_ok=True)
    os.close(file.descriptor)


def _synchronise(folder: Path) -> None:
    """Make a new name in a folder last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
