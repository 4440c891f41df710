"""The log of a job over HTTP: a page of it, or a stream that ends with the job.

What is read here was masked before it was written. A position is a byte offset in the log of one attempt, the
latest unless the client names another.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from console import stream
from console.api.jobs import parse_id
from console.deps import Allowed
from console.stream import LogOf
from runner import output

router = APIRouter(prefix="/api/v1/jobs", tags=["jobs"])

#: Beyond the end of any log, and still where every file system lets a reader look.
FARTHEST = 2**40

FromPosition = Annotated[int | None, Query(ge=0, le=FARTHEST, description="Position to read on from.")]
OfAttempt = Annotated[int | None, Query(ge=1, le=2**31 - 1, description="By default the latest.")]
LastEventId = Annotated[int | None, Header(ge=0, le=FARTHEST, description="Where a broken stream ended.")]


class LogLine(BaseModel):
    """One line; `stream` is `stdout`, `stderr` or `system`; `next` is the position after it."""

    at: datetime
    stream: str
    text: str
    next: int


class LogPage(BaseModel):
    """Some lines; go on from `next`. `complete`: the attempt has ended and nothing comes after `next`."""

    items: list[LogLine]
    next: int
    complete: bool


@router.get("/{job_id}/log", summary="Read a job's log")
def page(
    call: Allowed,
    job_id: str,
    after: FromPosition = None,
    *,
    limit: Annotated[int, Query(ge=1, le=5000)] = 1000,
    attempt: OfAttempt = None,
) -> LogPage:
    """The masked log, from a position on."""
    log = LogOf(call.console, call.workspace_id, parse_id(job_id), attempt)
    seen = stream.look(log)  # before the file: what has ended by now has written all it will
    start, logs = after or 0, call.console.logs
    found = output.read_page(logs, log.job_id, seen.attempt, after=start, limit=limit)
    rest = output.read_page(logs, log.job_id, seen.attempt, after=found.next, limit=1)
    lines = [LogLine(at=line.at, stream=line.stream, text=line.text, next=line.next) for line in found.lines]
    return LogPage(items=lines, next=found.next, complete=seen.ended and rest.next == found.next)


@router.get(
    "/{job_id}/log/stream",
    summary="Follow a job's log",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}, "description": "Events `line`, then `end`."}},
)
def follow(
    call: Allowed,
    job_id: str,
    after: FromPosition = None,
    *,
    attempt: OfAttempt = None,
    last_event_id: LastEventId = None,
) -> StreamingResponse:
    """Server-sent events: `line` with a line and its position as id, `end` with the job's state."""
    log = LogOf(call.console, call.workspace_id, parse_id(job_id), attempt)
    start = after if after is not None else last_event_id or 0
    # Once a stream has begun it has no status to say what is wrong.
    output.read_page(call.console.logs, log.job_id, stream.look(log).attempt, after=start, limit=1)
    # Reverse proxies collect an answer unless they are told not to.
    headers = {"X-Accel-Buffering": "no"}
    return StreamingResponse(stream.events(log, after=start), media_type="text/event-stream", headers=headers)
