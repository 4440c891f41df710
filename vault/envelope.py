"""The stored form of a value, format version 1, as plain bytes; `docs/ENVELOPE.md` is its specification.

Promises: a `Context` has exactly one encoding and no other context shares it; an `Envelope` survives
`to_bytes` and `from_bytes` unchanged. Pure: no keys, no cryptography, no input or output.
Refuses: a context that is not canonical (`InvalidValue`, `InvalidName`), bytes that cannot be an envelope
(`TamperedEnvelope`), and a format version it does not know (`UnsupportedEnvelope`).
"""

import re
from dataclasses import dataclass

from vault.errors import InvalidValue, TamperedEnvelope, UnsupportedEnvelope
from vault.names import MAX_LENGTH, check_environment

#: The format version; it is the fourth byte of an envelope and the eighth of a context.
VERSION = 1

#: In place of a bot's id where the value belongs to the whole workspace, and of both ids in a canary.
NONE = "-"

RECIPIENT_ID_SIZE = 16
DATA_KEY_SIZE = 32
#: HPKE's encapsulated key (1120: ML-KEM-768 ciphertext 1088, X25519 public key 32), data key 32, tag 16.
WRAPPED_KEY_SIZE = 1120 + DATA_KEY_SIZE + 16
#: AES-GCM, NIST SP 800-38D 8.2: a 96-bit nonce.
NONCE_SIZE = 12
TAG_SIZE = 16

_MAGIC = b"BKE"
_CONTEXT_MAGIC = b"BOTKEEP"
_HEADER_SIZE = len(_MAGIC) + 1 + RECIPIENT_ID_SIZE + WRAPPED_KEY_SIZE + NONCE_SIZE

#: By how many bytes an envelope is longer than the value in it.
OVERHEAD = _HEADER_SIZE + TAG_SIZE

#: The largest number the encoding holds and both databases store.
MAX_NUMBER = 2**63 - 1

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_CANONICAL = re.compile(rf"[A-Z0-9_]{{1,{MAX_LENGTH}}}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Context:
    """Where a value lives: the row it must be in to open.

    `workspace` and `bot` are row ids as canonical UUID text, `bot` is `-` for a workspace-wide value,
    `group` and `name` are canonical (upper case), `number` is the value's number, from 1. The number 0, with
    `-` for the workspace, is that of an environment's canary, which no value can have.
    """

    workspace: str
    bot: str
    group: str
    name: str
    environment: str
    number: int

    def __post_init__(self) -> None:
        """Checks that every field is canonical, so that one place has one encoding."""
        if not 0 <= self.number <= MAX_NUMBER:
            raise InvalidValue("The number of a value must be between 1 and 2**63 - 1.")
        placed = _UUID.fullmatch(self.workspace) if self.number else self.workspace == self.bot == NONE
        if not placed:
            raise InvalidValue("The workspace of a value must be given as its id, a lower-case UUID.")
        if self.bot != NONE and not _UUID.fullmatch(self.bot):
            raise InvalidValue("The bot of a value must be given as its id, a lower-case UUID, or as '-'.")
        if not (_CANONICAL.fullmatch(self.group) and _CANONICAL.fullmatch(self.name)):
            raise InvalidValue("The asset of a value must be given as AssetName writes it, in upper case.")
        check_environment(self.environment)

    def __str__(self) -> str:
        """How an error message names the value."""
        return f"value {self.number} of {self.group}.{self.name} in {self.environment}"

    def encode(self) -> bytes:
        """The bytes that bind a value to its place: HPKE's `info` and the additional data of AES-GCM."""
        fields = (self.workspace, self.bot, self.group, self.name, self.environment)
        encoded = [_CONTEXT_MAGIC, VERSION.to_bytes(1, "big")]
        for field in fields:
            encoded += (len(field).to_bytes(2, "big"), field.encode("ascii"))
        encoded.append(self.number.to_bytes(8, "big"))
        return b"".join(encoded)


@dataclass(frozen=True, slots=True)
class Envelope:
    """One encrypted value: who can open it, its wrapped data key, and the ciphertext with its tag."""

    recipient_id: bytes
    wrapped_key: bytes
    nonce: bytes
    ciphertext: bytes

    def __post_init__(self) -> None:
        """Checks the sizes, which are all fixed but that of the ciphertext."""
        sizes = (len(self.recipient_id), len(self.wrapped_key), len(self.nonce))
        if sizes != (RECIPIENT_ID_SIZE, WRAPPED_KEY_SIZE, NONCE_SIZE) or len(self.ciphertext) < TAG_SIZE:
            raise TamperedEnvelope("The parts of the envelope do not have the sizes of format version 1.")

    def to_bytes(self) -> bytes:
        """The bytes that are stored."""
        header = (_MAGIC, VERSION.to_bytes(1, "big"), self.recipient_id, self.wrapped_key, self.nonce)
        return b"".join((*header, self.ciphertext))

    @classmethod
    def from_bytes(cls, data: bytes) -> "Envelope":
        """The envelope in stored bytes; says nothing yet about whether it is genuine."""
        version = len(_MAGIC)
        if len(data) <= version or not data.startswith(_MAGIC):
            raise TamperedEnvelope("These bytes are not an envelope: restore the row from a backup.")
        if data[version] != VERSION:
            raise UnsupportedEnvelope(
                f"The envelope has format version {data[version]} and this Botkeep reads version {VERSION}: "
                "upgrade this host, or restore the row from a backup if nothing newer ever wrote to it."
            )
        if len(data) < OVERHEAD:
            raise TamperedEnvelope("The envelope is cut short: restore the row from a backup.")
        start = version + 1
        key = start + RECIPIENT_ID_SIZE
        nonce = key + WRAPPED_KEY_SIZE
        return cls(data[start:key], data[key:nonce], data[nonce:_HEADER_SIZE], data[_HEADER_SIZE:])
