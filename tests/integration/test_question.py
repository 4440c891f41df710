"""What the scheduler asks each second finds all that its duties do, and nothing where they have nothing to do."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import update
from uuid_utils.compat import uuid7

from runner.flow_models import WorkItem
from runner.models import Job
from runner.source_models import FanOut
from runner.states import State
from runner.triggers import Firing, FiringState, Trigger
from scheduler.advancing import Advancer
from scheduler.duties import duties
from scheduler.question import Question
from scheduler.sealing import Sealer
from scheduler.service import Duty
from scheduler.settings import SchedulerSettings
from tests.api import Api, serving
from tests.support import Stores
from vault import db
from vault.db import clock
from vault.direct import Direct

NOW = datetime(2031, 3, 3, tzinfo=UTC)
AGO = timedelta(minutes=-2)


class World:
    """An API, and the duties of a scheduler beside it."""

    def __init__(self, api: Api, stores: Stores, home: Path) -> None:
        self.api = api
        self.engine = engine = api.console.engine
        self.direct = Direct(engine)
        settings = SchedulerSettings(
            home=home, database_url=SecretStr(stores.database_url), redis_url=SecretStr(stores.redis_url)
        )
        sealer = Sealer(engine, self.direct, home / "heads", anchor_every=60, now=lambda: NOW)
        transport = api.console.transport
        self.duties: list[Duty] = list(
            duties(
                engine,
                transport,
                settings,
                store=settings.log_store(),
                advancer=Advancer(engine, transport),
                sealer=sealer,
            )
        )
        self._question = Question(self.direct)

    def ask(self) -> set[str]:
        waiting = {duty.name: duty.waits for duty in self.duties if duty.waits is not None}
        return set(self._question.ask(waiting))

    def run(self, name: str) -> None:
        (duty,) = (each for each in self.duties if each.name == name)
        duty.run()

    def change(self, model: type, **values: object) -> None:
        with db.writing(self.engine) as session:
            session.execute(update(model).values(**values))

    def save_trigger(self, **definition: object) -> None:
        answer = self.api.client.post("/api/v1/triggers", json={"name": "t", "definition": definition})
        assert answer.status_code == 201, answer.text


@pytest.fixture
def world(stores: Stores, tmp_path: Path) -> Iterator[World]:
    with serving(stores, tmp_path) as api:
        api.add_bot()
        found = World(api, stores, tmp_path)
        yield found
        found.direct.close()


def schedule_is_due(world: World) -> None:
    world.save_trigger(bot="hello", schedule={"every": "1h"})
    world.change(Trigger, next_fire_at=clock(AGO), next_instant=clock(AGO))


def job_ended(world: World) -> None:
    world.save_trigger(bot="hello", completion={"queue": "q"})
    answer = world.api.client.post("/api/v1/jobs", json={"bot": "hello"})
    world.api.finish(world.api.claim(answer.json()["id"]))


def end_was_long_not_looked_for(world: World) -> None:
    world.save_trigger(bot="hello", completion={"queue": "q"})
    world.change(Trigger, watched_until=clock(AGO))


def file_was_seen(world: World) -> None:
    world.save_trigger(bot="hello", schedule={"every": "1h"})
    with db.writing(world.engine) as session:
        trigger = session.query(Trigger).one()
        session.add(
            Firing(
                trigger_id=trigger.id,
                key="k",
                state=FiringState.PENDING,
                instant=NOW,
                depth=0,
                created_at=NOW,
                event={},
            )
        )


def job_was_not_announced(world: World) -> None:
    world.api.client.post("/api/v1/jobs", json={"bot": "hello"})
    world.change(Job, published_at=None)


def rows_were_read(world: World) -> None:
    _fan_out(world)
    world.change(FanOut, read_at=clock())


def readers_were_lost(world: World) -> None:
    _fan_out(world)
    world.change(FanOut, tries=3, lease_expires_at=clock(AGO))


def lease_ran_out(world: World) -> None:
    answer = world.api.client.post("/api/v1/jobs", json={"bot": "hello"})
    world.api.claim(answer.json()["id"])
    world.change(Job, lease_expires_at=clock(AGO))


def step_ended(world: World) -> None:
    _run(world)
    world.run("advance_runs")
    assert "advance_runs" not in world.ask()
    world.change(Job, state=State.SUCCEEDED, finished_at=clock())


def run_began(world: World) -> None:
    _run(world)


def item_is_late(world: World) -> None:
    answer = world.api.client.post("/api/v1/work-items", json={"tray": "t", "data": {}, "environment": "dev"})
    assert answer.status_code == 201, answer.text
    world.change(WorkItem, deadline=clock(AGO))


def holder_ended(world: World) -> None:
    item_is_late(world)
    world.change(WorkItem, deadline=None, state="reserved", job_id=uuid7(), attempt=1)


@pytest.mark.parametrize(
    ("arrange", "name"),
    [
        (schedule_is_due, "fire_due"),
        (end_was_long_not_looked_for, "fire_ended"),
        (file_was_seen, "decide_pending"),
        (job_was_not_announced, "republish"),
        (rows_were_read, "fan_out"),
        (readers_were_lost, "end_lost_fan_outs"),
        (lease_ran_out, "end_lost"),
        (run_began, "advance_runs"),
        (step_ended, "advance_runs"),
        (item_is_late, "settle_items"),
        (holder_ended, "settle_items"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_the_question_names_a_duty_as_long_as_it_has_something_to_do(
    world: World, arrange: Callable[[World], None], name: str
) -> None:
    _queue(world)
    assert world.ask() == set()
    arrange(world)
    assert name in world.ask()
    world.run(name)
    assert name not in world.ask()


def test_an_end_is_looked_for_only_where_a_trigger_waits_for_one(world: World) -> None:
    _queue(world)
    answer = world.api.client.post("/api/v1/jobs", json={"bot": "hello"})
    world.api.finish(world.api.claim(answer.json()["id"]))
    assert "fire_ended" not in world.ask()
    job_ended(world)
    assert "fire_ended" in world.ask()
    world.change(Trigger, paused_at=NOW)
    assert "fire_ended" not in world.ask()


def _queue(world: World) -> None:
    answer = world.api.client.post("/api/v1/queues", params={"name": "q"}, json={"items": [{"bot": "hello"}]})
    assert answer.status_code == 201, answer.text


def _run(world: World) -> None:
    answer = world.api.client.post("/api/v1/queues/q/runs", json={})
    assert answer.status_code == 201, answer.text


def _fan_out(world: World) -> None:
    """A fan-out, whatever it is of."""
    job = world.api.client.post("/api/v1/jobs", json={"bot": "hello"})
    assert job.status_code == 201, job.text
    with db.writing(world.engine) as session:
        one = session.query(Job).one()
        order = {"group": "default", "priority": 1, "concurrency": None, "parameters": {}}
        session.add(
            FanOut(
                workspace_id=one.workspace_id,
                source="s",
                environment="dev",
                bot_id=one.bot_id,
                version_id=one.version_id,
                order=order,
                rows_per_job=0,
                requested_at=NOW,
                requested_by="ann",
            )
        )
