"""What a bot may see of a workspace's assets, as a worker asks the database for it, ciphertexts and all.

Promises one statement for each thing that is asked, which sees all assets and values at the same moment.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Integer,
    LargeBinary,
    Select,
    Subquery,
    Text,
    and_,
    bindparam,
    cast,
    false,
    func,
    literal_column,
    or_,
    select,
)
from sqlalchemy.orm import InstrumentedAttribute

from vault import readings
from vault.models import Asset, AssetValue, CurrentValue
from vault.names import parse_pattern

#: Statements of each kind that are kept, one for each declaration: 60 to 90 kB each, with what `Direct` keeps.
STATEMENTS = 512


class Sight(NamedTuple):
    """What of a workspace's values is to be seen: those of an environment, as a bot and its declaration see them."""

    workspace_id: uuid.UUID
    bot_id: uuid.UUID
    #: The bot's name, which is the scope of its own assets.
    bot: str
    environment: str
    #: Those of the bot's declaration; `None` means every asset of the workspace.
    patterns: tuple[str, ...] | None


#: A number needs no conversion on either database.
_ASSET = (Asset.id, Asset.bot_id, Asset.group_name, Asset.name, cast(Asset.local, Integer).label("local"))


@lru_cache(maxsize=STATEMENTS)
def taking(patterns: tuple[str, ...] | None, dialect: str) -> Select[Any]:
    """The statement that takes a snapshot for one declaration, built once (building it costs more than running it).

    Its rows are text and bytes, which are compared at once; ids would not be. PostgreSQL adds each row's checksum.
    """
    seen = (_joined(patterns) if dialect == "sqlite" else _visible(patterns)).c
    return select(
        cast(seen.id, Text).label("id"),
        cast(seen.bot_id, Text).label("bot_id"),
        seen.group_name,
        seen.name,
        seen.local,
        seen.number,
        seen.envelope,
        *([_checksum().label("checksum")] if dialect == "postgresql" else []),
    ).order_by(seen.bot_id.is_not(None), seen.group_name, seen.name)


@lru_cache(maxsize=STATEMENTS)
def confirming(patterns: tuple[str, ...] | None) -> Select[int]:
    """The statement for PostgreSQL that writes the readings of a snapshot that is as it was, built once as well."""
    visible = _visible(patterns)
    found = select(func.bit_xor(_checksum()).label("checksum")).select_from(visible).subquery("found")
    known = bindparam("checksum", type_=BigInteger)
    same = select(found.c.checksum).where(found.c.checksum == known).cte("same")
    return readings.recorded(visible, same)


def _checksum() -> ColumnElement[int]:
    """A number of 64 bits for a visible row; of all rows together it is the exclusive or of theirs.

    It is the hash by which PostgreSQL joins rows (since 14), with a seed that each worker draws for itself, hashed once
    more: it is a sum over columns, and those of two rows whose envelopes changed places would cancel once in some 2^26
    and not 2^64. That finds what changed, but it is no keyed function: who sees the seed, a parameter of the statement,
    and may write rows could make up others with the same number. It would gain nothing, since an attempt then has what
    this worker took before, and such a person could as well have left, or put back, what was there.
    100 rows take 0.08 ms; SHA-256 of all that is in them took 0.2 ms.
    """
    seed = bindparam("seed", type_=BigInteger)
    row = func.hash_record_extended(literal_column("visible"), seed, type_=BigInteger)
    # Of the number itself PostgreSQL's hash would take 32 bits.
    return func.hashtextextended(cast(row, Text), seed, type_=BigInteger)


def _joined(patterns: tuple[str, ...] | None) -> Subquery:
    """What is visible, for SQLite: it always goes from assets to values by their keys, a third sooner in a join."""
    number, value = CurrentValue, AssetValue
    numbered = (number.asset_id == Asset.id) & (number.environment == bindparam("chosen"))
    valued = (value.asset_id == number.asset_id) & (value.environment == number.environment)
    return (
        # SQLite keeps whatever an editor put into the column, text too.
        select(*_ASSET, number.number, cast(value.envelope, LargeBinary).label("envelope"))
        .select_from(Asset)
        .outerjoin(number, numbered)
        .outerjoin(value, valued & (value.number == number.number))
        .where(*_seen(patterns))
        .subquery("visible")
    )


def _visible(patterns: tuple[str, ...] | None) -> CTE:
    """What is visible, for PostgreSQL."""
    number = select(CurrentValue.number).where(
        CurrentValue.asset_id == Asset.id, CurrentValue.environment == bindparam("chosen")
    )
    # With an offset PostgreSQL keeps it apart; else it would look for each number twice.
    numbered = (
        select(*_ASSET, number.correlate(Asset).scalar_subquery().label("number"))
        .where(*_seen(patterns))
        .offset(0)
        .subquery("numbered")
    )
    found = numbered.c
    # By asset, since a planner that has no statistics yet compares each asset's value with all others in a join.
    envelope = (
        select(AssetValue.envelope)
        .where(
            AssetValue.asset_id == found.id,
            AssetValue.environment == bindparam("chosen"),
            AssetValue.number == found.number,
        )
        .scalar_subquery()
    )
    # Else it would look for an envelope again for the row's checksum.
    return select(*found, envelope.label("envelope")).cte("visible").prefix_with("MATERIALIZED")


def _seen(patterns: tuple[str, ...] | None) -> Iterator[ColumnElement[bool]]:
    yield Asset.workspace_id == bindparam("workspace")
    yield or_(Asset.bot_id.is_(None), Asset.bot_id == bindparam("own"))
    if patterns is not None:
        yield _narrowed(patterns)


def _narrowed(patterns: Iterable[str]) -> ColumnElement[bool]:
    """The declared names only, so that a bot with two assets does not fetch ten thousand."""
    wanted = [parse_pattern(pattern) for pattern in patterns]
    return or_(false(), *(and_(_like(Asset.group_name, one.group), _like(Asset.name, one.name)) for one in wanted))


def _like(column: InstrumentedAttribute[str], part: str) -> ColumnElement[bool]:
    return column.startswith(part[:-1], autoescape=True) if part.endswith("*") else column == part
