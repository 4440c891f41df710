"""What people did with local values on this host: one line each, chained to the line before it by its digest.

Promises that a line is on the disk before what it tells of is shown, and that a line which was changed, removed or
moved is found by `broken`. It cannot notice that the last lines are gone, nor that everything was written anew: the
operating system's own log is there for that.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from vault import private_files
from vault.errors import IdentityFileError

_WHAT = "journal of local values"

#: What stands before the first line.
_START = "0" * 64


@dataclass(frozen=True, slots=True)
class Deed:
    """Who did what; `outcome` is `done` or `refused`. Never a value."""

    at: datetime
    actor: str
    action: str
    object: str
    outcome: str = "done"


def append(folder: Path, deed: Deed) -> None:
    """Write one line down, synced when this returns."""
    with private_files.locked(folder / "journal", what=_WHAT):
        path = folder / "journal" / "deeds.jsonl"
        former = _last(path)
        body = _body(deed, former)
        line = json.dumps({**body, "digest": _digest(body)}, sort_keys=True).encode() + b"\n"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags, 0o600)
            try:
                before = os.fstat(descriptor).st_size
                if os.write(descriptor, line) != len(line):
                    os.ftruncate(descriptor, before)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise IdentityFileError(
                f"The {_WHAT} {path} cannot be written ({error.strerror}): nothing was done."
            ) from None


def read(folder: Path) -> Iterator[dict[str, Any]]:
    """Every line that is whole, the oldest first."""
    path = folder / "journal" / "deeds.jsonl"
    if not path.exists():
        return
    for line in path.read_bytes().splitlines():
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            yield found


def broken(folder: Path) -> int | None:
    """The number of the first line, from 1, that is not what was written after the one before; None where all are."""
    path, former = folder / "journal" / "deeds.jsonl", _START
    if not path.exists():
        return None
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            found = json.loads(line)
            said = found.pop("digest")
        except (ValueError, KeyError, AttributeError):
            return number
        if found.get("after") != former or _digest(found) != said:
            return number
        former = said
    return None


def _last(path: Path) -> str:
    """The digest of the last line; of what stands there, where that is no line."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 8192))
            lines = file.read().splitlines()
    except FileNotFoundError:
        return _START
    if not lines:
        return _START
    try:
        return str(json.loads(lines[-1])["digest"])
    except (ValueError, KeyError, TypeError):
        return hashlib.sha256(lines[-1]).hexdigest()


def _body(deed: Deed, former: str) -> dict[str, Any]:
    return {
        "at": deed.at.isoformat(),
        "actor": deed.actor,
        "action": deed.action,
        "object": deed.object,
        "outcome": deed.outcome,
        "after": former,
    }


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
