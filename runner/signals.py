"""Signals: "look at this job", "look at your own row", said over Redis to whoever it concerns.

Redis says look, the database says what: a signal carries a job's id, a runner's name or an environment, never what
is wanted of it, so a lost, doubled or forged one changes nothing but when a runner looks. It looks by itself from time
to time as well (`runner.worker.held.POLL`). One channel for each kind serves all runners: signals are as rare as the
people who send them, and a subscription for each job would cost every job.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from celery import Celery
from kombu.exceptions import KombuError
from redis import ConnectionError as RedisConnectionError
from redis import Redis, RedisError
from redis.client import PubSub

from runner.lanes import PREFIX

#: The channels, with the prefix that `lanes.transport` gives to every key.
JOBS, RUNNERS, CHECKS = f"{PREFIX}look.job", f"{PREFIX}look.runner", f"{PREFIX}look.check"

#: What a Redis that is away raises.
AWAY = (KombuError, RedisError, OSError)

#: Seconds that a listener waits for a signal before it asks whether the connection lives.
IDLE = 2.0

#: Seconds without any answer after which a connection counts as lost, though nobody closed it.
SILENT = 10.0

#: Longest word that is looked at; a runner's name has at most 128 characters of at most 4 bytes.
_LONGEST = 512


@dataclass(frozen=True, slots=True)
class Signal:
    """What is to be looked at: a job by its id, a runner by its name, or the checks of an environment."""

    job_id: uuid.UUID | None = None
    runner: str | None = None
    environment: str | None = None


def look_at_job(app: Celery, job_id: uuid.UUID) -> bool:
    """Tell the runner of a job, after the commit, that somebody wants something of it; false when Redis is away."""
    return _publish(app, JOBS, str(job_id))


def look_at_runner(app: Celery, name: str) -> bool:
    """Tell a runner, after the commit, that somebody wants something of it; false when Redis is away."""
    return _publish(app, RUNNERS, name)


def look_at_checks(app: Celery, environment: str) -> bool:
    """Tell the runners of an environment, after the commit, that a check waits; false when Redis is away."""
    return _publish(app, CHECKS, environment)


def _publish(app: Celery, channel: str, word: str) -> bool:
    try:
        with (
            app.pool.acquire(block=True) as connection,
            connection.default_channel.conn_or_acquire() as client,
        ):
            _plain(client).publish(channel, word)
    except AWAY:
        return False
    return True


class Subscription:
    """A connection on which signals arrive."""

    def __init__(self, pubsub: PubSub) -> None:
        self._pubsub = pubsub
        self._heard_at = time.monotonic()

    def next(self) -> Signal | None:
        """The next signal; `None` where there was none for `IDLE` seconds, or where it made no sense.

        Raises:
            One of `AWAY`: when the connection is lost, or silent for `SILENT` seconds.
        """
        message = self._pubsub.get_message(timeout=IDLE)
        if message is not None:
            self._heard_at = time.monotonic()
            return _signal(message)
        if time.monotonic() - self._heard_at > SILENT:
            raise RedisConnectionError(f"Redis said nothing for {SILENT:g} s.")
        self._pubsub.ping()
        return None


@contextmanager
def subscription(app: Celery) -> Iterator[Subscription]:
    """Listen for the time of the block.

    Raises:
        One of `AWAY`: when Redis cannot be reached.
    """
    with (
        app.connection_for_read() as connection,
        connection.channel() as channel,
        channel.conn_or_acquire() as client,
        closing(PubSub(client.connection_pool)) as pubsub,
    ):
        pubsub.subscribe(JOBS, RUNNERS, CHECKS)
        yield Subscription(pubsub)


def _plain(client: Redis) -> Redis:
    """A client on the same connections; kombu's own, which adds the prefix, stumbles over the answer to a PING."""
    return Redis(connection_pool=client.connection_pool)


def _signal(message: dict[str, Any]) -> Signal | None:
    """What a message says, as far as it makes sense: whoever can write to Redis can write anything."""
    word = message["data"]
    if message["type"] != "message" or not isinstance(word, bytes) or len(word) > _LONGEST:
        return None
    text = word.decode("utf-8", "replace")
    if message["channel"] == RUNNERS.encode():
        return Signal(runner=text)
    if message["channel"] == CHECKS.encode():
        return Signal(environment=text)
    try:
        return Signal(job_id=uuid.UUID(text))
    except ValueError:
        return None
