"""A vault with a few values, and what a worker reads them with."""

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, Select

from runner import bots
from runner.archive import canonical
from runner.worker.keyring import Keyring
from runner.workspaces import default_workspace
from tests.api import zipped
from tests.support import Stores
from vault import assets, db, keyhost, sights
from vault.assets import Scope
from vault.audit import Actor
from vault.direct import Direct
from vault.errors import DecryptError
from vault.identities import key_path
from vault.names import AssetName
from vault.reader import Snapshot, Snapshots
from vault.settings import VaultSettings
from vault.sights import Sight

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ANN = Actor("ann")
PASSWORD, USER = AssetName("SAP", "PASSWORD"), AssetName("SAP", "USER")


@dataclass(frozen=True, slots=True)
class World:
    """A database with one bot and two workspace-wide values, and who reads them."""

    engine: Engine
    direct: Direct
    keyring: Keyring
    snapshots: Snapshots
    settings: VaultSettings
    workspace_id: uuid.UUID
    bot_id: uuid.UUID

    def set_value(self, name: AssetName, value: bytes, *, scope: Scope | None = None) -> None:
        where = scope or Scope(self.workspace_id)
        with db.writing(self.engine) as session:
            assets.set_value(session, name, scope=where, environment="dev", plaintext=value, actor=ANN, now=NOW)

    def take(self, snapshots: Snapshots | None = None, *, patterns: tuple[str, ...] = ("SAP.*",)) -> Snapshot:
        return (snapshots or self.snapshots).take(self.sight(patterns))

    def sight(self, patterns: tuple[str, ...] | None = ("SAP.*",)) -> Sight:
        return Sight(self.workspace_id, self.bot_id, "report", "dev", patterns)

    def asked(self) -> tuple[Select[Any], dict[str, object]]:
        """The statement that takes a snapshot, and its parameters."""
        sight = self.sight()
        return sights.taking(sight.patterns, self.direct.dialect), self.snapshots._wanted(sight)

    def values(self) -> dict[str, bytes]:
        taken = self.take()
        try:
            opened = {str(name): secret.reveal() for name, secret in self.keyring.open_all(taken).items()}
        except DecryptError as error:
            with pytest.raises(type(error), match=re.escape(str(error))):
                [self.keyring.open(taken, value) for value in taken.values]
            raise
        assert opened == {str(value.name): self.keyring.open(taken, value).reveal() for value in taken.stored}
        return opened


@contextmanager
def made_world(stores: Stores, folder: Path) -> Iterator[World]:
    """A world on these stores, with its keys in `folder`."""
    engine = db.engine(stores.database_url)
    settings = VaultSettings(home=folder, key_dir=folder / "keys")
    keyhost.make_key(engine, "dev", settings=settings, protect=False, if_missing=False, now=NOW)
    with db.writing(engine) as session:
        workspace_id = default_workspace(session)
        package = canonical(zipped("pass\n"))
        bots.add(session, "report", workspace_id=workspace_id, package=package, actor=ANN, now=NOW)
        bot_id = bots.require(session, "report", workspace_id=workspace_id).id
    direct = Direct(engine)
    keyring = Keyring({"dev": key_path(settings.keys(), "dev")})
    made = World(engine, direct, keyring, Snapshots(direct), settings, workspace_id, bot_id)
    made.set_value(PASSWORD, b"first")
    made.set_value(USER, b"ann")
    yield made
    direct.close()
    engine.dispose()
