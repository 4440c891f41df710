"""Each process's own functions run under its database role: `deploy/postgres/roles.sql` takes nothing they need."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine

from console import auth
from runner import (
    announcements,
    bot_list,
    bots,
    conclusion,
    ends,
    history,
    jobs,
    orders,
    package_text,
    pauses,
    runners,
    schema,
    workspaces,
)
from runner.archive import canonical, pack
from runner.jobs import Cause, Claim, Report
from runner.models import Bot, Job
from runner.narrowing import Filter
from runner.orders import Asker
from runner.requests import Order
from runner.states import Reason, State
from runner.worker.keyring import Keyring
from runner.worker.packages import PackageStore
from tests.integration.ruled import ROLES, copy_of_ruled, ruled_cluster
from tests.services import PostgresServer
from vault import assets, audit, coverage, db, keyhost, rotation
from vault.assets import Scope
from vault.audit import Actor
from vault.direct import Direct
from vault.errors import NameCollision
from vault.identities import key_path
from vault.names import AssetName
from vault.reader import Snapshot, Snapshots
from vault.settings import VaultSettings
from vault.sights import Sight

NOW = datetime(2026, 8, 1, tzinfo=UTC)
ANN = Actor("ann")
PASSWORD = AssetName("SAP", "PASSWORD")


@dataclass(frozen=True, slots=True)
class World:
    """One database, an engine for each role, and a key host that made the key of dev."""

    engines: dict[str, Engine]
    settings: VaultSettings
    workspace_id: UUID
    direct: Direct

    @property
    def scope(self) -> Scope:
        return Scope(self.workspace_id)

    def set_value(self, plaintext: bytes, *, name: AssetName = PASSWORD, scope: Scope | None = None) -> int:
        with db.writing(self.engines["console"]) as session:
            written = assets.set_value(
                session, name, scope=scope or self.scope, environment="dev", plaintext=plaintext, actor=ANN, now=NOW
            )
            return written.number

    def add_bot(self, folder: Path, *, name: str = "report") -> Bot:
        (folder / "main.py").write_text(f"print('{name}')\n")
        package = canonical(pack(folder / "main.py"))
        with db.writing(self.engines["console"]) as session:
            bots.add(session, name, workspace_id=self.workspace_id, package=package, actor=ANN, now=NOW)
            return bots.require(session, name, workspace_id=self.workspace_id)

    def enqueue(self) -> UUID:
        order = Order(self.workspace_id, Cause("api", "ann"))
        entry, _ = orders.place(self.engines["console"], "report", order, asker=Asker(ANN, "job.enqueued"), now=NOW)
        job_id: UUID = entry.job.id
        return job_id

    def claim(self, job_id: UUID, *, lease: timedelta = jobs.LEASE) -> Claim:
        claim = jobs.claim(self.direct, environment="dev", group="default", runner="r1", lease=lease)
        assert claim is not None
        assert claim.job_id == job_id
        return claim

    def read(self, claim: Claim, *, again: bool = False) -> Snapshot:
        """Take and confirm; `again` where that was done for the attempt, as after a lost answer."""
        snapshots, sight = Snapshots(self.direct), Sight(claim.workspace_id, claim.bot_id, "report", "dev", ("SAP.*",))
        taken = snapshots.take(sight)
        known = snapshots.latest(sight)
        assert known is not None
        assert snapshots.confirm(known, job_id=claim.job_id, attempt=claim.attempt, runner="r1") is not again
        if again:
            snapshots.record(taken, job_id=claim.job_id, attempt=claim.attempt, runner="r1")
        return taken


@pytest.fixture(scope="module")
def cluster(postgres: PostgresServer) -> Iterator[PostgresServer]:
    with ruled_cluster(postgres) as server:
        yield server


@pytest.fixture
def world(cluster: PostgresServer, tmp_path: Path) -> Iterator[World]:
    with copy_of_ruled(cluster) as name:
        engines = {role: db.engine(cluster.url(name, user=f"botkeep_{role}"), pool_size=2) for role in ROLES}
        settings = VaultSettings(home=tmp_path, key_dir=tmp_path / "keys")
        keyhost.make_key(engines["keyhost"], "dev", settings=settings, protect=False, if_missing=False, now=NOW)
        with db.reading(engines["console"]) as session:
            workspace_id = workspaces.default_workspace(session)
        direct = Direct(engines["runner"])
        yield World(engines, settings, workspace_id, direct)
        direct.close()
        for engine in engines.values():
            engine.dispose()


def test_the_console_sets_rolls_back_unsets_and_removes_values(world: World, tmp_path: Path) -> None:
    own = Scope(world.workspace_id, world.add_bot(tmp_path).id, "report")
    assert [world.set_value(b"one"), world.set_value(b"two"), world.set_value(b"", scope=own)] == [1, 2, 1]
    with db.writing(world.engines["console"]) as session:
        where = {"scope": world.scope, "actor": ANN, "now": NOW}
        assets.rollback(session, PASSWORD, environment="dev", number=1, **where)  # type: ignore[arg-type]
        assets.unset(session, PASSWORD, environment="dev", **where)  # type: ignore[arg-type]
        assets.remove(session, PASSWORD, **where)  # type: ignore[arg-type]
        assert assets.remove_of_bot(session, scope=own, actor=ANN, now=NOW) == 1
        assert coverage.listing(session, workspace_id=world.workspace_id) == []


def test_a_runner_stores_and_takes_away_what_its_bot_may_write(world: World) -> None:
    world.set_value(b"one")
    for name, expected in ((PASSWORD, 2), (AssetName("SESSION", "TOKEN"), 1)):
        with db.writing(world.engines["runner"]) as session:
            where = {"scope": world.scope, "environment": "dev", "actor": Actor("job 1"), "now": NOW}
            written = assets.set_value(session, name, plaintext=b"by a bot", **where)  # type: ignore[arg-type]
            assets.unset(session, name, **where)  # type: ignore[arg-type]
        assert written.number == expected


def test_the_console_describes_an_asset_twice_under_lock(world: World) -> None:
    for description in ("first", "second"):
        with db.writing(world.engines["console"]) as session:
            assets.set_value(
                session,
                PASSWORD,
                scope=world.scope,
                environment="dev",
                plaintext=b"x",
                actor=ANN,
                now=NOW,
                description=description,
            )
    with db.reading(world.engines["console"]) as session:
        assert [asset.description for asset in coverage.listing(session, workspace_id=world.workspace_id)] == ["second"]


def test_the_console_refuses_names_that_meet_naming_their_owner(world: World) -> None:
    world.set_value(b"x", name=AssetName("A_B", "C"))
    with pytest.raises(NameCollision, match=r"A_B\.C"):
        world.set_value(b"x", name=AssetName("A", "B_C"))


def test_the_console_lists_what_is_set_without_any_ciphertext(world: World, tmp_path: Path) -> None:
    bot = world.add_bot(tmp_path)
    world.set_value(b"x")
    with db.reading(world.engines["console"]) as session:
        (shown,) = coverage.visible(session, workspace_id=world.workspace_id, bot_id=bot.id)
        assert shown.status("dev") == "set"
        assert len(coverage.history(session, shown.id)["dev"]) == 1
        assert coverage.known_names(session, [PASSWORD], workspace_id=world.workspace_id, bot_id=bot.id) == {PASSWORD}


def test_the_console_registers_lists_and_removes_bots(world: World, tmp_path: Path) -> None:
    world.add_bot(tmp_path)
    bot = world.add_bot(tmp_path)
    world.add_bot(tmp_path, name="other")
    with db.writing(world.engines["console"]) as session:
        assert len(bots.listing(session, workspace_id=world.workspace_id)) == 2
        program = package_text.read(session, bot_list.version(session, bot, 1), "main.py")
        assert program.text == "print('report')\n"
        bots.remove(session, "report", workspace_id=world.workspace_id, actor=ANN, now=NOW)


def test_the_console_enqueues_shows_and_cancels_jobs(world: World, tmp_path: Path) -> None:
    world.add_bot(tmp_path)
    running, queued = world.enqueue(), world.enqueue()
    world.claim(running)
    with db.writing(world.engines["console"]) as session:
        jobs.not_published(session, queued)
        for job_id, state in ((queued, State.CANCELLED), (running, State.RUNNING)):
            found = history.detail(session, job_id, workspace_id=world.workspace_id)
            assert jobs.cancel(session, found.entry.job, actor=ANN, now=NOW) is state
        assert len(history.page(session, Filter(), workspace_id=world.workspace_id, limit=10).entries) == 2


def test_the_console_asks_for_a_pause_and_the_runner_says_that_it_is_so(world: World, tmp_path: Path) -> None:
    world.add_bot(tmp_path)
    job_id = world.enqueue()
    claim = world.claim(job_id)
    held = {job_id: claim.attempt}
    console, runner = world.engines["console"], world.engines["runner"]
    with db.writing(console) as session:
        pauses.pause(session, session.get_one(Job, job_id), actor=ANN, now=NOW)
    with db.writing(runner) as session:
        assert jobs.wishes(session, held) == [jobs.Wish(job_id, cancel=False, pause=True)]
        pauses.note(session, job_id, attempt=claim.attempt + 1, standing=True)
        assert session.get_one(Job, job_id).paused_at is None, "an attempt that is not the running one"
        pauses.note(session, job_id, attempt=claim.attempt, standing=True)
    with db.writing(console) as session:
        job = session.get_one(Job, job_id)
        assert job.paused_at is not None
        assert not pauses.resume(session, job), "its runner has it: there is nothing to announce"
    report = Report(State.SUCCEEDED, None, paused_seconds=1.5)
    assert jobs.finish(world.direct, job_id, attempt=claim.attempt, report=report)
    with db.writing(console) as session:
        found = history.detail(session, job_id, workspace_id=world.workspace_id)
        assert (found.entry.job.paused_at, found.attempts[0].paused_seconds) == (None, 1.5)


def test_the_console_keeps_tokens_policies_runners_and_the_audit(world: World) -> None:
    register(world)
    with db.writing(world.engines["console"]) as session:
        here = world.workspace_id
        _, token = auth.create(session, "ci", grant=auth.Grant.of("dev"), workspace_id=here, actor=ANN, now=NOW)
        assert auth.find(session, token, address="") is not None
        auth.remove(session, "ci", workspace_id=here, actor=ANN, now=NOW)
        assert auth.listing(session, workspace_id=here) == []
        workspaces.set_policy(session, "prod", workspace_id=here, unset="refuse", actor=ANN, now=NOW)
        runners.request_drain(session, "r1", now=NOW)
        assert [seen.status for seen in runners.listing(session)] == ["draining"]
        actions = [row.action for row in audit.page(session, workspace_id=here, limit=10, after=None)]
        assert actions == ["environment.policy", "token.removed", "token.created", "key.created"]
    with db.writing(world.engines["runner"]) as session:
        runners.deregister(session, "r1", instance=runners.listing(session)[0].row.instance)
    with db.writing(world.engines["console"]) as session:
        runners.remove(session, "r1")


@pytest.mark.parametrize("role", ["console", "scheduler", "runner"])
def test_every_daemon_can_tell_whether_the_schema_is_its_own(world: World, role: str) -> None:
    with db.reading(world.engines[role]) as session:
        assert schema.problem(session) is None


def register(world: World) -> UUID:
    presence = runners.Presence("r1", uuid4(), "host", "0", ("dev",), ("default",), 4)
    with db.writing(world.engines["runner"]) as session:
        runners.register(session, presence)
        assert runners.beat(session, "r1", instance=presence.instance) is False
    return presence.instance


def test_a_runner_registers_beats_and_comes_back(world: World) -> None:
    with db.writing(world.engines["runner"]) as session:
        runners.deregister(session, "r1", instance=register(world))
    register(world)


def test_a_runner_proves_its_key_reads_values_and_reports(world: World, tmp_path: Path) -> None:
    world.add_bot(tmp_path)
    world.set_value(b"found")
    job_id = world.enqueue()
    keyring = Keyring({"dev": key_path(world.settings.keys(), "dev")})
    keyring.prove(world.engines["runner"])
    claim = world.claim(job_id)
    sealed = world.read(claim)
    assert [keyring.open(sealed, value).reveal() for value in sealed.values] == [b"found"]
    world.read(claim, again=True)
    with db.writing(world.engines["runner"]) as session:
        wish = jobs.Wish(job_id, cancel=False, pause=False)
        assert jobs.extend_leases(session, {job_id: claim.attempt}) == [wish]
    assert workspaces.unset_policy(world.direct, "dev", workspace_id=claim.workspace_id) == "warn"
    assert jobs.finish(world.direct, job_id, attempt=claim.attempt, report=Report(State.SUCCEEDED, None))
    with db.reading(world.engines["console"]) as session:
        assert len(history.detail(session, job_id, workspace_id=world.workspace_id).readings) == 1


def test_a_runner_fetches_packages(world: World, tmp_path: Path) -> None:
    world.add_bot(tmp_path)
    claim = world.claim(world.enqueue())
    store = PackageStore(world.engines["runner"], tmp_path / "packages")
    version = store.version(claim.version_id)
    assert (version.bot, store.load(version.digest).declaration.manifest.entry) == ("report", "main.py")


def test_the_scheduler_publishes_again_and_ends_what_was_lost(world: World, tmp_path: Path) -> None:
    world.add_bot(tmp_path)
    lost, waiting = world.enqueue(), world.enqueue()
    claim = world.claim(lost, lease=timedelta(seconds=-1))
    with db.writing(world.engines["scheduler"]) as session:
        (lane,) = announcements.waiting_lanes(session, older_than=timedelta(seconds=-1))
        assert [row.id for row in announcements.due_in_lane(session, lane, older_than=timedelta(seconds=-1))] == [
            waiting
        ]
        announcements.mark_published(session, [waiting])
        (ended,) = conclusion.lose_expired(session, lot=lambda: 0.0)
        assert (ended.job_id, ended.attempt, ended.conclusion.state) == (lost, claim.attempt, State.QUEUED)


def test_a_runner_repeats_and_adopts_attempts_and_records_what_came_late(world: World, tmp_path: Path) -> None:
    world.add_bot(tmp_path)
    stopped = Report(State.FAILED, Reason.RUNNER_STOPPED, detail="stopped", steps={"claim": 0.0}, ended_by="r1")
    done = Report(State.SUCCEEDED, None, exit_code=0, survivors=0)
    job_id = world.enqueue()

    def conclude(attempt: int, report: Report) -> State | None:
        with db.writing(world.engines["runner"]) as session:
            found = conclusion.conclude(session, job_id, attempt=attempt, report=report, lot=0.0)
            ends.mark_adopted(session, job_id, attempt=attempt)
            return found.state if found else None

    def lose() -> None:
        with db.writing(world.engines["scheduler"]) as session:
            assert len(conclusion.lose_expired(session, lot=lambda: 0.0)) == 1

    world.claim(job_id)
    assert conclude(1, stopped) is State.QUEUED
    world.claim(job_id, lease=timedelta(seconds=-1))
    lose()
    world.claim(job_id, lease=timedelta(seconds=-1))
    assert conclude(2, done) is None, "recorded, and no more"
    assert conclude(3, done) is State.SUCCEEDED


def test_a_key_host_rotates_verifies_and_reads(world: World) -> None:
    world.set_value(b"kept")
    engine, settings = world.engines["keyhost"], world.settings
    (*_, last) = rotation.rotate(engine, "dev", settings=settings, failures=[], now=NOW)
    assert (last.done, last.total) == (1, 1)
    failures: list[keyhost.Failure] = []
    assert len(list(keyhost.verify(engine, "dev", settings=settings, failures=failures, now=NOW))) == 1
    assert failures == []
    assert [key.values for key in keyhost.describe_keys(engine)] == [0, 1]
    value = keyhost.read(engine, PASSWORD, environment="dev", bot=None, settings=settings, now=NOW)
    assert value.reveal() == b"kept"


def test_a_key_host_reads_a_value_of_one_bot(world: World, tmp_path: Path) -> None:
    bot = world.add_bot(tmp_path)
    world.set_value(b"own", scope=Scope(world.workspace_id, bot.id, "report"))
    engine, settings = world.engines["keyhost"], world.settings
    value = keyhost.read(engine, PASSWORD, environment="dev", bot="report", settings=settings, now=NOW)
    assert value.reveal() == b"own"
