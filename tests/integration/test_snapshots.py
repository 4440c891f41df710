"""What a worker remembers of the values that it took before: never more than the database says now."""

import gc
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import LargeBinary, Text, cast, delete, func, select, text, type_coerce, update

from runner.workspaces import make
from tests.support import Stores, wait_until
from tests.values import ANN, NOW, PASSWORD, USER, World, made_world
from vault import assets, chain, db, keyhost, sights
from vault.assets import Scope
from vault.direct import Direct
from vault.errors import Conflict, DamagedRow, NotFound, TamperedEnvelope, Unavailable
from vault.models import AssetValue, CurrentValue, Reading
from vault.reader import Snapshots


@pytest.fixture
def world(stores: Stores, tmp_path: Path) -> Iterator[World]:
    with made_world(stores, tmp_path) as made:
        yield made


def test_values_that_did_not_change_are_not_worked_out_again(world: World) -> None:
    assert world.take() is world.take()
    assert world.values() == world.values() == {"SAP.PASSWORD": b"first", "SAP.USER": b"ann"}


def test_what_was_made_of_a_statement_goes_with_it(world: World) -> None:
    """Else a worker would keep something of each pattern that any bot ever had."""
    taking, wanted = world.asked()
    statements = world.direct._statements
    kept = statements._prepared(taking)
    gc.collect()
    before = len(statements._known)
    for number in range(20):
        other = sights.taking.__wrapped__((f"SAP.NONE{number}",), world.direct.dialect)
        assert world.direct.fetch(other, wanted) == []
    del other
    gc.collect()
    assert len(statements._known) == before
    assert statements._prepared(taking) is kept


def test_a_snapshot_is_taken_while_another_thread_writes(world: World) -> None:
    before = world.values()
    with ThreadPoolExecutor() as threads, world.direct.transaction() as run:
        run(text("UPDATE current_values SET number = 7"), {})
        assert threads.submit(world.values).result(timeout=30) == before
    with pytest.raises(TamperedEnvelope):
        world.values()


def test_a_connection_is_closed_when_its_thread_ends(world: World) -> None:
    """As those of an endpoint, in which a bot sets values."""
    world.take()
    before = set(world.direct._open)

    def look() -> None:
        world.direct.read(*world.asked())
        opened.append(world.direct._open - before)

    opened: list[set[object]] = []
    for _ in range(3):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join(30)
    assert [len(each) for each in opened] == [1, 1, 1]
    wait_until(lambda: world.direct._open == before, 30, "the connections to be closed")
    world.take()


def test_a_new_value_is_seen_by_the_next_snapshot(world: World) -> None:
    world.values()
    world.set_value(PASSWORD, b"second")
    assert world.values() == {"SAP.PASSWORD": b"second", "SAP.USER": b"ann"}
    assert [value.number for value in world.take().values] == [2, 1]


def test_the_number_in_force_in_the_environment_is_taken_and_no_other(world: World) -> None:
    keyhost.make_key(world.engine, "prod", settings=world.settings, protect=False, if_missing=False, now=NOW)
    world.set_value(USER, b"bob")
    scope = Scope(world.workspace_id)
    with db.writing(world.engine) as session:
        for value in (b"of prod", b"of prod, too", b"in force in prod"):
            assets.set_value(session, USER, scope=scope, environment="prod", plaintext=value, actor=ANN, now=NOW)
        assets.rollback(session, USER, scope=scope, environment="dev", number=1, actor=ANN, now=NOW)
    world.set_value(USER, b"another's", scope=Scope(world.workspace_id, uuid.uuid4(), "another"))
    assert world.values() == {"SAP.PASSWORD": b"first", "SAP.USER": b"ann"}
    assert len(world.direct.fetch(*world.asked())) == 2


def test_a_bots_own_value_hides_the_workspaces_from_the_next_snapshot(world: World) -> None:
    world.values()
    world.set_value(USER, b"robot", scope=Scope(world.workspace_id, world.bot_id, "report"))
    assert world.values() == {"SAP.PASSWORD": b"first", "SAP.USER": b"robot"}


def test_a_row_that_was_edited_after_it_was_opened_does_not_open_again(world: World) -> None:
    world.values()
    with db.writing(world.engine) as session:
        stored = session.execute(select(AssetValue.asset_id, AssetValue.envelope)).first()
        assert stored is not None
        changed = stored.envelope[:-1] + bytes([stored.envelope[-1] ^ 1])
        session.execute(update(AssetValue).where(AssetValue.asset_id == stored.asset_id).values(envelope=changed))
    with pytest.raises(TamperedEnvelope):
        world.values()


