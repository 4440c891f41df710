"""Data sources are saved, checked and fanned out under each process's own database role."""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from runner import fan_outs, lanes, runners, source_checks, sources, workspaces
from runner.fan_outs import Wanted
from runner.models import Job, SourceCheck
from runner.runners import Presence
from runner.sources import Written
from runner.worker.censor import Censor
from runner.worker.checks import Checks
from runner.worker.keyring import Keyring
from runner.worker.unasked import Desk
from scheduler import spreading
from tests.integration.test_roles_at_work import ANN, NOW, World, cluster, world
from tests.support import free_port, wait_until
from vault import db
from vault.identities import key_path

__all__ = ["cluster", "world"]

#: A cluster with roles is made first, which takes its time on a machine with other work.
pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def checks(world: World) -> Iterator[Checks]:
    """A runner's thread that does what is asked of data sources, under the runner's role."""
    keyring = Keyring({"dev": key_path(world.settings.key_dir or Path(), "dev")})
    desk = Desk(world.engines["runner"], world.direct, keyring, "r1")
    presence = Presence("r1", desk_instance(), "host", "1", ("dev",), ("default",), 1)
    with db.writing(world.engines["runner"]) as session:
        runners.register(session, presence)
    made = Checks(desk, environments=("dev",), censor=Censor())
    made.start()
    yield made
    made.close()


def desk_instance() -> UUID:
    return uuid4()


@pytest.fixture
def source(world: World, tmp_path: Path) -> str:
    folder = tmp_path / "data"
    folder.mkdir()
    with sqlite3.connect(folder / "rows.db") as connection:
        connection.execute("CREATE TABLE rows (id int)")
        connection.executemany("INSERT INTO rows VALUES (?)", [(1,), (2,), (3,)])
    connection.close()
    definition = {"connection": f"sqlite:///{folder}/rows.db", "query": "SELECT id FROM rows"}
    where = {"workspace_id": world.workspace_id, "actor": ANN, "now": NOW}
    with db.writing(world.engines["console"]) as session:
        workspaces.set_connections(session, {"paths": [str(folder)]}, **where)  # type: ignore[arg-type]
        sources.add(session, "rows", Written("sql", definition), **where)  # type: ignore[arg-type]
        sources.change(session, "rows", Written("sql", definition), **where)  # type: ignore[arg-type]
    return "rows"


def test_a_check_is_asked_for_by_the_console_and_answered_by_a_runner(
    world: World, source: str, checks: Checks
) -> None:
    console = world.engines["console"]
    with db.writing(console) as session:
        seen = source_checks.request(
            session, source, environment="dev", workspace_id=world.workspace_id, actor=ANN, now=NOW
        )
    check_id = seen.row.id
    checks.look()

    def state() -> str:
        with db.reading(console) as session:
            return source_checks.find(session, check_id, source=source, workspace_id=world.workspace_id).state

    wait_until(lambda: state() not in {"waiting", "running"}, 20, "the check to be answered")
    assert state() == "ok"


def test_a_check_is_taken_by_one_runner_only_and_answered_by_that_one(world: World, source: str) -> None:
    console, runner = world.engines["console"], world.engines["runner"]
    with db.writing(runner) as session:
        runners.register(session, Presence("r1", desk_instance(), "host", "1", ("dev",), ("default",), 1))
    with db.writing(console) as session:
        check_id = source_checks.request(
            session, source, environment="dev", workspace_id=world.workspace_id, actor=ANN, now=NOW
        ).row.id
    with db.writing(runner) as session:
        assert source_checks.waiting(session, ["prod"]) is None
        assert source_checks.waiting(session, ["dev"]) == check_id
        assert source_checks.claim(session, check_id, runner="r1") is not None
        assert source_checks.claim(session, check_id, runner="r2") is None
        assert source_checks.waiting(session, ["dev"]) is None
        assert not source_checks.answer(session, check_id, runner="r2", ok=True, document={"sentence": "x"})
        assert source_checks.answer(session, check_id, runner="r1", ok=True, document={"sentence": "y"})
        assert not source_checks.answer(session, check_id, runner="r1", ok=True, document={"sentence": "z"})


@pytest.mark.parametrize(
    ("claimed", "words"), [(False, "botkeep runner --environment dev"), (True, "took the check and did not answer")]
)
def test_a_check_that_nobody_answers_expires_with_a_sentence(
    world: World, source: str, *, claimed: bool, words: str
) -> None:
    owner = world.engines["console"]
    row = SourceCheck(
        workspace_id=world.workspace_id, source=source, environment="dev", requested_at=NOW, requested_by="ann"
    )
    if claimed:
        row.runner, row.claimed_at = "r1", NOW
    with db.writing(owner) as session:
        session.add(row)
        session.flush()
        seen = source_checks.find(session, row.id, source=source, workspace_id=world.workspace_id)
    assert (seen.state, words in seen.sentence) == ("expired", True)


def test_a_fan_out_goes_from_the_console_through_a_runner_to_the_scheduler(
    world: World, source: str, checks: Checks, tmp_path: Path
) -> None:
    world.add_bot(tmp_path)
    with db.writing(world.engines["console"]) as session:
        wanted = fan_outs.request(
            session, source, Wanted("report", "dev"), workspace_id=world.workspace_id, actor=ANN, now=NOW
        ).id
    checks.look()

    def read() -> bool:
        with db.reading(world.engines["scheduler"]) as session:
            return wanted in fan_outs.read(session)

    wait_until(read, 20, "the rows to be read")
    app = lanes.transport(f"redis://127.0.0.1:{free_port()}/0")
    assert spreading.start_jobs(world.engines["scheduler"], app, now=lambda: datetime.now(UTC)) == 3
    with db.reading(world.engines["console"]) as session:
        found = session.scalars(select(Job.parameters).order_by(Job.id)).all()
    assert found == [{"row": {"id": 1}}, {"row": {"id": 2}}, {"row": {"id": 3}}]
