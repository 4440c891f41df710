"""What a list of jobs is narrowed to, as statements: jobs that one index leads to, and what is asked for besides.

Promises that a statement looks at a bounded number of jobs, whatever is asked for. Ids are UUIDv7, so that a range of
time is a range of ids.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Subquery, Text, and_, cast, or_, select, union_all
from sqlalchemy.orm import Session

from runner import pauses
from runner.jobs import first_id
from runner.models import Bot, Job
from runner.states import State

#: What a list can be narrowed to besides a state: jobs that are paused, queued ones and running ones.
PAUSED = "paused"

#: Jobs that are looked at for one page at most, where no index leads to all that is asked for.
LOOKED_AT = 10_000

#: A column and what it must be.
Term = tuple[str, object]

#: What can lead, the fewest jobs first by experience; an index has each of them, with the ids in their order.
_LEADING = ("id", "bot_id", "runner", "cause_kind", "state", "environment")


@dataclass(frozen=True, slots=True)
class Filter:
    """What a list of jobs is narrowed to; `None` means everything, and the state may be `PAUSED`.

    `cause` is a kind of cause, alone or with its name: `trigger`, `trigger:nightly`. `since` and `until` are when jobs
    were made, the latter not included. `text` is looked for, in any case, in the job's id, its bot's name, the cause,
    the detail, and in the parameters as they are stored.
    """

    bot: str | None = None
    environment: str | None = None
    state: str | None = None
    cause: str | None = None
    runner: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None


@dataclass(slots=True)
class _Asked:
    """What is asked for: of each column one of some values, and a text with the bots that have it in their names."""

    columns: dict[str, Sequence[object]] = field(default_factory=dict)
    paused: bool = False
    text: str | None = None
    named: Sequence[uuid.UUID] = ()


@dataclass(frozen=True, slots=True)
class Narrowed:
    """`jobs` are those that are looked at, newest first; `wanted` is what is asked of them besides, if anything."""

    jobs: Subquery
    wanted: Sequence[ColumnElement[bool]]


def narrowed(
    session: Session, narrow: Filter, *, workspace_id: uuid.UUID, after: uuid.UUID | None, limit: int
) -> Narrowed:
    """The jobs before `after` that are to be looked at for a page of `limit`."""
    asked = _asked(session, narrow, workspace_id=workspace_id)
    first = _first(asked)
    alternatives: list[list[Term]] = [[(first, value)] for value in asked.columns.pop(first, ())] if first else [[]]
    if first == "bot_id" and not asked.paused and "state" in asked.columns:
        (state,) = asked.columns.pop("state")
        alternatives = [[*terms, ("state", state)] for terms in alternatives]
    further = bool(asked.columns or asked.paused or asked.text)
    jobs = _newest(alternatives, workspace_id, _range(narrow, after), limit=LOOKED_AT if further else limit)
    return Narrowed(jobs, _wanted(asked, jobs))


def _asked(session: Session, narrow: Filter, *, workspace_id: uuid.UUID) -> _Asked:
    asked = _Asked(paused=narrow.state == PAUSED)
    columns = asked.columns
    kind, _, name = (narrow.cause or "").partition(":")
    given = {"environment": narrow.environment, "runner": narrow.runner, "cause_kind": kind, "cause_name": name}
    columns.update({column: [value] for column, value in given.items() if value})
    if narrow.bot is not None:
        # Removed bots of the same name count too: history names what ran.
        columns["bot_id"] = _bots(session, Bot.name == narrow.bot, workspace_id=workspace_id)
    if narrow.state is not None:
        columns["state"] = list(pauses.OPEN) if asked.paused else [narrow.state]
    if (exact := _id_in(narrow.text)) is not None:
        columns["id"] = [exact]
    elif narrow.text is not None:
        asked.text = narrow.text
        asked.named = _bots(session, Bot.name.icontains(narrow.text, autoescape=True), workspace_id=workspace_id)
    return asked


def _first(asked: _Asked) -> str | None:
    """The column that leads. Most jobs succeed, so an environment leaves fewer of them than that state."""
    order = [column for column in _LEADING if column in asked.columns]
    if asked.columns.get("state") == [State.SUCCEEDED] and order[0] == "state":
        order.reverse()
    return order[0] if order else None


def _newest(
    alternatives: list[list[Term]], workspace_id: uuid.UUID, within: Sequence[ColumnElement[bool]], *, limit: int
) -> Subquery:
    """The newest jobs of which one of the alternatives is true, each found by its index."""
    parts = [
        select(Job)
        .where(Job.workspace_id == workspace_id, *(_is(Job, term) for term in terms), *within)
        .order_by(Job.id.desc())
        .limit(limit)
        .subquery()
        for terms in alternatives
    ]
    if not parts:
        return select(Job).where(Job.workspace_id.is_(None)).subquery()
    if len(parts) == 1:
        return parts[0]
    every = union_all(*(select(part) for part in parts)).subquery()
    return select(every).order_by(every.c.id.desc()).limit(limit).subquery()


def _range(narrow: Filter, after: uuid.UUID | None) -> list[ColumnElement[bool]]:
    ends = [end for end in (after, None if narrow.until is None else first_id(narrow.until)) if end is not None]
    found: list[ColumnElement[bool]] = [Job.id < min(ends)] if ends else []
    return found if narrow.since is None else [*found, Job.id >= first_id(narrow.since)]


def _wanted(asked: _Asked, jobs: Subquery) -> list[ColumnElement[bool]]:
    wanted = [or_(*(jobs.c[column] == value for value in values)) for column, values in asked.columns.items()]
    if asked.paused:
        wanted.append(and_(jobs.c.pause_requested_at.is_not(None)))
    if asked.text is not None:
        columns = (jobs.c.detail, jobs.c.cause_name, jobs.c.cause_id, cast(jobs.c.parameters, Text))
        holds = (column.icontains(asked.text, autoescape=True) for column in columns)
        wanted.append(or_(jobs.c.bot_id.in_(asked.named), *holds))
    return wanted


def _is(job: Any, term: Term) -> ColumnElement[bool]:  # noqa: ANN401 - the table's class
    column, value = term
    equal: ColumnElement[bool] = getattr(job, column) == value
    return equal


def _bots(session: Session, named: ColumnElement[bool], *, workspace_id: uuid.UUID) -> Sequence[uuid.UUID]:
    return session.scalars(select(Bot.id).where(Bot.workspace_id == workspace_id, named)).all()


def _id_in(text: str | None) -> uuid.UUID | None:
    try:
        return uuid.UUID(text or "")
    except ValueError:
        return None
