"""A busy worker takes its next hints by itself, each once; a Redis that is away has none."""

import contextlib
import json
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from celery import Celery

from runner import lanes
from runner.worker.hints import Hint, Hints, job_named
from tests.integration.test_claims import yard
from tests.services import RedisServer
from tests.support import Stores, identity_of

__all__ = ["yard"]

FIRST, SECOND = "dev.default", "dev.other"


@pytest.fixture
def app(stores: Stores) -> Iterator[Celery]:
    with contextlib.closing(lanes.transport(stores.redis_url)) as app:
        yield app


def published(app: Celery, lane: str, number: int) -> str:
    environment, _, group = lane.partition(".")
    job_id = uuid.UUID(int=number)
    assert lanes.publish(app, job_id, environment=environment, group=group)
    return str(job_id)


def hint(lane: str) -> Hint:
    environment, _, group = lane.partition(".")
    return Hint(environment, group, lambda: None)


class Lanes:
    """Hints of some lanes, and what lies in these."""

    def __init__(self, app: Celery, url: str, *places: str) -> None:
        self.hints, self._url = Hints(app, places), url

    def take(self, before: str = FIRST) -> tuple[str, str | None] | None:
        """The lane and the job of the next hint."""
        self.hints.ask(hint(before))
        return self.named(self.hints.answer())

    def named(self, found: Hint | None) -> tuple[str, str | None] | None:
        if found is None:
            return None
        lane = f"{found.environment}.{found.group}"
        found.give_back()
        with contextlib.closing(redis.Redis.from_url(self._url)) as client:
            entry: Any = client.rpop(lanes.PREFIX + lane)
        return lane, job_named(json.loads(entry))


def test_the_oldest_hint_comes_first_goes_back_as_it_was_and_lanes_have_turns(app: Celery, stores: Stores) -> None:
    some = Lanes(app, stores.redis_url, FIRST, SECOND)
    here = [published(app, FIRST, number) for number in (1, 2)]
    there = [published(app, SECOND, number) for number in (3, 4)]
    assert some.take(FIRST) == (SECOND, there[0])
    assert some.take(SECOND) == (FIRST, here[0])
    assert some.take(SECOND) == (FIRST, here[1])
    assert some.take(SECOND) == (SECOND, there[1])
    assert some.take(FIRST) is None


def test_a_thread_that_asks_twice_takes_one_and_one_that_did_not_ask_none(app: Celery, stores: Stores) -> None:
    some = Lanes(app, stores.redis_url, FIRST)
    hints = some.hints
    one, two = (published(app, FIRST, number) for number in (1, 2))
    assert hints.answer() is None
    hints.ask(hint(FIRST))
    hints.ask(hint(FIRST))
    found: list[object] = []
    other = threading.Thread(target=lambda: found.extend([hints.answer(), some.take(), some.take()]))
    other.start()
    other.join(30)
    assert found == [None, (FIRST, two), None]
    assert some.named(hints.answer()) == (FIRST, one)
    assert hints.answer() is None


def test_a_redis_that_is_away_has_no_hint_and_has_one_again_later(new_redis: Callable[[str], RedisServer]) -> None:
    server = new_redis("server")
    with contextlib.closing(lanes.transport(server.url)) as app:
        some = Lanes(app, server.url, FIRST)
        known = published(app, FIRST, 1)
        assert some.take() == (FIRST, known)
        some.hints.ask(hint(FIRST))
        server.stop()
        assert some.hints.answer() is None
        assert some.take() is None
        server.start()
        known = published(app, FIRST, 2)
        assert some.take() == (FIRST, known)


def test_a_redis_that_stands_still_is_waited_for_as_long_as_is_said(new_redis: Callable[[str], RedisServer]) -> None:
    server = new_redis("server")
    with contextlib.closing(lanes.transport(server.url)) as app:
        some = Lanes(app, server.url, FIRST)
        assert not some.hints.answered(patience=0.01), "it was asked nothing"
        known = [published(app, FIRST, number) for number in (1, 2)]
        assert some.take() == (FIRST, known[0])
        with contextlib.closing(redis.Redis.from_url(server.url)) as client:
            client.client_pause(600_000, all=False)  # in milliseconds; what writes waits
            some.hints.ask(hint(FIRST))
            assert not some.hints.answered(patience=0.01)
            client.client_unpause()
            assert some.hints.answered(patience=30)
            assert some.named(some.hints.answer()) == (FIRST, known[1])
            client.client_pause(600_000, all=False)
            some.hints.ask(hint(FIRST))
        server.stop()
        assert not some.hints.answered(patience=30)
        assert some.hints.answer() is None


def test_a_redis_that_stands_still_after_a_long_bot_is_asked_without_waiting_for_it(
    new_redis: Callable[[str], RedisServer],
) -> None:
    server = new_redis("server")
    with contextlib.closing(lanes.transport(server.url)) as app:
        some = Lanes(app, server.url, FIRST)
        known = [published(app, FIRST, number) for number in (1, 2)]
        assert some.take() == (FIRST, known[0])
        some.hints._own.line.next_health_check = 1  # of the monotonic clock: nothing was said for long
        with contextlib.closing(redis.Redis.from_url(server.url)) as client:
            pid: int = client.info()["process_id"]
        server_process = identity_of(pid)
        server_process.send(signal.SIGSTOP)
        some.hints.ask(hint(FIRST))
        server_process.send(signal.SIGCONT)
        assert some.hints.answered(patience=30)
        assert some.named(some.hints.answer()) == (FIRST, known[1])


def test_who_may_not_wait_for_a_connection_asks_over_one_that_stands(app: Celery, stores: Stores) -> None:
    some = Lanes(app, stores.redis_url, FIRST)
    known = [published(app, FIRST, number) for number in (1, 2)]
    some.hints.ask(hint(FIRST), connect=False)
    assert some.hints.answer() is None, "nothing was asked"
    assert some.take() == (FIRST, known[0])
    some.hints.ask(hint(FIRST), connect=False)
    assert some.named(some.hints.answer()) == (FIRST, known[1])
    some.hints._own.line.disconnect()
    some.hints.ask(hint(FIRST), connect=False)
    assert not some.hints.answered(patience=30)


def test_what_is_published_meanwhile_is_not_taken_for_the_answer(app: Celery, stores: Stores) -> None:
    some = Lanes(app, stores.redis_url, FIRST)
    one = published(app, FIRST, 1)
    some.hints.ask(hint(FIRST))
    two = published(app, FIRST, 2)
    assert some.named(some.hints.answer()) == (FIRST, one)
    assert some.take() == (FIRST, two)


def test_a_connection_that_the_broker_closed_while_it_lay_idle_costs_no_publication(
    app: Celery, stores: Stores
) -> None:
    some = Lanes(app, stores.redis_url, FIRST)
    published(app, FIRST, 1)
    some.take()
    with contextlib.closing(redis.Redis.from_url(stores.redis_url)) as client:
        client.client_kill_filter(_type="normal", skipme=True)
    two = published(app, FIRST, 2)
    found = some.take() or some.take()  # the first may only notice that its connection was closed
    assert found == (FIRST, two)
