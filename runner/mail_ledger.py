"""The ledger of messages: which consumer was given which, by which job, and what is still to be marked in a mailbox.

Promises that one message is given to one consumer for one job at a time, and never again once that job succeeded,
whatever crashes when: `take` is committed before a bot sees the message, it is fenced by the running attempt, and
success is the job's own state, written with the job's end. So a message is

| state | by | then |
|---|---|---|
| unknown | no row | `take` writes one |
| held | its job is queued or running | the job's next attempt is given it again |
| free | its job failed or was cancelled, `tries` is below the limit | another job may `take` it |
| left | the same, `tries` is at the limit | it stays where it is, unmarked |
| settled | its job succeeded | it is marked in the mailbox, however often that takes |

A consumer is a bot (`bot:ID`) or a trigger (`trigger:ID`). A server that renumbers a folder (UIDVALIDITY) gives new
numbers to messages that were given before; `recognise` finds their rows by Message-ID, date and size.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Uuid, and_, case, exists, insert, literal, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from runner.models import Job, MailMessage
from runner.states import State
from vault import db
from vault.db import clock

#: How long one runner has for marking messages before another may try.
MARK_WITHIN = timedelta(minutes=2)

#: Rows that one look for messages to mark takes along.
MARKED_AT_ONCE = 500

#: UIDs in one question to the database.
_CHUNK = 500


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


@dataclass(frozen=True, slots=True)
class Due:
    """Messages of one folder that wait to be marked, by their row."""

    workspace_id: uuid.UUID
    source: str
    environment: str
    folder: str
    messages: Mapping[uuid.UUID, Message]
    tries: int


def consumer_of_bot(bot_id: uuid.UUID) -> str:
    """The bot, whichever job of it."""
    return f"bot:{bot_id.hex}"


def consumer_of_trigger(trigger_id: uuid.UUID) -> str:
    """The trigger, whatever it starts."""
    return f"trigger:{trigger_id.hex}"


def closed(session: Session, place: Place, uid_validity: int, *, limit: int, holder: Holder | None) -> set[int]:
    """The UIDs that `holder` cannot be given: settled, left, or held by another job."""
    mine = literal(False) if holder is None else MailMessage.job_id == holder.job_id
    offered = or_(and_(mine, MailMessage.attempt < (holder.attempt if holder else 0)), _free(limit))
    rows = session.scalars(
        select(MailMessage.uid).where(
            _at(place),
            MailMessage.uid_validity == uid_validity,
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


def bind(session: Session, place: Place, message: Message, *, job_id: uuid.UUID) -> bool:
    """Give a message to a job that this transaction makes; false when the consumer had it before: make none then."""
    return _insert(session, place, message, holder=Holder(job_id, 0), running=False)


def bound(session: Session, job_id: uuid.UUID, source: str) -> list[tuple[Place, Message]]:
    """The messages that a job was made for, of one source."""
    rows = session.execute(
        select(
            MailMessage.workspace_id,
            MailMessage.environment,
            MailMessage.consumer,
            MailMessage.folder,
            MailMessage.uid_validity,
            MailMessage.uid,
            MailMessage.print,
        )
        .where(MailMessage.job_id == job_id, MailMessage.source == source, MailMessage.consumer.startswith("trigger:"))
        .order_by(MailMessage.id)
    ).all()
    return [
        (
            Place(row.workspace_id, source, row.environment, row.consumer, row.folder),
            Message(row.uid_validity, row.uid, row.print),
        )
        for row in rows
    ]


def unsettled(session: Session, environments: Collection[str]) -> bool:
    """Whether a job that has messages succeeded, or messages are due to be marked; asks without writing."""
    one = select(exists().where(_open_in(environments), _succeeded()))
    return bool(session.scalar(one) or session.scalar(select(exists().where(_due(environments)))))


def settle(session: Session, environments: Collection[str]) -> int:
    """Note the success of jobs at their messages; answers how many messages were settled."""
    return db.changes(
        session,
        update(MailMessage).where(_open_in(environments), _succeeded()).values(settled_at=clock()),
    )


def to_mark(session: Session, environments: Collection[str]) -> Due | None:
    """Take the messages of one folder that are to be marked, for `MARK_WITHIN`; `None` when there are none."""
    first = session.execute(
        select(MailMessage.workspace_id, MailMessage.source, MailMessage.environment, MailMessage.folder)
        .where(_due(environments))
        .order_by(MailMessage.id)
        .limit(1)
    ).one_or_none()
    if first is None:
        return None
    wanted = (
        select(MailMessage.id)
        .where(
            _due([first.environment]),
            MailMessage.workspace_id == first.workspace_id,
            MailMessage.source == first.source,
            MailMessage.folder == first.folder,
        )
        .order_by(MailMessage.id)
        .limit(MARKED_AT_ONCE)
    )
    rows = session.execute(
        update(MailMessage)
        .where(MailMessage.id.in_(wanted), _due([first.environment]))
        .values(mark_after=clock(MARK_WITHIN), mark_tries=MailMessage.mark_tries + 1)
        .returning(MailMessage.id, MailMessage.uid_validity, MailMessage.uid, MailMessage.print, MailMessage.mark_tries)
    ).all()
    messages = {row.id: Message(row.uid_validity, row.uid, row.print) for row in rows}
    tries = max((row.mark_tries for row in rows), default=0)
    return Due(first.workspace_id, first.source, first.environment, first.folder, messages, tries)


def marked(session: Session, ids: Sequence[uuid.UUID]) -> None:
    """These messages are as the definition wants them, or gone."""
    for start in range(0, len(ids), _CHUNK):
        chunk = ids[start : start + _CHUNK]
        session.execute(
            update(MailMessage)
            .where(MailMessage.id.in_(chunk), MailMessage.marked_at.is_(None))
            .values(marked_at=clock())
        )


def not_marked(session: Session, ids: Sequence[uuid.UUID], *, wait: timedelta) -> None:
    """These are tried again after `wait`."""
    for start in range(0, len(ids), _CHUNK):
        chunk = ids[start : start + _CHUNK]
        session.execute(
            update(MailMessage)
            .where(MailMessage.id.in_(chunk), MailMessage.marked_at.is_(None))
            .values(mark_after=clock(wait))
        )


def unmarked(session: Session, *, workspace_id: uuid.UUID, source: str, environment: str) -> int:
    """How many messages of a source were tried to be marked in vain and still wait."""
    rows = session.scalars(
        select(MailMessage.id).where(
            MailMessage.settled_at.is_not(None),
            MailMessage.marked_at.is_(None),
            MailMessage.mark_tries > 1,
            MailMessage.workspace_id == workspace_id,
            MailMessage.source == source,
            MailMessage.environment == environment,
        )
    )
    return len(rows.all())


def _insert(session: Session, place: Place, message: Message, *, holder: Holder, running: bool = True) -> bool:
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
        "job_id": literal(holder.job_id, Uuid()),
        "attempt": literal(holder.attempt),
        "tries": literal(1),
        "taken_at": clock(),
        "mark_tries": literal(0),
    }
    given: Any = select(*values.values())
    try:
        with session.begin_nested():
            return bool(
                db.changes(
                    session,
                    insert(MailMessage).from_select(
                        list(values), given.where(_running(holder)) if running else given, include_defaults=False
                    ),
                )
            )
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
    return and_(MailMessage.tries < limit, or_(MailMessage.job_id.is_(None), ended))


def _open_in(environments: Collection[str]) -> ColumnElement[bool]:
    return and_(MailMessage.settled_at.is_(None), MailMessage.environment.in_(list(environments)))


def _succeeded() -> ColumnElement[bool]:
    return exists().where(Job.id == MailMessage.job_id, Job.state == State.SUCCEEDED)


def _due(environments: Collection[str]) -> ColumnElement[bool]:
    return and_(
        MailMessage.settled_at.is_not(None),
        MailMessage.marked_at.is_(None),
        MailMessage.environment.in_(list(environments)),
        or_(MailMessage.mark_after.is_(None), MailMessage.mark_after < clock()),
    )
