"""Triggers: saved, found, paused, resumed, removed.

Promises that a trigger that is saved could start its target at that moment: an impossible schedule, an unknown bot,
zone or calendar, a missing parameter and a circle are refused, naming the field. A removed trigger keeps its row, so
that its firings can be told of.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from runner import sources as data_sources
from runner.errors import Conflict, Invalid, NotFound
from runner.jobs import Cause
from runner.triggers import Firing, Kind, Trigger
from scheduler import calendars, completion, sources
from scheduler.definitions import Definition, read
from scheduler.misfire import Timing
from scheduler.schedule import Schedule
from scheduler.starting import Wanted
from scheduler.targets import target
from vault import audit
from vault.audit import Actor
from vault.names import shown

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Saved:
    """A trigger as it was saved, and whether there was none of its name before."""

    trigger: Trigger
    new: bool


def save(
    session: Session,
    name: str,
    given: dict[str, Any],
    *,
    workspace_id: uuid.UUID,
    actor: Actor,
    now: datetime,
) -> Saved:
    """Make a trigger, or give one that exists another definition; it stays paused where it was.

    Raises:
        Invalid, NotFound: naming the field of the definition that cannot be used.
    """
    definition = checked(session, name, given, workspace_id=workspace_id)
    row = find(session, name, workspace_id=workspace_id, lock=True)
    new = row is None
    if row is None:
        row = Trigger(workspace_id=workspace_id, name=name, created_at=now, created_by=actor.name)
        session.add(row)
    elif row.kind != definition.kind:
        raise Conflict(
            f"Trigger {name} is a {row.kind} and cannot become a {definition.kind}; remove it first, or take another "
            "name."
        )
    _describe(row, definition, now=now)
    row.environment = environment_of(session, name, definition, workspace_id=workspace_id)
    session.flush()
    rewind(session, row, now=now)
    if row.kind == Kind.SCHEDULE and row.active and row.next_instant is None:
        raise Invalid("schedule: it has no instant after now; look at its at, end, calendars, days and windows.")
    if row.kind == Kind.COMPLETION and row.watched_until is None:
        row.watched_until = now + completion.OVERLAP
    session.flush()
    record(session, row, "trigger.changed" if not new else "trigger.added", actor=actor, now=now)
    return Saved(row, new)


def checked(session: Session, name: str, given: dict[str, Any], *, workspace_id: uuid.UUID) -> Definition:
    """The definition, when a trigger of this name could have it.

    Raises:
        Invalid, NotFound: naming the field.
    """
    if not _NAME.fullmatch(name):
        raise Invalid(
            "A trigger's name is 1 to 128 ASCII letters, digits, dots, hyphens or underscores and begins with a letter "
            f"or digit; {shown(name)} is not."
        )
    definition = read(given)
    target(definition.target[0]).check(session, _wanted(name, definition, workspace_id=workspace_id))
    if definition.schedule is not None:
        calendars.require(session, definition.schedule.calendars, workspace_id=workspace_id)
    place = environment_of(session, name, definition, workspace_id=workspace_id)
    if definition.completion is not None:
        _check_source(session, definition, environment=place, workspace_id=workspace_id)
    if definition.email is not None:
        bots = target(definition.target[0]).bots(session, _wanted(name, definition, workspace_id=workspace_id))
        _check_mailbox(session, definition, bots, environment=place, workspace_id=workspace_id)
    return definition


def environment_of(session: Session, name: str, definition: Definition, *, workspace_id: uuid.UUID) -> str:
    """Where a trigger of this definition starts its target: its own environment, else the target's, else dev.

    Raises:
        NotFound: when there is no such target (any more).
    """
    wanted = _wanted(name, definition, workspace_id=workspace_id)
    return target(definition.target[0]).environment(session, wanted)


def _wanted(name: str, definition: Definition, *, workspace_id: uuid.UUID) -> Wanted:
    return Wanted(
        workspace_id=workspace_id,
        name=definition.target[1],
        environment=definition.environment,
        group=definition.group,
        priority=definition.priority,
        parameters=definition.parameters,
        cause=Cause("trigger", name),
        promised=frozenset(definition.parameters_from),
    )


def find(session: Session, name: str, *, workspace_id: uuid.UUID, lock: bool = False) -> Trigger | None:
    """The trigger of this name that is in use, or `None`."""
    query = select(Trigger).where(
        Trigger.workspace_id == workspace_id, Trigger.name == name, Trigger.removed_at.is_(None)
    )
    return session.scalars(query.with_for_update() if lock else query).one_or_none()


def require(session: Session, name: str, *, workspace_id: uuid.UUID, lock: bool = False) -> Trigger:
    """The trigger of this name that is in use.

    Raises:
        NotFound: when there is none.
    """
    row = find(session, name, workspace_id=workspace_id, lock=lock)
    if row is None:
        raise NotFound(f"There is no trigger {shown(name)}; see `botkeep trigger list`.")
    return row


def listing(session: Session, *, workspace_id: uuid.UUID, limit: int, after: str | None) -> Sequence[Trigger]:
    """Triggers in use by name, at most `limit` after `after`."""
    query = select(Trigger).where(Trigger.workspace_id == workspace_id, Trigger.removed_at.is_(None))
    if after is not None:
        query = query.where(Trigger.name > after)
    return session.scalars(query.order_by(Trigger.name).limit(limit)).all()


def coming(session: Session, *, workspace_id: uuid.UUID, limit: int) -> Sequence[Trigger]:
    """The active triggers that fire next by their schedules, the soonest first."""
    return session.scalars(
        select(Trigger)
        .where(
            Trigger.workspace_id == workspace_id,
            Trigger.removed_at.is_(None),
            Trigger.enabled,
            Trigger.paused_at.is_(None),
            Trigger.next_fire_at.is_not(None),
        )
        .order_by(Trigger.next_fire_at)
        .limit(limit)
    ).all()


def latest(session: Session, rows: Sequence[Trigger]) -> dict[uuid.UUID, Firing]:
    """The newest firing of each of some triggers, by the trigger's id; none for one that has not fired."""
    one = aliased(Firing)
    newest = select(one.id).where(one.trigger_id == Trigger.id).order_by(one.id.desc()).limit(1).scalar_subquery()
    wanted = Trigger.id.in_([row.id for row in rows])
    found = session.scalars(select(Firing).join(Trigger, Firing.id == newest).where(wanted))
    return {firing.trigger_id: firing for firing in found}


