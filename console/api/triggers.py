"""Triggers over HTTP: save, list, show, pause, resume, remove, run now, firings, preview."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from console import hook_keys
from console.api.trigger_item import (
    ComingItem,
    FiringItem,
    StartedItem,
    TriggerDetail,
    TriggerItem,
    coming_item,
    firing_item,
    trigger_detail,
    trigger_item,
)
from console.deps import After, Allowed, Call, Limit
from console.models import HookKey
from console.paging import Page
from console.text import JsonObject, Text
from runner.errors import Invalid
from runner.triggers import Firing, FiringState, Kind, Trigger
from scheduler import calendars, firing, triggers
from scheduler.definitions import Style, read
from scheduler.preview import preview
from scheduler.shots import Fired, Shot
from vault.names import check_environment

router = APIRouter(prefix="/api/v1/triggers", tags=["triggers"])


class TriggerOrder(BaseModel):
    """A trigger that is to be saved; the definition is described in docs/TRIGGERS.md."""

    model_config = ConfigDict(extra="forbid")

    name: Text
    definition: JsonObject


class KeyOrder(BaseModel):
    """The key that a webhook's sender signs with."""

    model_config = ConfigDict(extra="forbid")

    key: Text


class MadeKey(TriggerItem):
    """A webhook with its new key, once."""

    key: str


class RunOrder(BaseModel):
    """A trigger that is to be run now; environment and parameters go before its own."""

    model_config = ConfigDict(extra="forbid")

    environment: Text | None = None
    parameters: JsonObject = Field(default_factory=dict)
    idempotency_key: Text | None = Field(default=None, min_length=1, max_length=200)


@router.post(
    "",
    status_code=201,
    summary="Save a trigger",
    responses={200: {"model": TriggerDetail, "description": "There was one of this name; it is changed."}},
)
def save(call: Allowed, order: TriggerOrder, response: Response) -> TriggerDetail:
    """Make a trigger, or give one that exists another definition."""
    if (chosen := read(order.definition).environment) is not None:
        call.require_environment(chosen)
    with call.writing() as session:
        before = triggers.find(session, order.name, workspace_id=call.workspace_id)
        if before is not None:
            call.require_environment(before.environment)
        style = _style(before)
        saved = triggers.save(
            session, order.name, order.definition, workspace_id=call.workspace_id, actor=call.actor, now=call.now
        )
        call.require_environment(saved.trigger.environment)  # that of the target, where the definition names none
        if style is not None and style != _style(saved.trigger):
            hook_keys.forget(session, saved.trigger.id)  # what was kept does not verify the other style
        item = _detail(session, saved.trigger)
    if not saved.new:
        response.status_code = 200
    return item


@router.get("", summary="List triggers")
def listed(call: Allowed, limit: Limit = 50, after: After = None) -> Page[TriggerItem]:
    """Every trigger in use with its latest firing, by name."""
    with call.reading() as session:
        rows = triggers.listing(session, workspace_id=call.workspace_id, limit=limit + 1, after=after)
        last = triggers.latest(session, rows)
        items = [trigger_item(row, last=last.get(row.id)) for row in rows]
    return Page(items=items[:limit], next=items[limit - 1].name if len(items) > limit else None)


@router.get("/{name}", summary="Show a trigger")
def show(call: Allowed, name: str) -> TriggerDetail:
    """A trigger, its definition and its latest firing."""
    with call.reading() as session:
        return _detail(session, triggers.require(session, name, workspace_id=call.workspace_id))


@router.delete("/{name}", status_code=204, summary="Remove a trigger")
def remove(call: Allowed, name: str) -> None:
    """Take a trigger out of use; its firings and jobs stay in history."""
    with _changing(call, name) as (session, trigger):
        triggers.remove(session, trigger, actor=call.actor, now=call.now)


@router.put("/{name}/pause", summary="Pause a trigger")
def pause(call: Allowed, name: str) -> TriggerItem:
    """Let it fire no more; a schedule's instants of that time are left out."""
    with _changing(call, name) as (session, trigger):
        triggers.pause(session, trigger, actor=call.actor, now=call.now)
        return _item(session, trigger)


@router.delete("/{name}/pause", summary="Resume a trigger")
def resume(call: Allowed, name: str) -> TriggerItem:
    """Let it fire again, from now on."""
    with _changing(call, name) as (session, trigger):
        triggers.resume(session, trigger, actor=call.actor, now=call.now)
        return _item(session, trigger)


@router.put("/{name}/key", summary="Set the key of a webhook")
def set_key(call: Allowed, name: str, order: KeyOrder) -> TriggerItem:
    """Verify deliveries by the key that the sender made, from now on."""
    return _set_key(call, name, order.key)


@router.post("/{name}/key", status_code=201, summary="Make the key of a webhook")
def make_key(call: Allowed, name: str) -> MadeKey:
    """Verify deliveries by a new key, which is in this answer and nowhere else."""
    key = f"bkh_{secrets.token_urlsafe(32)}"
    return MadeKey(**_set_key(call, name, key).model_dump(), key=key)


