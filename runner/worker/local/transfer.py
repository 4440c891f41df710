"""Values on their way to a second host: one file that a passphrase protects.

Promises that the file opens with its passphrase, unchanged, or not at all, and that an existing file is never written
over. `docs/LOCAL-VALUES.md` specifies it. The host's own key has no part in it.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag

from runner.worker.local.errors import Damaged, Locked
from vault import private_files
from vault.decrypt import Secret
from vault.encrypt import base64url, parse_base64url
from vault.envelope import NONCE_SIZE
from vault.errors import Conflict, IdentityFileError, VaultError
from vault.names import AssetName, check_environment
from vault.passphrases import SALT_SIZE, check_new, passphrase_key

FORMAT, VERSION = "botkeep-local-export", 1
_WHAT = "export"
_MAX_SIZE = 512 * 1024 * 1024
_PARTS = frozenset({"version", "from", "made_at", "salt", "nonce", "sealed"})


@dataclass(frozen=True, slots=True)
class Carried:
    """One value with what names it."""

    asset_id: uuid.UUID
    workspace_id: uuid.UUID
    bot: str
    name: AssetName
    environment: str
    set_at: datetime
    secret: Secret = field(repr=False)


def write(path: Path, carried: Sequence[Carried], *, passphrase: str, key_id: str, now: datetime) -> None:
    """Write the export.

    Raises:
        Conflict: when the file exists.
        IdentityFileError: when it cannot be written, or the passphrase is too short.
    """
    salt, nonce = os.urandom(SALT_SIZE), os.urandom(NONCE_SIZE)
    head = {
        "format": FORMAT,
        "version": VERSION,
        "from": key_id,
        "made_at": now.isoformat(),
        "salt": base64url(salt),
        "nonce": base64url(nonce),
    }
    content = json.dumps([_as_json(one) for one in carried]).encode()
    sealed = passphrase_key(check_new(passphrase), salt).encrypt(nonce, content, _bound(head))
    document = json.dumps({**head, "sealed": base64url(sealed)}, indent=1).encode() + b"\n"
    if not path.parent.is_dir():
        raise IdentityFileError(f"There is no folder {path.parent}: choose another place for the export.")
    if not private_files.publish_new(path, document, what=_WHAT):
        raise Conflict(f"{path} exists and is never written over: choose another name.")


def read(path: Path, *, passphrase: str) -> list[Carried]:
    """What an export carries.

    Raises:
        Locked: for a wrong passphrase, or a file that was changed; nobody can tell which.
        Damaged: for a file that is no export, or cut short.
        IdentityFileError: for one that cannot be read.
    """
    document = _document(path)
    head = {name: document[name] for name in ("format", "version", "from", "made_at", "salt", "nonce")}
    salt, nonce, sealed = (parse_base64url(str(document[name])) for name in ("salt", "nonce", "sealed"))
    if salt is None or nonce is None or sealed is None or len(nonce) != NONCE_SIZE:
        raise _damaged(path)
    try:
        content = passphrase_key(passphrase, salt).decrypt(nonce, sealed, _bound(head))
    except InvalidTag:
        raise Locked(f"The passphrase does not open {path}: try again, or export again if it was changed.") from None
    return [_carried(item) for item in json.loads(content)]


def _document(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(_MAX_SIZE))
        whole = document["format"] == FORMAT and set(document) >= _PARTS
    except OSError as error:
        raise IdentityFileError(f"The export {path} cannot be read ({error.strerror}): check its path.") from None
    except (ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise _damaged(path)
    if document["version"] != VERSION:
        raise Damaged(f"The export {path} was written by a newer Botkeep: upgrade this host.")
    return dict(document)


def _damaged(path: Path) -> Damaged:
    return Damaged(f"{path} is cut short or no export of local values: export again on the first host.")


def _bound(head: dict[str, Any]) -> bytes:
    return json.dumps(head, sort_keys=True, separators=(",", ":")).encode()


def _as_json(one: Carried) -> dict[str, str]:
    return {
        "asset_id": str(one.asset_id),
        "workspace_id": str(one.workspace_id),
        "bot": one.bot,
        "asset": str(one.name),
        "environment": one.environment,
        "set_at": one.set_at.isoformat(),
        "value": base64url(one.secret.reveal()),
    }


def _carried(item: dict[str, str]) -> Carried:
    try:
        return Carried(
            asset_id=uuid.UUID(item["asset_id"]),
            workspace_id=uuid.UUID(item["workspace_id"]),
            bot=item["bot"],
            name=AssetName.parse(item["asset"]),
            environment=check_environment(item["environment"]),
            set_at=datetime.fromisoformat(item["set_at"]),
            secret=Secret(parse_base64url(item["value"]) or b""),
        )
    except (ValueError, KeyError, VaultError):
        raise Damaged("The export holds a value that this Botkeep does not understand: upgrade this host.") from None
