"""What people may know about assets: names, scopes, numbers, ages; the lists and the coverage grid."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, exists, func, or_, select, tuple_
from sqlalchemy.orm import Session

from vault.models import Asset, AssetValue, CurrentValue, LastReading
from vault.names import ENVIRONMENTS, AssetName, stored


@dataclass(frozen=True, slots=True)
class CurrentNumber:
    """The value in force in one environment: its number, when and by whom it was put in force."""

    number: int
    set_at: datetime
    set_by: str
    empty: bool


@dataclass(frozen=True, slots=True)
class Described:
    """One asset with what is in force in each environment; `None` where it is unset."""

    id: uuid.UUID
    name: AssetName
    bot_id: uuid.UUID | None
    description: str
    environments: dict[str, CurrentNumber | None]
    overrides: bool
    #: Its values live on runners' hosts; what is here says nothing of them.
    local: bool = False

    def status(self, environment: str) -> str:
        """`set`, `empty`, `missing` or `local`: the word in the coverage grid."""
        if self.local:
            return "local"
        value = self.environments[environment]
        if value is None:
            return "missing"
        return "empty" if value.empty else "set"


@dataclass(frozen=True, slots=True)
class Past:
    """One line of a value's history."""

    number: int
    created_at: datetime
    created_by: str
    empty: bool
    current: bool


def listing(session: Session, *, workspace_id: uuid.UUID, bot_id: uuid.UUID | None = None) -> list[Described]:
    """The workspace's assets, or those exclusive to one bot, by name.

    A bot's own asset that hides a workspace asset of the same name has `overrides` set.
    """
    scope = Asset.bot_id.is_(None) if bot_id is None else Asset.bot_id == bot_id
    assets = session.scalars(
        select(Asset).where(Asset.workspace_id == workspace_id, scope).order_by(Asset.group_name, Asset.name)
    ).all()
    shared = _shared_pairs(session, workspace_id) if bot_id is not None else frozenset()
    return _described(session, assets, shared=shared)


@dataclass(frozen=True, slots=True)
class Narrow:
    """What a list of assets is narrowed to: a part of a name or description, no value in an environment, no reading.

    `unread_since`: made before that time and not read since, as far as it was noted (`LastReading`).
    """

    text: str = ""
    missing: str | None = None
    unread_since: datetime | None = None


def page(
    session: Session,
    narrow: Narrow,
    *,
    workspace_id: uuid.UUID,
    bot_id: uuid.UUID | None = None,
    limit: int,
    after: AssetName | None = None,
) -> list[Described]:
    """The next assets by name after `after`, at most `limit`: the workspace's, or those exclusive to one bot.

    Each page costs the same, whatever the number of assets (keyset).
    """
    query = select(Asset).where(
        Asset.workspace_id == workspace_id, Asset.bot_id.is_(None) if bot_id is None else Asset.bot_id == bot_id
    )
    if narrow.text:
        full = Asset.group_name.concat(".").concat(Asset.name)
        query = query.where(
            or_(full.icontains(narrow.text, autoescape=True), Asset.description.icontains(narrow.text, autoescape=True))
        )
    if narrow.missing is not None:
        query = query.where(
            Asset.local.is_(False),
            ~exists().where(CurrentValue.asset_id == Asset.id, CurrentValue.environment == narrow.missing),
        )
    if narrow.unread_since is not None:
        since = narrow.unread_since
        query = query.where(
            Asset.created_at < since,
            ~exists().where(LastReading.asset_id == Asset.id, LastReading.read_at >= since),
        )
    if after is not None:
        query = query.where(tuple_(Asset.group_name, Asset.name) > (after.group, after.name))
    assets = session.scalars(query.order_by(Asset.group_name, Asset.name).limit(limit)).all()
    pairs = [(asset.group_name, asset.name) for asset in assets] if bot_id is not None else []
    return _described(session, assets, shared=_shared_among(session, pairs, workspace_id=workspace_id))


