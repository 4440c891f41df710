"""Signals: "look at this job", "look at this run", "somebody follows", said over Redis to whoever it concerns.

Redis says look, the database says what: a signal carries the id of a job or a run, a runner's name or an environment,
never what is wanted of it, so a lost, doubled or forged one changes nothing but when somebody looks. Runners and
schedulers look by themselves from time to time as well (`runner.worker.held.POLL`, the scheduler's tick). One channel
for each kind serves all: a subscription for each job would cost every job.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from celery import Celery
from kombu.exceptions import KombuError
from redis import ConnectionError as RedisConnectionError
from redis import Redis, RedisError
from redis.client import PubSub

from runner.lanes import PREFIX, client_of
from runner.logging import logger

#: The channels, with the prefix that `lanes.transport` gives to every key.
JOBS, RUNNERS, CHECKS, FOLLOWERS, RUNS = (f"{PREFIX}look.{what}" for what in ("job", "runner", "check", "log", "run"))

#: What a Redis that is away raises.
AWAY = (KombuError, RedisError, OSError)

#: Seconds that a listener waits for a signal before it asks whether the connection lives.
IDLE = 2.0

#: Seconds without any answer after which a connection counts as lost, though nobody closed it.
SILENT = 10.0

#: First and longest pause before another try to reach Redis, in seconds.
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0

#: Longest word that is looked at; a runner's name has at most 128 characters of at most 4 bytes.
_LONGEST = 512

_log = logger()


@dataclass(frozen=True, slots=True)
class Signal:
    """What is to be looked at: a job or a run by its id, a runner by its name, or the checks of an environment.

    `followed` is a job whose log somebody follows.
    """

    job_id: uuid.UUID | None = None
    runner: str | None = None
    environment: str | None = None
    followed: uuid.UUID | None = None
    run_id: uuid.UUID | None = None


def look_at_job(app: Celery, job_id: uuid.UUID) -> bool:
    """Tell the runner of a job, after the commit, that somebody wants something of it; false when Redis is away."""
    return _publish(app, JOBS, str(job_id))


def look_at_runner(app: Celery, name: str) -> bool:
    """Tell a runner, after the commit, that somebody wants something of it; false when Redis is away."""
    return _publish(app, RUNNERS, name)


def look_at_run(app: Celery, run_id: uuid.UUID) -> bool:
    """Tell the schedulers, after the commit, that a run may be ready for its next step; false when Redis is away."""
    return _publish(app, RUNS, str(run_id))


def look_at_checks(app: Celery, environment: str) -> bool:
    """Tell the runners of an environment, after the commit, that a check waits; false when Redis is away."""
    return _publish(app, CHECKS, environment)


def follow_log(app: Celery, job_id: uuid.UUID) -> bool:
    """Tell whoever runs a job, now or soon, that somebody follows its log; false when Redis is away."""
    return _publish(app, FOLLOWERS, str(job_id))


def publish(app: Celery, channel: str, word: str | bytes) -> int:
    """Say something on a channel; answers how many listen.

    Raises:
        One of `AWAY`: when Redis cannot be reached.
    """
    with app.pool.acquire(block=True) as connection:
        return int(plain(client_of(connection)).publish(channel, word))


def _publish(app: Celery, channel: str, word: str) -> bool:
    try:
        publish(app, channel, word)
    except AWAY:
        return False
    return True


class Ear:
    """A connection on which messages arrive."""

    def __init__(self, pubsub: PubSub) -> None:
        self._pubsub = pubsub
        self._heard_at = self._asked_at = time.monotonic()

    def next(self, timeout: float) -> dict[str, Any] | None:
        """The next message; `None` where there was none for `timeout` seconds.

        Raises:
            One of `AWAY`: when the connection is lost, or silent for `SILENT` seconds.
        """
        message: dict[str, Any] | None = self._pubsub.get_message(timeout=timeout)
        now = time.monotonic()
        if message is not None:
            self._heard_at = now
        elif now - self._heard_at > SILENT:
            raise RedisConnectionError(f"Redis said nothing for {SILENT:g} s.")
        elif now - self._asked_at >= IDLE:
            self._asked_at = now
            self._pubsub.ping()
        return message


@contextmanager
def hearing(app: Celery, *channels: str, pattern: str | None = None) -> Iterator[Ear]:
    """Listen to channels, or to all whose names fit a pattern, for the time of the block.

    Raises:
        One of `AWAY`: when Redis cannot be reached.
    """
    with (
        app.connection_for_read() as connection,
        connection.channel() as channel,
        channel.conn_or_acquire() as client,
        closing(PubSub(client.connection_pool)) as pubsub,
    ):
        if channels:
            pubsub.subscribe(*channels)
        if pattern is not None:
            pubsub.psubscribe(pattern)
        yield Ear(pubsub)


class Subscription:
    """A connection on which signals arrive."""

    def __init__(self, ear: Ear) -> None:
        self._ear = ear

    def next(self) -> Signal | None:
        """The next signal; `None` where there was none for `IDLE` seconds, or where it made no sense.

        Raises:
            One of `AWAY`: when the connection is lost, or silent for `SILENT` seconds.
        """
        message = self._ear.next(IDLE)
        return None if message is None else _signal(message)


@contextmanager
def subscription(app: Celery, *channels: str) -> Iterator[Subscription]:
    """Listen to signals for the time of the block.

    Raises:
        One of `AWAY`: when Redis cannot be reached.
    """
    with hearing(app, *channels) as ear:
        yield Subscription(ear)


def hear(
    app: Celery,
    *channels: str,
    stopped: threading.Event,
    connected: Callable[[], object],
    heard: Callable[[Signal], object],
) -> None:
    """Pass on every signal until `stopped`; a Redis that is away is tried again with a growing pause.

    `connected` is called whenever it is back, since nobody knows what was said meanwhile.
    """
    pause = FIRST_PAUSE
    while not stopped.is_set():
        try:
            with subscription(app, *channels) as found:
                _log.info("signals.heard")
                connected()
                pause = FIRST_PAUSE
                while not stopped.is_set():
                    if signal := found.next():
                        heard(signal)
        except AWAY as error:
            _log.warning("signals.lost", error=str(error).partition("\n")[0])
        except Exception:
            # Without its listener a process would wait for its next look: whatever it was, it is tried again.
            _log.exception("listener.broken")
        stopped.wait(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def plain(client: Redis) -> Redis:
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
        named = uuid.UUID(text)
    except ValueError:
        return None
    if message["channel"] == RUNS.encode():
        return Signal(run_id=named)
    return Signal(followed=named) if message["channel"] == FOLLOWERS.encode() else Signal(job_id=named)
