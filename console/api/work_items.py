"""Work items over HTTP: add them to trays, see what became of them, try dead letters again."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, StrictInt
from sqlalchemy.orm import Session

from console.deps import Allowed, Call, Limit
from console.paging import Page
from console.text import Text
from runner import work_items
from runner.errors import NotFound
from runner.flow_models import WorkItem
from runner.jobs import Priority
from runner.work_items import Draft
from vault import audit
from vault.names import ENVIRONMENTS, check_environment, shown

router = APIRouter(prefix="/api/v1/work-items", tags=["work items"])


class NewItem(BaseModel):
    """A work item to be added; a reference is unique in its tray and environment."""

    model_config = ConfigDict(extra="forbid")

    tray: Text
    data: JsonValue
    environment: Text = ENVIRONMENTS[0]
    reference: Text | None = None
    priority: Text = Priority.NORMAL.word
    deadline: AwareDatetime | None = None
    not_before: AwareDatetime | None = None
    retries: StrictInt = work_items.RETRIES
    retry_delay: float = Field(default=work_items.DELAY.total_seconds(), ge=0, le=30 * 86_400)


class WorkItemItem(BaseModel):
    """A work item, and who holds it or held it last."""

    id: uuid.UUID
    tray: str
    environment: str
    reference: str | None
    data: Any
    priority: str
    deadline: datetime | None
    not_before: datetime | None
    state: str
    reason: str | None
    detail: str | None
    result: Any
    tries: int
    retries: int
    retry_delay: float
    created_at: datetime
    created_by: str
    reserved_at: datetime | None
    finished_at: datetime | None
    job_id: uuid.UUID | None
    attempt: int | None


@router.get("", summary="List work items")
def listed(
    call: Allowed,
    *,
    tray: str | None = None,
    state: str | None = None,
    environment: str | None = None,
    limit: Limit = 50,
    after: Annotated[uuid.UUID | None, Query(description="The `next` of the page before.")] = None,
) -> Page[WorkItemItem]:
    """Work items, the newest first."""
    with call.reading() as session:
        rows = work_items.page(
            session,
            workspace_id=call.workspace_id,
            tray=tray,
            state=state,
            environment=environment,
            limit=limit,
            after=after,
        )
        items = [_item(row) for row in rows]
    return Page(items=items, next=str(items[-1].id) if len(items) == limit else None)


@router.post("", status_code=201, summary="Add a work item")
def add(call: Allowed, new: NewItem) -> WorkItemItem:
    """Put an item into a tray, which exists as soon as something lies in it."""
    check_environment(new.environment)
    call.require_environment(new.environment)
    draft = Draft(
        tray=new.tray,
        environment=new.environment,
        data=new.data,
        reference=new.reference,
        priority=Priority.of(new.priority),
        deadline=new.deadline,
        not_before=new.not_before,
        retries=new.retries,
        retry_delay=timedelta(seconds=new.retry_delay),
    )
    with call.writing() as session:
        made = work_items.add(session, draft, workspace_id=call.workspace_id, by=call.caller.name, now=call.now)
        item = work_items.require(session, made, workspace_id=call.workspace_id)
        _record(session, call, item)
        return _item(item)


@router.get("/{item_id}", summary="Show a work item")
def show(call: Allowed, item_id: str) -> WorkItemItem:
    """An item and what became of it."""
    with call.reading() as session:
        return _item(work_items.require(session, _parsed(item_id), workspace_id=call.workspace_id))


@router.post("/{item_id}/retry", summary="Try a work item again")
def retry(call: Allowed, item_id: str) -> WorkItemItem:
    """Put a failed item or a dead letter back into its tray, with all its tries."""
    with call.writing() as session:
        found = work_items.require(session, _parsed(item_id), workspace_id=call.workspace_id)
        call.require_environment(found.environment)
        item = work_items.retry(session, found.id, workspace_id=call.workspace_id, now=call.now)
        _record(session, call, item)
        return _item(item)


@router.delete("/{item_id}", status_code=204, summary="Remove a work item")
def remove(call: Allowed, item_id: str) -> None:
    """Take an item that no bot holds out of its tray."""
    with call.writing() as session:
        found = work_items.require(session, _parsed(item_id), workspace_id=call.workspace_id)
        call.require_environment(found.environment)
        _record(session, call, found)
        work_items.remove(session, found.id, workspace_id=call.workspace_id)


def _parsed(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise NotFound(f"There is no work item {shown(text)}; see `botkeep item list`.") from None


def _record(session: Session, call: Call, item: WorkItem) -> None:
    audit.record(
        session,
        call.actor,
        workspace_id=call.workspace_id,
        action=call.action,
        target=f"work item {item.id} of tray {item.tray}",
        environment=item.environment,
        now=call.now,
    )


def _item(item: WorkItem) -> WorkItemItem:
    own = {
        "data": item.data["is"],
        "result": None if item.result is None else item.result["is"],
        "priority": Priority(item.priority).word,
    }
    same = {name: getattr(item, name) for name in WorkItemItem.model_fields if name not in own}
    return WorkItemItem(**same, **own)
