"""Pages of a bot's versions: the list, the files of one, what each file says, and what changed between two.

What a program says is for those who may change programs: the route of `source` decides, for its page and for the lines
of a comparison.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.responses import HTMLResponse

from console.deps import Allowed
from console.pages import definition_text, shell
from runner import bot_list, bots, package_text
from runner.manifest import Manifest
from runner.package_diff import compare
from runner.package_text import Room

#: Lines that a comparison shows of all files and of each, and of a file that is looked at alone. A thousand take some
#: 40 ms to be written.
TOGETHER, EACH, ALONE = 1000, 200, 1500

#: Pairs of lines that are told apart for one page: at worst some 40 ms.
PAIRS = 1_000_000

#: Lines of a file that a page shows; the command line prints all.
LINES = 4000

#: Files that a page lists.
FILES = 500

#: Settings of bot.toml that are stored in seconds.
DURATIONS = frozenset({"timeout", "grace", "retries.delay", "limits.cpu_time"})

#: The route that says who may read programs.
SOURCE = "/bots/{bot}/versions/{number}/source"

router = APIRouter()

Number = Annotated[int, Path(ge=1, le=2**31 - 1)]
OfVersion = Annotated[int, Query(ge=1, le=2**31 - 1)]
OfFile = Annotated[str, Query(max_length=2000)]


@router.get("/bots/{bot}/versions")
def versions(call: Allowed, bot: str) -> HTMLResponse:
    """Every version, the newest first; any two can be compared."""
    with call.reading() as session:
        row = bots.require(session, bot, workspace_id=call.workspace_id)
        found = bots.versions(session, row.id)
    return shell.page(call, "bots/versions.html", bot=row, versions=found)


@router.get("/bots/{bot}/versions/{number}")
def version(call: Allowed, bot: str, number: Number) -> HTMLResponse:
    """One version: what it is and the files in it."""
    with call.reading() as session:
        row = bots.require(session, bot, workspace_id=call.workspace_id)
        found = bot_list.version(session, row, number)
    manifest = Manifest.from_json(found.manifest)
    return shell.page(call, "bots/version.html", bot=row, version=found, manifest=manifest, most=FILES)


@router.get(SOURCE)
def source(call: Allowed, bot: str, number: Number, file: OfFile) -> HTMLResponse:
    """What one file of a version says."""
    with call.reading() as session:
        row = bots.require(session, bot, workspace_id=call.workspace_id)
        found = bot_list.version(session, row, number)
        said = package_text.read(session, found, file)
    lines = (said.text or "").split("\n")
    return shell.page(
        call,
        "bots/source.html",
        bot=row,
        version=found,
        file=file,
        listed=(found.files or {})[file],
        note=said.note,
        lines=lines[:-1] if lines[-1] == "" else lines,
        most=LINES,
    )


@router.get("/bots/{bot}/diff")
def diff(call: Allowed, bot: str, before: OfVersion, after: OfVersion, file: OfFile = "") -> HTMLResponse:
    """What changed from one version to another, or in one file of them."""
    readable = shell.may(call, "GET", SOURCE)
    with call.reading() as session:
        row = bots.require(session, bot, workspace_id=call.workspace_id)
        old, new = bot_list.version(session, row, before), bot_list.version(session, row, after)
        found = compare(bot_list.side(old), bot_list.side(new))
        changed = tuple(each for each in found.files or () if file in {"", each.name})
        texts = package_text.changes(session, old, new, changed[:FILES], room=_room(file)) if readable else []
        numbers = [each.number for each in bots.versions(session, row.id)]
    return shell.page(
        call,
        "bots/diff.html",
        bot=row,
        before=before,
        after=after,
        diff=found,
        settings=[(each.name, _said(each.name, each.before), _said(each.name, each.after)) for each in found.settings],
        numbers=numbers,
        file=file,
        texts=texts,
        most=FILES,
        readable=readable,
    )


def _room(file: str) -> Room:
    """How much a page shows: of one file more than of each of several."""
    return Room(ALONE, PAIRS, ALONE) if file else Room(TOGETHER, PAIRS, EACH)


def _said(name: str, setting: Any) -> str | None:  # noqa: ANN401 - JSON
    """A setting as bot.toml has it: durations with their unit, lists as their elements."""
    if setting is None or isinstance(setting, str):
        return setting
    if name in DURATIONS and isinstance(setting, int | float):
        return definition_text.words(setting)
    if isinstance(setting, list):
        return ", ".join(map(str, setting)) or "none"
    return json.dumps(setting, ensure_ascii=False)
