"""The audited reading of values, on the worker only.

`Snapshots.take` takes all values of one attempt in one statement, `record` commits the row of each reading with the
audit row of them all, and only then `Snapshot.open` decrypts. So no plaintext exists before the rows that say so.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from sqlalchemy import (
    ColumnElement,
    Integer,
    LargeBinary,
    Select,
    Text,
    and_,
    bindparam,
    cast,
    false,
    or_,
    select,
    text,
)
from sqlalchemy.orm import InstrumentedAttribute
from uuid_utils.compat import uuid7

from vault.decrypt import DataKeys, Identities, Sealed, Secret, open_all
from vault.direct import Direct, Raw
from vault.envelope import NONE, Context
from vault.errors import DamagedRow
from vault.models import Asset, AssetValue, CurrentValue
from vault.names import AssetName, matches, parse_pattern, stored

#: The scope of an asset that every bot of the workspace may see.
WORKSPACE_SCOPE = "workspace"

#: The scope of an asset whose value lives on the runner's host.
LOCAL_SCOPE = "local"

#: Values in all remembered snapshots: some 2 kB each.
REMEMBERED = 4096

#: What the audit says of the readings of an attempt, whatever their number.
_AUDIT = {
    "postgresql": "INSERT INTO audit_events "
    "(id, workspace_id, at, actor, address, action, object, environment, outcome, details) VALUES "
    "(CAST(:event_id AS uuid), CAST(:workspace_id AS uuid), clock_timestamp(), :actor, '', 'asset.read', :object, "
    ":environment, 'done', CAST(:details AS jsonb))",
    "sqlite": "INSERT INTO audit_events "
    "(id, workspace_id, at, actor, address, action, object, environment, outcome, details) VALUES "
    "(:event_id, :workspace_id, strftime('%Y-%m-%d %H:%M:%f', 'now') || '000', :actor, '', 'asset.read', :object, "
    ":environment, 'done', :details)",
}
_INSERT_AUDIT = text(_AUDIT["sqlite"])

_READINGS = (
    f"WITH audited AS ({_AUDIT['postgresql']}) "  # noqa: S608 - of our own constants
    "INSERT INTO readings (job_id, attempt, asset_id, asset, scope, environment, number, runner, read_at) "
    "SELECT CAST(:job_id AS uuid), :attempt, asset_id, asset, scope, :environment, number, :runner, "
    "clock_timestamp() FROM jsonb_to_recordset(CAST(:rows AS jsonb)) "
    "AS r(asset_id uuid, asset text, scope text, number integer)"
)

#: The first readings of an attempt on PostgreSQL, where looking for others takes 40 % more (0.45 against 0.31 ms for
#: 100 rows).
_INSERT_FIRST = text(_READINGS)

#: One row a value, from JSON documents: 100 rows cost one statement instead of 100 sets of parameters. SQLite takes one
#: for each scope, of numbers by id and name, since it looks into an object anew for each member.
_INSERT_READINGS = {
    "postgresql": text(f"{_READINGS} ON CONFLICT DO NOTHING"),
    "sqlite": text(
        "INSERT OR IGNORE INTO readings "
        "(job_id, attempt, asset_id, asset, scope, environment, number, runner, read_at) "
        "SELECT :job_id, :attempt, substr(key, 1, 32), substr(key, 33), :scope, :environment, "
        "value, :runner, strftime('%Y-%m-%d %H:%M:%f', 'now') || '000' FROM json_each(:rows)"
    ),
}


@dataclass(slots=True)
class SealedValue:
    """What an attempt may see of one asset: its number and envelope, both empty when the value is unset."""

    asset_id: uuid.UUID
    name: AssetName
    scope: str
    bot: str
    number: int | None
    envelope: bytes | None
    #: Its value lies on this host, if anywhere: `runner.worker.local`.
    local: bool = False
    #: The envelope in its place, once it was opened.
    sealed: Sealed | None = field(default=None, init=False, repr=False, compare=False)


class Readings:
    """The rows of some readings, as each database takes them; worked out once for all attempts that read the same."""

    def __init__(self, read: Iterable[tuple[SealedValue, int | None]]) -> None:
        """`read` are values and the numbers that were read."""
        self._read = list(read)
        self._rows = [(value.asset_id.hex, str(value.name), value.scope, number) for value, number in self._read]

    def and_of(self, others: Iterable[tuple[SealedValue, int | None]]) -> Readings:
        """These and others."""
        return Readings([*self._read, *others])

    @cached_property
    def listed(self) -> str:
        """What the audit row says was read, in JSON: asset, scope and number of each value."""
        return json.dumps([row[1:] for row in self._rows])

    @cached_property
    def document(self) -> str:
        """The rows for PostgreSQL, in JSON."""
        return json.dumps([dict(zip(("asset_id", "asset", "scope", "number"), row, strict=True)) for row in self._rows])

    @cached_property
    def by_scope(self) -> Mapping[str, str]:
        """The rows for SQLite, in JSON: of each scope the numbers by id and name."""
        numbers: dict[str, dict[str, int | None]] = {}
        for asset_id, asset, scope, number in self._rows:
            numbers.setdefault(scope, {})[asset_id + asset] = number
        return {scope: json.dumps(each) for scope, each in numbers.items()}


@dataclass(frozen=True)
class Snapshot:
    """All values visible to one attempt, still encrypted, as one statement saw them."""

    workspace: str
    environment: str
    values: tuple[SealedValue, ...]

    @cached_property
    def by_name(self) -> Mapping[AssetName, SealedValue]:
        """The values by their assets' names."""
        return {value.name: value for value in self.values}

    @cached_property
    def unset(self) -> tuple[SealedValue, ...]:
        """The visible assets that have no value in this environment."""
        return tuple(value for value in self.values if value.envelope is None)

    @cached_property
    def local(self) -> tuple[SealedValue, ...]:
        """The visible assets whose values live on this host."""
        return tuple(value for value in self.values if value.local)

    @cached_property
    def stored(self) -> tuple[SealedValue, ...]:
        """Those that have a value in the database."""
        return tuple(value for value in self.values if value.envelope is not None)

    @cached_property
    def readings(self) -> Readings:
        """What `record` writes of values from the database."""
        return Readings((value, value.number) for value in self.stored)

    def open(self, value: SealedValue, identities: Identities, *, keys: DataKeys) -> Secret:
        """Decrypt one value of this snapshot.

        Raises:
            DecryptError: when the key is missing or the row is not what was stored.
        """
        if value.sealed is None:
            value.sealed = self._sealed(value)
        return value.sealed.open(identities, keys=keys)

    def open_all(self, identities: Identities, *, keys: DataKeys) -> dict[AssetName, Secret]:
        """Decrypt all that have a value in the database.

        Raises:
            DecryptError: when a key is missing or a row is not what was stored.
        """
        for value in self.stored:
            if value.sealed is None:
                value.sealed = self._sealed(value)
        opened = open_all([value.sealed for value in self.stored if value.sealed], identities, keys=keys)
        return {value.name: secret for value, secret in zip(self.stored, opened, strict=True)}

    def _sealed(self, value: SealedValue) -> Sealed:
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
        return Sealed(value.envelope, context=context)


