"""What an attempt gets, and is refused, is decided by what the database says now, whatever the worker remembers."""

import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from runner import workspaces
from runner.jobs import Claim
from runner.manifest import Manifest
from runner.states import Reason
from runner.worker.local.values import LocalValues
from runner.worker.refusal import Refusal
from runner.worker.resolution import NAMED, Resolved, resolve
from tests import local_values
from tests.support import Stores
from tests.values import ANN, NOW, USER, World, made_world
from vault import assets, db, rotation
from vault.assets import Scope
from vault.decrypt import Identities, Identity
from vault.identities import create_key_file, key_path
from vault.models import Asset, AuditEvent, CurrentValue, Reading
from vault.names import AssetName
from vault.reader import Snapshot

MORE = AssetName("SAP", "MORE")


@pytest.fixture
def world(stores: Stores, tmp_path: Path) -> Iterator[World]:
    with made_world(stores, tmp_path) as made:
        yield made


@pytest.fixture
def local(tmp_path: Path) -> LocalValues:
    host = local_values.make(tmp_path / "here")
    return LocalValues(host.store, host.custody)


class Attempts:
    """Attempts of one worker, each of another job."""

    def __init__(self, world: World, local: LocalValues) -> None:
        self.world, self.local = world, local
        self.claim = Claim(uuid.uuid4(), 1, world.workspace_id, world.bot_id, uuid.uuid4(), "dev", {})
        self.warnings: tuple[str, ...] = ()

    def run(self, parameters: dict[str, object] | None = None, *, again: bool = False) -> dict[str, bytes | None]:
        """The values of a further attempt; `again` for the step of the last one, run once more."""
        if not again:
            self.claim = replace(self.claim, job_id=uuid.uuid4(), parameters=parameters or {})
        found = self._resolve()
        self.warnings = found.warnings
        return {str(name): None if value is None else value.reveal() for name, value in found.values.items()}

    def refused(self, parameters: dict[str, object] | None = None) -> Reason:
        """Why a further attempt is refused, of which no reading is left."""
        with pytest.raises(Refusal) as refusal:
            self.run(parameters)
        assert self.readings() == []
        return refusal.value.reason

    def readings(self) -> list[tuple[str, int]]:
        """What the database says that the last one read."""
        with db.reading(self.world.engine) as session:
            rows = session.execute(
                select(Reading.asset, Reading.number).where(Reading.job_id == self.claim.job_id).order_by(Reading.asset)
            ).all()
            audited = session.scalars(select(AuditEvent).where(AuditEvent.object == f"job {self.claim.job_id}")).all()
        assert bool(rows) == bool(audited)
        for row in audited:
            assert sorted((asset, number) for asset, _, number in row.details["values"]) == [tuple(row) for row in rows]
        return [(row.asset, row.number) for row in rows]

    def _resolve(self) -> Resolved:
        world = self.world
        return resolve(
            world.direct,
            world.snapshots,
            world.keyring,
            self.claim,
            local=self.local,
            bot="report",
            manifest=Manifest(name="report", entry="main.py"),
            runner="r1",
        )


@pytest.fixture
def attempts(world: World, local: LocalValues) -> Attempts:
    made = Attempts(world, local)
    assert made.run() == {"SAP.PASSWORD": b"first", "SAP.USER": b"ann"}
    return made


BOTH = [("SAP.PASSWORD", 1), ("SAP.USER", 1)]


def test_each_attempt_gets_and_leaves_the_same_while_nothing_changes(attempts: Attempts) -> None:
    for _ in range(2):
        assert attempts.run() == {"SAP.PASSWORD": b"first", "SAP.USER": b"ann"}
        assert attempts.readings() == BOTH


def test_a_change_is_read_by_the_next_attempt(attempts: Attempts, world: World) -> None:
    world.set_value(USER, b"bob")
    assert attempts.run() == {"SAP.PASSWORD": b"first", "SAP.USER": b"bob"}
    assert attempts.readings() == [("SAP.PASSWORD", 1), ("SAP.USER", 2)]
    world.set_value(USER, b"robot", scope=Scope(world.workspace_id, world.bot_id, "report"))
    assert attempts.run()["SAP.USER"] == b"robot"
    assert attempts.readings() == BOTH
    assert attempts.run()["SAP.USER"] == b"robot"
    assert attempts.readings() == BOTH, "what the bot's own hides is not read"


