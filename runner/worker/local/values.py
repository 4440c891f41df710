"""Local values as a worker uses them: found for an attempt, opened after their readings are written down.

Promises that a host without a local asset pays nothing, that the file is read again whenever it or the key changed, and
that a lock holds from the next look on. Keeps the host's key for minutes, and never a plaintext.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta

from runner.worker.local.custody import Custody
from runner.worker.local.document import Document, Entry
from runner.worker.local.key import HostKey
from runner.worker.local.store import Store
from vault.decrypt import Secret
from vault.names import AssetName
from vault.reader import SealedValue

#: How long a key from a keyring is used before the keyring is asked again.
LIFETIME = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class _Proved:
    """The file as it was when `key` proved it."""

    signature: object
    document: Document
    key: HostKey
    until: float


class LocalValues:
    """The values of this host; shared by all attempts of the worker."""

    def __init__(self, store: Store, custody: Custody, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Reads nothing yet."""
        self._store, self._custody, self._clock = store, custody, clock
        self._proved: _Proved | None = None
        self._lock = threading.Lock()

    def find(self, wanted: Iterable[SealedValue], environment: str) -> dict[AssetName, Entry]:
        """Those of the wanted assets that have a value here, still sealed; one of another environment is none.

        Raises:
            Locked: when there is one and the key cannot be had now.
            Damaged: when the file is not what was stored here.
            IdentityFileError: when the file or the key cannot be read safely.
        """
        if self._store.signature() is None:
            return {}
        names = {value.asset_id: value.name for value in wanted}
        document = self._store.read() if self._proved is None else self._current()
        held = [] if document is None else [one for one in document.held if one.asset_id in names]
        if not any(one.environment == environment for one in held):
            return {}
        proved = self._prove()
        found = (one for one in proved.document.held if one.asset_id in names and one.environment == environment)
        return {names[one.asset_id]: one for one in found}

    def open(self, entry: Entry) -> Secret:
        """The plaintext of a value; its reading must be written down before. Raises what `find` raises."""
        return entry.open(self._prove().key)

    def _current(self) -> Document | None:
        known = self._proved
        return known.document if known is not None and known.signature == self._signature() else self._store.read()

    def _prove(self) -> _Proved:
        with self._lock:
            known, signature = self._proved, self._signature()
            if known is not None and known.signature == signature and self._clock() < known.until:
                return known
            self._proved = None
            key, document = self._custody.key(), self._store.read()
            if document is None:
                document = Document(key.id, (), b"", b"")
            else:
                document.check(key, where=self._store.path)
            until = self._clock() + LIFETIME.total_seconds()
            self._proved = _Proved(signature, document, key, until)
            return self._proved

    def _signature(self) -> object:
        return self._store.signature(), self._custody.signature()
