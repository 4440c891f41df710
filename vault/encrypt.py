"""Encrypting: what every process may do, because it needs nothing but a public key.

Promises: a value is encrypted under a fresh 256-bit data key (AES-256-GCM), the data key is wrapped for the
recipient (HPKE, RFC 9180: MLKEM768-X25519, HKDF-SHA256, AES-256-GCM), and both are bound to the value's
context, so that an envelope opens in its own row only. `docs/ENVELOPE.md` specifies the bytes.
Refuses: a recipient of another environment than the value's, and a damaged public key (`InvalidRecipient`).
Cannot decrypt: a `Recipient` has no such method, and this module imports nothing that has one.

There are no options: one suite, one version, one key type.
"""

import hashlib
import os
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PublicKey, Suite

from vault.envelope import NONCE_SIZE, RECIPIENT_ID_SIZE, Context, Envelope
from vault.errors import InvalidRecipient
from vault.names import check_environment

#: The one suite. MLKEM768-X25519 is the hybrid known as X-Wing (KEM 0x647a): it holds if either half does.
SUITE: Final = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)

#: Of the ML-KEM-768 encapsulation key (FIPS 203, table 3); an X25519 public key of 32 bytes follows it.
_MLKEM_PUBLIC_SIZE = 1184

_ID_DOMAIN = b"botkeep recipient v1\x00"
_LABEL = "BOTKEEP-RECIPIENT-V1"
_KEY_TEXT = re.compile(r"([A-Z0-9-]+)\.([a-z]+)\.([0-9a-f]{32})\.([A-Za-z0-9_-]+)", re.ASCII)


class Recipient:
    """The public half of an environment's key pair: it can wrap and do nothing else.

    `public_key` is the ML-KEM-768 encapsulation key (1184 bytes) followed by the X25519 public key (32);
    anything else raises `InvalidRecipient`. `id` is 16 bytes and covers the environment too.
    """

    __slots__ = ("_key", "environment", "id", "public_key")

    def __init__(self, environment: str, public_key: bytes) -> None:
        """Checks the environment and the key."""
        self.environment = check_environment(environment)
        self.public_key = public_key
        self.id = recipient_id(environment, public_key)
        self._key = _hybrid_key(public_key)

    def __repr__(self) -> str:
        """Environment and id; the public key is too long to show."""
        return f"Recipient({self.environment!r}, id={self.id.hex()})"

    def __eq__(self, other: object) -> bool:
        """The id covers the environment and the public key."""
        return isinstance(other, Recipient) and self.id == other.id

    def __hash__(self) -> int:
        """As equality: by id."""
        return hash(self.id)

    def to_text(self) -> str:
        """One line of ASCII that anyone may read: label, environment, id, public key."""
        return key_text(_LABEL, self.environment, key_id=self.id, payload=self.public_key)

    @classmethod
    def from_text(cls, text: str) -> "Recipient":
        """The recipient written by `to_text`; a line with a changed character raises `InvalidRecipient`."""
        parsed = parse_key_text(_LABEL, text)
        if parsed is None:
            raise InvalidRecipient(f"This is not a public key: copy the whole line that begins {_LABEL}.")
        environment, key_id, payload = parsed
        recipient = cls(environment, payload)
        if recipient.id != key_id:
            raise InvalidRecipient(f"The public key of {environment} is damaged: copy the whole line again.")
        return recipient

    def wrap(self, data_key: bytes, *, context: Context) -> bytes:
        """The data key, encrypted so that only this recipient's identity opens it, in that context only."""
        if context.environment != self.environment:
            raise InvalidRecipient(
                f"The {context} cannot be encrypted for {self.environment}: use the public key of "
                f"{context.environment}."
            )
        return SUITE.encrypt(data_key, self._key, info=context.encode())


def encrypt(plaintext: bytes, recipient: Recipient, *, context: Context) -> bytes:
    """The envelope of a value: any bytes, also none, for one recipient, valid in one context only.

    Two calls with the same arguments answer different bytes. Raises `InvalidRecipient` where the recipient
    is of another environment than the context.
    """
    data_key = AESGCM.generate_key(256)
    # A random nonce is safe here without a counter: the key is fresh, so it is used exactly once.
    nonce = os.urandom(NONCE_SIZE)
    ciphertext = AESGCM(data_key).encrypt(nonce, plaintext, context.encode())
    wrapped_key = recipient.wrap(data_key, context=context)
    return Envelope(recipient.id, wrapped_key, nonce, ciphertext).to_bytes()


def recipient_id(environment: str, public_key: bytes) -> bytes:
    """16 bytes that name a recipient: a key relabelled for another environment has another id."""
    digest = hashlib.sha256(_ID_DOMAIN + environment.encode("ascii") + b"\x00" + public_key)
    return digest.digest()[:RECIPIENT_ID_SIZE]


def key_text(label: str, environment: str, *, key_id: bytes, payload: bytes) -> str:
    """The text form of a key: `LABEL.environment.id.payload`, the payload as `base64url` writes it."""
    return f"{label}.{environment}.{key_id.hex()}.{base64url(payload)}"


def parse_key_text(label: str, text: str) -> tuple[str, bytes, bytes] | None:
    """Environment, id and payload of a key's text form, or None where it is none with that label."""
    match = _KEY_TEXT.fullmatch(text.strip())
    if match is None or match[1] != label or (payload := parse_base64url(match[4])) is None:
        return None
    return check_environment(match[2]), bytes.fromhex(match[3]), payload


def base64url(data: bytes) -> str:
    """The bytes in base64url without padding (RFC 4648, 5)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def parse_base64url(text: str) -> bytes | None:
    """The bytes that `base64url` writes as this text, or None: there is one spelling of each."""
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return None
    return data if base64url(data) == text else None


def _hybrid_key(public_key: bytes) -> MLKEM768X25519PublicKey:
    try:
        key = MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(public_key[:_MLKEM_PUBLIC_SIZE]),
            X25519PublicKey.from_public_bytes(public_key[_MLKEM_PUBLIC_SIZE:]),
        )
        # X25519 takes points of small order and fails at first use: so use it once, while a person watches.
        SUITE.encrypt(b"", key)
    except ValueError:
        raise InvalidRecipient("These bytes are not a public key: copy the whole key again.") from None
    return key
