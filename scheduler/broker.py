"""What the scheduler thinks of its broker: warns of what makes jobs wait, and refuses what cannot work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from celery import Celery
from celery.exceptions import OperationalError as CeleryOperationalError
from kombu.exceptions import KombuError
from redis import RedisError

from runner import lanes
from runner.errors import Invalid
from runner.logging import logger

#: Seconds between two looks; somebody may change its configuration while it runs.
EVERY = 3600.0

_log = logger()


def refuse_cluster(app: Celery) -> None:
    """Do not begin with a broker that cannot work; one that is away is waited for.

    Raises:
        Invalid: for a Redis Cluster.
    """
    try:
        info = lanes.broker_info(app)
    except (CeleryOperationalError, KombuError, RedisError, OSError):
        return
    if str(info.get("cluster_enabled")) == "1":
        raise Invalid(
            "BOTKEEP_REDIS_URL is a Redis Cluster, in which the lanes of one runner lie on several servers and "
            "messages are lost; give Botkeep a single server, with a replica if need be."
        )


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
