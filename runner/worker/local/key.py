"""The key of one host: it seals and opens local values and proves the file that holds them.

Promises that a sealed value opens with this key, in its own place, unchanged, or not at all; that the key's id tells
nothing of the key; and that a line of a key file is written in one way only. `docs/LOCAL-VALUES.md` specifies both.
Refuses to be printed, pickled or copied.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from typing import NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from runner.worker.local.errors import Damaged
from vault.decrypt import Secret
from vault.encrypt import base64url, parse_base64url
from vault.envelope import NONCE_SIZE, TAG_SIZE
from vault.errors import IdentityFileError
from vault.passphrases import SALT_SIZE, check_new, passphrase_key

#: Of a key, in bytes.
KEY_SIZE = 32

LABEL = "BOTKEEP-LOCAL-KEY-V1"
_PLAIN = re.compile(rf"{LABEL}\.file\.([0-9a-f]{{32}})\.([\w-]{{43}})", re.ASCII)
_PROTECTED = re.compile(rf"({LABEL}\.passphrase\.([0-9a-f]{{32}})\.([\w-]{{22}})\.([\w-]{{16}}))\.([\w-]+)", re.ASCII)
_IN_KEYRING = re.compile(rf"{LABEL}\.keyring\.([0-9a-f]{{32}})", re.ASCII)


class HostKey:
    """A 256-bit key; `id` names it in files."""

    __slots__ = ("_proving", "_sealing", "_value", "id")

    def __init__(self, value: bytes) -> None:
        """Derives one key for values and one for the file."""
        if len(value) != KEY_SIZE:
            raise IdentityFileError("The key of this host has the wrong size: restore its file from a backup.")
        self._value = value
        self.id = hashlib.sha256(b"botkeep local key v1\0" + value).hexdigest()[:32]
        self._sealing = AESGCM(_derived(value, b"botkeep local values v1"))
        self._proving = _derived(value, b"botkeep local document v1")

    @classmethod
    def generate(cls) -> HostKey:
        """A new key, from the operating system's random numbers."""
        return cls(os.urandom(KEY_SIZE))

    def __repr__(self) -> str:
        """The id, which is public."""
        return f"HostKey(id={self.id})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Neither pickled nor copied."""
        raise TypeError("A HostKey is neither pickled nor copied: read it from its file instead.")

    def __getstate__(self) -> NoReturn:
        """Refused too: the inherited one would answer the key."""
        raise TypeError("A HostKey does not give its state away.")

    def seal(self, plaintext: bytes, *, place: bytes) -> bytes:
        """Nonce and ciphertext of a value, which opens in that place only.

        Random nonces of 96 bits are good for 2**32 values of one key (NIST SP 800-38D, 8.3).
        """
        nonce = os.urandom(NONCE_SIZE)
        return nonce + self._sealing.encrypt(nonce, plaintext, place)

    def open(self, sealed: bytes, *, place: bytes) -> Secret | None:
        """The plaintext, or None where it was not sealed with this key for that place."""
        if len(sealed) < NONCE_SIZE + TAG_SIZE:
            return None
        try:
            return Secret(self._sealing.decrypt(sealed[:NONCE_SIZE], sealed[NONCE_SIZE:], place))
        except InvalidTag:
            return None

    def proof(self, content: bytes) -> bytes:
        """What only this key can say of a content: HMAC-SHA256."""
        return hmac.digest(self._proving, content, "sha256")

    def proves(self, content: bytes, proof: bytes) -> bool:
        """Whether `proof` is this key's, in constant time."""
        return hmac.compare_digest(self.proof(content), proof)

    def line(self) -> str:
        """The key itself as a line, for a file that its owner alone may read, and for nothing else."""
        return f"{LABEL}.file.{self.id}.{self.text()}"

    def text(self) -> str:
        """The key itself, for a keyring of the operating system."""
        return base64url(self._value)

    def protected_line(self, passphrase: str) -> str:
        """The key as a line that only the passphrase opens."""
        salt, nonce = os.urandom(SALT_SIZE), os.urandom(NONCE_SIZE)
        label = f"{LABEL}.passphrase.{self.id}.{base64url(salt)}.{base64url(nonce)}"
        ciphertext = passphrase_key(check_new(passphrase), salt).encrypt(nonce, self._value, label.encode("ascii"))
        return f"{label}.{base64url(ciphertext)}"

    def keyring_line(self) -> str:
        """A line that says that the key is in a keyring."""
        return f"{LABEL}.keyring.{self.id}"


def kind_of(line: str) -> tuple[str, str] | None:
    """Protection (`file`, `passphrase`, `keyring`) and id of a key's line, or None where it is none."""
    for kind, pattern, group in (("file", _PLAIN, 1), ("passphrase", _PROTECTED, 2), ("keyring", _IN_KEYRING, 1)):
        if (match := pattern.fullmatch(line)) is not None:
            return kind, match[group]
    return None


def from_line(line: str) -> HostKey:
    """The key that stands in a line as itself; raises `IdentityFileError` where it is damaged."""
    match = _PLAIN.fullmatch(line)
    return from_text(match[2], match[1]) if match else _damaged()


def from_text(text: str, key_id: str) -> HostKey:
    """The key of that id, from `HostKey.text`."""
    value = parse_base64url(text)
    if value is None or len(value) != KEY_SIZE or (key := HostKey(value)).id != key_id:
        _damaged()
    return key


def from_protected_line(line: str, passphrase: str) -> HostKey | None:
    """The key behind a passphrase, or None where the passphrase, or the line, is another one."""
    match = _PROTECTED.fullmatch(line)
    salt, nonce, ciphertext = map(parse_base64url, match.group(3, 4, 5)) if match else (None, None, None)
    if match is None or salt is None or nonce is None or ciphertext is None:
        _damaged()
    try:
        value = passphrase_key(passphrase, salt).decrypt(nonce, ciphertext, match[1].encode("ascii"))
    except InvalidTag:
        return None
    key = HostKey(value)
    if key.id != match[2]:
        raise Damaged("The key of this host names another key: restore its file from a backup.")
    return key


def _damaged() -> NoReturn:
    raise IdentityFileError("The line with the key of this host is damaged: restore its file from a backup.")


def _derived(key: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), KEY_SIZE, salt=None, info=purpose).derive(key)
