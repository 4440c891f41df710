"""The console's own key: a 0600 file with which it seals what it must be able to use and nobody else may read.

Promises AES-256-GCM, each text bound to a context so that it does not open in another place. The file is made when it
is first needed. What is sealed: the keys of webhooks, and those of one-time passwords.
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from runner.errors import Conflict

#: The format of what is sealed, and the bytes of its nonce and of the file's key.
_FORMAT, _NONCE, _KEY = b"\x01", 12, 32


class KeyFile:
    """Seals and opens with the file's key, which is read when it is first needed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._cipher: AESGCM | None = None

    def seal(self, content: bytes, *, context: bytes) -> bytes:
        """What may be stored. Raises `Conflict` for a file that cannot be used."""
        nonce = os.urandom(_NONCE)
        return _FORMAT + nonce + self._ready(make=True).encrypt(nonce, content, context)

    def open(self, sealed: bytes, *, context: bytes) -> bytes | None:
        """What was sealed in this context; `None` where another file or another context sealed it.

        Raises:
            Conflict: for a file that is gone or cannot be used.
        """
        nonce, rest = sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :]
        try:
            return self._ready(make=False).decrypt(nonce, rest, context)
        except InvalidTag:
            return None

    def _ready(self, *, make: bool) -> AESGCM:
        if self._cipher is None:
            self._cipher = AESGCM(self._read(make=make))
        return self._cipher

    def _read(self, *, make: bool) -> bytes:
        try:
            mode = self.path.stat().st_mode
            text = self.path.read_text()
        except FileNotFoundError:
            if make:
                return self._make()
            raise Conflict(
                f"The file {self.path}, with which the keys of webhooks and one-time passwords were sealed, is gone; "
                "restore it, or set each key again: botkeep trigger key NAME, botkeep user totp NAME"
            ) from None
        except (OSError, UnicodeDecodeError):
            raise Conflict(f"{self.path} cannot be read; it must belong to the user of the console.") from None
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise Conflict(f"{self.path} can be read by other users; run: chmod 600 {self.path}")
        try:
            key = base64.b64decode(text.strip(), validate=True)
        except binascii.Error:
            key = b""
        if len(key) != _KEY:
            raise Conflict(f"{self.path} holds no key; restore it from a backup, or remove it and set each key again.")
        return key

    def _make(self) -> bytes:
        key = os.urandom(_KEY)
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:  # another console of this host made it a moment ago
            return self._read(make=False)
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(key) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        return key
