"""Calendars: named days on which schedules do not fire, such as a country's holidays."""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection, Iterable, Sequence
from datetime import date, datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from runner.errors import Conflict, Invalid, NotFound
from runner.triggers import Calendar, Kind, Trigger
from vault import audit, db
from vault.audit import Actor
from vault.names import shown

#: Days of one calendar: ten years of holidays and company days are below 500.
MAX_DAYS = 5000

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)


def put(
    session: Session,
    name: str,
    given: Iterable[str],
    *,
    workspace_id: uuid.UUID,
    actor: Actor,
    now: datetime,
) -> Calendar:
    """Make a calendar of these days (`YYYY-MM-DD`), or give one that exists other days.

    Raises:
        Invalid: for a name or a day that there cannot be.
    """
    if not _NAME.fullmatch(name):
        raise Invalid(
            f"A calendar's name is 1 to 128 ASCII letters, digits, dots, hyphens or underscores; {shown(name)} is not."
        )
    wanted = [day.isoformat() for day in sorted(_days(given))]
    row = session.get(Calendar, (workspace_id, name), with_for_update=True)
    if row is None:
        row = Calendar(workspace_id=workspace_id, name=name)
        session.add(row)
    row.days, row.changed_at, row.changed_by = wanted, now, actor.name
    session.flush()
    _record(session, "calendar.changed", name, workspace_id=workspace_id, actor=actor, now=now, days=len(wanted))
    return row


def remove(session: Session, name: str, *, workspace_id: uuid.UUID, actor: Actor, now: datetime) -> None:
    """Forget a calendar.

    Raises:
        NotFound: when there is none of this name.
        Conflict: while a trigger names it.
    """
    users = [trigger.name for trigger in using(session, name, workspace_id=workspace_id)]
    if users:
        raise Conflict(f"Calendar {name} is used by the triggers {', '.join(users[:5])}; change those first.")
    gone = delete(Calendar).where(Calendar.workspace_id == workspace_id, Calendar.name == name)
    if not db.changes(session, gone):
        raise unknown(name)
    _record(session, "calendar.removed", name, workspace_id=workspace_id, actor=actor, now=now, days=0)


def get(session: Session, name: str, *, workspace_id: uuid.UUID) -> Calendar:
    """The calendar of this name.

    Raises:
        NotFound: when there is none.
    """
    row = session.get(Calendar, (workspace_id, name))
    if row is None:
        raise unknown(name)
    return row


def listing(session: Session, *, workspace_id: uuid.UUID) -> Sequence[Calendar]:
    """Every calendar, by name."""
    return session.scalars(select(Calendar).where(Calendar.workspace_id == workspace_id).order_by(Calendar.name)).all()


def unknown(name: str) -> NotFound:
    """The error for a calendar that does not exist."""
    return NotFound(f"There is no calendar {shown(name)}; see `botkeep calendar list`.")


def require(session: Session, names: Collection[str], *, workspace_id: uuid.UUID) -> None:
    """Go on only where each of these exists.

    Raises:
        Invalid: naming one that does not.
    """
    found = session.scalars(
        select(Calendar.name).where(Calendar.workspace_id == workspace_id, Calendar.name.in_(names))
    ).all()
    for name in names:
        if name not in found:
            raise Invalid(f"schedule.calendars: {unknown(name)}")


def days(session: Session, trigger: Trigger) -> frozenset[date]:
    """The days of all calendars that a schedule names."""
    return days_of_all(session, [trigger]).get(trigger.id, frozenset())


def days_of_all(session: Session, triggers: Sequence[Trigger]) -> dict[uuid.UUID, frozenset[date]]:
    """The days of each trigger that names calendars."""
    named = {trigger.id: (trigger.workspace_id, names_of(trigger)) for trigger in triggers if names_of(trigger)}
    if not named:
        return {}
    wanted = {name for _, names in named.values() for name in names}
    rows = session.scalars(select(Calendar).where(Calendar.name.in_(wanted))).all()
    known = {(row.workspace_id, row.name): [date.fromisoformat(day) for day in row.days] for row in rows}
    return {
        trigger_id: frozenset(day for name in names for day in known.get((workspace_id, name), ()))
        for trigger_id, (workspace_id, names) in named.items()
    }


def using(session: Session, name: str, *, workspace_id: uuid.UUID) -> list[Trigger]:
    """The triggers in use that name this calendar."""
    rows = session.scalars(
        select(Trigger).where(
            Trigger.workspace_id == workspace_id, Trigger.kind == Kind.SCHEDULE, Trigger.removed_at.is_(None)
        )
    )
    return [row for row in rows if name in names_of(row)]


def names_of(trigger: Trigger) -> list[str]:
    """The calendars that a trigger names."""
    return list((trigger.definition.get("schedule") or {}).get("calendars", ()))


def _days(given: Iterable[str]) -> set[date]:
    found: set[date] = set()
    for text in given:
        try:
            found.add(date.fromisoformat(text))
        except ValueError:
            raise Invalid(f"days: {shown(text)} is no day; write it as 2027-12-25.") from None
        if len(found) > MAX_DAYS:
            raise Invalid(f"days: a calendar has at most {MAX_DAYS:,} days.")
    return found


def _record(
    session: Session,
    action: str,
    name: str,
    *,
    workspace_id: uuid.UUID,
    actor: Actor,
    now: datetime,
    days: int,
) -> None:
    audit.record(
        session,
        actor,
        workspace_id=workspace_id,
        action=action,
        target=f"calendar {name}",
        now=now,
        details={"days": days},
    )
