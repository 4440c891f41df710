"""History: every job that ran, runs or waits, narrowed by what its address says."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.responses import HTMLResponse, Response

from console.deps import Allowed, Call
from console.pages import shell
from console.text import Text
from runner import bots, history, runners
from runner.errors import Invalid
from runner.history import Entry, Found
from runner.jobs import made_at
from runner.narrowing import LOOKED_AT, PAUSED, Filter
from runner.states import State
from vault.names import ENVIRONMENTS, shown

router = APIRouter()

#: Jobs of one page.
SHOWN = 50

#: What starts jobs, as people call it.
CAUSES = {
    "api": "a person or a program",
    "trigger": "a trigger",
    "queue": "a queue",
    "workflow": "a workflow",
    "source": "rows of a data source",
    "retry": "a retry",
}

STATES = (*State, PAUSED)

_AGO = re.compile(r"([1-9][0-9]{0,4})(min|h|d)", re.ASCII)
_UNITS = {"min": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


@dataclass(frozen=True, slots=True)
class Asked:
    """The filters as the address has them, words that make no sense included."""

    bot: str
    environment: str
    state: str
    cause: str
    runner: str
    since: str
    until: str
    text: str

    @property
    def given(self) -> dict[str, str]:
        """Those that are not empty."""
        every = {name: getattr(self, name) for name in self.__slots__}
        return {name: word for name, word in every.items() if word}


Word = Annotated[Text, Query(max_length=200)]


def asked(
    *,
    bot: Word = "",
    environment: Word = "",
    state: Word = "",
    cause: Word = "",
    runner: Word = "",
    since: Word = "",
    until: Word = "",
    text: Word = "",
) -> Asked:
    """The filters of an address; white space around a word means nothing."""
    words = (bot, environment, state, cause, runner, since, until, text)
    return Asked(*(word.strip() for word in words))


Filters = Annotated[Asked, Depends(asked)]
AfterJob = Annotated[uuid.UUID | None, Query()]


@router.get("/history")
def listed(call: Allowed, filters: Filters, after: AfterJob = None) -> HTMLResponse:
    """The whole page; a filter that makes no sense is shown with the reason, and nothing is listed."""
    narrow, errors = _narrowed(filters, now=call.now)
    with call.reading() as session:
        names = sorted({bot.name for bot, _version in bots.listing(session, workspace_id=call.workspace_id)})
        hosts = [seen.row.name for seen in runners.listing(session)]
    found = Found([], None) if errors else _found(call, narrow, after)
    return shell.page(
        call,
        "history/page.html",
        status=422 if errors else 200,
        errors=errors,
        bots=names,
        runners=hosts,
        states=STATES,
        causes=CAUSES,
        **_rows(filters, found, after),
    )


@router.get("/history/rows")
def rows(call: Allowed, filters: Filters, seen: Word = "") -> Response:
    """The newest page's rows again; nothing (204) where they are as they were `seen`."""
    narrow, errors = _narrowed(filters, now=call.now)
    if errors:
        return Response(status_code=204)
    found = _found(call, narrow, None)
    if digest(found.entries) == seen:
        return Response(status_code=204)
    return shell.fragment(call, "history/rows.html", **_rows(filters, found, None))


def digest(entries: Sequence[Entry]) -> str:
    """What changes when rows change."""
    jobs = (entry.job for entry in entries)
    facts = [
        (job.id, job.state, job.attempt, job.cancel_requested_at, job.pause_requested_at, job.paused_at) for job in jobs
    ]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def moment(word: str, *, now: datetime) -> datetime | None:
    """An instant as people write it: `2h` ago, or a date with or without a time, in UTC unless it says otherwise.

    Raises:
        Invalid: for anything else.
    """
    if not word:
        return None
    if match := _AGO.fullmatch(word):
        return now - int(match[1]) * _UNITS[match[2]]
    try:
        found = datetime.fromisoformat(word)
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise Invalid(f"Write 2h, 7d, or a time such as 2026-11-26T09:30; {shown(word)} is none.") from None


def _narrowed(filters: Asked, *, now: datetime) -> tuple[Filter, dict[str, str]]:
    """What is asked of the database, and what cannot be asked, by its field."""
    errors: dict[str, str] = {}
    times: dict[str, Any] = {}
    for name in ("since", "until"):
        try:
            times[name] = moment(getattr(filters, name), now=now)
        except Invalid as error:
            errors[name] = str(error)
    for name, known in (("environment", ENVIRONMENTS), ("state", STATES)):
        word = getattr(filters, name)
        if word and word not in known:
            errors[name] = f"There is no {name} {shown(word)}."
    given: Mapping[str, Any] = {name: word for name, word in filters.given.items() if name not in {"since", "until"}}
    return (Filter() if errors else Filter(**given, **times)), errors


def _found(call: Call, narrow: Filter, after: uuid.UUID | None) -> Found:
    with call.reading() as session:
        return history.page(session, narrow, workspace_id=call.workspace_id, limit=SHOWN, after=after)


def _rows(filters: Asked, found: Found, after: uuid.UUID | None) -> dict[str, Any]:
    more = shell.with_query("/history", **filters.given, after=found.next) if found.next else ""
    return {
        "filters": filters,
        "entries": found.entries,
        "next": more,
        "first": shell.with_query("/history", **filters.given) if after else "",
        # Fewer than a page, and there is more: so far was looked.
        "looked_back_to": made_at(found.next) if found.next and len(found.entries) < SHOWN else None,
        "looked_at": LOOKED_AT,
        "again": "" if after else shell.with_query("/history/rows", **filters.given, seen=digest(found.entries)),
    }
