"""The keys of webhooks: what deliveries are verified by, sealed so that a copy of the database opens none.

To verify an HMAC the console needs the key itself, so it can be no asset (the console decrypts nothing of the vault)
and no digest. It is sealed with AES-256-GCM under a key of the console's own, a 0600 file in its home that is made when
it is first needed, and bound to its trigger and style. No other role may read the table (deploy/postgres/roles.sql),
and no route answers a key again. Why: docs/adr/0010-keys-of-webhooks.md.
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
import uuid
from datetime import datetime
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import delete
from sqlalchemy.orm import Session

from console.models import HookKey
from console.signatures import proof_of
from runner.errors import Conflict, Invalid
from scheduler.definitions import Style
from vault.audit import Actor

#: The format of a sealed key, and the bytes of its nonce and of the file's key.
_FORMAT, _NONCE, _KEY = b"\x01", 12, 32

#: Bytes of a key that a person may give: shorter ones can be guessed; senders make 20 to 64.
SHORTEST, LONGEST = 16, 512


class HookRing:
    """Seals and opens keys of webhooks with the file's key, which is read when it is first needed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._cipher: AESGCM | None = None

    def set(
        self, session: Session, trigger_id: uuid.UUID, *, style: Style, key: str, actor: Actor, now: datetime
    ) -> None:
        """Let deliveries be verified by this key from now on.

        Raises:
            Invalid: for a key that is too short or too long, or a file that cannot be used.
        """
        given = key.encode()
        if not SHORTEST <= len(given) <= LONGEST:
            raise Invalid(f"key: it must have {SHORTEST} to {LONGEST} bytes; let the sender or Botkeep make one.")
        nonce = os.urandom(_NONCE)
        sealed = self._ready(make=True).encrypt(nonce, proof_of(style, given), _bound(trigger_id, style))
        row = session.get(HookKey, trigger_id, with_for_update=True) or HookKey(trigger_id=trigger_id)
        row.sealed, row.set_at, row.set_by = _FORMAT + nonce + sealed, now, actor.name
        session.add(row)
        session.flush()

    def proof(self, session: Session, trigger_id: uuid.UUID, *, style: Style) -> bytes | None:
        """What deliveries are verified by; `None` where no key was set.

        Raises:
            Conflict: where the console's file is not the one that sealed it.
        """
        row = session.get(HookKey, trigger_id)
        if row is None:
            return None
        nonce, sealed = row.sealed[1 : 1 + _NONCE], row.sealed[1 + _NONCE :]
        try:
            return self._ready(make=False).decrypt(nonce, sealed, _bound(trigger_id, style))
        except InvalidTag:
            raise Conflict(
                f"The key of this webhook was sealed with another file than {self._path}; restore that file, or set "
                "the key again: botkeep trigger key NAME"
            ) from None

    def _ready(self, *, make: bool) -> AESGCM:
        if self._cipher is None:
            self._cipher = AESGCM(self._read(make=make))
        return self._cipher

    def _read(self, *, make: bool) -> bytes:
        try:
            mode = self._path.stat().st_mode
            text = self._path.read_text()
        except FileNotFoundError:
            if make:
                return self._make()
            raise Conflict(
                f"The file {self._path}, with which the keys of webhooks were sealed, is gone; restore it, or set each "
                "key again: botkeep trigger key NAME"
            ) from None
        except (OSError, UnicodeDecodeError):
            raise Conflict(f"{self._path} cannot be read; it must belong to the user of the console.") from None
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise Conflict(f"{self._path} can be read by other users; run: chmod 600 {self._path}")
        try:
            key = base64.b64decode(text.strip(), validate=True)
        except binascii.Error:
            key = b""
        if len(key) != _KEY:
            raise Conflict(f"{self._path} holds no key; restore it from a backup, or remove it and set each key again.")
        return key

    def _make(self) -> bytes:
        key = os.urandom(_KEY)
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:  # another console of this host made it a moment ago
            return self._read(make=False)
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(key) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        return key


def forget(session: Session, trigger_id: uuid.UUID) -> None:
    """Take no delivery any more until another key is set."""
    session.execute(delete(HookKey).where(HookKey.trigger_id == trigger_id))


def _bound(trigger_id: uuid.UUID, style: Style) -> bytes:
    """What a sealed key belongs to: moved to another row, it does not open."""
    return b"botkeep hook 1\0" + trigger_id.bytes + (b"plain" if style is Style.PLAIN else b"hmac")
