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
from vault.coverage import Slot
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
    slots = coverage.slots(session, workspace_id=workspace_id, bot_id=bot_id, environment=environment)
    if missing := lacking(manifest, slots):
        shown = ", ".join(map(str, missing[:_NAMED]))
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        raise Unset(
            f"No value is set in {environment} for {shown}{more}, and the workspace refuses unset values there. "
            f"Set it with: botkeep asset set {missing[0]} --env {environment}"
        )


def lacking(manifest: Manifest, slots: Sequence[Slot]) -> tuple[AssetName, ...]:
    """The assets that a bot declares and that have no value in an environment, by name.

    `slots` is what the bot could see. A declared name that does not exist has no value either; a pattern that
    nothing matches asks for nothing, and whether a local value is set is known on its host alone.
    """
    unset = {one.name for one in slots if manifest.declares(one.name) and not one.given}
    unknown = set(manifest.named()) - {one.name for one in slots}
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
            for each in strict:
                slots = coverage.slots(session, workspace_id=workspace_id, bot_id=row.id, environment=each)
                if missing := lacking(manifest, slots):
                    found.append(Refusal(row.name, each, missing))
    return found
