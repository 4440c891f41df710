"""Messages whose jobs or runs succeeded, and what is still to be done with them in their mailboxes.

Promises that a message is due only after that success is in the database, that one runner at a time tries, and
that what failed is due again later.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, and_, exists, func, or_, select, update
from sqlalchemy.orm import Session

from runner.mail_ledger import Message
from runner.mail_messages import MailMessage
from runner.models import Job
from runner.started import RUNS, TRIES
from runner.states import State
from runner.triggers import Firing
from vault import db
from vault.db import clock

#: How long one runner has for marking messages before another may try.
MARK_WITHIN = timedelta(seconds=20)

#: Rows that one look for messages to mark takes along.
MARKED_AT_ONCE = 500

#: Rows in one statement.
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Due:
    """Messages of one folder that wait to be marked, by their row."""

    workspace_id: uuid.UUID
    source: str
    environment: str
    folder: str
    messages: Mapping[uuid.UUID, Message]
    tries: int


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
    tries = min((row.mark_tries for row in rows), default=0)
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
    count = session.scalar(
        select(func.count())
        .select_from(MailMessage)
        .where(
            MailMessage.settled_at.is_not(None),
            MailMessage.marked_at.is_(None),
            MailMessage.mark_tries > 1,
            MailMessage.workspace_id == workspace_id,
            MailMessage.source == source,
            MailMessage.environment == environment,
        )
    )
    return count or 0


def _open_in(environments: Collection[str]) -> ColumnElement[bool]:
    return and_(MailMessage.settled_at.is_(None), MailMessage.environment.in_(list(environments)))


def _succeeded() -> ColumnElement[bool]:
    """Whether what has the message succeeded: its job; or, where a trigger started a run, a run of that job."""
    # Named columns: a runner may not read whole rows of runs.
    of_run = select(TRIES.c.job_id).where(TRIES.c.job_id == MailMessage.job_id).exists()
    own = and_(
        exists().where(Job.id == MailMessage.job_id, Job.state == State.SUCCEEDED).correlate(MailMessage),
        or_(MailMessage.firing_id.is_(None), ~of_run.correlate(MailMessage)),
    )
    ended = RUNS.c.id == TRIES.c.run_id, RUNS.c.state == State.SUCCEEDED
    run = select(RUNS.c.id).where(TRIES.c.job_id == MailMessage.job_id, *ended).exists()
    fired = [
        select(started.id)
        .where(Firing.id == MailMessage.firing_id, started.id == Firing.started_id, started.state == State.SUCCEEDED)
        .exists()
        for started in (Job, RUNS.c)
    ]
    by_run = and_(MailMessage.firing_id.is_not(None), run.correlate(MailMessage))
    # Said in so many words: without it a subquery could look at another message than the one that is judged.
    return or_(own, by_run, *(one.correlate(MailMessage) for one in fired))


def _due(environments: Collection[str]) -> ColumnElement[bool]:
    return and_(
        MailMessage.settled_at.is_not(None),
        MailMessage.marked_at.is_(None),
        MailMessage.environment.in_(list(environments)),
        or_(MailMessage.mark_after.is_(None), MailMessage.mark_after < clock()),
    )
