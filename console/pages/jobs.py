"""A job: what was asked for, what became of it, its log as it is printed, what it left, and what can be done."""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.responses import HTMLResponse, Response, StreamingResponse

from console import stream
from console.api import jobs as api
from console.api import outputs
from console.api.jobs import parse_id
from console.api.logs import FARTHEST, FromPosition, LastEventId, OfAttempt
from console.deps import Allowed, Call
from console.health import broker_answers
from console.pages import log_view, shell, timeline
from console.pages.log_view import Painter, Wanted
from console.pages.timeline import Part
from console.permissions import Role
from console.stream import LogOf
from console.text import Text
from runner import artefacts, history, logs, progress, results, waiting
from runner.history import Detail
from runner.jobs import is_final
from runner.models import Artefact, Attempt
from runner.states import Reason, State

router = APIRouter()

#: Files that the page lists; the command line lists all.
MOST_FILES = 100

OfLine = Annotated[int | None, Query(ge=1, le=FARTHEST, alias="from")]
ForText = Annotated[Text, Query(max_length=1000)]


@dataclass(frozen=True, slots=True)
class Ran:
    """An attempt with the parts of its line, and what it left."""

    attempt: Attempt
    parts: list[Part]
    outputs: list[Artefact]


def wanted(
    *, attempt: OfAttempt = None, line: OfLine = None, search: ForText = "", after: FromPosition = None
) -> Wanted:
    """The part of a log that an address names: the end of the newest attempt's where it names none."""
    return Wanted(attempt, line, search.strip(), after or 0)


PartOfLog = Annotated[Wanted, Depends(wanted)]


@router.get("/jobs/{job_id}")
def show(call: Allowed, job_id: str, part: PartOfLog) -> HTMLResponse:
    """The whole page, with the end of the newest attempt's log, or another part of it."""
    log = _log(call, job_id, part)
    return shell.page(call, "jobs/page.html", **{**_facts(call, job_id), **log})


@router.get("/jobs/{job_id}/status")
def status(call: Allowed, job_id: str, seen: Annotated[str, Query(max_length=64)] = "") -> Response:
    """What changes while a job runs, but for its log; nothing (204) where it is as it was `seen`."""
    facts = _facts(call, job_id)
    if facts["digest"] == seen:
        return Response(status_code=204)
    return shell.fragment(call, "jobs/status.html", swapped=True, **facts)


@router.get("/jobs/{job_id}/log")
def log(call: Allowed, job_id: str, part: PartOfLog) -> HTMLResponse:
    """A part of the log alone."""
    return shell.fragment(call, "jobs/log.html", **_log(call, job_id, part))


@router.get("/jobs/{job_id}/log/events")
def events(
    call: Allowed,
    job_id: str,
    after: FromPosition = None,
    *,
    attempt: OfAttempt = None,
    last_event_id: LastEventId = None,
) -> StreamingResponse:
    """The log as it is printed: server-sent events, as those of the API, with lines in pieces."""
    log = _log_of(call, job_id, attempt)
    # Once a stream has begun it has no status to say what is wrong.
    with logs.opened(call.console.store, log.job_id, stream.look(log).attempt) as stored:
        stored.end()
    start = last_event_id if last_event_id is not None else after or 0
    headers = {"X-Accel-Buffering": "no"}
    told = stream.events(log, after=start, still=call.still, item=Painter().item)
    return StreamingResponse(told, media_type="text/event-stream", headers=headers)


@router.get("/jobs/{job_id}/outputs/{attempt}/{number}")
def output(call: Allowed, job_id: str, attempt: int, number: int) -> StreamingResponse:
    """A file that an attempt left, by its number: its name may be anything."""
    return outputs.attachment(call, parse_id(job_id), attempt=attempt, number=number)


@router.post("/jobs/{job_id}/cancellation")
def cancel(call: Allowed, job_id: str) -> Response:
    """Cancel it."""
    job = api.cancel(call, job_id)
    ended = job.state == State.CANCELLED
    return _back(call, job_id, "The job is cancelled." if ended else "The runner was asked to stop the bot.")


