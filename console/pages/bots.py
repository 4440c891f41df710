"""Pages of bots: the list, one bot, upload and removal."""

from __future__ import annotations

import io
import zipfile
from pathlib import PurePosixPath
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import HTMLResponse, Response

from console.deps import Allowed
from console.pages import shell
from console.pages.shell import REFUSALS, Fields, Form
from runner import bot_list, bots, history
from runner.archive import canonical
from runner.errors import Invalid
from runner.manifest import Manifest
from runner.narrowing import Filter
from vault import coverage

#: Bots on a page of the list, and jobs on the page of one.
SHOWN, LATEST = 50, 10

router = APIRouter()

Text = Annotated[str, Query(max_length=200)]


@router.get("/bots")
def listed(call: Allowed, q: Text = "", after: Text = "") -> HTMLResponse:
    """Every bot in use with its newest version and its latest job."""
    with call.reading() as session:
        rows = bot_list.page(
            session, workspace_id=call.workspace_id, limit=SHOWN + 1, text=q.strip(), after=after or None
        )
    shown = rows[:SHOWN]
    following = shown[-1].bot.name if len(rows) > SHOWN else ""
    return shell.page(
        call,
        "bots/list.html",
        rows=shown,
        q=q,
        next=shell.with_query("/bots", q=q, after=following) if following else "",
        first=shell.with_query("/bots", q=q) if after else "",
    )


@router.get("/bots/~new")
def new(call: Allowed, name: Text = "") -> HTMLResponse:
    """Where files are dropped or chosen."""
    return shell.page(call, "bots/new.html", form={"name": name}, errors={})


@router.post("/bots")
def add(call: Allowed, fields: Fields) -> Response:
    """Register the files as a bot, or as the next version of one that there is."""
    try:
        package = canonical(_archive(fields))
        name = bots.check_name(fields.words("name") or package.manifest.name or _stem(fields))
        with call.writing() as session:
            added = bots.add(
                session, name, workspace_id=call.workspace_id, package=package, actor=call.actor, now=call.now
            )
            number = added.version.number
    except REFUSALS as error:
        return shell.page(call, "bots/new.html", status=422, form=fields.kept(), errors={"": str(error)})
    said = f"Version {number} of {name} was added." if added.new else f"{name} holds the same files already."
    return shell.redirect(call, shell.address("bots", name), notice=said, kind="good" if added.new else "info")


@router.get("/bots/{bot}")
def show(call: Allowed, bot: str) -> HTMLResponse:
    """One bot: what it declares, what it may use, and what it did lately."""
    with call.reading() as session:
        row = bots.require(session, bot, workspace_id=call.workspace_id)
        version = bots.versions(session, row.id)[0]
        manifest = Manifest.from_json(version.manifest)
        named = coverage.of_names(session, manifest.named(), workspace_id=call.workspace_id, bot_id=row.id)
        jobs = history.page(session, Filter(bot=bot), workspace_id=call.workspace_id, limit=LATEST).entries
    return shell.page(
        call,
        "bots/one.html",
        bot=row,
        version=version,
        manifest=manifest,
        named=named,
        unknown=[name for name in manifest.named() if name not in {one.name for one in named}],
        patterns=[pattern for pattern in manifest.assets or () if "*" in pattern],
        jobs=jobs,
    )


@router.post("/bots/{bot}/removal")
def remove(call: Allowed, bot: str) -> Response:
    """Take the bot out of use with its own assets; its jobs stay in history."""
    call.require_every_environment("removing a bot")
    with call.writing() as session:
        bots.remove(session, bot, workspace_id=call.workspace_id, actor=call.actor, now=call.now)
    return shell.redirect(call, "/bots", notice=f"{bot} was removed; its jobs stay in history.")


def _archive(fields: Form) -> bytes:
    """One zip as it came, or a zip of the files that came."""
    files = fields.files("files")
    if not files:
        raise Invalid("Choose the bot's files: a .zip, or a .py file with others beside it.")
    if len(files) == 1 and zipfile.is_zipfile(io.BytesIO(files[0][1])):
        return files[0][1]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return buffer.getvalue()


def _stem(fields: Form) -> str:
    """The name of a bot whose form and bot.toml say none: that of its file."""
    files = fields.files("files")
    if len(files) != 1:
        raise Invalid("Give the bot a name, here or as `name` in its bot.toml.")
    return PurePosixPath(files[0][0].replace("\\", "/")).stem
