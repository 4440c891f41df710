"""Follows the log of a job: server-sent events, from the store, and live from the runner where Redis answers.

Promises that `end` comes after the last line, that a stream taken up at an event's id misses and doubles
nothing, and that no number of followers takes the threads that answer requests. A stream ends without `end`
after `LONGEST`, when the client's token, session or role does not allow it any more, when the console stops, and when
the database or the log cannot be read: the client asks again, and is told before a new stream begins.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

import anyio
from anyio import to_thread

import runner.errors
import vault.errors
from console.deps import Console
from console.live import Feed
from runner import history, jobs, logs
from runner.errors import NotFound
from runner.history import Progress
from runner.live import News
from runner.logs import Ask, Line, Page
from vault import db

#: Seconds between two looks at the row and the store: without Redis, and with it, where most is told.
PAUSE, LIVE_PAUSE = 0.2, 1.0

#: Seconds of silence after which a comment shows that the stream lives; clients give up after 30.
HEARTBEAT = 10.0

#: Seconds after which it is looked whether the client's token or session still holds, and its role still covers this.
ASKED_EVERY = 3.0

#: Seconds after which a client has to ask again.
LONGEST = 300.0

#: Lines of one look; a long log is sent in pieces without a pause.
LINES = 1000


T = TypeVar("T")


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


def note(log: LogOf, seen: Look) -> str | None:
    """Why the store has nothing of a log that there was or is, as a sentence; `None` where that is as it should be.

    Raises:
        Unavailable: when the store cannot be read.
    """
    with logs.opened(log.console.store, log.job_id, seen.attempt) as stored:
        if stored.end()[0]:
            return None
    with db.reading(log.console.engine) as session:
        known = history.stored(session, log.job_id, attempt=seen.attempt)
    if known.pruned_at is not None:
        return f"This log was pruned at {known.pruned_at:%Y-%m-%d %H:%M:%S} UTC by the rule: {known.pruned_by}."
    ours = log.console.store.shown
    elsewhere = known.store is not None and known.store != ours
    # The same folder on two hosts may be one that they share, in which there is nothing yet.
    apart = known.store is not None and urlsplit(known.store).path != urlsplit(ours).path
    if known.log_bytes == 0 or (known.log_bytes is None and not apart):
        return None
    where = f"{known.store}, the store of runner {known.runner}" if elsewhere else ours
    advice = "Give runners, console and scheduler one store: BOTKEEP_LOG_URL=s3://BUCKET/PREFIX, or a shared folder."
    if not elsewhere:
        return f"The log should be in {where}, and is not; somebody else has removed it."
    live = "" if seen.ended else " What the bot prints from now on is shown while you follow."
    return f"The log lies in {where}, which is not that of this console ({ours}).{live} {advice}"


def line_item(line: Line) -> dict[str, Any]:
    """A line as clients see it, numbered from 1."""
    return {
        "number": line.number + 1,
        "at": line.at.isoformat(),
        "stream": line.stream,
        "text": line.text,
        "next": line.next,
        "continued": line.continued,
    }


async def events(
    log: LogOf, *, after: int, still: Callable[[], bool], item: Callable[[Line], dict[str, Any]] = line_item
) -> AsyncIterator[bytes]:
    """The lines from position `after` on, each as `item` writes it, as events, then `end`.

    `still` says whether the client may go on; it is asked every `ASKED_EVERY`.
    """
    with log.console.live.following(log.job_id) as feed:
        await _in_thread(log, partial(log.console.live.ask, log.job_id))
        async for event in _events(log, feed, _Leave(log, still), after=after, item=item):
            yield event


class _Leave:
    """Whether the client may go on, asked from time to time."""

    def __init__(self, log: LogOf, still: Callable[[], bool]) -> None:
        self._log, self._still = log, still
        self._asked = time.monotonic()

    async def holds(self) -> bool:
        """False once it does not, or cannot be asked for."""
        if time.monotonic() - self._asked < ASKED_EVERY:
            return True
        self._asked = time.monotonic()
        try:
            return await _in_thread(self._log, self._still)
        except vault.errors.Unavailable:
            return False


async def _events(
    log: LogOf, feed: Feed, leave: _Leave, *, after: int, item: Callable[[Line], dict[str, Any]]
) -> AsyncIterator[bytes]:
    position, attempt, noted = after, log.attempt, False
    opened = spoke = time.monotonic()
    while not log.console.stopping.is_set() and time.monotonic() - opened < LONGEST and await leave.holds():
        try:
            seen, page = await _in_thread(log, partial(_step, log, attempt, position))
            why = None
            if not noted and seen.attempt:
                noted, why = True, None if page.lines else await _in_thread(log, partial(note, log, seen))
        except (runner.errors.Unavailable, vault.errors.Unavailable):
            return
        attempt = seen.attempt or None
        if why is not None:
            yield _event("note", {"text": why}, at=position)
        for line in page.lines:
            yield _event("line", item(line), at=line.next)
        nothing_new = page.next == position
        position = page.next
        until = time.monotonic() + (0.0 if not nothing_new or seen.ended else LIVE_PAUSE if feed.live else PAUSE)
        async for line in _told(feed, attempt or 0, position, until=until):
            spoke, position, nothing_new = time.monotonic(), line.next, False
            yield _event("line", item(line), at=line.next)
        if seen.ended and nothing_new:
            yield _event("end", _end(seen.progress), at=position)
            return
        if page.lines:
            spoke = time.monotonic()
        elif time.monotonic() - spoke > HEARTBEAT:
            spoke = time.monotonic()
            yield b": the job goes on\n\n"


async def _told(feed: Feed, attempt: int, position: int, *, until: float) -> AsyncIterator[Line]:
    """Lines that follow `position`, as they are told, until then; less long where the row or the store knows more."""
    while True:
        news = feed.at_once() or await feed.next(max(0.0, until - time.monotonic()))
        if news is None or (news.ended and not news.runs and news.attempt == attempt):
            return
        if news.attempt > attempt:
            feed.back(news)  # an attempt that the row does not know yet, or that is not followed
            await anyio.sleep(max(0.0, min(PAUSE, until - time.monotonic())))
            return
        if news.attempt < attempt:
            continue
        lines = list(_following(news, position))
        if not lines and news.runs and news.runs[0].position > position:
            feed.back(news)  # the store has, or will have, what lies between
            await anyio.sleep(max(0.0, min(PAUSE, until - time.monotonic())))
            return
        for line in lines:
            position = line.next
            yield line
        if news.ended:
            return


def _following(news: News, position: int) -> Iterator[Line]:
    for run in news.runs:
        if run.position > position:
            return
        for start, line in logs.lines_of(run):
            if start >= position:
                position = line.next
                yield line


async def _in_thread(log: LogOf, step: Callable[[], T]) -> T:
    return await to_thread.run_sync(step, limiter=log.console.followers, abandon_on_cancel=True)


def _step(log: LogOf, attempt: int | None, position: int) -> tuple[Look, Page]:
    # The row before the store: an attempt that has ended by then has written all it will.
    seen = look(LogOf(log.console, log.workspace_id, log.job_id, attempt))
    with logs.opened(log.console.store, log.job_id, seen.attempt) as stored:
        return seen, stored.page(Ask(after=position, limit=LINES))


def _end(progress: Progress) -> dict[str, object]:
    return {"state": progress.state, "reason": progress.reason, "exit_code": progress.exit_code}


def _event(name: str, data: dict[str, object], *, at: int) -> bytes:
    # JSON escapes line breaks, so that one event is one `data` line (WHATWG HTML, section 9.2).
    return f"event: {name}\nid: {at}\ndata: {json.dumps(data)}\n\n".encode()
