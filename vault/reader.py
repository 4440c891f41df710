"""The audited reading of values, on the worker only.

`snapshot` takes all values of one attempt in one statement, `record` commits the row of each reading, and only then
`Snapshot.open` decrypts. So no plaintext exists before the row that says so.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from sqlalchemy import ColumnElement, Select, and_, bindparam, false, or_, select, text
from sqlalchemy.orm import InstrumentedAttribute

from vault.decrypt import DataKeys, Identities, Secret, open_envelope
from vault.direct import Direct
from vault.envelope import Context
from vault.models import Asset, AssetValue, CurrentValue
from vault.names import AssetName, matches, parse_pattern

#: The scope of an asset that every bot of the workspace may see.
WORKSPACE_SCOPE = "workspace"

#: One row a value, from one JSON document: 100 rows cost one statement instead of 100 sets of parameters.
_INSERT_READINGS = {
    "postgresql": text(
        "INSERT INTO readings (job_id, attempt, asset_id, asset, scope, environment, number, runner, read_at) "
        "SELECT CAST(:job_id AS uuid), :attempt, asset_id, asset, scope, :environment, number, :runner, "
        "clock_timestamp() FROM jsonb_to_recordset(CAST(:rows AS jsonb)) "
        "AS r(asset_id uuid, asset text, scope text, number integer) ON CONFLICT DO NOTHING"
    ),
    "sqlite": text(
        "INSERT OR IGNORE INTO readings "
        "(job_id, attempt, asset_id, asset, scope, environment, number, runner, read_at) "
        "SELECT :job_id, :attempt, value ->> 'asset_id', value ->> 'asset', value ->> 'scope', :environment, "
        "value ->> 'number', :runner, strftime('%Y-%m-%d %H:%M:%f', 'now') || '000' FROM json_each(:rows)"
    ),
}


@dataclass(frozen=True, slots=True)
class SealedValue:
    """What an attempt may see of one asset: its number and envelope, both empty when the value is unset."""

    asset_id: uuid.UUID
    name: AssetName
    scope: str
    bot: str
    number: int | None
    envelope: bytes | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All values visible to one attempt, still encrypted, as one statement saw them."""

    workspace: str
    environment: str
    values: tuple[SealedValue, ...]

    @property
    def unset(self) -> tuple[SealedValue, ...]:
        """The visible assets that have no value in this environment."""
        return tuple(value for value in self.values if value.envelope is None)

    def open(self, value: SealedValue, identities: Identities, *, keys: DataKeys) -> Secret:
        """Decrypt one value of this snapshot.

        Raises:
            DecryptError: when the key is missing or the row is not what was stored.
        """
        if value.envelope is None or value.number is None:
            raise ValueError(f"{value.name} has no value in {self.environment}; check `unset` first.")
        context = Context(
            workspace=self.workspace,
            bot=value.bot,
            group=value.name.group,
            name=value.name.name,
            environment=self.environment,
            number=value.number,
        )
        return open_envelope(value.envelope, identities, context=context, keys=keys)


def snapshot(
    direct: Direct,
    *,
    workspace_id: uuid.UUID,
    bot_id: uuid.UUID,
    bot: str,
    environment: str,
    patterns: Sequence[str] | None,
) -> Snapshot:
    """Take the encrypted values that `bot` may see in `environment`; `record` their readings before opening one.

    `patterns` are those of the bot's declaration; `None` means every asset of the workspace. A bot-exclusive
    asset hides the workspace's asset of the same name in every environment, filled there or not.

    Raises:
        Unavailable: when the database cannot be reached.
    """
    declared = None if patterns is None else tuple(patterns)
    rows = direct.read(_visible(declared), {"workspace": workspace_id, "own": bot_id, "chosen": environment})
    chosen: dict[AssetName, SealedValue] = {}
    for row in rows:  # workspace assets come first, so that the bot's own replace them
        name = AssetName(row.group_name, row.name)
        if patterns is not None and not any(matches(pattern, name) for pattern in patterns):
            continue
        chosen[name] = SealedValue(
            asset_id=row.id,
            name=name,
            scope=WORKSPACE_SCOPE if row.bot_id is None else bot,
            bot="-" if row.bot_id is None else str(row.bot_id),
            number=row.number,
            envelope=row.envelope,
        )
    return Snapshot(workspace=str(workspace_id), environment=environment, values=tuple(chosen.values()))


def record(direct: Direct, taken: Snapshot, *, job_id: uuid.UUID, attempt: int, runner: str) -> None:
    """Write the readings of a snapshot, committed when this returns.

    Raises:
        Unavailable: when the database cannot be reached; nothing of the snapshot may be opened then.
    """
    rows = [
        {"asset_id": value.asset_id.hex, "asset": str(value.name), "scope": value.scope, "number": value.number}
        for value in taken.values
        if value.envelope is not None
    ]
    if not rows:
        return
    direct.write(
        _INSERT_READINGS[direct.dialect],
        {
            "job_id": job_id.hex,
            "attempt": attempt,
            "environment": taken.environment,
            "runner": runner,
            "rows": json.dumps(rows),
        },
    )


@lru_cache(maxsize=1024)
def _visible(
    patterns: tuple[str, ...] | None,
) -> Select[uuid.UUID, uuid.UUID | None, str, str, int, bytes]:
    """The statement for one declaration, built once (building it costs more than running it)."""
    query = (
        select(
            Asset.id,
            Asset.bot_id,
            Asset.group_name,
            Asset.name,
            AssetValue.number,
            AssetValue.envelope,
        )
        .outerjoin(
            CurrentValue,
            and_(CurrentValue.asset_id == Asset.id, CurrentValue.environment == bindparam("chosen")),
        )
        .outerjoin(
            AssetValue,
            and_(
                AssetValue.asset_id == CurrentValue.asset_id,
                AssetValue.environment == CurrentValue.environment,
                AssetValue.number == CurrentValue.number,
            ),
        )
        .where(
            Asset.workspace_id == bindparam("workspace"),
            or_(Asset.bot_id.is_(None), Asset.bot_id == bindparam("own")),
        )
        .order_by(Asset.bot_id.is_not(None), Asset.group_name, Asset.name)
    )
    return query if patterns is None else query.where(_narrowed(patterns))


def _narrowed(patterns: Iterable[str]) -> ColumnElement[bool]:
    """The declared names only, so that a bot with two assets does not fetch ten thousand."""
    wanted = [parse_pattern(pattern) for pattern in patterns]
    return or_(false(), *(and_(_like(Asset.group_name, one.group), _like(Asset.name, one.name)) for one in wanted))


def _like(column: InstrumentedAttribute[str], part: str) -> ColumnElement[bool]:
    return column.startswith(part[:-1], autoescape=True) if part.endswith("*") else column == part