@router.post("/jobs/{job_id}/pause")
def pause(call: Allowed, job_id: str) -> Response:
    """Let it stand still."""
    job = api.pause(call, job_id)
    waits = job.state == State.QUEUED
    return _back(call, job_id, "The job is paused." if waits else "The bot was asked to stand still.")


@router.post("/jobs/{job_id}/resumption")
def resume(call: Allowed, job_id: str) -> Response:
    """Let it go on."""
    api.resume(call, job_id)
    return _back(call, job_id, "The job goes on.")


@router.post("/jobs/{job_id}/retry")
def retry(call: Allowed, job_id: str) -> Response:
    """Run it again, as a new job."""
    made = api.retry(call, job_id)
    return _back(call, str(made.id), "This is the new job; the old one stays in history.")


def _back(call: Call, job_id: str, notice: str) -> Response:
    return shell.redirect(call, shell.address("jobs", job_id), notice=notice)


def _log_of(call: Call, job_id: str, attempt: int | None) -> LogOf:
    return LogOf(call.console, call.workspace_id, parse_id(job_id), attempt)


def _log(call: Call, job_id: str, part: Wanted) -> dict[str, Any]:
    """What the part of a page needs that shows the log."""
    view = log_view.view(call, _log_of(call, job_id, part.attempt), part)
    base = shell.address("jobs", job_id)
    query = {"attempt": view.attempt} if view.attempt != view.latest else {}
    return {
        "log": view,
        "job_id": job_id,
        "part_of": base + "/log",
        "whole": shell.with_query(base, **query),
        "to": lambda path, **more: shell.with_query(path, **query, **more),
        "base": base,
        "text_address": shell.with_query(f"/api/v1{base}/log/text", attempt=view.attempt or None),
    }


def _facts(call: Call, job_id: str) -> dict[str, Any]:
    """Everything but the log, read at one instant."""
    key: uuid.UUID = parse_id(job_id)
    with call.reading() as session:
        found = history.detail(session, key, workspace_id=call.workspace_id)
        situation = waiting.situation(session, found.entry.job)
        given = results.of_jobs(session, [key])[key]
        left = {each.number: list(artefacts.of_attempt(session, key, attempt=each.number)) for each in found.attempts}
    wait = None if situation is None else waiting.why(situation, broker=lambda: broker_answers(call.console))
    job = found.entry.job
    return {
        "entry": found.entry,
        "job": job,
        "job_id": job_id,
        "base": shell.address("jobs", job_id),
        "final": is_final(job.state),
        "sentence": _sentence(found),
        "wait": None if wait is None else wait.sentence,
        "attempts": [_ran(call, found, each, left[each.number]) for each in reversed(found.attempts)],
        "readings": found.readings,
        "results": {name: _written(value) for name, value in given.items()},
        "parameters": {name: _written(value) for name, value in job.parameters.items()},
        "most_files": MOST_FILES,
        "progress": progress.of(job),
        "digest": _digest(found, None if wait is None else wait.sentence),
        "touches": call.caller.may(Role.OPERATOR, job.environment),
    }


def _ran(call: Call, found: Detail, attempt: Attempt, left: list[Artefact]) -> Ran:
    asked_at = found.entry.job.created_at if attempt.number == 1 else None
    return Ran(attempt, timeline.parts(attempt, asked_at=asked_at, now=call.now), left)


def _sentence(found: Detail) -> str:
    """Why the job is where it is, where there is a reason."""
    job = found.entry.job
    # What is known of an exit status is in the detail, in the same words.
    if job.reason not in set(Reason) or (job.reason == Reason.EXIT_CODE and job.detail):
        return ""
    return Reason(job.reason).sentence


def _written(value: object) -> str:
    """A parameter or a result as people read it: text as it is, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _digest(found: Detail, wait: str | None) -> str:
    """What changes when the page changes."""
    job = found.entry.job
    facts = (
        (job.state, job.attempt, job.cancel_requested_at, job.pause_requested_at, job.paused_at, wait),
        [(each.number, each.state, each.started_at, each.pruned_at) for each in found.attempts],
        len(found.readings),
        job.warnings,
        progress.of(job),
    )
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