def test_a_value_under_the_number_of_another_does_not_open(world: World) -> None:
    world.set_value(PASSWORD, b"second")
    world.values()
    with db.writing(world.engine) as session:
        moved = select(AssetValue.envelope).where(AssetValue.number == 1).limit(1).scalar_subquery()
        session.execute(update(AssetValue).where(AssetValue.number == 2).values(envelope=moved))
    with pytest.raises(TamperedEnvelope):
        world.values()


@pytest.mark.parametrize("envelope", [b"BKE\x01\xff", b"BKE"], ids=["no text", "text"])
def test_a_row_that_an_editor_made_text_says_which_value_does_not_open(world: World, envelope: bytes) -> None:
    """SQLite keeps the type that was written, such as that of `substr(envelope, 1, 9) || x'00'`."""
    as_text = cast(envelope, Text) if world.engine.dialect.name == "sqlite" else envelope
    with db.writing(world.engine) as session:
        session.execute(update(AssetValue).values(envelope=type_coerce(as_text, LargeBinary)))
    with pytest.raises(TamperedEnvelope, match=r"The value 1 of SAP\.PASSWORD in dev does not open"):
        world.values()
    failures: list[keyhost.Failure] = []
    list(keyhost.verify(world.engine, "dev", settings=world.settings, failures=failures, now=NOW))
    assert sorted(failure.asset for failure in failures) == ["SAP.PASSWORD", "SAP.USER"]


def test_a_number_whose_row_is_gone_is_no_unset_value(world: World) -> None:
    with db.writing(world.engine) as session:
        session.execute(update(CurrentValue).values(number=7))
    assert world.take().unset == ()
    with pytest.raises(TamperedEnvelope, match=r"The value 7 of SAP\.PASSWORD in dev .* or are gone"):
        world.values()


def test_a_text_that_is_none_is_not_waited_for(stores: Stores) -> None:
    engine = db.engine(stores.database_url)
    if engine.dialect.name == "sqlite":
        query = text("SELECT CAST(x'ff' AS TEXT) AS reason")
        direct = Direct(engine)
        with pytest.raises(DamagedRow, match="its reason is no text"), db.reading(engine) as session:
            session.execute(query).all()
        with pytest.raises(DamagedRow, match="its reason is no text"):
            direct.read(query.columns(reason=Text), {})
        direct.close()
    engine.dispose()


def test_a_database_without_tables_says_what_to_run(stores: Stores) -> None:
    engine = db.engine(stores.database_url)
    with pytest.raises(Unavailable, match="botkeep migrate"), db.reading(engine) as session:
        session.execute(text("SELECT 1 FROM never_made"))
    engine.dispose()


def test_a_database_in_no_folder_says_where_to_look(tmp_path: Path) -> None:
    engine = db.engine(f"sqlite:///{tmp_path}/none/botkeep.db")
    with pytest.raises(Unavailable, match="folder is missing, or closed to this user"), db.reading(engine):
        pass


def test_a_key_host_asks_which_workspaces_value_is_meant(world: World) -> None:
    with db.writing(world.engine) as session:
        other = make(session, "other", now=NOW).id
    world.set_value(PASSWORD, b"of the other", scope=Scope(other))

    def read(workspace: str | None) -> bytes:
        return keyhost.read(
            world.engine, PASSWORD, environment="dev", bot=None, workspace=workspace, settings=world.settings, now=NOW
        ).reveal()

    with pytest.raises(Conflict, match=r"workspaces default and other each have a value of SAP\.PASSWORD"):
        read(None)
    assert (read("default"), read("other")) == (b"first", b"of the other")
    with pytest.raises(NotFound, match="no workspace 'none'"):
        read("none")


def test_each_attempt_has_its_readings_whether_its_snapshot_was_known_or_not(world: World) -> None:
    jobs = [uuid.uuid4(), uuid.uuid4()]
    for job_id in jobs:
        world.snapshots.record(world.take(), job_id=job_id, attempt=1, runner="r1")
    with db.reading(world.engine) as session:
        counted = select(Reading.job_id, func.count()).group_by(Reading.job_id)
        assert dict(session.execute(counted).all()) == dict.fromkeys(jobs, 2)


