"""Schedulers that are killed, and stores that are away, while schedules are due: each instant fires once."""

import random
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select

from runner import bots, workspaces
from runner.archive import canonical
from runner.models import Job
from runner.triggers import Firing, Trigger
from scheduler import triggers
from tests.api import TESTER, zipped
from tests.conftest import Start
from tests.nursery import Program
from tests.services import PostgresServer, RedisServer
from tests.support import Started, Stores, wait_until
from vault import db
from vault.errors import Unavailable

pytestmark = pytest.mark.timeout(180)

#: Triggers that are due each second.
TRIGGERS = 4


@dataclass(slots=True)
class Yard:
    """A database with schedules of each second, and schedulers on it."""

    engine: Engine
    stores: Stores
    start: Start
    alive: list[Started]

    def scheduler(self) -> None:
        environment = {**self.stores.environment, "BOTKEEP_TICK": "0.1"}
        self.alive.append(self.start(Program("scheduler"), env=environment, name="scheduler"))

    def kill_one(self) -> None:
        victim = self.alive.pop(random.randrange(len(self.alive)))
        victim.identity.kill_tree()
        victim.popen.wait(10)

    def count(self) -> int:
        try:
            with db.reading(self.engine) as session:
                return session.scalar(select(func.count()).select_from(Firing)) or 0
        except Unavailable:
            return 0

    def fired_again(self, more: int = TRIGGERS, timeout: float = 60) -> None:
        before = self.count()
        wait_until(lambda: self.count() >= before + more, timeout, "the schedules to fire again")

    def assert_each_instant_fired_once(self) -> None:
        with db.reading(self.engine) as session:
            rows = session.execute(select(Firing.trigger_id, Firing.instant, Firing.state, Firing.started_id)).all()
            causes = Counter(session.scalars(select(Job.cause_id)))
            jobs = set(session.scalars(select(Job.id)))
        assert {row.state for row in rows} == {"started"}
        assert {row.started_id for row in rows} == jobs
        assert max(causes.values()) == 1
        assert len(causes) == len(rows)
        by_trigger: dict[uuid.UUID, list[datetime]] = {}
        for row in rows:
            by_trigger.setdefault(row.trigger_id, []).append(row.instant)
        assert len(by_trigger) == TRIGGERS
        for instants in by_trigger.values():
            first, last = min(instants), max(instants)
            every = {first + timedelta(seconds=step) for step in range(int((last - first).total_seconds()) + 1)}
            assert len(instants) == len(set(instants))
            assert set(instants) == every, "an instant is missing"


def made(stores: Stores, start: Start) -> Iterator[Yard]:
    engine = db.engine(stores.database_url)
    now = datetime.now(UTC)
    with db.writing(engine) as session:
        workspace_id = workspaces.default_workspace(session)
        package = canonical(zipped("print('hello')\n"))
        bots.add(session, "hello", workspace_id=workspace_id, package=package, actor=TESTER, now=now)
        for number in range(TRIGGERS):
            definition = {"bot": "hello", "schedule": {"cron": "* * * * * *"}}
            triggers.save(session, f"t{number}", definition, workspace_id=workspace_id, actor=TESTER, now=now)
    yield Yard(engine, stores, start, [])
    engine.dispose()


@pytest.fixture
def yard(stores: Stores, start: Start, home: Path) -> Iterator[Yard]:
    yield from made(stores, start)


@pytest.fixture
def own_yard(
    own_postgres: PostgresServer, new_redis: Callable[[str], RedisServer], start: Start, home: Path
) -> Iterator[tuple[Yard, PostgresServer, RedisServer]]:
    """On servers that the test may stop."""
    broker = new_redis("server")
    url = own_postgres.create_database("own", template=own_postgres.migrated_template())
    for yard in made(Stores("server", url, broker.url), start):
        yield yard, own_postgres, broker


@pytest.mark.parametrize("schedulers", [1, 2, 5])
def test_schedulers_that_are_killed_fire_each_instant_once(yard: Yard, schedulers: int) -> None:
    for _ in range(schedulers):
        yard.scheduler()
    for _ in range(4):
        yard.fired_again()
        yard.kill_one()
        yard.scheduler()
    yard.fired_again()
    while yard.alive:
        yard.kill_one()
    assert yard.count() >= TRIGGERS * 5
    yard.assert_each_instant_fired_once()


def test_what_was_due_while_the_database_was_away_fires_when_it_is_back(
    own_yard: tuple[Yard, PostgresServer, RedisServer],
) -> None:
    yard, postgres, _ = own_yard
    yard.scheduler()
    yard.fired_again()
    postgres.stop()
    yard.engine.dispose()
    down_at = datetime.now(UTC)
    wait_until(lambda: datetime.now(UTC) > down_at + timedelta(seconds=3), 10, "three instants to pass")
    postgres.start()
    back_at = datetime.now(UTC)
    wait_until(lambda: yard.count() and _latest(yard) > back_at, 60, "the schedules to catch up")
    while yard.alive:
        yard.kill_one()
    yard.assert_each_instant_fired_once()


def test_what_was_due_while_redis_was_away_is_queued_and_announced_when_it_is_back(
    own_yard: tuple[Yard, PostgresServer, RedisServer],
) -> None:
    yard, _, broker = own_yard
    yard.scheduler()
    yard.fired_again()
    broker.stop()
    yard.fired_again(3 * TRIGGERS)
    broker.start()

    def all_announced() -> bool:
        with db.reading(yard.engine) as session:
            waiting = session.scalar(select(func.count()).select_from(Job).where(Job.published_at.is_(None)))
        return waiting == 0

    wait_until(all_announced, 60, "every job to be announced")
    while yard.alive:
        yard.kill_one()
    yard.assert_each_instant_fired_once()


def _latest(yard: Yard) -> datetime:
    with db.reading(yard.engine) as session:
        latest = session.scalar(select(func.max(Firing.created_at)))
        waiting = session.scalars(select(Trigger.next_fire_at)).all()
    assert all(waiting)
    return latest or datetime.min.replace(tzinfo=UTC)
