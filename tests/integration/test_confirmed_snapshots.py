"""Readings that PostgreSQL writes of a snapshot which is remembered: of what is there now, or none."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.orm import Session

from tests.support import Stores
from tests.values import ANN, NOW, USER, World, made_world
from vault import assets, chain, db, sights
from vault.assets import Scope
from vault.errors import TamperedEnvelope, Unavailable
from vault.models import Asset, AssetValue, AuditEvent, CurrentValue, Reading
from vault.names import AssetName
from vault.reader import Remembered, Snapshots

pytestmark = pytest.mark.parametrize("stores", ["server"], indirect=True)

EVERYTHING = None
SHAPE = (Reading.attempt, Reading.asset_id, Reading.asset, Reading.scope, Reading.environment, Reading.number)


@pytest.fixture
def world(stores: Stores, tmp_path: Path) -> Iterator[World]:
    with made_world(stores, tmp_path) as made:
        yield made


def remembered(world: World, patterns: tuple[str, ...] | None = EVERYTHING) -> Remembered:
    world.snapshots.take(world.sight(patterns))
    known = world.snapshots.latest(world.sight(patterns))
    assert known is not None
    return known


def confirm(world: World, known: Remembered, job_id: uuid.UUID | None = None) -> bool:
    return world.snapshots.confirm(known, job_id=job_id or uuid.uuid4(), attempt=2, runner="r1")


def written(world: World, job_id: uuid.UUID) -> tuple[list[object], list[object]]:
    """The readings of a job and its audit rows, without ids and times."""
    with db.reading(world.engine) as session:
        readings = session.execute(
            select(*SHAPE, Reading.runner).where(Reading.job_id == job_id).order_by(Reading.asset)
        ).all()
        columns = [column for column in AuditEvent.__table__.columns if column.name not in {"id", "at", "object"}]
        audited = session.execute(select(*columns).where(AuditEvent.object == f"job {job_id}")).all()
    return [tuple(row) for row in readings], [tuple(row) for row in audited]


def nothing_read(world: World) -> bool:
    with db.reading(world.engine) as session:
        return (
            not session.scalars(select(Reading.number)).all()
            and not session.scalars(select(AuditEvent.id).where(AuditEvent.action == "asset.read")).all()
        )


@pytest.mark.parametrize("patterns", [None, ("SAP.*",), ("*.US*", "SAP.PASSWORD")])
def test_a_confirmed_snapshot_leaves_what_a_recorded_one_leaves(world: World, patterns: tuple[str, ...] | None) -> None:
    own = Scope(world.workspace_id, world.bot_id, "report")
    world.set_value(USER, b"robot", scope=own)
    world.set_value(USER, b"robot again", scope=own)
    with db.writing(world.engine) as session:
        assets.add(session, AssetName("SAP", "UNSET"), scope=own, description="", actor=ANN, now=NOW)
    known, one, other = remembered(world, patterns), uuid.uuid4(), uuid.uuid4()
    world.snapshots.record(known.snapshot, job_id=one, attempt=2, runner="r1", first=True)
    assert confirm(world, known, other)
    assert written(world, other) == written(world, one)
    readings, audited = written(world, other)
    assert [(row[2], row[3], row[5]) for row in readings] == [  # type: ignore[index]
        ("SAP.PASSWORD", "workspace", 1),
        ("SAP.USER", "report", 2),
    ]
    assert len(audited) == 1
    with db.writing(world.engine) as session:
        chain.seal(session)
        assert chain.verify(session, world.workspace_id, after=0, limit=100).findings == []


def edited(session: Session, **values: object) -> None:
    session.execute(update(AssetValue).where(AssetValue.asset_id == first(session)).values(**values))


def first(session: Session) -> uuid.UUID:
    return session.scalars(select(Asset.id).where(Asset.name == "USER")).one()


CHANGES: dict[str, Callable[[World, Session], object]] = {
    "a new value": lambda world, session: assets.set_value(
        session, USER, scope=Scope(world.workspace_id), environment="dev", plaintext=b"x", actor=ANN, now=NOW
    ),
    "no value any more": lambda world, session: assets.unset(
        session, USER, scope=Scope(world.workspace_id), environment="dev", actor=ANN, now=NOW
    ),
    "one asset more, without a value": lambda world, session: assets.add(
        session, AssetName("SAP", "MORE"), scope=Scope(world.workspace_id), description="", actor=ANN, now=NOW
    ),
    "one of the bot's own": lambda world, session: assets.add(
        session, USER, scope=Scope(world.workspace_id, world.bot_id, "report"), description="", actor=ANN, now=NOW
    ),
    "one asset less": lambda world, session: assets.remove(
        session, USER, scope=Scope(world.workspace_id), actor=ANN, now=NOW
    ),
    "another name": lambda _, session: session.execute(update(Asset).where(Asset.name == "USER").values(name="USERS")),
    "another bot's": lambda world, session: session.execute(
        update(Asset).where(Asset.name == "USER").values(bot_id=world.bot_id)
    ),
    "a local one": lambda _, session: session.execute(update(Asset).where(Asset.name == "USER").values(local=True)),
    "another number": lambda _, session: session.execute(update(CurrentValue).values(number=7)),
    "another ciphertext": lambda _, session: edited(session, envelope=b"BKE\x01"),
    "a ciphertext that is gone": lambda _, session: session.execute(
        delete(AssetValue).where(AssetValue.asset_id == first(session))
    ),
    "two ciphertexts that changed places": lambda _, session: session.execute(
        text(
            "UPDATE asset_values AS one SET envelope = other.envelope "
            "FROM asset_values AS other WHERE one.asset_id <> other.asset_id"
        )
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_nothing_is_read_of_a_snapshot_that_is_not_so_any_more(
    world: World, change: Callable[[World, Session], object]
) -> None:
    known = remembered(world)
    with db.writing(world.engine) as session:
        change(world, session)
    assert not confirm(world, known)
    assert nothing_read(world)
    assert world.snapshots.take(world.sight(EVERYTHING)) is not known.snapshot


def test_what_a_bot_does_not_see_changes_nothing(world: World) -> None:
    known = remembered(world, ("SAP.*",))
    world.set_value(AssetName("DB", "USER"), b"undeclared")
    assert confirm(world, known)


def test_readings_that_are_there_already_are_left_to_be_recorded(world: World) -> None:
    """As after an answer that was lost."""
    known, job_id = remembered(world), uuid.uuid4()
    assert confirm(world, known, job_id)
    before = written(world, job_id)
    assert not confirm(world, known, job_id)
    assert written(world, job_id) == before


def test_a_number_whose_row_is_gone_is_read_and_does_not_open(world: World) -> None:
    with db.writing(world.engine) as session:
        session.execute(update(CurrentValue).values(number=7))
    known, job_id = remembered(world), uuid.uuid4()
    assert confirm(world, known, job_id)
    assert [row[5] for row in written(world, job_id)[0]] == [7, 7]  # type: ignore[index]
    with pytest.raises(TamperedEnvelope):
        world.keyring.open_all(known.snapshot)


def test_a_confirmation_whose_audit_row_cannot_be_written_does_not_happen(world: World) -> None:
    known = remembered(world)
    with db.writing(world.engine) as session:
        session.execute(text("ALTER TABLE audit_events ADD CHECK (action <> 'asset.read') NOT VALID"))
    assert not confirm(world, known)
    assert nothing_read(world)


def test_a_database_that_is_away_confirms_nothing(world: World) -> None:
    known = remembered(world)
    with db.writing(world.engine) as session:
        others = "datname = current_database() AND pid <> pg_backend_pid()"
        session.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"))
    with pytest.raises(Unavailable):
        confirm(world, known)
    assert nothing_read(world)
    assert confirm(world, known)


def test_what_a_confirmation_cannot_write_is_not_remembered_for_one(world: World) -> None:
    sight = world.sight(EVERYTHING)
    assert world.snapshots.latest(sight) is None
    remembered(world)
    assert Snapshots(world.direct).latest(sight) is None
    with db.writing(world.engine) as session:
        session.execute(update(Asset).where(Asset.name == "USER").values(name="user"))
    taken = world.snapshots.take(sight)
    assert (USER in taken.by_name, world.snapshots.latest(sight)) == (True, None), "a reading has the name in capitals"
    with db.writing(world.engine) as session:
        session.execute(update(Asset).values(name=func.upper(Asset.name), local=Asset.name == "user"))
    world.snapshots.take(sight)
    assert world.snapshots.latest(sight) is None, "a value of this host has its number there"
    with db.writing(world.engine) as session:
        session.execute(update(Asset).values(local=False))
        session.execute(delete(CurrentValue))
    world.snapshots.take(sight)
    assert world.snapshots.latest(sight) is None, "there is nothing to read"


def test_other_workers_have_other_checksums(world: World) -> None:
    """So rows that one of them takes for others by chance are told apart by the next."""
    sight = world.sight(EVERYTHING)
    checksums = set()
    for _ in range(2):
        snapshots = Snapshots(world.direct)
        snapshots.take(sight)
        known = snapshots.latest(sight)
        assert known is not None
        checksums.add(known.checksum)
    assert len(checksums) == 2


def test_values_are_looked_for_by_their_key_in_a_small_table_with_statistics(world: World) -> None:
    """Else each asset would be compared with all values."""
    columns = "workspace_id, group_name, description, created_at, created_by"
    more = f"INSERT INTO assets ({columns}, id, name) SELECT {columns}, gen_random_uuid(), name || number"
    valued = "INSERT INTO current_values SELECT id, environment, 1, created_at, created_by"
    with db.writing(world.engine) as session:
        session.execute(text(f"{more} FROM assets, generate_series(1, 50) AS number"))
        session.execute(text(f"{valued} FROM assets, unnest(ARRAY['staging', 'prod']) AS environment"))
        session.execute(text("ANALYZE"))
    wanted = world.snapshots._wanted(world.sight(EVERYTHING))
    taking = world.direct._statements._prepared(sights.taking(EVERYTHING, "postgresql"))
    cursor = world.direct._cursor(world.direct._own)
    plan = "\n".join(row[0] for row in cursor.execute(f"EXPLAIN {taking.text}", taking.bound(wanted)).fetchall())
    assert "Index Scan using pk_current_values" in plan