class Snapshots:
    """Takes the snapshots of attempts; safe to share between threads.

    Remembers the latest ones, ciphertexts and all. As long as the statement answers the very same rows, the same
    snapshot is given again, with all that was worked out about it: 100 values cost 1 ms less.
    """

    def __init__(self, direct: Direct, *, limit: int = REMEMBERED) -> None:
        """`limit` is how many values all remembered snapshots may hold together; each of them counts as one more."""
        self._direct, self._limit = direct, limit
        self._latest: OrderedDict[Hashable, tuple[list[Raw], Snapshot]] = OrderedDict()
        self._held = 0
        self._lock = threading.Lock()

    def take(
        self,
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
            DamagedRow: for an asset whose row was changed by hand into what cannot be one.
            Unavailable: when the database cannot be reached.
        """
        declared = None if patterns is None else tuple(patterns)
        wanted = {"workspace": workspace_id, "own": bot_id, "chosen": environment}
        rows = self._direct.fetch(_visible(declared), wanted)
        place = (workspace_id, bot_id, bot, environment, declared)
        with self._lock:
            if (known := self._latest.get(place)) is not None:
                self._latest.move_to_end(place)
        if known is not None and known[0] == rows:
            return known[1]
        try:
            values = _values(rows, bot=bot, patterns=declared)
        except ValueError:
            raise DamagedRow(
                "A row of the database was changed by hand, or damaged: an asset's id, or the number of its value, is "
                "none. Restore the database from a backup."
            ) from None
        taken = Snapshot(str(workspace_id), environment, values)
        self._remember(place, rows, taken)
        return taken

    def record(
        self,
        taken: Snapshot,
        *,
        job_id: uuid.UUID,
        attempt: int,
        runner: str,
        local: Mapping[AssetName, int] | None = None,
        first: bool = False,
    ) -> None:
        """Write the readings of a snapshot and their audit row, committed together when this returns.

        `local` are the numbers of those of its local values that this host has. `first` says that nothing is known to
        have been read for the attempt before, which is cheaper; it holds, too, where that is not so.

        Raises:
            Unavailable: when the database cannot be reached; nothing of the snapshot may be opened then.
        """
        if not local and len(taken.unset) == len(taken.values):
            return
        environment, insert = taken.environment, _INSERT_READINGS[self._direct.dialect]
        read = taken.readings
        if local:
            read = read.and_of((value, local[value.name]) for value in taken.local if value.name in local)
        readings: dict[str, object] = {
            "job_id": job_id.hex,
            "attempt": attempt,
            "environment": environment,
            "runner": runner,
        }
        event: dict[str, object] = {
            "event_id": uuid7().hex,
            "workspace_id": uuid.UUID(taken.workspace).hex,
            "actor": f"runner {runner}",
            "object": f"job {job_id}",
            "environment": environment,
            "details": f'{{"attempt":{attempt},"values":{read.listed}}}',
        }
        if self._direct.dialect == "postgresql":
            readings["rows"] = read.document
            if not (first and self._direct.insert(_INSERT_FIRST, readings | event)):
                self._direct.write(insert, readings | event)
            return
        with self._direct.transaction() as run:
            run(_INSERT_AUDIT, event)
            for scope, rows in read.by_scope.items():
                run(insert, {**readings, "scope": scope, "rows": rows})

    def _remember(self, place: Hashable, rows: list[Raw], taken: Snapshot) -> None:
        with self._lock:
            former = self._latest.pop(place, None)
            self._held += _size(rows) - (0 if former is None else _size(former[0]))
            self._latest[place] = (rows, taken)
            while self._held > self._limit:
                _, (oldest, _) = self._latest.popitem(last=False)
                self._held -= _size(oldest)


def _size(rows: Sequence[Raw]) -> int:
    return 1 + len(rows)  # one that is empty counts too


def _values(rows: Iterable[Raw], *, bot: str, patterns: Sequence[str] | None) -> tuple[SealedValue, ...]:
    parsed = None if patterns is None else [parse_pattern(pattern) for pattern in patterns]
    chosen: dict[AssetName, SealedValue] = {}
    # Workspace assets come first, so that the bot's own replace them.
    for asset_id, bot_id, group, part, local, number, envelope in rows:
        name = stored(group, part)
        if parsed is not None and not any(matches(pattern, name) for pattern in parsed):
            continue
        chosen[name] = SealedValue(
            asset_id=uuid.UUID(asset_id),
            name=name,
            scope=LOCAL_SCOPE if local else WORKSPACE_SCOPE if bot_id is None else bot,
            bot=NONE if bot_id is None else str(uuid.UUID(bot_id)),
            number=None if number is None else int(number),  # SQLite keeps text in it
            # A number without a row is no unset value: the row was removed by hand, and this opens as little.
            envelope=b"" if envelope is None and number is not None else envelope,
            local=bool(local),
        )
    return tuple(chosen.values())


@lru_cache(maxsize=1024)
def _visible(
    patterns: tuple[str, ...] | None,
) -> Select[str, str | None, str, str, int, int, bytes]:
    """The statement for one declaration, built once (building it costs more than running it).

    Its rows are text and bytes, which are compared at once; ids would not be.
    """
    number = select(CurrentValue.number).where(
        CurrentValue.asset_id == Asset.id, CurrentValue.environment == bindparam("chosen")
    )
    # With an offset PostgreSQL keeps it apart; else it would look for each number twice.
    visible = (
        select(
            Asset.id,
            Asset.bot_id,
            Asset.group_name,
            Asset.name,
            cast(Asset.local, Integer).label("local"),  # a number needs no conversion on either database
            number.correlate(Asset).scalar_subquery().label("number"),
        )
        .where(
            Asset.workspace_id == bindparam("workspace"),
            or_(Asset.bot_id.is_(None), Asset.bot_id == bindparam("own")),
        )
        .offset(0)
    )
    found = (visible if patterns is None else visible.where(_narrowed(patterns))).subquery("visible").c
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
    return select(
        cast(found.id, Text).label("id"),
        cast(found.bot_id, Text).label("bot_id"),
        found.group_name,
        found.name,
        found.local,
        found.number,
        # SQLite keeps whatever an editor put into the column, text too; PostgreSQL has bytes there anyway.
        cast(envelope, LargeBinary).label("envelope"),
    ).order_by(found.bot_id.is_not(None), found.group_name, found.name)


def _narrowed(patterns: Iterable[str]) -> ColumnElement[bool]:
    """The declared names only, so that a bot with two assets does not fetch ten thousand."""
    wanted = [parse_pattern(pattern) for pattern in patterns]
    return or_(false(), *(and_(_like(Asset.group_name, one.group), _like(Asset.name, one.name)) for one in wanted))


def _like(column: InstrumentedAttribute[str], part: str) -> ColumnElement[bool]:
    return column.startswith(part[:-1], autoescape=True) if part.endswith("*") else column == part
