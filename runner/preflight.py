"""What keeps a bot from running in an environment, as far as it can be known before it is queued.

Where a workspace refuses unset values in an environment, a bot is not queued there while an asset that it declares
has no value or does not exist; a runner looks again at the start (`runner.worker.resolution`).
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from runner import bots, workspaces
from runner.errors import Invalid
from runner.manifest import Manifest
from vault import coverage
from vault.coverage import Described
from vault.names import AssetName

#: Names that a sentence holds; more are counted.
_NAMED = 5


class Unset(Invalid):
    """A bot lacks values where unset ones are refused; the sentence names them."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A bot that would be refused in an environment, and the assets that lack a value there."""

    bot: str
    environment: str
    missing: tuple[AssetName, ...]


def check(
    session: Session, manifest: Manifest, *, workspace_id: uuid.UUID, bot_id: uuid.UUID, environment: str
) -> None:
    """Refuse a bot that lacks a value in an environment which refuses unset ones.

    Raises:
        Unset: naming the assets, and the command that sets the first.
    """
    visible = coverage.visible(session, workspace_id=workspace_id, bot_id=bot_id)
    if missing := lacking(manifest, visible, environment=environment):
        shown = ", ".join(map(str, missing[:_NAMED]))
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        raise Unset(
            f"No value is set in {environment} for {shown}{more}, and the workspace refuses unset values there. "
            f"Set it with: botkeep asset set {missing[0]} --env {environment}"
        )


def lacking(manifest: Manifest, visible: Sequence[Described], *, environment: str) -> tuple[AssetName, ...]:
    """The assets that a bot declares and that have no value in an environment, by name.

    `visible` is what the bot could see. A declared name that does not exist has no value either; a pattern that
    nothing matches asks for nothing, and whether a local value is set is known on its host alone.
    """
    central = (one for one in visible if not one.local)
    unset = {one.name for one in central if manifest.declares(one.name) and one.environments[environment] is None}
    unknown = set(manifest.named()) - {one.name for one in visible}
    return tuple(sorted(unset | unknown, key=str))


def refusals(session: Session, *, workspace_id: uuid.UUID, bot: str | None = None) -> list[Refusal]:
    """Which bots would be refused where, by bot and then environment; of one bot where it is named.

    Raises:
        NotFound: for an unknown bot.
    """
    if bot is not None:
        bots.require(session, bot, workspace_id=workspace_id)
    strict = workspaces.strict(session, workspace_id=workspace_id)
    found: list[Refusal] = []
    for row, version in bots.listing(session, workspace_id=workspace_id) if strict else ():
        if bot in {None, row.name}:
            manifest = Manifest.from_json(version.manifest)
            visible = coverage.visible(session, workspace_id=workspace_id, bot_id=row.id)
            lacks = ((each, lacking(manifest, visible, environment=each)) for each in strict)
            found.extend(Refusal(row.name, each, missing) for each, missing in lacks if missing)
    return found