def test_a_step_that_is_run_again_leaves_its_readings_once(attempts: Attempts) -> None:
    """Its answer was lost when the database went away."""
    for _ in range(2):
        assert attempts.run() == attempts.run(again=True)
    with db.reading(attempts.world.engine) as session:
        count = len(session.scalars(select(Reading.asset).where(Reading.job_id == attempts.claim.job_id)).all())
    assert count == 2


def test_a_step_that_is_run_again_leaves_the_reading_of_what_the_bot_got(attempts: Attempts, world: World) -> None:
    """The answer was lost when the database went away, and somebody set a value meanwhile."""
    attempts.run()
    world.set_value(USER, b"bob")
    assert attempts.run(again=True)["SAP.USER"] == b"bob"
    with db.reading(world.engine) as session:
        numbers = session.scalars(
            select(Reading.number).where(Reading.job_id == attempts.claim.job_id, Reading.asset == str(USER))
        ).all()
    assert sorted(numbers) == [1, 2]


def rotate(world: World) -> None:
    for _ in rotation.rotate(world.engine, "dev", settings=world.settings, failures=[], now=NOW):
        pass


def test_attempts_at_once_open_what_a_rotation_has_just_wrapped_again(attempts: Attempts, world: World) -> None:
    """One of them reads the key file, which the others wait for."""
    for _ in range(2):  # within seconds
        rotate(world)
        taken, together = world.take(), threading.Barrier(3)

        def opened(taken: Snapshot = taken, together: threading.Barrier = together) -> int:
            tries = iter([together])

            def opening(held: Identities) -> int:
                try:
                    return len(taken.open_all(held, keys=world.keyring._keys))
                finally:
                    for barrier in tries:  # so that all find that they lack the key
                        barrier.wait(30)

            return world.keyring._opened(taken, opening)

        with ThreadPoolExecutor(3) as threads:
            assert [each.result() for each in [threads.submit(opened) for _ in range(3)]] == [2, 2, 2]
    assert attempts.run() == {"SAP.PASSWORD": b"first", "SAP.USER": b"ann"}


def test_a_runner_that_slept_through_a_rotation_takes_a_file_without_its_former_key(
    attempts: Attempts, world: World
) -> None:
    """As one whose keys a command prints: it runs that only when a value needs it."""
    (former,) = world.keyring.held()["dev"]
    rotate(world)
    rotation.forget(world.engine, "dev", key_id=former, settings=world.settings, now=NOW)
    assert attempts.run() == {"SAP.PASSWORD": b"first", "SAP.USER": b"ann"}
    assert former not in world.keyring.held()["dev"]


def test_a_key_file_of_another_installation_takes_away_nothing_when_a_value_needs_a_key(
    attempts: Attempts, world: World
) -> None:
    path, kept = key_path(world.settings.keys(), "dev"), world.keyring.held()
    rotate(world)
    path.rename(path.with_name("its-own"))
    create_key_file(path, Identity.generate("dev"))
    with pytest.raises(Refusal):
        attempts.run()
    assert world.keyring.held() == kept
    path.with_name("its-own").rename(path)
    assert attempts.run() == {"SAP.PASSWORD": b"first", "SAP.USER": b"ann"}


def test_an_unknown_reference_is_refused_until_its_asset_is_there(attempts: Attempts, world: World) -> None:
    parameters: dict[str, object] = {"url": "{{ASSET.SAP.MORE}}"}
    assert attempts.refused(parameters) == Reason.ASSET_MISSING
    world.set_value(MORE, b"more")
    assert attempts.run(parameters)["SAP.MORE"] == b"more"
    with db.writing(world.engine) as session:
        assets.remove(session, MORE, scope=Scope(world.workspace_id), actor=ANN, now=NOW)
    assert attempts.refused(parameters) == Reason.ASSET_MISSING
    assert attempts.run() == {"SAP.PASSWORD": b"first", "SAP.USER": b"ann"}