def test_a_reading_says_what_was_read_in_either_scope(world: World) -> None:
    world.set_value(PASSWORD, b"own", scope=Scope(world.workspace_id, world.bot_id))
    world.set_value(USER, b"another")
    job_id, taken = uuid.uuid4(), world.take()
    world.snapshots.record(taken, job_id=job_id, attempt=3, runner="r1")
    with db.reading(world.engine) as session:
        rows = session.scalars(select(Reading).where(Reading.job_id == job_id).order_by(Reading.asset)).all()
        found = [(row.asset, row.scope, row.number, row.attempt, row.environment, row.runner) for row in rows]
        assert [row.asset_id for row in rows] == [taken.by_name[name].asset_id for name in (PASSWORD, USER)]
    assert found == [("SAP.PASSWORD", "report", 1, 3, "dev", "r1"), ("SAP.USER", "workspace", 2, 3, "dev", "r1")]


def test_readings_said_to_be_the_first_may_be_there_already(world: World) -> None:
    job_id = uuid.uuid4()
    for _ in range(2):
        world.snapshots.record(world.take(), job_id=job_id, attempt=1, runner="r1", first=True)
    with db.reading(world.engine) as session:
        assert session.scalar(select(func.count()).select_from(Reading).where(Reading.job_id == job_id)) == 2


def test_what_is_remembered_is_bounded_by_its_values(world: World) -> None:
    few = Snapshots(world.direct, limit=5)
    both, one = world.take(few), world.take(few, patterns=("SAP.USER",))
    assert world.take(few, patterns=("SAP.USER",)) is one
    assert world.take(few) is both, "three and two are five"
    other = world.take(few, patterns=("SAP.PASSWORD",))
    assert world.take(few, patterns=("SAP.PASSWORD",)) is other
    assert world.take(few) is both
    assert world.take(few, patterns=("SAP.USER",)) is not one, "it was the one not asked for the longest"
    none = Snapshots(world.direct, limit=0)
    assert world.take(none, patterns=()) is not world.take(none, patterns=())


def test_a_reading_whose_audit_row_cannot_be_written_does_not_happen(world: World) -> None:
    with db.writing(world.engine) as session:
        if world.engine.dialect.name == "sqlite":
            statements = [
                "CREATE TRIGGER full BEFORE INSERT ON audit_events BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
            ]
        else:
            statements = ["ALTER TABLE audit_events ADD CONSTRAINT closed CHECK (action <> 'asset.read') NOT VALID"]
        for statement in statements:
            session.execute(text(statement))
    job_id = uuid.uuid4()
    with pytest.raises(Exception, match=r"full|closed"):
        world.snapshots.record(world.take(), job_id=job_id, attempt=1, runner="r1")
    world.direct.release()
    with db.reading(world.engine) as session:
        assert session.scalar(select(func.count()).select_from(Reading).where(Reading.job_id == job_id)) == 0


def test_each_number_that_an_attempt_reads_is_a_reading_which_its_audit_rows_prove(world: World) -> None:
    """As of a bot that sets what it was given, or whose data source is opened after somebody did."""
    job_id = uuid.uuid4()
    for number in (1, 2):
        world.snapshots.record(world.take(), job_id=job_id, attempt=1, runner="r1", first=number == 1)
        world.set_value(USER, b"another")
    with db.writing(world.engine) as session:
        numbers = session.scalars(select(Reading.number).where(Reading.asset == str(USER)).order_by(Reading.number))
        assert numbers.all() == [1, 2]
        chain.seal(session)
        assert chain.verify(session, world.workspace_id, after=0, limit=100).findings == []


def test_a_reading_that_was_edited_or_removed_is_found_by_its_audit_row(world: World) -> None:
    jobs = [uuid.uuid4(), uuid.uuid4()]
    for job_id in jobs:
        world.snapshots.record(world.take(), job_id=job_id, attempt=1, runner="r1")
    with db.writing(world.engine) as session:
        chain.seal(session)

    def found() -> list[str]:
        with db.reading(world.engine) as session:
            return [one.kind for one in chain.verify(session, world.workspace_id, after=0, limit=100).findings]

    assert found() == []
    with db.writing(world.engine) as session:
        session.execute(update(Reading).where(Reading.job_id == jobs[0], Reading.number == 1).values(number=7))
    assert found() == ["readings", "readings"]
    with db.writing(world.engine) as session:
        session.execute(delete(Reading).where(Reading.job_id == jobs[1]))
    assert found() == ["readings"] * 4
