"""What the worker takes from Redis: hints of ours, rebuilt, and nothing else.

Celery trusts its broker: an entry that is no task message ends its main loop, and every bot of the runner with it.
So each entry of a lane is reduced to the one thing that is wanted, a job id, and a clean message is made around it.
Refuses everything else with a line in the log; the job, if there is one, is announced again by the rescuer.
"""

from __future__ import annotations

import base64
import json
import uuid
from queue import Empty
from typing import Any

from kombu.transport import redis

from runner.lanes import TASK
from runner.logging import logger
from vault.names import ENVIRONMENTS

#: Where Celery finds the transport; the setting `broker_transport`.
TRANSPORT = f"{__name__}:Transport"

_log = logger("tasks")


def hint(entry: object, lane: str) -> dict[str, Any] | None:
    """A clean message for the job id in an entry of `lane`; `None` where there is none."""
    job_id = _job_id(entry)
    if job_id is None:
        return None
    tag = str(uuid.uuid4())
    return {
        "body": base64.b64encode(json.dumps([[job_id], {}, {}]).encode()).decode(),
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


def _job_id(entry: Any) -> str | None:  # noqa: ANN401 - whatever JSON holds
    try:
        if entry["headers"]["task"] != TASK:
            return None
        (wanted,), _, _ = json.loads(base64.b64decode(entry["body"], validate=True))
        return str(uuid.UUID(wanted))
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError):
        return None


class _QoS(redis.QoS):
    def restore_visible(self, start: int = 0, num: int = 10, interval: int = 10) -> None:
        """Put back what a dead worker had fetched, a day later; an entry that cannot be read is left where it is."""
        try:
            super().restore_visible(start, num, interval)  # type: ignore[no-untyped-call]  # kombu: no annotations
        except (LookupError, TypeError, ValueError):
            _log.warning("message.refused", lane="unacked")


class _Channel(redis.Channel):
    QoS = _QoS

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
