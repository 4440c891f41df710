"""Robocorp's vault: named dictionaries, read and written under the client's own encryption on top of the loopback.

A dictionary is the asset `GLOBAL.NAME` where that holds a JSON object, and its keys are as they are written there.
Else it is the group `NAME`: each asset of it is a key, in lower case. Hyphens, dots and spaces of a name are
underscores here.

The scheme is `robocloud-vault-transit-v2`, as `robocorp-vault` 1.4 and `rpaframework` 33 have it: AES-256-GCM under a
key wrapped by RSA-OAEP (SHA-256). On the way to the bot the nonce is the hexadecimal text of the iv, on the way back
the iv.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import threading
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from runner.errors import Invalid
from runner.worker.grant import Call, NotSeen, Said
from runner.worker.requested import Requested
from runner.worker.visible import Visible
from vault.names import GLOBAL, AssetName, shown
from vault.tokens import roboto_name

SCHEME = "robocloud-vault-transit-v2"

#: Bits of the key that bots write under: it lives as long as the worker, and never leaves it.
_BITS = 3072

#: Bits of a bot's key that are taken: theirs have 4096.
_LEAST_BITS, _MOST_BITS = 2048, 8192

_TAG = 16

_PADDING = OAEP(mgf=MGF1(algorithm=hashes.SHA256()), algorithm=hashes.SHA256(), label=None)


class OwnKey:
    """The worker's key pair, made when a bot first writes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: rsa.RSAPrivateKey | None = None

    def get(self) -> rsa.RSAPrivateKey:
        """The key."""
        with self._lock:
            if self._made is None:
                self._made = rsa.generate_private_key(public_exponent=65_537, key_size=_BITS)
            return self._made


_own = OwnKey()


class Vault:
    """The vault for one attempt."""

    def __init__(self, visible: Visible, requested: Requested) -> None:
        self._visible, self._requested = visible, requested

    def answer(self, call: Call, rest: tuple[str, ...]) -> Said:
        """What the service answers below `…/secrets/`."""
        match (call.method, *rest):
            case ("GET", "publicKey"):
                return Said(200, base64.b64encode(_public_bytes(_own.get())), "text/plain")
            case ("GET", name):
                return self._read(call, name)
            case ("PUT", name):
                return self._write(name, _object(call.body))
            case _:
                raise NotSeen("There is no such address.")

    def _read(self, call: Call, name: str) -> Said:
        if call.query.get("encryptionScheme") != SCHEME:
            raise Invalid(f"encryptionScheme: only {SCHEME} is spoken here.")
        key = _bots_key(call.query.get("publicKey", ""))
        found = self._dictionary(name)
        for value in _texts(found):  # parts of a value, which the masker knows as a whole only
            self._requested.learn(value.encode())
        sealed = _seal(json.dumps(found).encode(), key)
        return Said.json({"name": name, "description": "", **sealed})

    def _dictionary(self, name: str) -> dict[str, Any]:
        whole = _asset(name)
        if whole in self._visible.names():
            value = self._visible.read(whole)
            found = None if value is None else _parsed(value.reveal())
            if not isinstance(found, dict):
                raise NotSeen(f'{whole} has no value here that is a JSON object such as {{"username": "x"}}.')
            return found
        members = [member for member in self._visible.names() if member.group == whole.name]
        if not members:
            self._visible.require(whole, written=name)
        read = {member.name.lower(): self._visible.read(member) for member in members}
        return {key: value.text() for key, value in read.items() if value is not None}

    def _write(self, name: str, body: Mapping[str, Any]) -> Said:
        given = _parsed(_opened(body))
        if not isinstance(given, dict):
            raise Invalid("value: it must be an object.")
        whole = _asset(name)
        members = [member for member in self._visible.names() if member.group == whole.name]
        if whole in self._visible.names() or not members:
            self._visible.check_writable(whole, written=name)
            for value in _texts(given):
                self._requested.learn(value.encode())
            self._visible.write(whole, json.dumps(given).encode())
        else:
            self._write_members(whole.name, given)
        return Said(200, b"{}")

    def _write_members(self, group: str, given: Mapping[str, Any]) -> None:
        changed: dict[AssetName, bytes] = {}
        for key, value in given.items():
            if not isinstance(value, str):
                raise Invalid(f"{shown(key)}: an asset of the group {group} is text.")
            name = AssetName(group, key)
            old = self._visible.read(name) if name in self._visible.names() else None
            if old is None or old.reveal() != value.encode():
                self._visible.check_writable(name, written=f"{group}.{key}")
                changed[name] = value.encode()
        for name, content in changed.items():
            self._visible.write(name, content)


def _asset(name: str) -> AssetName:
    found = roboto_name(name.replace(" ", "_"))
    if found is None:
        raise NotSeen(f"{shown(name)} names nothing: write letters, digits, hyphens, dots and underscores.")
    return AssetName(GLOBAL, found.name)


def _texts(value: object) -> list[str]:
    """The texts inside of a dictionary that are worth masking."""
    if isinstance(value, str):
        return [value] if value else []
    if isinstance(value, dict):
        return [text for each in value.values() for text in _texts(each)]
    if isinstance(value, list):
        return [text for each in value for text in _texts(each)]
    return []


def _parsed(content: bytes) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _object(body: bytes) -> dict[str, Any]:
    found = _parsed(body)
    if not isinstance(found, dict):
        raise Invalid("The request is no JSON object.")
    return found


def _bots_key(text: str) -> rsa.RSAPublicKey:
    try:
        key = serialization.load_der_public_key(base64.b64decode(text, validate=True))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, rsa.RSAPublicKey) or not _LEAST_BITS <= key.key_size <= _MOST_BITS:
        raise Invalid(f"publicKey: an RSA key of {_LEAST_BITS} to {_MOST_BITS} bits is needed, DER and base64.")
    return key


def _public_bytes(key: rsa.RSAPrivateKey) -> bytes:
    der, spki = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(der, spki)


def _seal(plaintext: bytes, key: rsa.RSAPublicKey) -> dict[str, Any]:
    inner, iv = AESGCM.generate_key(bit_length=256), os.urandom(16)
    sealed = AESGCM(inner).encrypt(iv.hex().encode(), plaintext, b"")
    return {
        "value": _text(sealed[:-_TAG]),
        "encryption": {
            "encryptionScheme": SCHEME,
            "encryptedAES": _text(key.encrypt(inner, _PADDING)),
            "authTag": _text(sealed[-_TAG:]),
            "iv": _text(iv),
        },
    }


def _opened(body: Mapping[str, Any]) -> bytes:
    encryption = body.get("encryption")
    try:
        parts: Mapping[str, Any] = encryption if isinstance(encryption, dict) else {}
        inner = _own.get().decrypt(_bytes(parts.get("encryptedAES")), _PADDING)
        sealed = _bytes(body.get("value")) + _bytes(parts.get("authTag"))
        return AESGCM(inner).decrypt(_bytes(parts.get("iv")), sealed, b"")
    except (ValueError, TypeError, InvalidTag, binascii.Error):
        pass
    raise Invalid("The value does not open under the key that this runner gave; ask for it and try again.")


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _bytes(text: object) -> bytes:
    return base64.b64decode(text, validate=True) if isinstance(text, str) else b""
