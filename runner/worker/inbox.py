"""What the worker takes from Redis: hints of ours, rebuilt, and nothing else.

Celery trusts its broker: an entry that is no task message ends its main loop, and every bot of the runner with it.
So an entry of a lane that names a job is reduced to the lane it came from, and a clean message is made around that.
Refuses everything else with a line in the log; the job, if there is one, is announced again by the rescuer.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from itertools import count
from queue import Empty
from typing import Any

from celery import Celery
from celery.worker import state
from kombu.transport import TRANSPORT_ALIASES, redis, virtual

from runner.lanes import TASK
from runner.logging import logger
from runner.signals import AWAY
from runner.worker.hints import job_named
from runner.worker.tasks import BEGUN, JOB, LANE
from vault.names import ENVIRONMENTS

#: Where Celery finds the transport.
TRANSPORT = f"{__name__}:Transport"

_ALIAS = "botkeep"

_log = logger()

#: Tells the messages of this process apart.
_tags = count(1)


def receive_with(app: Celery, broker_url: str) -> None:
    """Make `app` take its messages through this transport, whatever kind of address the broker has.

    The setting `broker_transport` alone is not enough: kombu takes the part before a `+` in an address
    (`redis+socket://`, the embedded broker's) for the transport, whatever else was said.
    """
    TRANSPORT_ALIASES[_ALIAS] = TRANSPORT
    app.conf.broker_url = broker_url.replace("redis+socket://", f"{_ALIAS}+socket://", 1)
    app.conf.broker_transport = TRANSPORT


def hint(entry: object, lane: str) -> dict[str, Any] | None:
    """A clean message to look into `lane`, for an entry that names a job; `None` where it names none.

    The job's id stays with it: should the message go back, it names a job again.
    """
    job_id = job_named(entry)
    if job_id is None:
        return None
    environment, _, group = lane.partition(".")
    return {
        "body": "",
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {"task": TASK, LANE: [environment, group], JOB: job_id},
        "properties": {
            "delivery_tag": str(next(_tags)),
            "delivery_info": {"exchange": "", "routing_key": lane},
        },
    }


def returned(clean: dict[str, Any]) -> dict[str, Any]:
    """The entry of a lane that a clean message was made of, as far as it matters."""
    body = base64.b64encode(json.dumps([[clean["headers"][JOB]], {}, {}]).encode()).decode()
    return {**clean, "body": body}


class _QoS(virtual.QoS):
    """Counts what was fetched, in memory only.

    Celery's own also writes each message to Redis and removes it again, to put it back a day after a worker died. The
    rescuer does that within half a minute, from the database, so this is half of the cost of a message saved.
    """

    #: Whether nothing more is fetched before a message is acknowledged; the loop must then be told of it.
    full = False

    def can_consume(self) -> bool:
        """Whether more may be fetched: not by a worker that stops (`runner.worker.stopping`)."""
        if state.should_stop is not None:
            return False
        self.full = False
        if self._has_room():
            return True
        self.full = True
        return self._has_room()  # a thread may have acknowledged in between, when it was not to tell

    def _has_room(self) -> bool:
        return bool(super().can_consume())  # type: ignore[no-untyped-call]

    def restore_visible(self, *_arguments: object, **_options: object) -> None:
        """Nothing was put aside."""


class _Channel(redis.Channel):
    QoS = _QoS  # type: ignore[assignment]  # kombu asks only for what both have
    #: kombu asks for four lists a lane; priorities are the database's matter.
    priority_steps = [0]  # noqa: RUF012  (kombu's own kind of declaration)
    _kept: Any = None
    _read: Callable[[], object] | None = None

    def when_read(self, call: Callable[[], object]) -> None:
        """Call this when the message that is being delivered is read, and the next one asked for."""
        self._read = call

    def _create_client(self, asynchronous: bool = False) -> Any:  # noqa: ANN401, FBT001, FBT002 - kombu's own signature
        """One client for all commands: making one costs more than a command, and it draws on the pool anyway."""
        if asynchronous:
            return super()._create_client(asynchronous=True)  # type: ignore[no-untyped-call]  # kombu: no annotations
        if self._kept is None:
            self._kept = super()._create_client()  # type: ignore[no-untyped-call]
        return self._kept

    def _restore(self, message: Any, leftmost: bool = False) -> None:  # noqa: ANN401, FBT001, FBT002, ARG002 - kombu's
        """Put a hint back that was fetched and not taken up, first in its lane; kombu would look for its own copy."""
        lane = message.delivery_info["routing_key"]
        if lane.partition(".")[0] not in ENVIRONMENTS:
            return  # Celery's own: nobody waits for it
        if message.headers.get(BEGUN):
            return
        try:
            with self.conn_or_acquire() as client:
                client.rpush(lane, json.dumps(returned(message.serializable())))
        except AWAY as error:  # kombu would write what is left into a file
            _log.warning("hints.lost", lane=lane, error=str(error).partition("\n")[0])

    def _brpop_read(self, **options: Any) -> Any:  # noqa: ANN401 - kombu's own signature
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]
        except (RecursionError, ValueError):  # not JSON, or not even text
            _log.warning("message.refused")
            raise Empty from None
        finally:
            self._begin_read()

    def _begin_read(self) -> None:
        """Begin what was read, as the last thing before the loop sleeps: else it would dispute the interpreter."""
        begin, self._read = self._read, None
        if begin is not None:
            try:
                self.connection.cycle.on_poll_start()
            finally:
                begin()


class Transport(redis.Transport):
    """Redis, with what lies in lanes looked at first."""

    Channel = _Channel

    def _deliver(self, message: object, queue: str) -> None:
        if queue.partition(".")[0] not in ENVIRONMENTS:  # Celery's own: remote control
            super()._deliver(message, queue)  # type: ignore[no-untyped-call]
            return
        clean = hint(message, queue)
        if clean is None:
            _log.warning("message.refused", lane=queue)
        else:
            super()._deliver(clean, queue)  # type: ignore[no-untyped-call]
