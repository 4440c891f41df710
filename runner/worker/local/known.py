"""Which local assets are declared, as the runners of this host last heard: a file that needs no connection.

Promises names, bots and descriptions only, never a value. Each runner of the host adds which environments it serves and
where it looks for an unlocked key. An asset that is not declared any more is gone from here, and its value becomes an
orphan; nothing is removed for that.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from runner.local_values import Definition
from runner.worker.local.store import PATIENCE
from vault import private_files
from vault.errors import IdentityFileError, VaultError
from vault.names import ENVIRONMENTS, AssetName

_WHAT = "file of names"
_MAX_SIZE = 64 * 1024 * 1024
VERSION = 1


@dataclass(frozen=True, slots=True)
class Resident:
    """A runner of this host: the environments it serves, and its folder in memory."""

    environments: tuple[str, ...]
    memory: str


@dataclass(frozen=True, slots=True)
class Known:
    """The declared assets, and the runners of this host by name; `heard` is false where none ever was here."""

    definitions: tuple[Definition, ...] = ()
    residents: dict[str, Resident] = field(default_factory=dict)
    heard: bool = False

    @property
    def environments(self) -> tuple[str, ...]:
        """The environments that this host serves; all where that is not known."""
        served = {environment for one in self.residents.values() for environment in one.environments}
        return tuple(one for one in ENVIRONMENTS if one in served) or ENVIRONMENTS

    def find(self, bot: str, name: AssetName) -> Definition | None:
        """The declared asset of that name."""
        return next((one for one in self.definitions if (one.bot, one.name) == (bot, name)), None)


def read(folder: Path) -> Known:
    """What this host knows; nothing where no runner ever wrote it, or where the file is none."""
    path = folder / "known.json"
    if not path.exists():
        return Known()
    content = private_files.read_private(
        path, what=_WHAT, missing=f"The {_WHAT} {path} is gone.", advice="look who did", limit=_MAX_SIZE
    )
    try:
        document = json.loads(content)
        definitions = tuple(map(_definition, document["assets"]))
        residents = {
            str(name): Resident(tuple(one["environments"]), str(one["memory"]))
            for name, one in document["runners"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, VaultError):
        raise IdentityFileError(
            f"The {_WHAT} {path} is damaged: remove it, and a runner of this host writes it again."
        ) from None
    return Known(definitions, residents, heard=True)


def write(
    folder: Path,
    definitions: Sequence[Definition],
    *,
    resident: tuple[str, Resident] | None = None,
    patience: timedelta = PATIENCE,
) -> None:
    """Write what is declared now; a `resident` takes the place of what was known of the runner of that name.

    Waits for another writer for `patience` at most, and for nobody where nothing changed.

    Raises:
        IdentityFileError: when it cannot be written, or the other does not let go.
    """
    if _renewed(_former(folder), definitions, resident) == _former(folder):
        return
    with private_files.locked(folder, what=_WHAT, patience=patience):
        wanted = _renewed(_former(folder), definitions, resident)
        private_files.replace(folder / "known.json", _content(wanted), what=_WHAT)


def _former(folder: Path) -> Known:
    try:
        return read(folder)
    except IdentityFileError:
        return Known()


def _renewed(former: Known, definitions: Sequence[Definition], resident: tuple[str, Resident] | None) -> Known:
    residents = former.residents if resident is None else {**former.residents, resident[0]: resident[1]}
    return replace(former, definitions=tuple(definitions), residents=residents, heard=True)


def _content(known: Known) -> bytes:
    document = {
        "format": "botkeep-local-names",
        "version": VERSION,
        "runners": {
            name: {"environments": list(one.environments), "memory": one.memory}
            for name, one in sorted(known.residents.items())
        },
        "assets": [
            {
                "asset_id": str(one.asset_id),
                "workspace_id": str(one.workspace_id),
                "bot": one.bot,
                "asset": str(one.name),
                "description": one.description,
            }
            for one in known.definitions
        ],
    }
    return json.dumps(document, indent=1).encode() + b"\n"


def _definition(item: dict[str, Any]) -> Definition:
    return Definition(
        asset_id=uuid.UUID(item["asset_id"]),
        workspace_id=uuid.UUID(item["workspace_id"]),
        bot=str(item["bot"]),
        name=AssetName.parse(item["asset"]),
        description=str(item["description"]),
    )
