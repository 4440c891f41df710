"""What a bot sees after it set a value, and what its masker knows by then."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from runner.jobs import Claim
from runner.manifest import Manifest
from runner.worker.refusals import Refusals
from runner.worker.station import Station
from runner.worker.visible import Visible
from tests.support import Stores
from tests.values import USER, World, made_world
from vault.reader import Snapshot
from vault.sights import Sight


@pytest.fixture
def world(stores: Stores, tmp_path: Path) -> Iterator[World]:
    with made_world(stores, tmp_path) as made:
        yield made


@pytest.mark.parametrize("other", [None, b"of somebody else"])
def test_what_a_bot_sees_of_a_value_that_it_set_is_masked_whoever_set_it_last(
    world: World, monkeypatch: pytest.MonkeyPatch, other: bytes | None
) -> None:
    learned: list[bytes] = []
    settings: Any = SimpleNamespace(runner_name="r1")
    station: Any = SimpleNamespace(
        engine=world.engine, snapshots=world.snapshots, keyring=world.keyring, settings=settings
    )
    visible = Visible(
        cast("Station", station),
        Claim(uuid.uuid4(), 1, world.workspace_id, world.bot_id, uuid.uuid4(), "dev", {}),
        bot="report",
        manifest=Manifest(name="report", entry="main.py", writes=(str(USER),)),
        sealed=world.take(),
        local={},
        learn=learned.append,
        refusals=cast("Refusals", None),
    )
    take = world.snapshots.take

    def later(sight: Sight) -> Snapshot:
        if other is not None:
            world.set_value(USER, other)
        return take(sight)

    monkeypatch.setattr(world.snapshots, "take", later)
    monkeypatch.setattr(visible, "_require_running", lambda _session: None)
    visible.write(USER, b"of the bot")
    found = visible.read(USER)
    assert found is not None
    assert found.reveal() == (other or b"of the bot")
    assert learned == [b"of the bot", *([other] if other else [])]
