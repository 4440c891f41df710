"""Work items: pieces of data in named trays, of which one bot at a time reserves one and says how it went.

| state | in | out |
|---|---|---|
| `waiting` | added, or released for another try | a reservation, or `dead` when its deadline passed |
| `reserved` | a running attempt reserved it | that attempt's word; or a release once it has ended, however it ended |
| `done` | the attempt completed it | never |
| `failed` | a business failure: the data is wrong, no retry would help | a person's retry |
| `dead` | its tries are used up, or its deadline passed: a dead letter | a person's retry |

Promises that a reservation is bound to the running attempt: whether that still runs is asked of the job's row, never
of a timer, so what a killed bot held goes to another one. A word of an attempt that holds the item no longer changes
nothing. Each change is one guarded statement.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, and_, case, delete, exists, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from runner import results
from runner.errors import Conflict, Invalid, NotFound
from runner.flow_models import WorkItem
from runner.jobs import Priority, storable
from runner.models import Job
from runner.states import State
from vault import db
from vault.db import clock, moment
from vault.names import shown

#: Bytes of an item's data, and of what a bot says of it when it completes it, as JSON.
MAX_DATA = 64 * 1024

#: Longest reference, and longest message of a failure that is kept.
MAX_REFERENCE, MAX_MESSAGE = 200, 2000

#: Further tries and the pause before each, unless the item says otherwise.
RETRIES, DELAY = 3, timedelta(minutes=1)

_TRAY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


class ItemState(StrEnum):
    """Where a work item is; the module's docstring says how it gets in and out."""

    WAITING = "waiting"
    RESERVED = "reserved"
    DONE = "done"
    FAILED = "failed"
    DEAD = "dead"


class Why(StrEnum):
    """Why a work item failed or waits again."""

    BUSINESS = "business"
    APPLICATION = "application"
    RELEASED = "released"
    DEADLINE = "deadline"


@dataclass(frozen=True, slots=True)
class Draft:
    """A work item to be added; `reference` is unique in its tray and environment."""

    tray: str
    environment: str
    data: Any
    reference: str | None = None
    priority: Priority = Priority.NORMAL
    deadline: datetime | None = None
    not_before: datetime | None = None
    retries: int = RETRIES
    retry_delay: timedelta = DELAY


@dataclass(frozen=True, slots=True)
class Holder:
    """The running attempt that reserves items, or says how they went."""

    workspace_id: uuid.UUID
    environment: str
    job_id: uuid.UUID
    attempt: int


def add(session: Session, draft: Draft, *, workspace_id: uuid.UUID, by: str, now: datetime) -> uuid.UUID:
    """Put an item into a tray.

    Raises:
        Invalid: naming the field that cannot be used.
        Conflict: when the tray has an item of this reference.
    """
    check_tray(draft.tray)
    results.size_of(draft.data, limit=MAX_DATA, what="data")
    if draft.reference is not None and ("\0" in draft.reference or not 0 < len(draft.reference) <= MAX_REFERENCE):
        raise Invalid(f"reference: it has 1 to {MAX_REFERENCE} characters, and NUL is none of them.")
    if not 0 <= draft.retries <= 100:
        raise Invalid("retries: write a number from 0 to 100.")
    item_id = uuid7()
    try:
        with session.begin_nested():
            session.execute(
                insert(WorkItem).values(
                    id=item_id,
                    workspace_id=workspace_id,
                    tray=draft.tray,
                    environment=draft.environment,
                    reference=draft.reference,
                    data={"is": draft.data},
                    priority=draft.priority,
                    deadline=draft.deadline,
                    not_before=draft.not_before,
                    state=ItemState.WAITING,
                    tries=0,
                    retries=draft.retries,
                    retry_delay=draft.retry_delay.total_seconds(),
                    created_at=now,
                    created_by=by,
                )
            )
    except IntegrityError:
        raise Conflict(
            f"The tray {draft.tray} has an item with the reference {shown(draft.reference or '')} already in "
            f"{draft.environment}; each reference is taken once."
        ) from None
    return item_id


def check_tray(tray: str) -> str:
    """Give `tray` back when it can name one.

    Raises:
        Invalid: otherwise.
    """
    if not _TRAY.fullmatch(tray):
        raise Invalid(
            "tray: a name is 1 to 64 ASCII letters, digits, dots, hyphens or underscores and begins with a letter or "
            f"digit; {shown(tray[:60])} is not."
        )
    return tray


