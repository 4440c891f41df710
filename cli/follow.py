"""Waits for a job and shows its log: live or so far, masked before it ever reached the server's disk.

A stream that breaks is taken up where it ended; the job itself never depends on who is watching.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

from cli.client import Client, Event, Item, Query, path_of
from cli.errors import Unreachable
from cli.printing import Printer
from cli.render import badge, duration, parse_time, plain, word
from cli.screen import Screen

#: States that no transition leaves.
FINAL = frozenset({"succeeded", "failed", "cancelled"})

#: Seconds between two looks at a job: quick while it is young, then sparing.
FIRST_LOOK, LAST_LOOK = 0.1, 2.0

#: Seconds for which a server may be away before following gives up.
PATIENCE = 60.0

#: Seconds between two looks at a queued job whose log is wanted, at most.
QUEUED_LOOK = 0.5

#: Seconds that a job may be queued before somebody who waits for it is told why; most start within a tenth of it.
UNTOLD = 1.0


class Patience:
    """Tells on stderr what a queued job waits for: once it has waited for a moment, and when that changes."""

    def __init__(self, to: Screen) -> None:
        self._to, self._since, self._told = to, time.monotonic(), ""

    def look(self, job: Item) -> None:
        """Say what is new about it."""
        sentence = waits_for(job)
        code = str(job["waiting_for"].get("code")) if sentence else ""
        if sentence and code != self._told and time.monotonic() - self._since >= UNTOLD:
            self._to.remark(f"Waiting: {sentence}")
            self._told = code


def wait(client: Client, job_id: str, to: Screen) -> Item:
    """The job, once it is in a final state.

    Raises:
        Unreachable: what has kept the server from answering for longer than `PATIENCE`.
    """
    pause, away_since, patience = FIRST_LOOK, None, Patience(to)
    while True:
        try:
            job = client.ask("GET", path_of("jobs", job_id))
            away_since = None
            patience.look(job)
        except Unreachable as error:
            away_since = _still_away(error, since=away_since, now=time.monotonic())
        else:
            if job.get("state") in FINAL:
                return job
        time.sleep(pause)
        pause = min(pause * 1.5, LAST_LOOK)


def follow(client: Client, job_id: str, to: Screen, *, tail: int | None = None, timestamps: bool = False) -> Item:
    """Show the log live until the job is in a final state; answers the job.

    Begins with the log of the latest attempt, or `tail` lines before its end; a position counts within its attempt, so
    the next one begins anew.

    Raises:
        Unreachable: what has kept the server from answering for longer than `PATIENCE`.
    """
    attempt, after, pause, away_since, patience = 0, "", FIRST_LOOK, None, Patience(to)
    printer, noted = Printer(to, timestamps=timestamps), ""
    while True:
        try:
            job = client.ask("GET", path_of("jobs", job_id))
            patience.look(job)
            if job.get("state") == "queued":  # there is no log to follow, and the stream would not say why
                away_since, pause = None, min(pause, QUEUED_LOOK)
                time.sleep(pause)
                pause *= 1.5
                continue
            attempt = attempt or int(job.get("attempt") or 0)
            ended = False
            for event in _events(client, job_id, attempt, after=after, tail=tail):
                ended = event.name == "end"
                if event.name == "line":
                    printer.show(_parsed(event.data))
                    to.out.flush()
                    after, pause = event.id or after, FIRST_LOOK
                elif event.name == "note" and noted != event.data:
                    noted = event.data
                    to.remark(plain(str(_parsed(noted).get("text"))))
            printer.finish()
            away_since = None
            if ended:
                job = client.ask("GET", path_of("jobs", job_id))
                attempt = attempt or 1
                if job.get("state") in FINAL and attempt >= int(job.get("attempt") or 0):
                    return job
                attempt, after, tail, pause = attempt + 1, "", None, FIRST_LOOK
                continue
        except Unreachable as error:
            away_since = _still_away(error, since=away_since, now=time.monotonic())
        time.sleep(pause)
        pause = min(pause * 1.5, LAST_LOOK)


def ending(job: Item, *, colour: bool) -> str:
    """State and reason of a job that ended, in one line."""
    state, environment = str(job.get("state")), str(job.get("environment"))
    parts = [f"Job {job.get('id')} {word(state, colour=colour)} {badge(environment, colour=colour)}"]
    begun, ended = parse_time(job.get("started_at")), parse_time(job.get("finished_at"))
    if begun and ended:
        parts.append(f" in {duration(max(0.0, (ended - begun).total_seconds()))}")
    if reason := why(job):
        parts.append(f", {reason}")
    return "".join(parts)


def why(job: Item) -> str:
    """The reason of a job and its particulars, as far as there are any."""
    reason, code, detail = job.get("reason"), job.get("exit_code"), job.get("detail")
    particulars = " ".join(str(detail).split()) if detail else f"exit status {code}" if code else ""
    return plain(": ".join(part for part in (str(reason or ""), particulars) if part))


def waits_for(job: Item) -> str:
    """What a queued job waits for, as a sentence; empty when it does not."""
    found = job.get("waiting_for")
    return plain(str(found.get("sentence") or "")) if isinstance(found, dict) else ""


def _events(client: Client, job_id: str, attempt: int, *, after: str, tail: int | None) -> Iterator[Event]:
    query: Query = {"attempt": attempt or None, "after": after or None, "tail": None if after else tail}
    for event in client.events(path_of("jobs", job_id, "log", "stream"), query=query):
        yield event
        if event.name == "end":
            return


def _parsed(data: str) -> Item:
    try:
        content = json.loads(data)
    except ValueError:
        return {"stream": "stdout", "text": data}
    return content if isinstance(content, dict) else {"stream": "stdout", "text": data}


def _still_away(error: Unreachable, *, since: float | None, now: float) -> float:
    if since is not None and now - since > PATIENCE:
        hint = f"{error.hint} The job goes on without you; look again with `botkeep job show`.".strip()
        raise Unreachable(error.message, hint=hint, code=error.code)
    return now if since is None else since
