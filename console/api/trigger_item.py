"""Triggers, firings and calendars as the API answers them; never the key of a webhook."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from runner.jobs import Priority
from runner.triggers import Calendar, Firing, Kind, Trigger
from scheduler.preview import Coming


class TargetItem(BaseModel):
    """What a trigger starts."""

    kind: str
    name: str


class TriggerItem(BaseModel):
    """A trigger with its latest firing; only a schedule that fires has a `next_fire_at`.

    `hook` is the path that takes deliveries.
    """

    name: str
    kind: str
    target: TargetItem
    environment: str
    group: str
    priority: str
    enabled: bool
    paused_at: datetime | None
    paused_by: str | None
    next_fire_at: datetime | None
    hook: str | None
    last_firing: FiringItem | None
    created_at: datetime
    created_by: str
    changed_at: datetime


class TriggerDetail(TriggerItem):
    """A trigger with its whole definition; `key_set` says whether a webhook can be used."""

    parameters: dict[str, Any]
    definition: dict[str, Any]
    key_set: bool | None


class FiringItem(BaseModel):
    """One time that a trigger fired: what it started, or why it did not."""

    id: uuid.UUID
    key: str
    state: str
    instant: datetime
    why: str | None
    started: StartedItem | None
    depth: int
    created_at: datetime


class StartedItem(BaseModel):
    """The job or run that a firing started; `kind` is that of the target, so a `bot`'s is a job."""

    kind: str
    id: uuid.UUID


class ComingItem(BaseModel):
    """An instant to come: in UTC, on its zone's wall clock, when it is due, and what the clock does that day."""

    instant: datetime
    local: str
    due_at: datetime
    note: str


class CalendarItem(BaseModel):
    """Days on which the schedules that name the calendar do not fire."""

    name: str
    days: list[str]
    changed_at: datetime
    changed_by: str


def trigger_item(trigger: Trigger, *, last: Firing | None) -> TriggerItem:
    """A trigger for a list."""
    return TriggerItem(**_item(trigger, last))


def trigger_detail(trigger: Trigger, *, key_set: bool, last: Firing | None) -> TriggerDetail:
    """A trigger as a whole."""
    webhook = trigger.kind == Kind.WEBHOOK
    return TriggerDetail(
        **_item(trigger, last),
        parameters=trigger.parameters,
        definition=trigger.definition,
        key_set=key_set if webhook else None,
    )


def firing_item(firing: Firing) -> FiringItem:
    """A firing, without what its event said."""
    started = None
    if firing.started_kind is not None and firing.started_id is not None:
        started = StartedItem(kind=firing.started_kind, id=firing.started_id)
    return FiringItem(
        id=firing.id,
        key=firing.key,
        state=firing.state,
        instant=firing.instant,
        why=firing.why,
        started=started,
        depth=firing.depth,
        created_at=firing.created_at,
    )


def coming_item(coming: Coming) -> ComingItem:
    """An instant of a preview."""
    local = coming.local.isoformat(sep=" ", timespec="seconds")
    return ComingItem(instant=coming.instant, local=local, due_at=coming.due_at, note=coming.note)


def calendar_item(calendar: Calendar) -> CalendarItem:
    """A calendar with its days."""
    return CalendarItem(
        name=calendar.name, days=calendar.days, changed_at=calendar.changed_at, changed_by=calendar.changed_by
    )


def _item(trigger: Trigger, last: Firing | None) -> dict[str, Any]:
    return {
        "name": trigger.name,
        "kind": trigger.kind,
        "target": TargetItem(kind=trigger.target_kind, name=trigger.target),
        "environment": trigger.environment,
        "group": trigger.group_name,
        "priority": trigger.definition.get("priority", Priority.NORMAL.word),
        "enabled": trigger.enabled,
        "paused_at": trigger.paused_at,
        "paused_by": trigger.paused_by,
        "next_fire_at": trigger.next_fire_at,
        "hook": f"/hooks/{trigger.id}" if trigger.kind == Kind.WEBHOOK else None,
        "last_firing": None if last is None else firing_item(last),
        "created_at": trigger.created_at,
        "created_by": trigger.created_by,
        "changed_at": trigger.changed_at,
    }
