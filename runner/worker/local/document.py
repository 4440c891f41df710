"""The content of the file with a host's values, format version 1; `docs/LOCAL-VALUES.md` is its specification.

Promises that names, numbers and ages can be read without any key, that a key proves the whole of it, and that one
content has one encoding. Pure: no input or output. Refuses (`Damaged`) whatever is not such a content, whole.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from runner.worker.local.errors import Damaged
from runner.worker.local.key import HostKey
from vault.decrypt import Secret
from vault.encrypt import base64url, parse_base64url
from vault.errors import VaultError
from vault.names import AssetName, check_environment

FORMAT, VERSION = "botkeep-local-values", 1
_DOMAIN = b"BOTKEEP-LOCAL"


@dataclass(frozen=True, slots=True)
class Entry:
    """One value of one asset in one environment; `sealed` is None once it was removed, so that its number is not
    given again.
    """

    asset_id: uuid.UUID
    workspace_id: uuid.UUID
    bot: str
    name: AssetName
    environment: str
    number: int
    set_at: datetime
    set_by: str
    sealed: bytes | None

    def __str__(self) -> str:
        """How a sentence names it."""
        return f"{self.name} of bot {self.bot} in {self.environment}"

    @property
    def place(self) -> bytes:
        """The bytes that bind a value to its place."""
        return place(self.asset_id, self.bot, self.name, environment=self.environment, number=self.number)

    def open(self, key: HostKey) -> Secret:
        """The plaintext. Raises `Damaged` where it was not sealed here."""
        opened = None if self.sealed is None else key.open(self.sealed, place=self.place)
        if opened is None:
            raise Damaged(f"The local value {self} does not open: its bytes were changed. Set it again on this host.")
        return opened


@dataclass(frozen=True, slots=True)
class Document:
    """All values of a host, and whose key proves them."""

    key_id: str
    entries: tuple[Entry, ...]
    proof: bytes
    #: What the proof is of, as it was read.
    body: bytes

    def find(self, asset_id: uuid.UUID, environment: str) -> Entry | None:
        """The entry of an asset in an environment, a removed one too."""
        wanted = (asset_id, environment)
        return next((one for one in self.entries if (one.asset_id, one.environment) == wanted), None)

    @property
    def held(self) -> tuple[Entry, ...]:
        """The entries that have a value."""
        return tuple(one for one in self.entries if one.sealed is not None)

    def check(self, key: HostKey, *, where: object) -> None:
        """Raise `Damaged` unless this key proves all of it."""
        if key.id != self.key_id:
            raise Damaged(
                f"The values in {where} are another host's (key {self.key_id[:8]}, here is {key.id[:8]}): bring them "
                "over with `botkeep local export` there and `botkeep local import` here."
            )
        if not key.proves(self.body, self.proof):
            raise Damaged(f"The file {where} was changed by something else than Botkeep: restore it from a backup.")


def place(asset_id: uuid.UUID, bot: str, name: AssetName, *, environment: str, number: int) -> bytes:
    """The one encoding of a value's place: each part with its length before it."""
    parts = [str(asset_id), bot, name.group, name.name, environment]
    encoded = [part.encode("utf-8") for part in parts]
    head = _DOMAIN + VERSION.to_bytes(1, "big")
    return head + b"".join(len(part).to_bytes(2, "big") + part for part in encoded) + number.to_bytes(8, "big")


def render(entries: Sequence[Entry], key: HostKey) -> bytes:
    """The file's bytes."""
    body = _body(key.id, entries)
    document = {**json.loads(body), "proof": base64url(key.proof(body))}
    return json.dumps(document, indent=1, sort_keys=True).encode() + b"\n"


def parse(content: bytes, *, where: object) -> Document:
    """The content of a file; nothing of it is proved yet."""
    try:
        document = json.loads(content)
        found, version = document["format"], document["version"]
        proof = _bytes(document["proof"])
        entries = tuple(map(_entry, document["values"])) if version == VERSION else ()
        key_id = str(document["key"])
    except (ValueError, KeyError, TypeError, AttributeError, VaultError):
        found, version = None, VERSION
    if found != FORMAT:
        raise Damaged(f"The file {where} is cut short or no file of local values: restore it from a backup.")
    if version != VERSION:
        raise Damaged(f"The file {where} was written by a newer Botkeep: upgrade this host.")
    return Document(key_id, entries, proof, _canonical({part: document[part] for part in document if part != "proof"}))


def _body(key_id: str, entries: Sequence[Entry]) -> bytes:
    """What is proved: the content without its proof."""
    values = [_as_json(one) for one in entries]
    return _canonical({"format": FORMAT, "version": VERSION, "key": key_id, "values": values})


def _canonical(document: dict[str, Any]) -> bytes:
    """The one JSON of a content: sorted names, no spaces, ASCII."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _as_json(entry: Entry) -> dict[str, Any]:
    return {
        "asset_id": str(entry.asset_id),
        "workspace_id": str(entry.workspace_id),
        "bot": entry.bot,
        "asset": str(entry.name),
        "environment": entry.environment,
        "number": entry.number,
        "set_at": entry.set_at.isoformat(),
        "set_by": entry.set_by,
        "sealed": None if entry.sealed is None else base64url(entry.sealed),
    }


def _entry(item: dict[str, Any]) -> Entry:
    sealed, set_at = item["sealed"], datetime.fromisoformat(item["set_at"])
    if set_at.tzinfo is None or type(item["number"]) is not int or not 0 < item["number"] < 2**63:
        raise ValueError
    return Entry(
        asset_id=uuid.UUID(item["asset_id"]),
        workspace_id=uuid.UUID(item["workspace_id"]),
        bot=str(item["bot"]),
        name=AssetName.parse(item["asset"]),
        environment=check_environment(item["environment"]),
        number=item["number"],
        set_at=set_at,
        set_by=str(item["set_by"]),
        sealed=None if sealed is None else _bytes(sealed),
    )


def _bytes(text: str) -> bytes:
    if (found := parse_base64url(text)) is None:
        raise ValueError
    return found
