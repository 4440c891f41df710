"""What the scheduler thinks of its broker: warns of what makes jobs wait."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from celery import Celery

from runner import lanes
from runner.logging import logger

#: Seconds between two looks; somebody may change its configuration while it runs.
EVERY = 3600.0

_log = logger()


def check(app: Celery) -> None:
    """Log what an operator should change."""
    for warning in judge(lanes.broker_info(app)):
        _log.warning("broker.unfit", detail=warning)


def judge(info: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each thing that loses messages; pure."""
    if str(info.get("aof_enabled", "1")) != "1":
        yield (
            "The broker keeps no append-only file, so what waits is announced anew after its restart; "
            "set `appendonly yes`."
        )
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        yield f"The broker evicts ({policy}), which drops messages of jobs; set `maxmemory-policy noeviction`."
