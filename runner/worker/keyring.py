"""The private keys that this worker holds, and the data keys it opened lately.

Keys are read once at start and proved against the database's canaries. After a rotation the key file holds one
more identity: the worker reads a file again that was changed, and whatever its keys come from as soon as a value needs
one that it does not hold, at most every few seconds where no file was changed. A file that cannot be read, or that
holds none of the keys that it held before and does not open that value, changes nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Engine

from runner.logging import logger
from vault import db
from vault.canary import check_canaries
from vault.decrypt import DataKeys, Identities, Secret
from vault.errors import VaultError, WrongIdentity
from vault.identities import Credential, Passphrase, Source, load_identities
from vault.names import AssetName
from vault.reader import SealedValue, Snapshot

#: Least time between two readings of the key files, so that a foreign value cannot make the worker spin.
RELOAD_AFTER = timedelta(seconds=5)

#: Opened data keys kept, and for how long; design.md asks for "bounded and for minutes".
CACHED_KEYS = 4096
CACHE_LIFETIME = timedelta(minutes=5)

_log = logger()

T = TypeVar("T")


class Keyring:
    """Opens values for the executor; shared by all attempts of the worker."""

    def __init__(
        self,
        sources: Mapping[str, Source],
        *,
        passphrase: Passphrase | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sources = dict(sources)
        # Asked for once, at the start: a reload happens in a thread where nobody can answer.
        self._passphrase = None if passphrase is None else cache(passphrase)
        self._clock = clock
        self._reload = threading.Lock()
        self._loaded_at = clock()
        self._marks = _marks(self._sources)
        self._identities: Identities = load_identities(self._sources, passphrase=self._passphrase)
        self._keys = DataKeys(limit=CACHED_KEYS, lifetime=CACHE_LIFETIME)

    def prove(self, engine: Engine) -> None:
        """Check every held key against the canaries of the database.

        Raises:
            Conflict: when a key does not belong to it.
            Unavailable: when the database cannot be reached.
        """
        with db.reading(engine) as session:
            check_canaries(session, self._identities)

    def open(self, snapshot: Snapshot, value: SealedValue) -> Secret:
        """Decrypt one value of a snapshot.

        Raises:
            DecryptError: when the key is not held or the row is not what was stored.
        """
        return self._opened(snapshot, lambda held: snapshot.open(value, held, keys=self._keys))

    def open_all(self, snapshot: Snapshot) -> dict[AssetName, Secret]:
        """Decrypt all values of a snapshot that are in the database. Raises what `open` raises."""
        return self._opened(snapshot, lambda held: snapshot.open_all(held, keys=self._keys))

    def held(self) -> dict[str, list[str]]:
        """The ids of the keys that are held, by environment, the newest last; an id is that of the public half."""
        return {environment: [each.hex() for each in held] for environment, held in self._identities.items()}

    def look(self) -> None:
        """Read key files again that were changed; it raises nothing."""
        marks = _marks(self._sources)
        if marks == self._marks:
            return
        with self._reload:
            if marks == self._marks:
                return  # a value needed it meanwhile
            self._marks = marks
            try:
                found = load_identities(self._sources, passphrase=self._passphrase)
            except (VaultError, OSError) as error:
                _log.warning("keys.unreadable", error=str(error))
                return
            if not self._is_strange(found):
                self._identities = found

    def expire(self) -> None:
        """Drop the data keys whose time is over, so that an idle worker does not keep them."""
        self._keys.expire()

    def _opened(self, snapshot: Snapshot, opening: Callable[[Identities], T]) -> T:
        held = self._identities
        try:
            return opening(held)
        except WrongIdentity:
            if snapshot.environment not in self._sources:
                raise
            with self._reload:
                found = self._read_again(held, snapshot.environment)
                if found is None:
                    raise
                opened = opening(found)
                self._identities = found  # no strange ones, since they open a value
            return opened

    def _read_again(self, held: Identities, environment: str) -> Identities | None:
        """Other identities than those that were `held`, if there are any by now; of a strange file only one's own."""
        if self._identities is not held:
            return self._identities
        marks, now = _marks(self._sources), self._clock()
        if marks == self._marks and now - self._loaded_at < RELOAD_AFTER.total_seconds():
            return None
        self._marks, self._loaded_at = marks, now
        found = load_identities(self._sources, passphrase=self._passphrase)
        if self._is_strange(found):
            return {**held, environment: found[environment]}
        self._identities = found
        return found

    def _is_strange(self, found: Identities) -> bool:
        strange = [name for name, held in found.items() if not set(held) & set(self._identities[name])]
        if strange:
            _log.warning("keys.strange", environments=strange)
        return bool(strange)


def _marks(sources: Mapping[str, Source]) -> dict[str, tuple[int, ...] | None]:
    """By what a key file that was replaced is told from the one before; a command's output has nothing of the kind."""
    found: dict[str, tuple[int, ...] | None] = {}
    for environment, source in sources.items():
        path = source.path if isinstance(source, Credential) else source
        try:
            status = path.stat() if isinstance(path, Path) else None
        except OSError:
            status = None
        found[environment] = status and (status.st_ino, status.st_mtime_ns, status.st_size)
    return found