@pytest.mark.parametrize("parameter", ["{{ASSET.SAP}}", "roboto-secret://USER@other"])
def test_a_reference_that_can_be_none_leaves_no_reading(attempts: Attempts, parameter: str) -> None:
    attempts.refused({"url": parameter})


def test_a_value_that_is_taken_away_is_refused_where_the_workspace_is_strict(attempts: Attempts, world: World) -> None:
    with db.writing(world.engine) as session:
        workspaces.set_policy(session, "dev", workspace_id=world.workspace_id, unset="refuse", actor=ANN, now=NOW)
    assert attempts.run() == {"SAP.PASSWORD": b"first", "SAP.USER": b"ann"}
    with db.writing(world.engine) as session:
        assets.unset(session, USER, scope=Scope(world.workspace_id), environment="dev", actor=ANN, now=NOW)
    assert [attempts.refused(), attempts.refused()] == [Reason.ASSET_MISSING] * 2
    world.set_value(USER, b"bob")
    assert attempts.run()["SAP.USER"] == b"bob"


def test_a_value_that_is_unset_is_given_as_none_and_not_read(attempts: Attempts, world: World) -> None:
    with db.writing(world.engine) as session:
        assets.unset(session, USER, scope=Scope(world.workspace_id), environment="dev", actor=ANN, now=NOW)
    for _ in range(2):
        assert attempts.run() == {"SAP.PASSWORD": b"first", "SAP.USER": None}
        assert attempts.readings() == [("SAP.PASSWORD", 1)]


def damage(session: Session) -> None:
    session.execute(update(Asset).where(Asset.name == "USER").values(name="NO NAME"))


def misplace(session: Session) -> None:
    session.execute(update(CurrentValue).values(number=7))


def test_a_damaged_row_is_refused_before_anything_is_read(attempts: Attempts, world: World) -> None:
    with db.writing(world.engine) as session:
        damage(session)
    assert [attempts.refused(), attempts.refused()] == [Reason.UNDECRYPTABLE] * 2


def test_a_number_without_a_row_is_read_and_does_not_open(attempts: Attempts, world: World) -> None:
    with db.writing(world.engine) as session:
        misplace(session)
    for _ in range(2):
        with pytest.raises(Refusal) as refusal:
            attempts.run()
        assert refusal.value.reason == Reason.UNDECRYPTABLE
        assert attempts.readings() == [("SAP.PASSWORD", 7), ("SAP.USER", 7)]


@pytest.mark.parametrize("stores", ["server"], indirect=True)
def test_an_attempt_that_finds_what_is_remembered_asks_the_database_once(attempts: Attempts, tmp_path: Path) -> None:
    connection = attempts.world.direct._own.cursor.connection.pgconn
    asked = []
    for number in range(2):
        with (tmp_path / f"{number}").open("w") as trace:
            connection.trace(trace.fileno())
            attempts.run()
            connection.untrace()
        asked.append((tmp_path / f"{number}").read_text().count("\tSync"))
        attempts.world.set_value(USER, b"bob")
    assert asked == [1, 3], "what changed is taken and recorded as well"


@pytest.mark.parametrize(("more", "words"), [(0, None), (1, "1 more has"), (2, "2 more have")])
def test_a_thousand_assets_without_a_value_are_no_thousand_warnings(
    attempts: Attempts, more: int, words: str | None
) -> None:
    names = [AssetName("BULK", f"A{number:03}") for number in range(NAMED + more)]
    with db.writing(attempts.world.engine) as session:
        for name in names:
            assets.add(session, name, scope=Scope(attempts.world.workspace_id), description="", actor=ANN, now=NOW)
    attempts.run()
    warned = [one for one in attempts.warnings if "no value in dev" in one]
    assert [one.split()[0] for one in warned[:NAMED]] == [str(name) for name in names[:NAMED]]
    assert [one.startswith(f"{words} no value") for one in warned[NAMED:]] == [True] * (words is not None)
