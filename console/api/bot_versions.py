"""Versions of bots over HTTP: their files, what each says, and what changed between two."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel

from console.api.bots import BotVersion, bot_version
from console.deps import Allowed
from runner import bot_list, bots, package_text
from runner.archive import Listed
from runner.line_diff import MOST_PAIRS
from runner.package_diff import compare
from runner.package_text import Compared, Room

#: Lines of all files that one comparison answers.
LINES = 20_000

router = APIRouter(prefix="/api/v1/bots", tags=["bots"])

Number = Annotated[int, Path(ge=1, le=2**31 - 1)]
OfVersion = Annotated[int, Query(ge=1, le=2**31 - 1)]


class FileItem(BaseModel):
    """One file of a package: its size in bytes, its SHA-256, and whether it is a program."""

    name: str
    size: int
    digest: str
    executable: bool


class VersionDetail(BotVersion):
    """A version with what its `bot.toml` says; `files` is `null` where it was added before they were listed."""

    manifest: dict[str, Any]
    files: list[FileItem] | None


class SourceItem(FileItem):
    """A file with its text; `text` is `null` where it is not shown, and `note` says why."""

    text: str | None
    note: str


class LineItem(BaseModel):
    """A line: a blank, `+` or `-`, its numbers on both sides, and how many of its characters are left out.

    `ended` is false for the last line of a text that does not end with a line feed.
    """

    sign: str
    before: int | None
    after: int | None
    text: str
    more: int
    ended: bool


class HunkItem(BaseModel):
    """Lines that stand together, below the head that a unified diff gives them."""

    head: str
    lines: list[LineItem]


class FileChangeItem(BaseModel):
    """A file that was `added`, `removed` or `changed`, or of which only the `mode` changed.

    `note` says why `hunks` are not there, and `left_out` how many lines are not in them.
    """

    name: str
    change: str
    before: FileItem | None
    after: FileItem | None
    added: int
    removed: int
    left_out: int
    note: str
    hunks: list[HunkItem]


class SettingChangeItem(BaseModel):
    """A setting of `bot.toml` by its dotted name; `null` where it is not written."""

    name: str
    before: Any
    after: Any


class DiffItem(BaseModel):
    """What changed between two versions; `files` is `null` where one was added before files were listed."""

    before: int
    after: int
    unchanged: int
    files: list[FileChangeItem] | None
    settings: list[SettingChangeItem]
    requirements_added: list[str]
    requirements_removed: list[str]


@router.get("/{name}/versions/{number}", summary="Show a version of a bot")
def show(call: Allowed, name: str, number: Number) -> VersionDetail:
    """A version with its files."""
    with call.reading() as session:
        bot = bots.require(session, name, workspace_id=call.workspace_id)
        found = bot_list.version(session, bot, number)
    files = None if found.files is None else [_file(each, found.files[each]) for each in sorted(found.files)]
    return VersionDetail(**bot_version(found).model_dump(), manifest=found.manifest, files=files)


@router.get("/{name}/versions/{number}/source", summary="Read a file of a version")
def source(call: Allowed, name: str, number: Number, file: Annotated[str, Query(max_length=2000)]) -> SourceItem:
    """What one file says, where it is text of at most 512 KiB."""
    with call.reading() as session:
        bot = bots.require(session, name, workspace_id=call.workspace_id)
        found = bot_list.version(session, bot, number)
        said = package_text.read(session, found, file)
    listed = _file(file, (found.files or {})[file])
    return SourceItem(**listed.model_dump(), text=said.text, note=said.note)


@router.get("/{name}/diff", summary="Compare two versions of a bot")
def diff(call: Allowed, name: str, before: OfVersion, after: OfVersion) -> DiffItem:
    """Files, settings and packages that changed, with the lines of text files."""
    with call.reading() as session:
        bot = bots.require(session, name, workspace_id=call.workspace_id)
        old, new = bot_list.version(session, bot, before), bot_list.version(session, bot, after)
        found = compare(bot_list.side(old), bot_list.side(new))
        room = Room(LINES, MOST_PAIRS, LINES)
        texts = package_text.changes(session, old, new, found.files or (), room=room)
    return DiffItem(
        before=before,
        after=after,
        unchanged=found.unchanged,
        files=None if found.files is None else [_change(each) for each in texts],
        settings=[SettingChangeItem(name=each.name, before=each.before, after=each.after) for each in found.settings],
        requirements_added=list(found.added),
        requirements_removed=list(found.removed),
    )


def _file(name: str, listed: Listed) -> FileItem:
    return FileItem(name=name, size=listed["size"], digest=listed["digest"], executable=listed["executable"])


def _change(text: Compared) -> FileChangeItem:
    change, lines = text.change, text.lines
    hunks = () if lines is None else lines.hunks
    return FileChangeItem(
        name=change.name,
        change=change.word,
        before=None if change.before is None else _file(change.name, change.before),
        after=None if change.after is None else _file(change.name, change.after),
        added=0 if lines is None else lines.added,
        removed=0 if lines is None else lines.removed,
        left_out=0 if lines is None else lines.left_out,
        note=text.note,
        hunks=[
            HunkItem(
                head=hunk.head,
                lines=[
                    LineItem(**{field: getattr(line, field) for field in LineItem.model_fields}) for line in hunk.lines
                ],
            )
            for hunk in hunks
        ],
    )