def reserve(session: Session, tray: str, *, holder: Holder) -> WorkItem | None:
    """The next item of a tray, now held by this attempt; `None` when none waits.

    The order is that of priority, then deadline (the earliest first, none last), then age.

    Raises:
        Conflict: when the attempt is not the running one any more.
    """
    check_tray(tray)
    if not session.scalar(select(_running(holder.job_id, holder.attempt))):
        raise Conflict("This attempt has ended; it can reserve nothing.")
    settle(session, tray=(holder.workspace_id, tray, holder.environment))
    chosen = (
        select(WorkItem.id)
        .where(
            WorkItem.workspace_id == holder.workspace_id,
            WorkItem.tray == tray,
            WorkItem.environment == holder.environment,
            WorkItem.state == ItemState.WAITING,
            or_(WorkItem.not_before.is_(None), WorkItem.not_before <= clock()),
        )
        .order_by(WorkItem.priority, WorkItem.deadline.is_(None), WorkItem.deadline, WorkItem.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    item_id = session.scalar(
        update(WorkItem)
        .where(WorkItem.id == chosen, WorkItem.state == ItemState.WAITING)
        .values(
            state=ItemState.RESERVED,
            job_id=holder.job_id,
            attempt=holder.attempt,
            tries=WorkItem.tries + 1,
            reserved_at=clock(),
            not_before=None,
        )
        .returning(WorkItem.id)
        .execution_options(synchronize_session=False)
    )
    return None if item_id is None else session.get_one(WorkItem, item_id, populate_existing=True)


def complete(session: Session, item_id: uuid.UUID, *, holder: Holder, result: object = None) -> None:
    """The item is done.

    Raises:
        Conflict: when this attempt does not hold it (any more); somebody else may be working on it.
    """
    results.size_of(result, limit=MAX_DATA, what="result")
    kept = None if result is None else {"is": result}
    _end(session, item_id, holder, state=ItemState.DONE, reason=None, detail=None, result=kept)


def fail(session: Session, item_id: uuid.UUID, *, holder: Holder, business: bool, message: str) -> None:
    """The item could not be done: for good where the data is wrong, else until its tries are used up.

    Raises:
        Conflict: as `complete`.
    """
    detail = storable(message[:MAX_MESSAGE])
    if business:
        _end(session, item_id, holder, state=ItemState.FAILED, reason=Why.BUSINESS, detail=detail)
        return
    changed = db.changes(
        session,
        update(WorkItem)
        .where(WorkItem.id == item_id, *_held_by(holder))
        .values(reason=Why.APPLICATION, detail=detail, **_tried()),
    )
    if not changed:
        raise _lost(item_id)


def unsettled() -> ColumnElement[bool]:
    """Whether `settle` has anything to do: two looks into small indexes."""
    late = exists().where(WorkItem.state == ItemState.WAITING, WorkItem.deadline < moment())
    return or_(exists().where(WorkItem.state == ItemState.RESERVED, _abandoned()), late)


def settle(session: Session, *, tray: tuple[uuid.UUID, str, str] | None = None) -> int:
    """Release what attempts held that have ended, and take what is past its deadline out; answers how many changed.

    Of one tray (workspace, name, environment), or of all. Whether an attempt runs is asked of the job's row.
    """
    within: list[ColumnElement[bool]] = []
    if tray is not None:
        within = [WorkItem.workspace_id == tray[0], WorkItem.tray == tray[1], WorkItem.environment == tray[2]]
    released = db.changes(
        session,
        update(WorkItem)
        .where(*within, WorkItem.state == ItemState.RESERVED, _abandoned())
        .values(reason=Why.RELEASED, detail="The attempt that held it ended without a word about it.", **_tried())
        .execution_options(synchronize_session=False),
    )
    late = db.changes(
        session,
        update(WorkItem)
        .where(*within, WorkItem.state == ItemState.WAITING, WorkItem.deadline < clock())
        .values(
            state=ItemState.DEAD, reason=Why.DEADLINE, detail="Nobody did it before its deadline.", finished_at=clock()
        )
        .execution_options(synchronize_session=False),
    )
    return released + late


def retry(session: Session, item_id: uuid.UUID, *, workspace_id: uuid.UUID, now: datetime) -> WorkItem:
    """Let a failed or dead item be tried again, with all its tries; a deadline that passed is taken away.

    Raises:
        NotFound: when there is no such item.
        Conflict: when it waits, is reserved or is done.
    """
    item = require(session, item_id, workspace_id=workspace_id)
    changed = db.changes(
        session,
        update(WorkItem)
        .where(WorkItem.id == item_id, WorkItem.state.in_([ItemState.FAILED, ItemState.DEAD]))
        .values(
            state=ItemState.WAITING,
            reason=None,
            detail=None,
            tries=0,
            not_before=None,
            finished_at=None,
            deadline=case((WorkItem.deadline < now, None), else_=WorkItem.deadline),
        )
        .execution_options(synchronize_session=False),
    )
    if not changed:
        raise Conflict(f"Work item {item_id} is {item.state}; only failed and dead ones can be tried again.")
    session.refresh(item)
    return item


def remove(session: Session, item_id: uuid.UUID, *, workspace_id: uuid.UUID) -> None:
    """Take an item out of its tray.

    Raises:
        NotFound: when there is no such item.
        Conflict: while a bot holds it.
    """
    require(session, item_id, workspace_id=workspace_id)
    gone = db.changes(session, delete(WorkItem).where(WorkItem.id == item_id, WorkItem.state != ItemState.RESERVED))
    if not gone:
        raise Conflict(f"Work item {item_id} is reserved; cancel the job that holds it, or wait for its end.")


def require(session: Session, item_id: uuid.UUID, *, workspace_id: uuid.UUID) -> WorkItem:
    """The item.

    Raises:
        NotFound: when this workspace has none of this id.
    """
    found = session.scalars(
        select(WorkItem).where(WorkItem.id == item_id, WorkItem.workspace_id == workspace_id)
    ).one_or_none()
    if found is None:
        raise NotFound(f"There is no work item {item_id}; see `botkeep item list`.")
    return found


def page(
    session: Session,
    *,
    workspace_id: uuid.UUID,
    limit: int,
    tray: str | None = None,
    state: str | None = None,
    environment: str | None = None,
    after: uuid.UUID | None = None,
) -> Sequence[WorkItem]:
    """The newest items before `after`, newest first.

    Raises:
        Invalid: for an unknown state.
    """
    if state is not None and state not in {*ItemState}:
        raise Invalid(f"state: there is no {shown(state)}; use one of {', '.join(ItemState)}.")
    query = select(WorkItem).where(WorkItem.workspace_id == workspace_id)
    for column, wanted in (
        (WorkItem.tray, tray),
        (WorkItem.state, state),
        (WorkItem.environment, environment),
    ):
        query = query if wanted is None else query.where(column == wanted)
    if after is not None:
        query = query.where(WorkItem.id < after)
    return session.scalars(query.order_by(WorkItem.id.desc()).limit(limit)).all()


def _end(
    session: Session,
    item_id: uuid.UUID,
    holder: Holder,
    *,
    state: ItemState,
    reason: Why | None,
    detail: str | None,
    result: dict[str, Any] | None = None,
) -> None:
    changed = db.changes(
        session,
        update(WorkItem)
        .where(WorkItem.id == item_id, *_held_by(holder))
        .values(state=state, reason=reason, detail=detail, result=result, finished_at=clock())
        .execution_options(synchronize_session=False),
    )
    if not changed:
        raise _lost(item_id)


def _tried() -> dict[str, Any]:
    """What a try that did not do it makes of an item: it waits for the next, or it is a dead letter."""
    used_up = WorkItem.tries > WorkItem.retries
    return {
        "state": case((used_up, ItemState.DEAD.value), else_=ItemState.WAITING.value),
        "not_before": case((used_up, None), else_=db.clock_after(WorkItem.retry_delay)),  # type: ignore[arg-type]
        "finished_at": case((used_up, clock()), else_=None),
    }


def _held_by(holder: Holder) -> tuple[ColumnElement[bool], ...]:
    return (
        WorkItem.state == ItemState.RESERVED,
        WorkItem.job_id == holder.job_id,
        WorkItem.attempt == holder.attempt,
        _running(holder.job_id, holder.attempt),
    )


def _running(job_id: object, attempt: object) -> ColumnElement[bool]:
    """Whether this attempt of the job is its running one, by the job's row."""
    return exists().where(and_(Job.id == job_id, Job.state == State.RUNNING, Job.attempt == attempt))


def _abandoned() -> ColumnElement[bool]:
    return ~_running(WorkItem.job_id, WorkItem.attempt)


def _lost(item_id: uuid.UUID) -> Conflict:
    return Conflict(
        f"Work item {item_id} is not held by this attempt (any more): it was released, or somebody has ended it. "
        "Nothing was changed."
    )
