"""The ledger of messages: which consumer was given which, and by which job.

Promises that one message is given to one consumer for one job at a time, and never again once that job succeeded,
whatever crashes when: `take` is committed before a bot sees the message, it is fenced by the running attempt, and
success is the job's own state, written with the job's end; where a trigger started a run, it is the run's, whose jobs
all are given the message. So a message is

| state | by | then |
|---|---|---|
| unknown | no row | `take` writes one |
| held | its job is queued or running | the job's next attempt is given it again |
| free | its job failed or was cancelled, `tries` is below the limit | another job may `take` it |
| left | the same, `tries` is at the limit | it stays where it is, unmarked |
| settled | its job, or its run, succeeded | it is marked in the mailbox (`runner.mail_marking`) |

A consumer is a bot (`bot:ID`) or a trigger (`trigger:ID`). A server that renumbers a folder (UIDVALIDITY) gives new
numbers to messages that were given before; `recognise` finds their rows by Message-ID, date and size.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Uuid, and_, case, exists, insert, literal, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from runner.mail_messages import MailMessage
from runner.models import Job
from runner.started import runs_of
from runner.states import State
from runner.triggers import Firing
from vault import db
from vault.db import clock


@dataclass(frozen=True, slots=True)
class Place:
    """A folder as one consumer sees it; `folder` is the definition's text, tokens not replaced."""

    workspace_id: uuid.UUID
    source: str
    environment: str
    consumer: str
    folder: str


@dataclass(frozen=True, slots=True)
class Message:
    """A message in its folder, and its print."""

    uid_validity: int
    uid: int
    print: str


@dataclass(frozen=True, slots=True)
class Holder:
    """The attempt that is given messages."""

    job_id: uuid.UUID
    attempt: int


def consumer_of_bot(bot_id: uuid.UUID) -> str:
    """The bot, whichever job of it."""
    return f"bot:{bot_id.hex}"


def consumer_of_trigger(trigger_id: uuid.UUID) -> str:
    """The trigger, whatever it starts."""
    return f"trigger:{trigger_id.hex}"


def closed(session: Session, place: Place, first: Message, *, limit: int, holder: Holder | None) -> set[int]:
    """The UIDs from `first` on that `holder` cannot be given: settled, left, or held by another job."""
    mine = literal(False) if holder is None else MailMessage.job_id == holder.job_id
    offered = or_(and_(mine, MailMessage.attempt < (holder.attempt if holder else 0)), _free(limit))
    rows = session.scalars(
        select(MailMessage.uid).where(
            _at(place),
            MailMessage.uid_validity == first.uid_validity,
            MailMessage.uid >= first.uid,
            or_(MailMessage.settled_at.is_not(None), ~offered),
        )
    )
    return set(rows)


def recognise(session: Session, place: Place, messages: Iterable[Message]) -> int:
    """Give rows from before a renumbering their messages' new numbers; answers how many were found.

    `messages` are those that have no row under their number.
    """
    found = 0
    for message in messages:
        other = (
            select(MailMessage.id)
            .where(_at(place), MailMessage.print == message.print, MailMessage.uid_validity != message.uid_validity)
            .order_by(MailMessage.id)
            .limit(1)
            .scalar_subquery()
        )
        taken = exists().where(
            _at(place), MailMessage.uid_validity == message.uid_validity, MailMessage.uid == message.uid
        )
        found += db.changes(
            session,
            update(MailMessage)
            .where(MailMessage.id == other, ~taken.correlate(None))
            .values(uid_validity=message.uid_validity, uid=message.uid),
        )
    return found


def numbers_changed(session: Session, place: Place, uid_validity: int) -> bool:
    """Whether a row of this folder is from before a renumbering."""
    return bool(session.scalar(select(exists().where(_at(place), MailMessage.uid_validity != uid_validity))))


def take(session: Session, place: Place, message: Message, *, holder: Holder, limit: int) -> bool:
    """Give a message to a running attempt; false when it may not have it. Commit before the bot sees the message."""
    if _insert(session, place, message, holder=holder):
        return True
    again = and_(MailMessage.job_id == holder.job_id, MailMessage.attempt < holder.attempt)
    other = MailMessage.job_id.is_distinct_from(holder.job_id)
    return bool(
        db.changes(
            session,
            update(MailMessage)
            .where(
                _at(place),
                MailMessage.uid_validity == message.uid_validity,
                MailMessage.uid == message.uid,
                MailMessage.settled_at.is_(None),
                or_(again, and_(other, _free(limit))),
                _running(holder),
            )
            .values(
                tries=MailMessage.tries + case((other, 1), else_=0),
                job_id=holder.job_id,
                attempt=holder.attempt,
                taken_at=clock(),
            ),
        )
    )


