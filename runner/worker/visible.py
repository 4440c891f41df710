"""The assets of one attempt, as its bot may ask for them, and change them where its declaration says so.

Promises that a reading shows the value of the attempt's snapshot, whose reading is in the audit, and that what the
bot itself wrote shows at once; that a bot writes into the environment of its job only, while its attempt is the
running one, and only what `writes` in its declaration names; and that a new value is known to the masker before it is
stored.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from runner.errors import Conflict
from runner.jobs import Claim
from runner.manifest import Manifest
from runner.models import Job
from runner.states import State
from runner.worker.grant import Denied, NotSeen
from runner.worker.local.document import Entry
from runner.worker.refusals import Refusals
from runner.worker.station import Station
from vault import assets, db
from vault.assets import Scope
from vault.audit import Actor
from vault.decrypt import Secret
from vault.models import Asset, CurrentValue
from vault.names import AssetName
from vault.reader import SealedValue, Snapshot
from vault.readings import WORKSPACE_SCOPE
from vault.sights import Sight


class Visible:
    """What one attempt sees; threads may share it."""

    def __init__(
        self,
        station: Station,
        claim: Claim,
        *,
        bot: str,
        manifest: Manifest,
        sealed: Snapshot,
        local: Mapping[AssetName, Entry],
        learn: Callable[[bytes], None],
        refusals: Refusals,
    ) -> None:
        """`local` are the values that live on this host.

        `learn` is told each value that the bot writes; it raises `TooMuch` for one too many.
        """
        self._station, self._claim, self._bot, self._manifest = station, claim, bot, manifest
        self._sealed, self._local = sealed, local
        self._learn, self._refusals = learn, refusals
        self._lock = threading.Lock()
        #: What the bot wrote, each in a snapshot of its own; `None` where it took the value away.
        self._written: dict[AssetName, Snapshot | None] = {}

    def names(self) -> tuple[AssetName, ...]:
        """The assets that the bot sees, with a value or without."""
        own = [name for name in self._written if name not in self._sealed.by_name]
        return (*self._sealed.by_name, *own) if own else tuple(self._sealed.by_name)

    def filled(self) -> list[AssetName]:
        """Those of them that have a value."""
        return [name for name in self.names() if name in self._local or self._sealed_value(name)[1] is not None]

    def read(self, name: AssetName) -> Secret | None:
        """The value of an asset, `None` where it has none in this environment.

        Raises:
            NotSeen: when the bot sees no such asset; it is for the caller to have that written down.
            DecryptError: when the row is not what was stored.
        """
        if not self._sees(name):
            raise _not_seen(name)
        if name in self._local:
            return self._station.local.open(self._local[name])
        snapshot, value = self._sealed_value(name)
        return None if value is None else self._station.keyring.open(snapshot, value)

    def require(self, name: AssetName, *, written: str) -> None:
        """Refuse an asset that the bot does not see; `written` is how the bot wrote it, which may be a value.

        Raises:
            NotSeen: then; the audit says that it asked.
        """
        if not self._sees(name):
            self._refusals.note(f"asset {written}")
            raise _not_seen(name)

    def about(self, name: AssetName) -> dict[str, Any]:
        """When and by whom an asset was made and last set: `created`, `created_by`, `modified`, `modified_by`."""
        value = self._sealed_value(name)[1] or self._sealed.by_name[name]
        with db.reading(self._station.engine) as session:
            row = session.execute(
                select(Asset.created_at, Asset.created_by, CurrentValue.set_at, CurrentValue.set_by)
                .outerjoin(
                    CurrentValue,
                    (CurrentValue.asset_id == Asset.id) & (CurrentValue.environment == self._claim.environment),
                )
                .where(Asset.id == value.asset_id)
            ).one_or_none()
        if row is None:
            raise NotSeen(f"This bot sees no asset {name} any more.")
        return {
            "created": row.created_at.isoformat(),
            "created_by": row.created_by,
            "modified": (row.set_at or row.created_at).isoformat(),
            "modified_by": row.set_by or row.created_by,
        }

    def check_writable(self, name: AssetName, *, written: str) -> None:
        """Refuse what the declaration does not let the bot write; `written` as for `require`.

        Raises:
            Denied: naming the line that would allow it; the audit says that the bot tried.
        """
        if not self._manifest.may_write(name):
            self._refusals.note(f"asset {written}, to be written")
            raise Denied(f'This bot may not write {name}: its bot.toml would need writes = ["{name}"].')

    def write(self, name: AssetName, plaintext: bytes | None, *, written: str | None = None) -> None:
        """Store a value for the environment of the job; `None` leaves the asset without one.

        An asset that does not exist yet is made for the whole workspace.

        Raises:
            Denied: as `check_writable`.
            TooMuch, InvalidValue, NameCollision: when the value or the name cannot be used.
            Conflict: when the attempt is not the running one any more.
        """
        written = written or str(name)
        self.check_writable(name, written=written)
        if plaintext is None:
            self.require(name, written=written)
        else:
            self._learn(plaintext)
        with self._lock:
            self._store(name, plaintext)
            self._written[name] = None if plaintext is None else self._taken(name, plaintext)

    def _sees(self, name: AssetName) -> bool:
        return name in self._sealed.by_name or name in self._written

    def _store(self, name: AssetName, plaintext: bytes | None) -> None:
        claim = self._claim
        actor, now = Actor(f"job {claim.job_id}"), datetime.now(UTC)
        scope, environment = self._scope(name), claim.environment
        with db.writing(self._station.engine) as session:
            self._require_running(session)
            if plaintext is None:
                assets.unset(session, name, scope=scope, environment=environment, actor=actor, now=now)
            else:
                assets.set_value(
                    session, name, scope=scope, environment=environment, plaintext=plaintext, actor=actor, now=now
                )

    def _require_running(self, session: Session) -> None:
        claim = self._claim
        running = exists().where(Job.id == claim.job_id, Job.state == State.RUNNING, Job.attempt == claim.attempt)
        if not session.scalar(select(running)):
            raise Conflict("This attempt has ended; nothing was stored.")

    def _scope(self, name: AssetName) -> Scope:
        known = self._sealed.by_name.get(name)
        if known is None or known.scope == WORKSPACE_SCOPE:
            return Scope(self._claim.workspace_id)
        return Scope(self._claim.workspace_id, self._claim.bot_id, self._bot)

    def _taken(self, name: AssetName, stored: bytes) -> Snapshot | None:
        """The value that was just stored, alone in a snapshot, with the row of its reading.

        It is another one where somebody else stored that since, which the masker must know as well.
        """
        claim = self._claim
        taken = self._station.snapshots.take(
            Sight(claim.workspace_id, claim.bot_id, self._bot, claim.environment, (str(name),))
        )
        found = taken.by_name.get(name)
        if found is None or found.envelope is None:
            return None
        alone = Snapshot(taken.workspace, taken.environment, (found,))
        self._station.snapshots.record(
            alone, job_id=claim.job_id, attempt=claim.attempt, runner=self._station.settings.runner_name
        )
        now = self._station.keyring.open(alone, found).reveal()
        if now != stored:
            self._learn(now)
        return alone

    def _sealed_value(self, name: AssetName) -> tuple[Snapshot, SealedValue | None]:
        if name in self._written:
            own = self._written[name]
            return (self._sealed, None) if own is None else (own, own.values[0])
        value = self._sealed.by_name[name]
        return self._sealed, None if value.envelope is None else value


def _not_seen(name: AssetName) -> NotSeen:
    return NotSeen(f"This bot sees no asset {name}.")
