"""What the files of a stored package say, one file at a time, for those who look at programs. Reads only.

A canonical archive stores its files one after the other as they are, so that a file is a range of the stored bytes:
nothing is unpacked, and a package of 64 MiB costs no more than what is shown of it. Promises that text is what was
registered, by its digest, and is shown for looking only: what is started is verified by the runner that starts it.
Refuses, in a sentence, what is no UTF-8 text or too large.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import LargeBinary, func, select
from sqlalchemy.orm import Session

from runner.archive import Listed
from runner.errors import NotFound
from runner.line_diff import Changes, compare
from runner.models import PackageBlob, PackageVersion
from runner.package_diff import FileChange
from vault.names import shown

#: Bytes of a file that is shown, and of all files that are compared at once.
LARGEST, LARGEST_TOGETHER = 512 * 1024, 4 * 2**20

#: Bytes of a zip's header before a name (APPNOTE.TXT 4.3.7); a canonical archive has no further fields.
_HEADER = 30


@dataclass(frozen=True, slots=True)
class Text:
    """What a file says, or `note`, why that is not shown."""

    text: str | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Compared:
    """A changed file with its lines, or `note`, why they are not shown."""

    change: FileChange
    lines: Changes | None
    note: str = ""


@dataclass(slots=True)
class Room:
    """How much may still be read and shown of several files; the rest is left out by a sentence."""

    lines: int
    pairs: int
    each: int
    size: int = LARGEST_TOGETHER


def read(session: Session, version: PackageVersion, name: str) -> Text:
    """The text of one file of a version whose `files` were loaded.

    Raises:
        NotFound: when the version has no such file, or was registered before its files were listed.
    """
    files: Mapping[str, Listed] = version.files or {}
    if name not in files:
        if version.files is None:
            raise NotFound(f"Version {version.number} was uploaded before its files were listed; upload it again.")
        raise NotFound(f"Version {version.number} has no file {shown(name[:200])}.")
    found = files[name]
    if found["size"] > LARGEST:
        return Text(None, f"Larger than {LARGEST // 1024} KiB: not shown.")
    content = _content(session, version.digest, files, name)
    if hashlib.sha256(content).hexdigest() != found["digest"]:
        return Text(None, "Its stored bytes are not those that were registered: no runner would start it.")
    if b"\0" in content:
        return Text(None, "Not text: not shown.")
    try:
        return Text(content.decode())
    except UnicodeDecodeError:
        return Text(None, "Not UTF-8 text: not shown.")


def changes(
    session: Session, before: PackageVersion, after: PackageVersion, changed: tuple[FileChange, ...], *, room: Room
) -> list[Compared]:
    """Each changed file with its lines, as far as there is room."""
    return [_compared(session, before, after, change, room) for change in changed]


def _compared(
    session: Session, before: PackageVersion, after: PackageVersion, change: FileChange, room: Room
) -> Compared:
    if change.word == "mode":
        return Compared(change, None, "Only the permission to execute it changed.")
    size = sum(side["size"] for side in (change.before, change.after) if side is not None)
    if room.lines <= 0 or room.size <= 0:
        return Compared(change, None, "Not shown here: this page has enough lines. Open the file alone.")
    old = Text("") if change.before is None else read(session, before, change.name)
    new = Text("") if change.after is None else read(session, after, change.name)
    if old.text is None or new.text is None:
        return Compared(change, None, new.note or old.note)
    lines = compare(old.text, new.text, most=min(room.each, room.lines), pairs=room.pairs)
    room.size -= size
    room.lines -= sum(len(hunk.lines) for hunk in lines.hunks)
    room.pairs -= lines.pairs
    return Compared(change, lines)


def _content(session: Session, digest: str, files: Mapping[str, Listed], name: str) -> bytes:
    start = 0
    for each in sorted(files, key=str.encode):
        start += _HEADER + len(each.encode())
        if each == name:
            break
        start += files[each]["size"]
    part = func.substr(PackageBlob.content, start + 1, files[name]["size"], type_=LargeBinary)
    content: bytes | None = session.scalar(select(part).where(PackageBlob.digest == digest))
    return bytes(content or b"")