def give_back(session: Session, place: Place, message: Message, *, holder: Holder) -> bool:
    """Undo `take` for a message that did not reach the bot."""
    return bool(
        db.changes(
            session,
            update(MailMessage)
            .where(
                _at(place),
                MailMessage.uid_validity == message.uid_validity,
                MailMessage.uid == message.uid,
                MailMessage.job_id == holder.job_id,
                MailMessage.attempt == holder.attempt,
                MailMessage.settled_at.is_(None),
            )
            .values(job_id=None, tries=MailMessage.tries - 1),
        )
    )


def bind(session: Session, place: Place, message: Message, *, firing_id: uuid.UUID) -> bool:
    """Give a message to a trigger's firing, which this transaction makes; false when it was given before: make none."""
    return _insert(session, place, message, holder=None, firing_id=firing_id)


def bound(session: Session, holder: Holder, source: str) -> list[tuple[Place, Message]]:
    """The messages of one source that the job, one that it repeats, or its run was made for; now they are its own."""
    jobs = _repeated(session, holder.job_id)
    started = [*jobs, *runs_of(session, jobs)]
    rows = session.execute(
        select(MailMessage)
        .join(Firing, Firing.id == MailMessage.firing_id)
        .where(Firing.started_id.in_(started), MailMessage.source == source)
        .order_by(MailMessage.id)
    ).all()
    found = [row[0] for row in rows]
    for row in found:
        session.execute(
            update(MailMessage)
            .where(MailMessage.id == row.id, MailMessage.settled_at.is_(None), _running(holder))
            .values(job_id=holder.job_id, attempt=holder.attempt)
        )
    return [
        (
            Place(row.workspace_id, row.source, row.environment, row.consumer, row.folder),
            Message(row.uid_validity, row.uid, row.print),
        )
        for row in found
    ]


def _repeated(session: Session, job_id: uuid.UUID) -> list[uuid.UUID]:
    """The job, and those that it is a person's repetition of."""
    found: list[uuid.UUID] = []
    following: uuid.UUID | None = job_id
    while following is not None and following not in found:
        found.append(following)
        following = session.scalar(select(Job.retry_of).where(Job.id == following))
    return found


def _insert(
    session: Session, place: Place, message: Message, *, holder: Holder | None, firing_id: uuid.UUID | None = None
) -> bool:
    values: dict[str, Any] = {
        "id": literal(uuid7(), Uuid()),
        "workspace_id": literal(place.workspace_id, Uuid()),
        "source": literal(place.source),
        "environment": literal(place.environment),
        "consumer": literal(place.consumer),
        "folder": literal(place.folder),
        "uid_validity": literal(message.uid_validity),
        "uid": literal(message.uid),
        "print": literal(message.print),
        "firing_id": literal(firing_id, Uuid()),
        "job_id": literal(holder.job_id if holder else None, Uuid()),
        "attempt": literal(holder.attempt if holder else 0),
        "tries": literal(1),
        "taken_at": clock(),
        "mark_tries": literal(0),
    }
    given: Any = select(*values.values())
    made = (
        insert(MailMessage)
        .from_select(list(values), given.where(_running(holder)) if holder else given, include_defaults=False)
        .returning(MailMessage.id)
    )
    try:
        with session.begin_nested():
            return session.execute(made).first() is not None
    except IntegrityError:
        return False


def _at(place: Place) -> ColumnElement[bool]:
    return and_(
        MailMessage.workspace_id == place.workspace_id,
        MailMessage.source == place.source,
        MailMessage.environment == place.environment,
        MailMessage.consumer == place.consumer,
        MailMessage.folder == place.folder,
    )


def _running(holder: Holder) -> ColumnElement[bool]:
    return exists().where(Job.id == holder.job_id, Job.state == State.RUNNING, Job.attempt == holder.attempt)


def _free(limit: int) -> ColumnElement[bool]:
    """Free for another job. Only a job that is seen to have failed frees its message, not one that is not seen."""
    ended = exists().where(Job.id == MailMessage.job_id, Job.state.in_((State.FAILED, State.CANCELLED)))
    return and_(MailMessage.tries < limit, or_(MailMessage.job_id.is_(None), ended.correlate(MailMessage)))
