"""What can have ended, for completion triggers: one entry for each kind, and nothing else finds ends."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import ColumnElement, ScalarSelect, String, and_, cast, exists, func, or_, select
from sqlalchemy.orm import Session

from runner import bots
from runner.errors import Invalid, NotFound
from runner.models import Bot, Job
from runner.triggers import Firing
from scheduler import flows
from scheduler.damage import readable
from scheduler.flows import Kind
from scheduler.models import Flow, Run


@dataclass(frozen=True, slots=True)
class Watched:
    """What a completion trigger waits for, and since when; ends for which it has fired are left out."""

    trigger_id: uuid.UUID
    workspace_id: uuid.UUID
    name: str
    environment: str | None
    states: tuple[str, ...]
    since: datetime


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a job or run; `event` is what the trigger's `parameters_from` may take from it."""

    id: uuid.UUID
    finished_at: datetime
    event: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ends:
    """Ends that were found, the oldest first, and how many between them cannot be read, which fire nothing."""

    ends: Sequence[Ended]
    unreadable: int


class Source(Protocol):
    """One kind of thing that can have ended."""

    def check(self, session: Session, name: str, *, workspace_id: uuid.UUID) -> None:
        """Raises `NotFound` where there is no such thing."""

    def ended(self, session: Session, watched: Watched, *, limit: int) -> Ends:
        """The oldest ends since then for which the trigger has not fired, at most `limit`.

        Raises:
            DamagedRow: where so many cannot be read that only a backup helps.
        """


def key_of(ended_id: uuid.UUID) -> str:
    """The key of the firing for an end."""
    return ended_id.hex


class _Bots:
    """Jobs of bots."""

    def check(self, session: Session, name: str, *, workspace_id: uuid.UUID) -> None:
        bots.require(session, name, workspace_id=workspace_id)

    def ended(self, session: Session, watched: Watched, *, limit: int) -> Ends:
        fired = exists().where(
            Firing.trigger_id == watched.trigger_id,
            # As `key_of`: SQLite keeps an id without its hyphens.
            Firing.key == func.replace(cast(Job.id, String), "-", ""),
        )
        place = [] if watched.environment is None else [Job.environment == watched.environment]
        rows, unreadable = readable(
            session,
            select(Job.id, Job.state, Job.reason, Job.environment, Job.exit_code, Job.parameters, Job.finished_at)
            .join(Bot, and_(Bot.id == Job.bot_id, Bot.workspace_id == watched.workspace_id, Bot.name == watched.name))
            .where(Job.finished_at >= watched.since, Job.state.in_(watched.states), ~fired, *place)
            .order_by(Job.finished_at, Job.id),
            limit=limit,
        )
        ends = [
            Ended(
                row.id,
                row.finished_at,
                {
                    "kind": "bot",
                    "name": watched.name,
                    "id": str(row.id),
                    "environment": row.environment,
                    "state": row.state,
                    "reason": row.reason,
                    "exit_code": row.exit_code,
                    "parameters": row.parameters,
                    "finished_at": row.finished_at.isoformat(),
                },
            )
            for row in rows
        ]
        return Ends(ends, unreadable)


class _Flows:
    """Runs of queues, or of workflows."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind

    def check(self, session: Session, name: str, *, workspace_id: uuid.UUID) -> None:
        flows.require(session, self._kind, name, workspace_id=workspace_id)

    def ended(self, session: Session, watched: Watched, *, limit: int) -> Ends:
        fired = exists().where(
            Firing.trigger_id == watched.trigger_id, Firing.key == func.replace(cast(Run.id, String), "-", "")
        )
        place = [] if watched.environment is None else [Run.environment == watched.environment]
        of_flow = (Flow.workspace_id == watched.workspace_id, Flow.kind == self._kind, Flow.name == watched.name)
        rows, unreadable = readable(
            session,
            select(Run.id, Run.state, Run.reason, Run.environment, Run.parameters, Run.finished_at)
            .join(Flow, and_(Flow.id == Run.flow_id, *of_flow))
            .where(Run.finished_at >= watched.since, Run.state.in_(watched.states), ~fired, *place)
            .order_by(Run.finished_at, Run.id),
            limit=limit,
        )
        ends = [
            Ended(
                row.id,
                row.finished_at,
                {
                    "kind": str(self._kind),
                    "name": watched.name,
                    "id": str(row.id),
                    "environment": row.environment,
                    "state": row.state,
                    "reason": row.reason,
                    "parameters": row.parameters,
                    "finished_at": row.finished_at.isoformat(),
                },
            )
            for row in rows
        ]
        return Ends(ends, unreadable)


SOURCES: Mapping[str, Source] = {"bot": _Bots(), "queue": _Flows(Kind.QUEUE), "workflow": _Flows(Kind.WORKFLOW)}


def ended_since(instant: ScalarSelect[datetime]) -> ColumnElement[bool]:
    """Whether anything has ended since then: a look into an index for each bot, queue and workflow."""
    job = exists().where(Job.bot_id == Bot.id, Job.finished_at >= instant)
    run = exists().where(Run.flow_id == Flow.id, Run.finished_at >= instant)
    return or_(exists(select(Bot.id).where(job)), exists(select(Flow.id).where(run)))


def source(kind: str) -> Source:
    """How ends of this kind are found.

    Raises:
        Invalid: for a kind whose ends nobody finds.
    """
    try:
        return SOURCES[kind]
    except KeyError:
        raise Invalid(f"completion.{kind}: a trigger cannot wait for one; write {' or '.join(SOURCES)}.") from None


def check(session: Session, kind: str, name: str, *, workspace_id: uuid.UUID) -> None:
    """Go on only where there is such a thing.

    Raises:
        Invalid: naming the field.
    """
    try:
        source(kind).check(session, name, workspace_id=workspace_id)
    except NotFound as error:
        raise Invalid(f"completion.{kind}: {error}") from None
