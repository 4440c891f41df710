"""What probes and Prometheus ask: is the process there, are its stores usable, how much is there to do.

Ready means that the database is usable, and the broker no cluster. A broker that is away does not make the console
unready: jobs wait in the database and nothing is lost; the answer says so.
"""

from __future__ import annotations

from typing import Any

import redis
from fastapi import APIRouter, Request, Response
from sqlalchemy.exc import SQLAlchemyError

from console import metrics
from console.deps import Console, console_of
from runner import lanes, schema
from vault import db
from vault.errors import Unavailable

#: Seconds that the broker gets to answer a probe.
PING = 1.0

router = APIRouter(tags=["operation"])


@router.get("/healthz", summary="Whether the process answers")
async def alive() -> dict[str, str]:
    """Touches nothing."""
    return {"status": "ok"}


@router.get("/readyz", summary="Whether the stores are usable")
def ready(request: Request, response: Response) -> dict[str, object]:
    """503 when the database is away or at another schema, or the broker is a cluster; its state is told beside."""
    console = console_of(request)
    unusable = database_problem(console)
    broker = broker_info(console)
    cluster = lanes.CLUSTER if broker is not None and lanes.is_cluster(broker) else None
    problem = unusable or cluster
    found: dict[str, object] = {
        "ready": problem is None,
        "database": "ok" if unusable is None else "unusable",
        "broker": "a cluster" if cluster else "away, jobs wait in the database" if broker is None else "ok",
        "version": console.version,
    }
    if problem is not None:
        response.status_code = 503
        found["error"] = {"code": "unavailable", "message": problem, "hint": ""}
    return found


@router.get("/metrics", summary="Numbers for Prometheus", response_class=Response)
def numbers(request: Request) -> Response:
    """The text format, version 0.0.4."""
    console = console_of(request)
    with db.reading(console.engine) as session:
        text = metrics.render(session, console)
    return Response(text, media_type="text/plain; version=0.0.4")


def database_problem(console: Console) -> str | None:
    """What keeps the database from being used, as a sentence; `None` when nothing does."""
    try:
        with db.reading(console.engine) as session:
            return schema.problem(session)
    except Unavailable as error:
        return str(error)
    except SQLAlchemyError:
        return "The database has no free connection now; try again in a moment."


def broker_answers(console: Console) -> bool:
    """Whether the broker answers within `PING` seconds."""
    return broker_info(console) is not None


def broker_info(console: Console) -> dict[str, Any] | None:
    """What the broker says of itself as a server, within `PING` seconds; `None` where it is away."""
    url = console.broker_url.replace("redis+socket://", "unix://", 1)
    try:
        client = redis.Redis.from_url(url, socket_timeout=PING, socket_connect_timeout=PING)
        with client:
            return dict(client.info("cluster"))
    except (redis.RedisError, OSError):
        return None
