"""Local values as everybody may know them: which assets are declared local, and which runner's host has which of them.

Promises names, environments and whether something is set, never what it is: that stands in a file on the host, and
`runner.worker.local` alone opens it. What a runner says of its host is a row that it changes when it has news.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from runner import runners
from runner.models import Bot, Runner
from vault.db import database_time
from vault.models import Asset
from vault.names import AssetName, stored


@dataclass(frozen=True, slots=True)
class Definition:
    """A declared local asset of one bot."""

    asset_id: uuid.UUID
    workspace_id: uuid.UUID
    bot: str
    name: AssetName
    description: str


@dataclass(frozen=True, slots=True)
class Host:
    """What a runner said of one local asset: whether it is set, by environment that the runner serves.

    `locked` says that the host's values cannot be opened now; `problem` is a sentence where they cannot be read.
    """

    runner: str
    status: str
    locked: bool
    problem: str | None
    environments: dict[str, bool]


@dataclass(frozen=True, slots=True)
class Held:
    """A local asset and every runner that says something of it."""

    definition: Definition
    hosts: tuple[Host, ...]


def definitions(session: Session) -> list[Definition]:
    """Every local asset of every bot in use, by bot and name; a runner serves all workspaces."""
    rows = session.execute(
        select(Asset.id, Asset.workspace_id, Bot.name.label("bot"), Asset.group_name, Asset.name, Asset.description)
        .join(Bot, Bot.id == Asset.bot_id)
        .where(Asset.local.is_(True), Bot.removed_at.is_(None))
        .order_by(Bot.name, Asset.group_name, Asset.name)
    ).all()
    return [
        Definition(row.id, row.workspace_id, row.bot, stored(row.group_name, row.name), row.description) for row in rows
    ]


def note(session: Session, name: str, *, instance: uuid.UUID, said: dict[str, Any] | None) -> None:
    """Write down what a runner says of its host; nothing where another process has its name now."""
    session.execute(update(Runner).where(Runner.name == name, Runner.instance == instance).values(local_values=said))


def said(
    *, protection: str, locked: bool, held: dict[uuid.UUID, list[str]], orphans: int, problem: str | None
) -> dict[str, Any]:
    """What a runner says of its host, as its row holds it."""
    return {
        "protection": protection,
        "locked": locked,
        "set": {asset_id.hex: sorted(environments) for asset_id, environments in held.items()},
        "orphans": orphans,
        "problem": problem,
    }


def listing(session: Session, *, workspace_id: uuid.UUID) -> list[Held]:
    """Every local asset of a workspace, by bot and name, with the runners that are not known to have stopped."""
    now = database_time(session)
    rows = session.scalars(
        select(Runner).where(Runner.stopped_at.is_(None), Runner.local_values.is_not(None)).order_by(Runner.name)
    ).all()
    return [
        Held(one, tuple(_host(row, one, runners.status(row, now)) for row in rows))
        for one in definitions(session)
        if one.workspace_id == workspace_id
    ]


def _host(row: Runner, definition: Definition, status: str) -> Host:
    document = row.local_values or {}
    held = document.get("set", {}).get(definition.asset_id.hex, [])
    return Host(
        runner=row.name,
        status=status,
        locked=bool(document.get("locked")),
        problem=document.get("problem"),
        environments={environment: environment in held for environment in row.environments},
    )
