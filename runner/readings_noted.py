"""When each asset was last read for which bot, noted from the readings of jobs that have ended.

The readings themselves have no index by asset, since it would cost every start of a job; so the scheduler gathers them
by bot, in windows of the times at which jobs ended. What ended lately is gathered again: the later time stays.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Select, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from runner.models import Bot, Job, ReadingsNoted
from vault.db import database_time
from vault.models import LastReading, Reading

#: An end is written down at the time at which its transaction began, and seen when it is committed: so long after.
LATE = timedelta(minutes=1)

#: Of how much time the ends are gathered in one transaction.
WINDOW = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class LastRead:
    """The last reading of an asset: in which environment, for which bot, when."""

    environment: str
    bot: str
    read_at: datetime


def waiting(session: Session) -> list[uuid.UUID]:
    """The bots of which jobs have ended that were not gathered."""
    latest = (
        select(func.max(Job.finished_at))
        .where(Job.bot_id == Bot.id, Job.finished_at.is_not(None))
        .correlate(Bot)
        .scalar_subquery()
    )
    query = select(Bot.id).outerjoin(ReadingsNoted, ReadingsNoted.bot_id == Bot.id)
    return list(session.scalars(query.where(latest > func.coalesce(ReadingsNoted.until, Bot.created_at))))


def note(session: Session, bot_id: uuid.UUID) -> bool:
    """Gather the next window of a bot; answers whether there is another one now.

    Two schedulers do no harm: each writes the same.
    """
    now = database_time(session)
    mark = session.get(ReadingsNoted, bot_id)
    begin = session.get_one(Bot, bot_id).created_at if mark is None else mark.until
    end = min(begin + WINDOW, now)
    until = max(begin, min(end, now - LATE))
    gathered = (
        select(Reading.asset_id, Reading.environment, Job.bot_id, func.max(Reading.read_at))
        .join(Job, Job.id == Reading.job_id)
        .where(Job.bot_id == bot_id, Job.finished_at > begin, Job.finished_at <= end)
        .group_by(Reading.asset_id, Reading.environment, Job.bot_id)
    )
    _note(session, gathered)
    if mark is None:
        session.merge(ReadingsNoted(bot_id=bot_id, until=until))
    else:
        mark.until = until
    session.flush()
    return end < now


def of_assets(session: Session, asset_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, list[LastRead]]:
    """The last readings of some assets, the newest first; an asset that was never read is left out."""
    wanted = list(asset_ids)
    rows = session.execute(
        select(LastReading.asset_id, LastReading.environment, Bot.name, LastReading.read_at)
        .join(Bot, Bot.id == LastReading.bot_id)
        .where(LastReading.asset_id.in_(wanted))
        .order_by(LastReading.read_at.desc())
    ).all()
    found: dict[uuid.UUID, list[LastRead]] = {}
    for asset_id, environment, bot, read_at in rows:
        found.setdefault(asset_id, []).append(LastRead(environment, bot, read_at))
    return found


def _note(session: Session, gathered: Select[uuid.UUID, str, uuid.UUID, datetime]) -> None:
    make = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    statement = make(LastReading).from_select(["asset_id", "environment", "bot_id", "read_at"], gathered)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["asset_id", "environment", "bot_id"],
            set_={"read_at": statement.excluded.read_at},
            where=statement.excluded.read_at > LastReading.read_at,
        )
    )
