"""Runners register themselves: one process for each name, known by what it serves, lost by the database's clock."""

import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine, update

from runner import runners
from runner.models import Runner
from runner.runners import NameTaken, Presence
from tests.support import Stores
from vault import db

ONE = Presence("one", uuid.uuid4(), "host-a", "0", ("dev",), ("default",), 4, {"os": "linux"})


@pytest.fixture
def engine(stores: Stores) -> Iterator[Engine]:
    made = db.engine(stores.database_url, pool_size=16)
    yield made
    made.dispose()


def register(engine: Engine, presence: Presence) -> bool:
    """Whether the name was free."""
    try:
        with db.writing(engine) as session:
            runners.register(session, presence)
    except NameTaken:
        return False
    return True


def seen(engine: Engine) -> runners.Seen:
    with db.reading(engine) as session:
        (found,) = runners.listing(session)
    return found


@pytest.mark.parametrize("starters", [2, 8])
def test_of_processes_that_start_at_the_same_instant_one_gets_the_name(engine: Engine, starters: int) -> None:
    for former in (False, True):
        name = f"name-{former}"
        if former:  # a row that an earlier process of the name left
            register(engine, replace(ONE, name=name, instance=uuid.uuid4()))
            with db.writing(engine) as session:
                session.execute(update(Runner).where(Runner.name == name).values(stopped_at=db.clock()))
        barrier = threading.Barrier(starters)
        instances = [uuid.uuid4() for _ in range(starters)]

        def begin(instance: uuid.UUID, name: str = name, barrier: threading.Barrier = barrier) -> bool:
            barrier.wait(30)
            return register(engine, replace(ONE, name=name, instance=instance))

        with ThreadPoolExecutor(starters) as pool:
            won = [instance for instance, got in zip(instances, pool.map(begin, instances), strict=True) if got]
        assert len(won) == 1
        with db.reading(engine) as session:
            assert session.get_one(Runner, name).instance == won[0]


def test_a_process_may_register_again_and_change_what_it_says(engine: Engine) -> None:
    assert register(engine, ONE)
    assert register(engine, replace(ONE, labels={"os": "plan9"}, concurrency=2))
    assert (seen(engine).row.labels, seen(engine).row.concurrency) == ({"os": "plan9"}, 2)


def test_a_name_is_free_again_when_its_runner_was_lost(engine: Engine) -> None:
    assert register(engine, ONE)
    other = replace(ONE, instance=uuid.uuid4(), host="host-b")
    assert not register(engine, other)
    heard_of(engine, runners.LOST_AFTER - timedelta(seconds=2))
    assert (seen(engine).status, register(engine, other)) == ("online", False)
    heard_of(engine, runners.LOST_AFTER + timedelta(seconds=1))
    assert seen(engine).status == "lost"
    assert register(engine, other)
    assert (seen(engine).status, seen(engine).row.host) == ("online", "host-b")
    with db.writing(engine) as session:
        assert runners.beat(session, "one", instance=ONE.instance) is None, "the name is not its own any more"


def heard_of(engine: Engine, ago: timedelta) -> None:
    """Let a runner have beaten last so long ago."""
    with db.writing(engine) as session:
        session.execute(update(Runner).values(heartbeat_at=db.clock(-ago)))
