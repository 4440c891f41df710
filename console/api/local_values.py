"""Local values over HTTP: which are declared, and which runner's host has which; no value ever comes here."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from console.deps import After, Allowed, Limit
from console.paging import Page, cut
from runner import bots, local_values
from runner.local_values import Held

router = APIRouter(prefix="/api/v1/local-values", tags=["assets"])

OfBot = Annotated[str | None, Query(description="Only those of this bot.")]


class LocalHost(BaseModel):
    """What one runner says: whether the value is set on its host, by environment that it serves."""

    runner: str
    state: str
    locked: bool = Field(description="Whether the host's values cannot be opened now: `botkeep local unlock` there.")
    problem: str | None = Field(description="Why the host's values cannot be read.")
    environments: dict[str, bool]


class LocalItem(BaseModel):
    """A local asset of a bot, and which runners have it."""

    asset: str
    bot: str
    description: str
    runners: list[LocalHost]


@router.get("", summary="List local assets")
def listed(call: Allowed, bot: OfBot = None, limit: Limit = 50, after: After = None) -> Page[LocalItem]:
    """Every asset that is declared local, by bot and name, and on which runners' hosts it is set."""
    with call.reading() as session:
        if bot is not None:
            bots.require(session, bot, workspace_id=call.workspace_id)
        rows = local_values.listing(session, workspace_id=call.workspace_id)
    wanted = [row for row in rows if bot in {None, row.definition.bot}]
    page, following = cut(wanted, key=_key, limit=limit, after=after)
    return Page(items=[_item(row) for row in page], next=following)


def _key(row: Held) -> str:
    return f"{row.definition.bot} {row.definition.name}"


def _item(row: Held) -> LocalItem:
    hosts = [
        LocalHost(
            runner=host.runner,
            state=host.status,
            locked=host.locked,
            problem=host.problem,
            environments=host.environments,
        )
        for host in row.hosts
    ]
    found = row.definition
    return LocalItem(asset=str(found.name), bot=found.bot, description=found.description, runners=hosts)
