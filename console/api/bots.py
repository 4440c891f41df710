"""Bots over HTTP: register, list, show, remove."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from console.deps import After, Allowed, Body, Limit
from console.paging import Page, cut
from runner import bots
from runner.archive import MAX_SIZE, MAX_TABLES, canonical
from runner.models import PackageVersion

#: Bytes of an archive: the content of a package, and a zip's own tables beside it.
MAX_ARCHIVE = MAX_SIZE + MAX_TABLES

router = APIRouter(prefix="/api/v1/bots", tags=["bots"])

ZIP = {"requestBody": {"required": True, "content": {"application/zip": {"schema": {"type": "string"}}}}}


class BotVersion(BaseModel):
    """One immutable package version."""

    version: int
    digest: str
    size: int
    dependencies: bool
    created_at: datetime
    created_by: str


class BotItem(BotVersion):
    """A bot with its newest version; `assets` is what it declares, `null` for every workspace asset."""

    name: str
    assets: list[str] | None


class BotDetail(BotItem):
    """A bot with what its `bot.toml` says and all its versions, the newest first."""

    manifest: dict[str, Any]
    versions: list[BotVersion]


@router.post(
    "",
    status_code=201,
    summary="Register a bot, or its next version",
    openapi_extra=ZIP,
    responses={200: {"model": BotItem, "description": "The newest version holds the same files already."}},
)
def add(call: Allowed, name: Annotated[str, Query()], archive: Body, response: Response) -> BotItem:
    """Take a zip of the bot's files; the same files again make no new version."""
    bots.check_name(name)
    package = canonical(archive)
    with call.writing() as session:
        added = bots.add(session, name, workspace_id=call.workspace_id, package=package, actor=call.actor, now=call.now)
    if not added.new:
        response.status_code = 200
    return _item(name, added.version)


@router.get("", summary="List bots")
def listed(call: Allowed, limit: Limit = 50, after: After = None) -> Page[BotItem]:
    """Every bot in use, by name, with its newest version."""
    with call.reading() as session:
        rows = bots.listing(session, workspace_id=call.workspace_id)
    page, following = cut(rows, key=lambda row: row[0].name, limit=limit, after=after)
    return Page(items=[_item(bot.name, version) for bot, version in page], next=following)


@router.get("/{name}", summary="Show a bot")
def show(call: Allowed, name: str) -> BotDetail:
    """A bot, what it declares, and its versions."""
    with call.reading() as session:
        bot = bots.require(session, name, workspace_id=call.workspace_id)
        versions = bots.versions(session, bot.id)
    newest = _item(name, versions[0])
    past = [bot_version(version) for version in versions]
    return BotDetail(**newest.model_dump(), manifest=versions[0].manifest, versions=past)


@router.delete("/{name}", status_code=204, summary="Remove a bot")
def remove(call: Allowed, name: str) -> None:
    """Take a bot out of use with its own assets; its jobs stay in history."""
    call.require_every_environment("removing a bot")
    with call.writing() as session:
        bots.remove(session, name, workspace_id=call.workspace_id, actor=call.actor, now=call.now)


def _item(name: str, version: PackageVersion) -> BotItem:
    return BotItem(**bot_version(version).model_dump(), name=name, assets=version.manifest.get("assets"))


def bot_version(version: PackageVersion) -> BotVersion:
    """A version as it is listed."""
    return BotVersion(
        version=version.number,
        digest=version.digest,
        size=version.size,
        dependencies=version.dependencies is not None,
        created_at=version.created_at,
        created_by=version.created_by,
    )
