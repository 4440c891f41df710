"""The audited reading of values, on the worker only.

`Snapshots.take` takes all values of one attempt in one statement, `record` commits the row of each reading with the
audit row of them all, and only then `Snapshot.open` decrypts. So no plaintext exists before the rows that say so.
On PostgreSQL `confirm` does both for a snapshot that is remembered, where it is what would be taken now.
"""

from __future__ import annotations

import secrets
import threading
import uuid
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce
from operator import xor

from vault import readings, sights
from vault.decrypt import DataKeys, Identities, Sealed, Secret, open_all
from vault.direct import Direct, Raw
from vault.envelope import NONE, Context
from vault.errors import DamagedRow
from vault.names import AssetName, matches, parse_pattern, stored
from vault.readings import LOCAL_SCOPE, WORKSPACE_SCOPE, Read, Readings
from vault.sights import Sight

#: Values in all remembered snapshots: some 2 kB each.
REMEMBERED = 4096


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
        return Readings(_read(value, value.number) for value in self.stored)

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


@dataclass(frozen=True)
class Remembered:
    """A snapshot, and by what it is told from what the database would answer now."""

    sight: Sight
    rows: list[Raw] = field(repr=False)
    snapshot: Snapshot

    @cached_property
    def confirmable(self) -> bool:
        """Whether `Snapshots.confirm` can write its readings: names as they are stored, and numbers of the database."""
        names = [f"{group}.{part}" for _, _, group, part, *_ in self.rows]
        return bool(self.snapshot.stored) and not self.snapshot.local and names == [name.upper() for name in names]

    @cached_property
    def checksum(self) -> int:
        """The one of all that is in these rows, as the database makes it of what it finds later."""
        checksums: Iterator[int] = (row[-1] for row in self.rows)
        return reduce(xor, checksums)

    @cached_property
    def hidden(self) -> str:
        """The array of those rows' assets that are not in the snapshot, such as one that the bot's own replaces."""
        shown = {value.asset_id for value in self.snapshot.values}
        return f"{{{','.join(row[0] for row in self.rows if uuid.UUID(row[0]) not in shown)}}}"


class Snapshots:
    """Takes the snapshots of attempts; safe to share between threads.

    Remembers the latest ones, ciphertexts and all. As long as the statement answers the very same rows, the same
    snapshot is given again, with all that was worked out about it: 100 values cost 1 ms less.
    """

    def __init__(self, direct: Direct, *, limit: int = REMEMBERED) -> None:
        """`limit` is how many values all remembered snapshots may hold together; each of them counts as one more."""
        self._direct, self._limit = direct, limit
        self._latest: OrderedDict[Sight, Remembered] = OrderedDict()
        self._held = 0
        self._lock = threading.Lock()
        # Rows that one worker takes for others by chance are told apart by the next.
        self._seed = secrets.randbits(63)

    def take(self, sight: Sight) -> Snapshot:
        """Take the encrypted values that a bot may see; `record` their readings before opening one.

        A bot-exclusive asset hides the workspace's asset of the same name in every environment, filled there or not.

        Raises:
            DamagedRow: for an asset whose row was changed by hand into what cannot be one.
            Unavailable: when the database cannot be reached.
        """
        taking = sights.taking(sight.patterns, self._direct.dialect)
        rows = self._direct.fetch(taking, self._wanted(sight))
        known = self._known(sight)
        if known is not None and known.rows == rows:
            return known.snapshot
        try:
            values = _values(rows, bot=sight.bot, patterns=sight.patterns)
        except ValueError:
            raise DamagedRow(
                "A row of the database was changed by hand, or damaged: an asset's id, or the number of its value, is "
                "none. Restore the database from a backup."
            ) from None
        taken = Snapshot(str(sight.workspace_id), sight.environment, values)
        self._remember(Remembered(sight, rows, taken))
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

        `local` are the numbers of those of its local values that this host has. `first` is that of `readings.record`.

        Raises:
            Unavailable: when the database cannot be reached; nothing of the snapshot may be opened then.
        """
        if not local and len(taken.unset) == len(taken.values):
            return
        read = taken.readings
        if local:
            read = read.and_of(_read(value, local[value.name]) for value in taken.local if value.name in local)
        parameters = _parameters(taken, read, job_id=job_id, attempt=attempt, runner=runner)
        readings.record(self._direct, read, parameters, first=first)

    def latest(self, sight: Sight) -> Remembered | None:
        """What was taken last, for `confirm`; nothing where that would be no use, such as on SQLite.

        It may be out of date: nothing of it may be opened, or be refused for what it lacks, before it is confirmed.
        """
        if self._direct.dialect != "postgresql":
            return None
        known = self._known(sight)
        return known if known is not None and known.confirmable else None

    def confirm(self, known: Remembered, *, job_id: uuid.UUID, attempt: int, runner: str) -> bool:
        """As `take` and `record` in one statement, if that finds what is remembered: true, and it may be opened.

        Where it is not, or some of its readings are there already, nothing is written. 100 values cost one round trip
        less, in which no ciphertext is sent.

        Raises:
            Unavailable: when the database cannot be reached; nothing of the snapshot may be opened then.
        """
        sight, taken = known.sight, known.snapshot
        parameters = {
            **self._wanted(sight),
            **_parameters(taken, taken.readings, job_id=job_id, attempt=attempt, runner=runner),
            "bot": sight.bot,
            "checksum": known.checksum,
            "hidden": known.hidden,
        }
        return bool(self._direct.insert(sights.confirming(sight.patterns), parameters))

    def _wanted(self, sight: Sight) -> dict[str, object]:
        wanted = {"workspace": sight.workspace_id, "own": sight.bot_id, "chosen": sight.environment}
        return wanted if self._direct.dialect == "sqlite" else {**wanted, "seed": self._seed}

    def _known(self, sight: Sight) -> Remembered | None:
        with self._lock:
            if (known := self._latest.get(sight)) is not None:
                self._latest.move_to_end(sight)
        return known

    def _remember(self, taken: Remembered) -> None:
        with self._lock:
            former = self._latest.pop(taken.sight, None)
            self._held += _size(taken.rows) - (0 if former is None else _size(former.rows))
            self._latest[taken.sight] = taken
            while self._held > self._limit:
                _, oldest = self._latest.popitem(last=False)
                self._held -= _size(oldest.rows)


def _parameters(taken: Snapshot, read: Readings, *, job_id: uuid.UUID, attempt: int, runner: str) -> dict[str, object]:
    return read.parameters(
        workspace=taken.workspace, environment=taken.environment, job_id=job_id, attempt=attempt, runner=runner
    )


def _read(value: SealedValue, number: int | None) -> Read:
    return value.asset_id, str(value.name), value.scope, number


def _size(rows: Sequence[Raw]) -> int:
    return 1 + len(rows)  # one that is empty counts too


def _values(rows: Iterable[Raw], *, bot: str, patterns: Sequence[str] | None) -> tuple[SealedValue, ...]:
    parsed = None if patterns is None else [parse_pattern(pattern) for pattern in patterns]
    chosen: dict[AssetName, SealedValue] = {}
    # Workspace assets come first, so that the bot's own replace them.
    for asset_id, bot_id, group, part, local, number, envelope, *_ in rows:
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