@router.post(
    "/{name}/runs",
    status_code=201,
    summary="Run a trigger now",
    responses={200: {"model": FiringItem, "description": "The key made this firing before."}},
)
def run(call: Allowed, name: str, order: RunOrder, response: Response) -> FiringItem:
    """Start what the trigger starts, at once and whatever its policies say; a paused trigger, too."""
    if order.environment is not None:
        call.require_environment(check_environment(order.environment))
    with _changing(call, name) as (session, trigger):
        shot = Shot(
            trigger,
            f"run:{order.idempotency_key or uuid.uuid4().hex}",
            call.now,
            by_hand=True,
            environment=order.environment,
            asked_by=call.caller.person,
            parameters=order.parameters,
        )
        if order.environment is None:
            _require_target(call, session, trigger)
        fired = firing.fire(session, shot, now=call.now)
        if fired.state == FiringState.FAILED:
            raise Invalid(fired.why or "The trigger cannot be run.")
        triggers.record(session, trigger, call.action, actor=call.actor, now=call.now)
    firing.announce(call.console.engine, call.console.transport, [fired])
    if not fired.new:
        response.status_code = 200
    return _fired_item(call, fired)


@router.get("/{name}/firings", summary="List a trigger's firings")
def firings(
    call: Allowed,
    name: str,
    limit: Limit = 50,
    after: Annotated[uuid.UUID | None, Query(description="The `next` of the page before.")] = None,
) -> Page[FiringItem]:
    """What it started and what it did not, the newest first."""
    with call.reading() as session:
        trigger = triggers.require(session, name, workspace_id=call.workspace_id)
        items = [firing_item(row) for row in triggers.firings(session, trigger.id, limit=limit, after=after)]
    return Page(items=items, next=str(items[-1].id) if len(items) == limit else None)


@router.get("/{name}/preview", summary="Show when a schedule fires next")
def coming(call: Allowed, name: str, count: Annotated[int, Query(ge=1, le=500)] = 10) -> Page[ComingItem]:
    """Its next instants, with the nights marked in which the clock changes."""
    with call.reading() as session:
        trigger = triggers.require(session, name, workspace_id=call.workspace_id)
        if trigger.kind != Kind.SCHEDULE:
            raise Invalid(f"Trigger {name} is a {trigger.kind}; only a schedule has instants that can be foretold.")
        timing = triggers.timing_of(trigger, excluded=calendars.days(session, trigger))
    return Page(items=[coming_item(one) for one in preview(timing, now=call.now, count=count)], next=None)


@contextmanager
def _changing(call: Call, name: str) -> Iterator[tuple[Session, Trigger]]:
    """A transaction that changes one trigger."""
    with call.writing() as session:
        trigger = triggers.require(session, name, workspace_id=call.workspace_id, lock=True)
        call.require_environment(trigger.environment)
        yield session, trigger


def _require_target(call: Call, session: Session, trigger: Trigger) -> None:
    """The target's environment may have changed since the trigger was saved."""
    definition = read(trigger.definition)
    call.require_environment(triggers.environment_of(session, trigger.name, definition, workspace_id=call.workspace_id))


def _set_key(call: Call, name: str, key: str) -> TriggerItem:
    with _changing(call, name) as (session, trigger):
        style = _style(trigger)
        if style is None:
            raise Invalid(f"Trigger {name} is a {trigger.kind}; only a webhook has a key.")
        call.console.hooks.set(session, trigger.id, style=style, key=key, actor=call.actor, now=call.now)
        triggers.record(session, trigger, call.action, actor=call.actor, now=call.now)
        return _item(session, trigger)


def _style(trigger: Trigger | None) -> Style | None:
    if trigger is None or trigger.kind != Kind.WEBHOOK:
        return None
    return Style(trigger.definition["webhook"]["style"])


def _detail(session: Session, trigger: Trigger) -> TriggerDetail:
    key_set = session.execute(select(HookKey.trigger_id).where(HookKey.trigger_id == trigger.id)).first() is not None
    return trigger_detail(trigger, key_set=key_set, last=_last(session, trigger))


def _item(session: Session, trigger: Trigger) -> TriggerItem:
    return trigger_item(trigger, last=_last(session, trigger))


def _last(session: Session, trigger: Trigger) -> Firing | None:
    found = triggers.firings(session, trigger.id, limit=1, after=None)
    return found[0] if found else None


def _fired_item(call: Call, fired: Fired) -> FiringItem:
    started = None
    if fired.started_kind is not None and fired.started_id is not None:
        started = StartedItem(kind=fired.started_kind, id=fired.started_id)
    return FiringItem(
        id=fired.id,
        key=fired.shot.key,
        state=fired.state,
        instant=fired.shot.instant,
        why=fired.why,
        started=started,
        depth=fired.shot.depth,
        created_at=call.now,
    )