def firings(session: Session, trigger_id: uuid.UUID, *, limit: int, after: uuid.UUID | None) -> Sequence[Firing]:
    """A trigger's firings before `after`, the newest first, at most `limit`."""
    query = select(Firing).where(Firing.trigger_id == trigger_id)
    if after is not None:
        query = query.where(Firing.id < after)
    return session.scalars(query.order_by(Firing.id.desc()).limit(limit)).all()


def pause(session: Session, trigger: Trigger, *, actor: Actor, now: datetime) -> None:
    """Let it fire no more until it is resumed; who paused first is remembered."""
    if trigger.paused_at is None:
        trigger.paused_at, trigger.paused_by = now, actor.name
        trigger.next_instant = trigger.next_fire_at = None
    session.flush()
    record(session, trigger, "trigger.paused", actor=actor, now=now)


def resume(session: Session, trigger: Trigger, *, actor: Actor, now: datetime) -> None:
    """Let it fire again, from now on: what a schedule would have fired while it was paused is left out."""
    if trigger.paused_at is not None:
        trigger.paused_at = trigger.paused_by = None
        if trigger.kind == Kind.COMPLETION:
            trigger.watched_until = now + completion.OVERLAP
        rewind(session, trigger, now=now)
    session.flush()
    record(session, trigger, "trigger.resumed", actor=actor, now=now)


def remove(session: Session, trigger: Trigger, *, actor: Actor, now: datetime) -> None:
    """Take a trigger out of use; its firings and what they started stay."""
    trigger.removed_at = now
    trigger.next_instant = trigger.next_fire_at = None
    session.flush()
    record(session, trigger, "trigger.removed", actor=actor, now=now)


def rewind(session: Session, trigger: Trigger, *, now: datetime) -> None:
    """Let a schedule wait for its first instant after `now`; nothing where it does not fire."""
    if trigger.kind != Kind.SCHEDULE:
        return
    timing = timing_of(trigger, excluded=calendars.days(session, trigger))
    following = timing.following(now) if trigger.active else None
    trigger.next_instant = following
    trigger.next_fire_at = None if following is None else timing.due_at(following)


def timing_of(trigger: Trigger, *, excluded: frozenset[date]) -> Timing:
    """The trigger's schedule."""
    schedule = Schedule.model_validate(trigger.definition["schedule"])
    return Timing(schedule, trigger.id, trigger.created_at, excluded)


def record(
    session: Session,
    trigger: Trigger,
    action: str,
    *,
    actor: Actor,
    now: datetime,
    details: dict[str, Any] | None = None,
) -> None:
    """The audit row of what somebody did to a trigger."""
    audit.record(
        session,
        actor,
        workspace_id=trigger.workspace_id,
        action=action,
        target=f"trigger {trigger.name}",
        environment=trigger.environment,
        now=now,
        details={"kind": trigger.kind, "starts": f"{trigger.target_kind} {trigger.target}", **(details or {})},
    )


def rewind_all(session: Session, calendar: str, *, workspace_id: uuid.UUID, now: datetime) -> None:
    """Let every schedule that names a calendar wait for its next instant anew, since the calendar has changed."""
    for trigger in calendars.using(session, calendar, workspace_id=workspace_id):
        rewind(session, trigger, now=now)
    session.flush()


def _describe(row: Trigger, definition: Definition, *, now: datetime) -> None:
    row.kind = definition.kind
    row.target_kind, row.target = definition.target
    row.group_name = definition.group
    row.parameters = dict(definition.parameters)
    row.definition = definition.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    row.enabled = definition.enabled
    row.changed_at = now


def _check_source(session: Session, definition: Definition, *, environment: str, workspace_id: uuid.UUID) -> None:
    source = definition.completion
    assert source is not None  # noqa: S101 - the caller looked
    kind, name = source.source
    sources.check(session, kind, name, workspace_id=workspace_id)
    if source.source == definition.target and source.environment in {None, environment}:
        raise Invalid(
            f"completion.{kind}: {name} would start itself again whenever it ends; name another {kind}, or an "
            "environment that this trigger does not start it in."
        )


def _check_mailbox(
    session: Session, definition: Definition, bots: frozenset[str], *, environment: str, workspace_id: uuid.UUID
) -> None:
    """Refuse a mailbox from which no bot that the trigger starts could read a message."""
    assert definition.email is not None  # noqa: S101 - the caller looked
    name = definition.email.source
    try:
        row = data_sources.find(session, name, workspace_id=workspace_id)
    except NotFound as error:
        raise Invalid(f"email.source: {error}") from None
    if row.kind != "imap":
        raise Invalid(f"email.source: {name} is a source of kind {row.kind}; messages come from one of kind imap.")
    if environment not in row.environments:
        raise Invalid(f"email.source: {name} is open in {', '.join(row.environments)} only, not in {environment}.")
    if row.bots is not None and not bots & set(row.bots):
        raise Invalid(f"email.source: {name} is not open to the bot {' or '.join(sorted(bots))}.")
