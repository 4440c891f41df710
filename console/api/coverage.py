"""The coverage grid: which asset is set, empty or missing in which environment."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from console.deps import After, Allowed, Limit
from console.paging import Page, cut
from runner import bots, preflight
from runner.manifest import Manifest
from scheduler import flow_preflight
from vault import coverage
from vault.coverage import Described

router = APIRouter(prefix="/api/v1/coverage", tags=["assets"])

Status = Literal["set", "empty", "missing", "local"]
ForBot = Annotated[str | None, Query(description="All that this bot gets, its own before the workspace's.")]


class CoverageItem(BaseModel):
    """One line of the grid."""

    asset: str
    scope: str
    dev: Status
    staging: Status
    prod: Status


@router.get("", summary="Show which assets have values")
def grid(call: Allowed, bot: ForBot = None, limit: Limit = 50, after: After = None) -> Page[CoverageItem]:
    """The workspace's assets, or what one bot can see: of those that its newest version declares, where it does."""
    with call.reading() as session:
        if bot is None:
            rows = coverage.listing(session, workspace_id=call.workspace_id)
        else:
            bot_id = bots.require(session, bot, workspace_id=call.workspace_id).id
            manifest = Manifest.from_json(bots.versions(session, bot_id)[0].manifest)
            visible = coverage.visible(session, workspace_id=call.workspace_id, bot_id=bot_id)
            rows = [row for row in visible if manifest.declares(row.name)]
    page, following = cut(rows, key=lambda row: str(row.name), limit=limit, after=after)
    return Page(items=[_item(row, bot) for row in page], next=following)


class RefusalItem(BaseModel):
    """A bot that would be refused in an environment, and which assets lack a value there."""

    bot: str
    environment: str
    missing: list[str]
    used_by: list[str] = Field(description="Queues and workflows of which a step would be refused with it.")


@router.get("/refusals", summary="Show which bots would be refused")
def refused(call: Allowed, bot: ForBot = None, limit: Limit = 50, after: After = None) -> Page[RefusalItem]:
    """The bots that lack a value in an environment where the workspace refuses unset ones."""
    with call.reading() as session:
        rows = preflight.refusals(session, workspace_id=call.workspace_id, bot=bot)
        users = flow_preflight.users(session, workspace_id=call.workspace_id) if rows else {}
    page, following = cut(rows, key=lambda row: f"{row.bot} {row.environment}", limit=limit, after=after)
    items = [
        RefusalItem(
            bot=row.bot,
            environment=row.environment,
            missing=[str(name) for name in row.missing],
            used_by=users.get(row.bot, []),
        )
        for row in page
    ]
    return Page(items=items, next=following)


def _item(row: Described, bot: str | None) -> CoverageItem:
    return CoverageItem.model_validate(
        {
            "asset": str(row.name),
            "scope": "workspace" if row.bot_id is None else bot,
            **{name: row.status(name) for name in row.environments},
        }
    )