def totals(session: Session, *, workspace_id: uuid.UUID) -> tuple[int, dict[str, int]]:
    """How many assets the workspace shares, and how many of them have no value in each environment."""
    shared = select(func.count()).select_from(Asset).where(Asset.workspace_id == workspace_id, Asset.bot_id.is_(None))
    count = session.scalar(shared) or 0
    rows = session.execute(
        select(CurrentValue.environment, func.count())
        .join(Asset, Asset.id == CurrentValue.asset_id)
        .where(Asset.workspace_id == workspace_id, Asset.bot_id.is_(None))
        .group_by(CurrentValue.environment)
    ).all()
    given = {row[0]: row[1] for row in rows}
    return count, {environment: count - given.get(environment, 0) for environment in ENVIRONMENTS}


def visible(session: Session, *, workspace_id: uuid.UUID, bot_id: uuid.UUID) -> list[Described]:
    """Every asset that one bot could see, its own hiding the workspace's, by name."""
    rows = session.scalars(
        select(Asset)
        .where(Asset.workspace_id == workspace_id, or_(Asset.bot_id.is_(None), Asset.bot_id == bot_id))
        .order_by(Asset.bot_id.is_not(None))
    ).all()
    chosen = {(row.group_name, row.name): row for row in rows}
    ordered = [chosen[pair] for pair in sorted(chosen)]
    return _described(session, ordered, shared=_shared_pairs(session, workspace_id))


@dataclass(frozen=True, slots=True)
class Slot:
    """A name that one bot could see; `given` where it has a value in an environment, or one on a host."""

    name: AssetName
    given: bool


def slots(session: Session, *, workspace_id: uuid.UUID, bot_id: uuid.UUID, environment: str) -> list[Slot]:
    """As `visible`, by names alone: all that the scheduler's role may know of assets."""
    current = exists().where(CurrentValue.asset_id == Asset.id, CurrentValue.environment == environment)
    rows = session.execute(
        select(Asset.group_name, Asset.name, or_(Asset.local, current).label("given"))
        .where(Asset.workspace_id == workspace_id, or_(Asset.bot_id.is_(None), Asset.bot_id == bot_id))
        .order_by(Asset.bot_id.is_not(None))
    ).all()
    return [Slot(stored(*pair), given) for pair, given in {(row[0], row[1]): row.given for row in rows}.items()]


def of_names(
    session: Session, names: Iterable[AssetName], *, workspace_id: uuid.UUID, bot_id: uuid.UUID
) -> list[Described]:
    """Those of `names` that one bot could see, its own hiding the workspace's, by name."""
    pairs = [(name.group, name.name) for name in names]
    if not pairs:
        return []
    rows = session.scalars(
        select(Asset)
        .where(
            Asset.workspace_id == workspace_id,
            or_(Asset.bot_id.is_(None), Asset.bot_id == bot_id),
            tuple_(Asset.group_name, Asset.name).in_(pairs),
        )
        .order_by(Asset.bot_id.is_not(None))
    ).all()
    chosen = {(row.group_name, row.name): row for row in rows}
    shared = frozenset((row.group_name, row.name) for row in rows if row.bot_id is None)
    return _described(session, [chosen[pair] for pair in sorted(chosen)], shared=shared)


def names_for(session: Session, *, workspace_id: uuid.UUID, bot_id: uuid.UUID, limit: int) -> list[AssetName]:
    """The names of assets that one bot could see, its own and the workspace's, in order, at most `limit`."""
    rows = session.execute(
        select(Asset.group_name, Asset.name)
        .where(Asset.workspace_id == workspace_id, or_(Asset.bot_id.is_(None), Asset.bot_id == bot_id))
        .distinct()
        .order_by(Asset.group_name, Asset.name)
        .limit(limit)
    ).all()
    return [stored(group, name) for group, name in rows]


def describe(session: Session, asset: Asset) -> Described:
    """One asset with what is in force in each environment."""
    pairs = [(asset.group_name, asset.name)] if asset.bot_id is not None else []
    shared = _shared_among(session, pairs, workspace_id=asset.workspace_id)
    return _described(session, [asset], shared=shared)[0]


