"""The log of a job over HTTP: a page of it, its text, or a stream that ends with the job.

What is read here was masked before it was written. A position is a byte's place in all that one attempt printed, the
latest unless the client names another; lines are numbered from 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from console import stream
from console.api.jobs import parse_id
from console.deps import Allowed
from console.stream import LogOf
from console.text import Text
from runner import logs
from runner.logs import Ask, Log

router = APIRouter(prefix="/api/v1/jobs", tags=["jobs"])

#: Beyond the end of any log, and still where every file system lets a reader look.
FARTHEST = 2**40

FromPosition = Annotated[int | None, Query(ge=0, le=FARTHEST, description="Position to read on from.")]
ToPosition = Annotated[int | None, Query(ge=0, le=FARTHEST, description="Position to read up to.")]
OfAttempt = Annotated[int | None, Query(ge=1, le=2**31 - 1, description="By default the latest.")]
OfStream = Annotated[Literal["stdout", "stderr", "system"] | None, Query(description="Only this stream.")]
LineNumber = Annotated[int | None, Query(ge=1, le=FARTHEST)]
LastEventId = Annotated[int | None, Header(ge=0, le=FARTHEST, description="Where a broken stream ended.")]


class LogLine(BaseModel):
    """One line; `stream` is `stdout`, `stderr` or `system`; `next` is the position after it."""

    number: int
    at: datetime
    stream: str
    text: str
    next: int
    continued: bool = Field(description="It does not end here: the next line of its stream, if any, goes on with it.")


class LogPage(BaseModel):
    """Some lines; go on from `next`. `complete`: the attempt has ended and nothing that is asked for comes later."""

    items: list[LogLine]
    next: int
    complete: bool
    note: str | None = Field(description="Why there is no log, where there was one: pruned, or stored elsewhere.")


@dataclass(frozen=True, slots=True)
class Extent:
    """Which part of a log is wanted, by positions, by lines, or by its end."""

    after: int | None
    until: int | None
    from_line: int | None
    to_line: int | None
    tail: int | None

    def start(self, log: Log) -> int:
        """The position where it begins."""
        if self.after is not None:
            return self.after
        if self.tail is not None:
            return log.position_of(max(0, log.end()[1] - self.tail))
        return 0 if self.from_line is None else log.position_of(self.from_line - 1)

    def end(self, log: Log) -> int | None:
        """The position where it ends, if it does."""
        if self.to_line is None:
            return self.until
        last = log.position_of(self.to_line)
        return last if self.until is None else min(last, self.until)


def extent(
    after: FromPosition = None,
    until: ToPosition = None,
    from_line: LineNumber = None,
    to_line: LineNumber = None,
    tail: Annotated[int | None, Query(ge=1, le=FARTHEST, description="Begin so many lines before the end.")] = None,
) -> Extent:
    """What a query says."""
    return Extent(after, until, from_line, to_line, tail)


@router.get("/{job_id}/log", summary="Read a job's log")
def page(
    call: Allowed,
    job_id: str,
    wanted: Annotated[Extent, Depends(extent)],
    *,
    search: Annotated[Text | None, Query(max_length=1000, description="Lines that hold it, in any case.")] = None,
    of: Annotated[OfStream, Query(alias="stream")] = None,
    limit: Annotated[int, Query(ge=1, le=5000)] = 1000,
    attempt: OfAttempt = None,
) -> LogPage:
    """The masked log: from a position, a line or near its end on; a search goes on from `next` while not `complete`."""
    log = LogOf(call.console, call.workspace_id, parse_id(job_id), attempt)
    seen = stream.look(log)  # before the store: what has ended by now has written all it will
    with logs.opened(call.console.store, log.job_id, seen.attempt) as stored:
        ask = Ask(wanted.start(stored), wanted.end(stored), stream=of, search=search, limit=limit)
        found = stored.page(ask)
        more = stored.page(replace(ask, after=found.next, limit=1)).next != found.next
    why = None if found.lines or not seen.attempt else stream.note(log, seen)
    items = [LogLine(**stream.line_item(line)) for line in found.lines]
    return LogPage(items=items, next=found.next, complete=seen.ended and not more, note=why)


@router.get(
    "/{job_id}/log/text",
    summary="Download a job's log",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/plain": {}}, "description": "What the bot printed, masked."}},
)
def text(
    call: Allowed,
    job_id: str,
    after: FromPosition = None,
    *,
    until: ToPosition = None,
    of: Annotated[OfStream, Query(alias="stream")] = None,
    attempt: OfAttempt = None,
) -> StreamingResponse:
    """The text of the log, from one position to another, byte for byte but for the masking."""
    log = LogOf(call.console, call.workspace_id, parse_id(job_id), attempt)
    seen = stream.look(log)
    with logs.opened(call.console.store, log.job_id, seen.attempt) as stored:
        stored.end()  # once a download has begun it has no status to say what is wrong

    def content() -> Iterator[bytes]:
        with logs.opened(call.console.store, log.job_id, seen.attempt) as stored:
            yield from stored.text(after or 0, until, stream=of)

    headers = {
        "Content-Disposition": f'attachment; filename="job-{log.job_id}-{seen.attempt}.log"',
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingResponse(content(), media_type="text/plain; charset=utf-8", headers=headers)


@router.get(
    "/{job_id}/log/stream",
    summary="Follow a job's log",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}, "description": "Events `line` and `note`, then `end`."}},
)
def follow(
    call: Allowed,
    job_id: str,
    after: FromPosition = None,
    *,
    tail: Annotated[int | None, Query(ge=0, le=FARTHEST, description="Begin so many lines before the end.")] = None,
    attempt: OfAttempt = None,
    last_event_id: LastEventId = None,
) -> StreamingResponse:
    """Server-sent events: `line` with a line and its position as id, `end` with the job's state.

    `note` says why the store has no log where there was one.
    """
    log = LogOf(call.console, call.workspace_id, parse_id(job_id), attempt)
    start = after if after is not None else last_event_id
    # Once a stream has begun it has no status to say what is wrong.
    with logs.opened(call.console.store, log.job_id, stream.look(log).attempt) as stored:
        if start is None:
            start = 0 if tail is None else stored.position_of(max(0, stored.end()[1] - tail))
        else:
            stored.end()
    # Reverse proxies collect an answer unless they are told not to.
    headers = {"X-Accel-Buffering": "no"}
    return StreamingResponse(
        stream.events(log, after=start, still=call.still), media_type="text/event-stream", headers=headers
    )
