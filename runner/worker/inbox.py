"""What the worker takes from Redis: hints of ours, rebuilt, and nothing else.

Celery trusts its broker: an entry that is no task message ends its main loop, and every bot of the runner with it.
So an entry of a lane that names a job is reduced to the lane it came from, and a clean message is made around that.
Refuses everything else with a line in the log; the job, if there is one, is announced again by the rescuer.
"""

from __future__ import annotations

import base64
import json
import uuid
from queue import Empty
from typing import Any

from celery import Celery
from kombu.transport import TRANSPORT_ALIASES, redis, virtual

from runner.lanes import TASK
from runner.logging import logger
from vault.names import ENVIRONMENTS

#: Where Celery finds the transport; the setting `broker_transport`.
TRANSPORT = f"{__name__}:Transport"

_ALIAS = "botkeep"

_log = logger("tasks")


def receive_with(app: Celery, broker_url: str) -> None:
    """Make `app` take its messages through this transport, whatever kind of address the broker has.

    The setting `broker_transport` alone is not enough: kombu takes the part before a `+` in an address
    (`redis+socket://`, the embedded broker's) for the transport, whatever else was said.
    """
    TRANSPORT_ALIASES[_ALIAS] = TRANSPORT
    app.conf.broker_url = broker_url.replace("redis+socket://", f"{_ALIAS}+socket://", 1)
    app.conf.broker_transport = TRANSPORT


def hint(entry: object, lane: str) -> dict[str, Any] | None:
    """A clean message to look into `lane`, for an entry that names a job; `None` where it names none."""
    if not _names_a_job(entry):
        return None
    environment, _, group = lane.partition(".")
    tag = str(uuid.uuid4())
    return {
        "body": base64.b64encode(json.dumps([[environment, group], {}, {}]).encode()).decode(),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {"lang": "py", "task": TASK, "id": tag, "root_id": tag, "ignore_result": True},
        "properties": {
            "correlation_id": tag,
            "delivery_tag": tag,
            "delivery_info": {"exchange": "", "routing_key": lane},
            "body_encoding": "base64",
        },
    }


def _names_a_job(entry: Any) -> bool:  # noqa: ANN401 - whatever JSON holds
    try:
        (wanted,), _, _ = json.loads(base64.b64decode(entry["body"], validate=True))
        return entry["headers"]["task"] == TASK and bool(uuid.UUID(wanted))
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError):
        return False


class _QoS(virtual.QoS):
    """Counts what was fetched, in memory only.

    Celery's own also writes each message to Redis and removes it again, to put it back a day after a worker died. The
    rescuer does that within half a minute, from the database, so this is half of the cost of a message saved.
    """

    def restore_visible(self, *_arguments: object, **_options: object) -> None:
        """Nothing was put aside."""


class _Channel(redis.Channel):
    QoS = _QoS  # type: ignore[assignment]  # kombu asks only for what both have
    _kept: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:  # noqa: ANN401, FBT001, FBT002 - kombu's own signature
        """One client for all commands: making one costs more than a command, and it draws on the pool anyway."""
        if asynchronous:
            return super()._create_client(asynchronous=True)  # type: ignore[no-untyped-call]  # kombu: no annotations
        if self._kept is None:
            self._kept = super()._create_client()  # type: ignore[no-untyped-call]
        return self._kept

    def _brpop_read(self, **options: Any) -> Any:  # noqa: ANN401 - kombu's own signature
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]
        except (RecursionError, ValueError):  # not JSON, or not even text
            _log.warning("message.refused")
            raise Empty from None


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
