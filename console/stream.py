"""Follows the log of a job: server-sent events, by looking at the file and the job's row five times a second.

Promises that `end` comes after the last line, that a stream taken up at an event's id misses and doubles
nothing, and that no number of followers takes the threads that answer requests. A stream ends without `end`
after `LONGEST`, when the console stops, and when the database or the log cannot be read: the client asks again,
with its token, and is told before a new stream begins.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass

import anyio
from anyio import to_thread

import runner.errors
import vault.errors
from console.deps import Console
from runner import history, jobs, output
from runner.errors import NotFound
from runner.history import Progress
from runner.output import Line, Page
from vault import db

#: Seconds between two looks.
PAUSE = 0.2

#: Seconds of silence after which a comment shows that the stream lives; clients give up after 30.
HEARTBEAT = 10.0

#: Seconds after which a client has to ask again, so that a removed token does not watch for ever.
LONGEST = 300.0

#: Lines of one look; a long log is sent in pieces without a pause.
LINES = 1000


@dataclass(frozen=True, slots=True)
class LogOf:
    """Whose log is followed; no `attempt` means the latest there is at the first look."""

    console: Console
    workspace_id: uuid.UUID
    job_id: uuid.UUID
    attempt: int | None


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at the job's row showed; `ended`: the attempt will not write any more."""

    attempt: int
    ended: bool
    progress: Progress


def look(log: LogOf) -> Look:
    """Look at the job's row.

    Raises:
        NotFound: when there is no such job, or it never had that attempt.
    """
    with db.reading(log.console.engine) as session:
        progress = history.progress(session, log.job_id, workspace_id=log.workspace_id)
    if log.attempt is not None and log.attempt > progress.attempt:
        raise NotFound(f"Job {log.job_id} has no attempt {log.attempt}; its latest is {progress.attempt}.")
    attempt = log.attempt or progress.attempt
    return Look(attempt, jobs.is_final(progress.state) or attempt < progress.attempt, progress)


async def events(log: LogOf, *, after: int) -> AsyncIterator[bytes]:
    """The lines from position `after` on, as events, then `end`."""
    position, attempt = after, log.attempt
    opened = spoke = time.monotonic()
    while not log.console.stopping.is_set() and time.monotonic() - opened < LONGEST:
        try:
            seen, page = await to_thread.run_sync(
                _step, log, attempt, position, limiter=log.console.followers, abandon_on_cancel=True
            )
        except (runner.errors.Unavailable, vault.errors.Unavailable):
            return
        attempt = seen.attempt or None
        for line in page.lines:
            yield _event("line", _line(line), at=line.next)
        if seen.ended and page.next == position:
            yield _event("end", _end(seen.progress), at=position)
            return
        if page.lines:
            spoke = time.monotonic()
        elif time.monotonic() - spoke > HEARTBEAT:
            spoke = time.monotonic()
            yield b": the job goes on\n\n"
        if page.next == position:
            await anyio.sleep(PAUSE)
        position = page.next


def _step(log: LogOf, attempt: int | None, position: int) -> tuple[Look, Page]:
    # The row before the file: an attempt that has ended by then has written all it will.
    seen = look(LogOf(log.console, log.workspace_id, log.job_id, attempt))
    page = output.read_page(log.console.logs, log.job_id, seen.attempt, after=position, limit=LINES)
    return seen, page


def _line(line: Line) -> dict[str, object]:
    return {"at": line.at.isoformat(), "stream": line.stream, "text": line.text, "next": line.next}


def _end(progress: Progress) -> dict[str, object]:
    return {"state": progress.state, "reason": progress.reason, "exit_code": progress.exit_code}


def _event(name: str, data: dict[str, object], *, at: int) -> bytes:
    # JSON escapes line breaks, so that one event is one `data` line (WHATWG HTML, section 9.2).
    return f"event: {name}\nid: {at}\ndata: {json.dumps(data)}\n\n".encode()
