"""Decrypting: what only a worker, and a key host during a rotation, may do.

Promises: an `Identity` opens what its recipient wrapped, in the right context, and nothing else; what comes
out is a `Secret`, which shows itself as `***` wherever it is printed, formatted, logged or copied. Opened
data keys may be kept in a bounded, short-lived `DataKeys`; plaintexts are never kept.
Refuses: an environment without an identity (`WrongIdentity`), and every change to the bytes or to the place
of a value (`TamperedEnvelope`), without saying which byte.

Python cannot wipe memory: a plaintext and a key live until their last reference is gone and the memory is
used again. The processes that import this module are therefore kept apart, small and non-dumpable.
"""

import hashlib
import hmac
import math
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Final, NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey

from vault.encrypt import SUITE, Recipient, key_text, parse_key_text
from vault.envelope import DATA_KEY_SIZE, Context, Envelope
from vault.errors import IdentityFileError, InvalidValue, TamperedEnvelope, UnsupportedEnvelope, WrongIdentity

#: What a `Secret` shows instead of itself.
MASK: Final = "***"

_LABEL = "BOTKEEP-IDENTITY-V1"
_CHECKSUM_DOMAIN = b"botkeep identity v1\x00"
#: The ML-KEM-768 seed d || z (FIPS 203, 6.1); an X25519 private key of 32 bytes follows it.
_SEED_SIZE = 64
_PRIVATE_KEY_SIZE = _SEED_SIZE + 32


class Secret:
    """A plaintext. It is masked wherever it could be shown by accident; `reveal` is the one way in."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        """Keeps the bytes as they are, whatever they are."""
        self._value = value

    def reveal(self) -> bytes:
        """The plaintext."""
        return self._value

    def text(self) -> str:
        """The plaintext as UTF-8 text; raises `InvalidValue` where it is none."""
        # Raised outside the handler: UnicodeDecodeError holds the bytes, and __context__ would keep it.
        try:
            return self._value.decode("utf-8")
        except UnicodeDecodeError:
            pass
        raise InvalidValue("This value is not UTF-8 text: deliver it to the bot as a file.")

    def __repr__(self) -> str:
        """`***`."""
        return MASK

    __str__ = __repr__

    def __format__(self, specification: str) -> str:
        """`***`, whatever width or precision is asked for."""
        return MASK

    def __len__(self) -> int:
        """The number of bytes, which the size of the stored row tells anyway."""
        return len(self._value)

    def __bool__(self) -> bool:
        """Always true, so that an empty value is not mistaken for one that was never set."""
        return True

    def __eq__(self, other: object) -> bool:
        """Compares in constant time, and with another `Secret` only."""
        return isinstance(other, Secret) and hmac.compare_digest(self._value, other._value)

    __hash__ = None  # type: ignore[assignment]

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Neither pickled nor copied."""
        raise TypeError("A Secret is neither pickled nor copied: hand over the asset's name instead.")

    def __getstate__(self) -> NoReturn:
        """Refused too: the inherited one would answer the plaintext."""
        raise TypeError("A Secret does not give its state away: call reveal() where it is needed.")


class Identity:
    """The private half of an environment's key pair: it can unwrap and do nothing else.

    `private_key` is the ML-KEM-768 seed (64 bytes) followed by the X25519 private key (32); anything else
    raises `IdentityFileError`. `recipient` is the public half, and `id` is the recipient's.
    """

    __slots__ = ("_key", "_private_key", "environment", "id", "recipient")

    def __init__(self, environment: str, private_key: bytes) -> None:
        """Derives the public half."""
        if len(private_key) != _PRIVATE_KEY_SIZE:
            raise IdentityFileError("A private key has the wrong size: restore the key file from a backup.")
        mlkem = MLKEM768PrivateKey.from_seed_bytes(private_key[:_SEED_SIZE])
        x25519 = X25519PrivateKey.from_private_bytes(private_key[_SEED_SIZE:])
        public_key = mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
        self.recipient = Recipient(environment, public_key)
        self.environment = environment
        self.id = self.recipient.id
        self._key = MLKEM768X25519PrivateKey(mlkem, x25519)
        self._private_key = private_key

    def __repr__(self) -> str:
        """Environment and id, which are public."""
        return f"Identity({self.environment!r}, id={self.id.hex()})"

    def __eq__(self, other: object) -> bool:
        """The id covers the environment and the key."""
        return isinstance(other, Identity) and self.id == other.id

    def __hash__(self) -> int:
        """As equality: by id."""
        return hash(self.id)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Neither pickled nor copied."""
        raise TypeError("An Identity is neither pickled nor copied: read it from its key file instead.")

    def __getstate__(self) -> NoReturn:
        """Refused too: the inherited one would answer the private key."""
        raise TypeError("An Identity does not give its state away: call to_text() for a key file.")

    @classmethod
    def generate(cls, environment: str) -> "Identity":
        """A new identity, from the operating system's random numbers."""
        return cls(environment, os.urandom(_PRIVATE_KEY_SIZE))

    def to_text(self) -> str:
        """The private key as one line of ASCII, for a key file and nothing else."""
        payload = self._private_key + _checksum(self._private_key)
        return key_text(_LABEL, self.environment, key_id=self.id, payload=payload)

    @classmethod
    def from_text(cls, text: str) -> "Identity":
        """The identity written by `to_text`; a line with a changed character raises `IdentityFileError`."""
        parsed = parse_key_text(_LABEL, text)
        if parsed is None:
            raise IdentityFileError(f"A line is no private key: it must begin {_LABEL} and be complete.")
        environment, key_id, payload = parsed
        identity = cls(environment, payload[:_PRIVATE_KEY_SIZE])
        if identity.id != key_id or payload[_PRIVATE_KEY_SIZE:] != _checksum(identity._private_key):
            raise IdentityFileError(f"A private key of {environment} is damaged: restore it from a backup.")
        return identity

    def unwrap(self, wrapped_key: bytes, *, context: Context) -> bytes:
        """The data key; raises `TamperedEnvelope` where it was not wrapped for this identity and context."""
        try:
            data_key = SUITE.decrypt(wrapped_key, self._key, info=context.encode())
        except (InvalidTag, ValueError):
            raise _tampered(context) from None
        if len(data_key) != DATA_KEY_SIZE:
            raise _tampered(context)
        return data_key


