"""A broker that forgot what it was told is noticed at once, not when jobs have waited for long."""

import contextlib
from collections.abc import Iterator
from datetime import timedelta

import pytest
import redis
from celery import Celery

from runner import lanes
from scheduler.rescuer import Memory, republish
from tests.integration.test_claims import Yard, yard
from tests.support import Stores

__all__ = ["yard"]

LONG = timedelta(hours=1)


@pytest.fixture
def app(stores: Stores) -> Iterator[Celery]:
    with contextlib.closing(lanes.transport(stores.redis_url)) as app:
        yield app


def flush(stores: Stores) -> None:
    with contextlib.closing(redis.Redis.from_url(stores.redis_url)) as client:
        client.flushall()


def test_after_a_flush_every_queued_job_is_announced_again_at_once(yard: Yard, stores: Stores, app: Celery) -> None:
    memory = Memory(yard.engine, app)
    memory.check()
    for _ in range(3):
        assert lanes.publish(app, yard.enqueue(), environment="dev", group="default", bot_id=yard.request.bot_id)
    assert not memory.check()
    assert republish(yard.engine, app, older_than=LONG) == 0
    flush(stores)
    assert memory.check()
    assert republish(yard.engine, app, older_than=LONG) == 3
    assert lanes.depth(app, environment="dev") == 3
    assert not memory.check()
    assert republish(yard.engine, app, older_than=LONG) == 0


def test_a_scheduler_that_starts_trusts_a_broker_with_a_memory_and_notices_a_flush_between_two_looks(
    yard: Yard, stores: Stores, app: Celery
) -> None:
    first, second = Memory(yard.engine, app), Memory(yard.engine, app)
    assert first.check()
    assert not second.check()
    flush(stores)
    assert first.check()
    assert second.check(), "the other one may have died before it let the jobs be announced"
    assert not first.check()
