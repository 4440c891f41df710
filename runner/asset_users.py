"""Who uses an asset: the bots that declare it, and the data sources that refer to it. Reads only, no value."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from sqlalchemy.orm import Session

from runner import bots, sources
from vault.names import AssetName, matches


@dataclass(frozen=True, slots=True)
class Users:
    """Names, in order; `undeclared` counts the bots that declare no assets and so may see all of the workspace's."""

    bots: tuple[str, ...]
    undeclared: int
    sources: tuple[str, ...]


def users(session: Session, name: AssetName, *, workspace_id: uuid.UUID, bot: str | None = None) -> Users:
    """Who uses the workspace's asset of this name; of a bot's own asset only that bot does."""
    if bot is not None:
        return Users((bot,), 0, ())
    declaring: list[str] = []
    undeclared = 0
    for row, version in bots.listing(session, workspace_id=workspace_id):
        patterns = version.manifest.get("assets")
        if patterns is None:
            undeclared += 1
        elif any(matches(pattern, name) for pattern in patterns):
            declaring.append(row.name)
    referring = [
        row.name
        for row in sources.listing(session, workspace_id=workspace_id)
        if any(reference.asset == name for reference in sources.references(row))
    ]
    return Users(tuple(declaring), undeclared, tuple(referring))