def _checksum(private_key: bytes) -> bytes:
    # The id alone would miss damage: the public half depends on neither the ML-KEM seed's second half nor
    # the bits that X25519 ignores.
    return hashlib.sha256(_CHECKSUM_DOMAIN + private_key).digest()[:4]


#: The identities a process holds: environment, then recipient id. An environment it does not serve is absent.
Identities = Mapping[str, Mapping[bytes, Identity]]


class DataKeys:
    """Opened data keys, kept in this process so that the next job need not unwrap them again.

    Holds at most `limit` keys, the least recently used leaving first, and none longer than `lifetime` after
    it was opened, however often it is used. Safe to share between threads. Never holds a plaintext.
    `clock` answers seconds and never goes back.
    """

    def __init__(
        self,
        *,
        limit: int = 4096,
        lifetime: timedelta = timedelta(minutes=5),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Starts empty."""
        self._limit = limit
        self._lifetime = lifetime.total_seconds()
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: OrderedDict[bytes, AESGCM] = OrderedDict()  # least recently used first
        self._deadlines: dict[bytes, float] = {}  # in order of opening, so the next to expire is first
        self._next = math.inf  # nothing expires before that

    def __repr__(self) -> str:
        """How many keys are held."""
        return f"DataKeys({len(self)} of {self._limit})"

    def __len__(self) -> int:
        """How many keys are held, also those about to expire."""
        return len(self._keys)

    def get(self, fingerprint: bytes) -> AESGCM | None:
        """The opened key of that fingerprint, if it is still held."""
        with self._lock:
            if self._clock() >= self._next:
                self._expire()
            if (key := self._keys.get(fingerprint)) is not None:
                self._keys.move_to_end(fingerprint)
            return key

    def get_all(self, fingerprints: Sequence[bytes]) -> list[AESGCM] | None:
        """The opened keys of these fingerprints in their order, if all are still held."""
        with self._lock:
            if self._clock() >= self._next:
                self._expire()
            keys = [key for fingerprint in fingerprints if (key := self._keys.get(fingerprint)) is not None]
            if len(keys) < len(fingerprints):
                return None
            for fingerprint in fingerprints:
                self._keys.move_to_end(fingerprint)
            return keys

    def put(self, fingerprint: bytes, key: AESGCM) -> None:
        """Keeps an opened key; one that is held already keeps its deadline."""
        with self._lock:
            self._expire()
            self._keys[fingerprint] = key
            self._keys.move_to_end(fingerprint)
            self._next = min(self._next, self._deadlines.setdefault(fingerprint, self._clock() + self._lifetime))
            while len(self._keys) > self._limit:
                oldest, _ = self._keys.popitem(last=False)
                del self._deadlines[oldest]

    def expire(self) -> None:
        """Drops what has outlived its time; call it now and then, so that an idle process holds nothing."""
        with self._lock:
            self._expire()

    def clear(self) -> None:
        """Drops everything, for example when a job finds that a key was rotated."""
        with self._lock:
            self._keys.clear()
            self._deadlines.clear()

    def _expire(self) -> None:
        now = self._clock()
        while self._deadlines:
            fingerprint = next(iter(self._deadlines))
            self._next = self._deadlines[fingerprint]
            if self._next > now:
                return
            del self._deadlines[fingerprint], self._keys[fingerprint]
        self._next = math.inf


class Sealed:
    """A stored value in its place, taken apart once so that it can be opened for job after job.

    Raises `TamperedEnvelope` for bytes that are no envelope, `UnsupportedEnvelope` for a newer format.
    """

    __slots__ = (
        "_ciphertext", "_context", "_data", "_info", "_nonce", "environment", "fingerprint", "recipient_id"
    )  # fmt: skip

    def __init__(self, data: bytes, *, context: Context) -> None:
        """Decrypts nothing yet."""
        envelope = _parsed(data, context)
        self._data, self._context, self._info = data, context, context.encode()
        self._nonce, self._ciphertext = envelope.nonce, envelope.ciphertext
        self.environment, self.recipient_id = context.environment, envelope.recipient_id
        #: By what its data key is kept once it was opened.
        self.fingerprint = hashlib.sha256(envelope.recipient_id + envelope.wrapped_key + self._info).digest()

    def open(self, identities: Identities, *, keys: DataKeys | None = None) -> Secret:
        """The plaintext; `keys` saves unwrapping what was opened a moment ago.

        Raises `WrongIdentity` where this process cannot open it whatever the bytes are, `TamperedEnvelope` where
        they were changed or are not those of that context.
        """
        identity = self.identity(identities)
        key = keys.get(self.fingerprint) if keys is not None else None
        if fresh := key is None:
            key = AESGCM(identity.unwrap(Envelope.from_bytes(self._data).wrapped_key, context=self._context))
        opened = self.opened_with(key)
        if fresh and keys is not None:
            keys.put(self.fingerprint, key)
        return opened

    def opened_with(self, key: AESGCM) -> Secret:
        """The plaintext, by its data key; raises `TamperedEnvelope`."""
        try:
            return Secret(key.decrypt(self._nonce, self._ciphertext, self._info))
        except InvalidTag:
            raise _tampered(self._context) from None

    def identity(self, identities: Identities) -> Identity:
        """The identity that opens it; raises `WrongIdentity`."""
        return _identity(self.recipient_id, identities, context=self._context)


def open_all(sealed: Sequence[Sealed], identities: Identities, *, keys: DataKeys) -> list[Secret]:
    """The plaintexts of many values; while all their keys are held, for half of what opening each would cost.

    Raises what `Sealed.open` raises.
    """
    held = keys.get_all([one.fingerprint for one in sealed])
    if held is None:
        return [one.open(identities, keys=keys) for one in sealed]
    for one in {(one.environment, one.recipient_id): one for one in sealed}.values():
        one.identity(identities)
    return [one.opened_with(key) for one, key in zip(sealed, held, strict=True)]


def open_envelope(data: bytes, identities: Identities, *, context: Context, keys: DataKeys | None = None) -> Secret:
    """The plaintext of a stored value that is opened once; raises what `Sealed` and its `open` raise."""
    return Sealed(data, context=context).open(identities, keys=keys)


def rewrap(data: bytes, identities: Identities, *, recipient: Recipient, context: Context) -> bytes:
    """The envelope for another recipient of the same environment: only the wrapped data key changes.

    The value itself is neither opened nor checked. Raises what `open_envelope` raises, and
    `InvalidRecipient` for a recipient of another environment.
    """
    envelope = _parsed(data, context)
    identity = _identity(envelope.recipient_id, identities, context=context)
    data_key = identity.unwrap(envelope.wrapped_key, context=context)
    wrapped_key = recipient.wrap(data_key, context=context)
    return Envelope(recipient.id, wrapped_key, envelope.nonce, envelope.ciphertext).to_bytes()


def _parsed(data: bytes, context: Context) -> Envelope:
    """The envelope in the stored bytes of a value; what is none names the value."""
    try:
        return Envelope.from_bytes(data)
    except TamperedEnvelope:
        raise _tampered(context) from None
    except UnsupportedEnvelope as error:
        raise UnsupportedEnvelope(f"The {context} does not open. {error}") from None


def _identity(recipient_id: bytes, identities: Identities, *, context: Context) -> Identity:
    """The identity to try: chosen by the context's environment first, so the bytes cannot choose it."""
    held = identities.get(context.environment)
    if not held:
        raise WrongIdentity(
            f"This process holds no private key of {context.environment}, so it cannot open the {context}: "
            f"let a runner that serves {context.environment} do it."
        )
    identity = held.get(recipient_id)
    if identity is None or identity.environment != context.environment:
        raise WrongIdentity(
            f"The {context} is encrypted for the key {recipient_id.hex()}, which is not among the "
            f"private keys of {context.environment} here. Give this host the key file that holds it; where it has each "
            f"key of {context.environment}, the stored bytes are of another environment: set the value again."
        )
    return identity


def _tampered(context: Context) -> TamperedEnvelope:
    return TamperedEnvelope(
        f"The {context} does not open: its stored bytes were changed, belong to another row, or are gone. "
        "Set the value again, or restore the row from a backup."
    )
