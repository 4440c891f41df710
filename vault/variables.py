"""Who owns which environment-variable name in a workspace; a primary key is the guard.

Two different (GROUP, NAME) pairs may derive one variable, and then a bot would get the wrong credential without
a word. So each derived name is a row, claimed when the first asset of a pair is created and released with
the last one, across the workspace and every bot.
"""

from __future__ import annotations

import uuid

from sqlalchemy import String, column, delete, insert, select, table
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from vault.errors import NameCollision
from vault.models import Asset, AssetVariable, Id
from vault.names import AssetName, check_reserved, stored, variables

# The bots belong to another package; an answer to a person needs these columns of theirs.
_bots = table("bots", column("id", Id()), column("name", String()))


def claim_variables(session: Session, name: AssetName, *, workspace_id: uuid.UUID) -> None:
    """Give the variables derived from `name` to this pair; nothing happens where it has them already.

    Raises:
        NameCollision: naming both owners, when another pair or the runner itself has one of them.
    """
    check_reserved(name)
    for variable in variables(name):
        try:
            with session.begin_nested():
                session.execute(
                    insert(AssetVariable).values(
                        workspace_id=workspace_id, variable=variable, group_name=name.group, name=name.name
                    )
                )
        except IntegrityError:
            owner = _owner(session, variable, workspace_id=workspace_id)
            if owner is not None and owner != name:
                raise NameCollision(
                    variable, str(name), _described(session, owner, workspace_id=workspace_id)
                ) from None


def release_variables(session: Session, name: AssetName, *, workspace_id: uuid.UUID) -> None:
    """Give the variables of `name` back when no asset of this pair is left in any scope."""
    left = session.scalar(
        select(Asset.id)
        .where(Asset.workspace_id == workspace_id, Asset.group_name == name.group, Asset.name == name.name)
        .limit(1)
    )
    if left is None:
        session.execute(
            delete(AssetVariable).where(
                AssetVariable.workspace_id == workspace_id,
                AssetVariable.group_name == name.group,
                AssetVariable.name == name.name,
            )
        )


def _owner(session: Session, variable: str, *, workspace_id: uuid.UUID) -> AssetName | None:
    row = session.execute(
        select(AssetVariable.group_name, AssetVariable.name).where(
            AssetVariable.workspace_id == workspace_id, AssetVariable.variable == variable
        )
    ).one_or_none()
    return None if row is None else stored(row.group_name, row.name)


def _described(session: Session, name: AssetName, *, workspace_id: uuid.UUID) -> str:
    """The name; and where lists of the workspace's assets do not show it, the bot that has it."""
    bots = session.scalars(
        select(_bots.c.name)
        .select_from(Asset)
        .join(_bots, _bots.c.id == Asset.bot_id, isouter=True)
        .where(Asset.workspace_id == workspace_id, Asset.group_name == name.group, Asset.name == name.name)
        .order_by(_bots.c.name)
    ).all()
    return str(name) if not bots or None in bots else f"{name} of the bot {bots[0]}"
