"""What is inside of work items beyond their state: data that their holder changes, and files.

Promises that an attempt reads and changes only what it holds, and what it added itself while nobody has reserved that;
and that files are bounded, since the database keeps them: what is larger belongs into a data source or a share.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, func, insert, or_, select, update
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from runner import results, work_items
from runner.errors import Conflict, Invalid, NotFound
from runner.flow_models import WorkItem, WorkItemFile
from runner.models import Job
from runner.states import State
from runner.work_items import Holder, ItemState
from vault import db
from vault.db import clock
from vault.names import shown

#: Bytes of one file and of all files of an item, and how many it may have.
MAX_FILE, MAX_FILES_SIZE, MAX_FILES = 8 << 20, 32 << 20, 20

#: Longest name of a file.
MAX_NAME = 255


def data(session: Session, item_id: uuid.UUID, *, holder: Holder, by: str) -> Any:  # noqa: ANN401 - JSON
    """The data of an item.

    Raises:
        NotFound: when the attempt neither holds it nor added it.
    """
    found = session.execute(select(WorkItem.data).where(WorkItem.id == item_id, _within(holder, by))).one_or_none()
    if found is None:
        raise _unknown(item_id)
    return found.data["is"]


def change(session: Session, item_id: uuid.UUID, value: object, *, holder: Holder, by: str) -> None:
    """Replace the data of an item.

    Raises:
        NotFound: as `data`.
        Invalid: for what cannot be stored.
    """
    results.size_of(value, limit=work_items.MAX_DATA, what="data")
    changed = db.changes(
        session,
        update(WorkItem)
        .where(WorkItem.id == item_id, _within(holder, by))
        .values(data={"is": value})
        .execution_options(synchronize_session=False),
    )
    if not changed:
        raise _unknown(item_id)


def offer(session: Session, item_ids: Sequence[uuid.UUID], *, by: str) -> None:
    """Let items that were added to be filled first wait for a bot now."""
    session.execute(
        update(WorkItem)
        .where(WorkItem.id.in_(item_ids), WorkItem.created_by == by, WorkItem.state == ItemState.WAITING)
        .values(not_before=None)
        .execution_options(synchronize_session=False)
    )


def files(session: Session, item_id: uuid.UUID, *, holder: Holder, by: str) -> Sequence[WorkItemFile]:
    """The files of an item by name, without their contents.

    Raises:
        NotFound: as `data`.
    """
    data(session, item_id, holder=holder, by=by)
    query = select(WorkItemFile).where(WorkItemFile.item_id == item_id).order_by(WorkItemFile.name)
    return session.scalars(query).all()


def content(session: Session, item_id: uuid.UUID, file_id: uuid.UUID, *, holder: Holder, by: str) -> bytes:
    """What is in a file.

    Raises:
        NotFound: as `data`, and where there is no such file.
    """
    found = session.scalar(
        select(WorkItemFile.content)
        .join(WorkItem, WorkItem.id == WorkItemFile.item_id)
        .where(WorkItemFile.id == file_id, WorkItemFile.item_id == item_id, _within(holder, by))
    )
    if found is None:
        raise NotFound("The work item has no such file.")
    return bytes(found)


def put(session: Session, item_id: uuid.UUID, name: str, body: bytes, *, holder: Holder, by: str) -> None:
    """Keep a file with an item, in the place of one of this name.

    Raises:
        NotFound: as `data`.
        Invalid: for a name or a size that is not taken.
    """
    check_file(name, len(body))
    data(session, item_id, holder=holder, by=by)
    session.execute(delete(WorkItemFile).where(WorkItemFile.item_id == item_id, WorkItemFile.name == name))
    count, total = session.execute(
        select(func.count(), func.coalesce(func.sum(WorkItemFile.size), 0)).where(WorkItemFile.item_id == item_id)
    ).one()
    if count >= MAX_FILES or total + len(body) > MAX_FILES_SIZE:
        raise Invalid(f"A work item may have {MAX_FILES} files with {MAX_FILES_SIZE:,} bytes in all.")
    session.execute(
        insert(WorkItemFile).values(
            id=uuid7(), item_id=item_id, name=name, size=len(body), content=body, created_at=clock()
        )
    )


def drop(session: Session, item_id: uuid.UUID, file_id: uuid.UUID, *, holder: Holder, by: str) -> None:
    """Take a file away.

    Raises:
        NotFound: as `content`.
    """
    data(session, item_id, holder=holder, by=by)
    gone = db.changes(session, delete(WorkItemFile).where(WorkItemFile.id == file_id, WorkItemFile.item_id == item_id))
    if not gone:
        raise NotFound("The work item has no such file.")


def check_file(name: str, size: int) -> None:
    """Refuse a name or a size before anything is sent.

    Raises:
        Invalid: saying what is taken.
    """
    if not 0 < len(name) <= MAX_NAME or "\0" in name or "/" in name:
        raise Invalid(f"{shown(name)} is no name of a file: 1 to {MAX_NAME} characters without a slash.")
    if size > MAX_FILE:
        raise Invalid(f"The file has {size:,} bytes; a work item's file may have {MAX_FILE:,}. Keep it elsewhere.")


def require_running(session: Session, holder: Holder) -> None:
    """Refuse what an attempt says that is not the running one any more.

    Raises:
        Conflict: then.
    """
    found = session.scalar(
        select(Job.id).where(Job.id == holder.job_id, Job.state == State.RUNNING, Job.attempt == holder.attempt)
    )
    if found is None:
        raise Conflict("This attempt has ended; nothing was changed.")


def _within(holder: Holder, by: str) -> ColumnElement[bool]:
    """What the attempt holds, and what it added and nobody has reserved."""
    return and_(
        WorkItem.workspace_id == holder.workspace_id,
        WorkItem.environment == holder.environment,
        or_(
            and_(
                WorkItem.state == ItemState.RESERVED,
                WorkItem.job_id == holder.job_id,
                WorkItem.attempt == holder.attempt,
            ),
            and_(WorkItem.state == ItemState.WAITING, WorkItem.created_by == by),
        ),
    )


def _unknown(item_id: uuid.UUID) -> NotFound:
    return NotFound(f"This job neither holds nor added a work item {item_id}.")
