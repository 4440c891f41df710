"""docs/ENVELOPE.md is complete: an implementation of it that shares no code with the vault opens the vectors.

Everything here is written from the specification and from RFC 9180 with primitives alone, so that a change in
the library under the vault, or a mistake in the document, shows.
"""

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VECTORS = Path(__file__).parents[2] / "vectors"
SUITE_ID = b"HPKE" + bytes.fromhex("647a 0001 0002")


def extract(salt: bytes, label: bytes, key: bytes) -> bytes:
    return hmac.digest(salt, b"HPKE-v1" + SUITE_ID + label + key, "sha256")


def expand(key: bytes, label: bytes, *, info: bytes, size: int) -> bytes:
    labelled = size.to_bytes(2, "big") + b"HPKE-v1" + SUITE_ID + label + info
    return hmac.digest(key, labelled + b"\x01", "sha256")[:size]


def shared_key(private: bytes, encapsulated: bytes) -> bytes:
    """X-Wing: ML-KEM-768 and X25519 combined by SHA3-256."""
    x25519 = X25519PrivateKey.from_private_bytes(private[64:])
    inner = MLKEM768PrivateKey.from_seed_bytes(private[:64]).decapsulate(encapsulated[:1088])
    outer = x25519.exchange(X25519PublicKey.from_public_bytes(encapsulated[1088:]))
    public = x25519.public_key().public_bytes_raw()
    return hashlib.sha3_256(inner + outer + encapsulated[1088:] + public + rb"\.//^" + b"\\").digest()


def open_hpke(wrapped: bytes, private: bytes, info: bytes) -> bytes:
    schedule = b"\x00" + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", info)
    root = extract(shared_key(private, wrapped[:1120]), b"secret", b"")
    key = expand(root, b"key", info=schedule, size=32)
    nonce = expand(root, b"base_nonce", info=schedule, size=12)
    return AESGCM(key).decrypt(nonce, wrapped[1120:], b"")


def encode_context(context: dict[str, Any]) -> bytes:
    encoded = b"BOTKEEP\x01"
    for field in ("workspace", "bot", "group", "name", "environment"):
        text = context[field].encode("ascii")
        encoded += len(text).to_bytes(2, "big") + text
    return encoded + int(context["number"]).to_bytes(8, "big")


@pytest.mark.parametrize("case", json.loads((VECTORS / "envelopes.json").read_text())["cases"])
def test_an_envelope_opens_by_the_specification_alone(case: dict[str, Any]) -> None:
    keys = json.loads((VECTORS / "keys.json").read_text())["cases"]
    label, environment, key_id, text = next(key["identity"].split(".") for key in keys if key["case"] == case["key"])
    payload = base64.urlsafe_b64decode(text + "==")
    private, checksum = payload[:96], payload[96:]
    assert checksum == hashlib.sha256(b"botkeep identity v1\x00" + private).digest()[:4]
    data, info = base64.b64decode(case["envelope"]), encode_context(case["context"])
    assert (label, data[:4]) == ("BOTKEEP-IDENTITY-V1", b"BKE\x01")
    assert data[4:20].hex() == key_id

    public = MLKEM768PrivateKey.from_seed_bytes(private[:64]).public_key().public_bytes_raw()
    public += X25519PrivateKey.from_private_bytes(private[64:]).public_key().public_bytes_raw()
    named = b"botkeep recipient v1\x00" + environment.encode() + b"\x00" + public
    assert hashlib.sha256(named).digest()[:16] == data[4:20]

    data_key = open_hpke(data[20:1188], private, info)
    plaintext = AESGCM(data_key).decrypt(data[1188:1200], data[1200:], info)
    assert plaintext == base64.b64decode(case["plaintext"])