def history(session: Session, asset_id: uuid.UUID) -> dict[str, list[Past]]:
    """Every number an asset ever had, by environment, newest first."""
    rows = session.execute(
        select(
            AssetValue.environment,
            AssetValue.number,
            AssetValue.created_at,
            AssetValue.created_by,
            AssetValue.empty,
            CurrentValue.number.label("current"),
        )
        .outerjoin(
            CurrentValue,
            and_(
                CurrentValue.asset_id == AssetValue.asset_id,
                CurrentValue.environment == AssetValue.environment,
            ),
        )
        .where(AssetValue.asset_id == asset_id)
        .order_by(AssetValue.number.desc())
    ).all()
    found: dict[str, list[Past]] = {environment: [] for environment in ENVIRONMENTS}
    for row in rows:
        found[row.environment].append(
            Past(row.number, row.created_at, row.created_by, row.empty, row.number == row.current)
        )
    return found


def known_names(
    session: Session, names: Iterable[AssetName], *, workspace_id: uuid.UUID, bot_id: uuid.UUID
) -> set[AssetName]:
    """Which of `names` exist for a bot, as its own or as the workspace's."""
    groups = {name.group for name in names}
    if not groups:
        return set()
    rows = session.execute(
        select(Asset.group_name, Asset.name).where(
            Asset.workspace_id == workspace_id,
            Asset.group_name.in_(groups),
            or_(Asset.bot_id.is_(None), Asset.bot_id == bot_id),
        )
    ).all()
    return {stored(group, name) for group, name in rows} & set(names)


def _shared_pairs(session: Session, workspace_id: uuid.UUID) -> frozenset[tuple[str, str]]:
    rows = session.execute(
        select(Asset.group_name, Asset.name).where(Asset.workspace_id == workspace_id, Asset.bot_id.is_(None))
    ).all()
    return frozenset((group, name) for group, name in rows)


def _shared_among(
    session: Session, pairs: Sequence[tuple[str, str]], *, workspace_id: uuid.UUID
) -> frozenset[tuple[str, str]]:
    if not pairs:
        return frozenset()
    rows = session.execute(
        select(Asset.group_name, Asset.name).where(
            Asset.workspace_id == workspace_id,
            Asset.bot_id.is_(None),
            tuple_(Asset.group_name, Asset.name).in_(pairs),
        )
    ).all()
    return frozenset((group, name) for group, name in rows)


def _described(session: Session, assets: Sequence[Asset], *, shared: frozenset[tuple[str, str]]) -> list[Described]:
    values = _current(session, [asset.id for asset in assets])
    return [
        Described(
            id=asset.id,
            name=stored(asset.group_name, asset.name),
            bot_id=asset.bot_id,
            description=asset.description,
            environments={environment: values[asset.id].get(environment) for environment in ENVIRONMENTS},
            overrides=asset.bot_id is not None and (asset.group_name, asset.name) in shared,
            local=asset.local,
        )
        for asset in assets
    ]


def _current(session: Session, asset_ids: Sequence[uuid.UUID]) -> defaultdict[uuid.UUID, dict[str, CurrentNumber]]:
    found: defaultdict[uuid.UUID, dict[str, CurrentNumber]] = defaultdict(dict)
    for start in range(0, len(asset_ids), 500):  # SQLite binds a limited number of parameters
        rows = session.execute(
            select(
                CurrentValue.asset_id,
                CurrentValue.environment,
                CurrentValue.number,
                CurrentValue.set_at,
                CurrentValue.set_by,
                AssetValue.empty,
            )
            .join(
                AssetValue,
                and_(
                    AssetValue.asset_id == CurrentValue.asset_id,
                    AssetValue.environment == CurrentValue.environment,
                    AssetValue.number == CurrentValue.number,
                ),
            )
            .where(CurrentValue.asset_id.in_(asset_ids[start : start + 500]))
        ).all()
        for row in rows:
            found[row.asset_id][row.environment] = CurrentNumber(row.number, row.set_at, row.set_by, row.empty)
    return found
