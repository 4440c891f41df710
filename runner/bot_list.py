"""The list of bots with what each did last, and single versions of one. Reads only."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session, undefer

from runner.errors import NotFound
from runner.models import Bot, Job, PackageVersion
from runner.package_diff import Side


@dataclass(frozen=True, slots=True)
class Listed:
    """A bot with its newest version and its latest job, if it has any."""

    bot: Bot
    version: PackageVersion
    last: Job | None


def page(
    session: Session, *, workspace_id: uuid.UUID, limit: int, text: str = "", after: str | None = None
) -> Sequence[Listed]:
    """The next bots in use by name after `after`, at most `limit`, whose name holds `text`."""
    newest = (
        select(func.max(PackageVersion.number)).where(PackageVersion.bot_id == Bot.id).correlate(Bot).scalar_subquery()
    )
    latest = (
        select(Job.id).where(Job.bot_id == Bot.id).order_by(Job.id.desc()).limit(1).correlate(Bot).scalar_subquery()
    )
    query = (
        select(Bot, PackageVersion, Job)
        .join(PackageVersion, (PackageVersion.bot_id == Bot.id) & (PackageVersion.number == newest))
        .outerjoin(Job, Job.id == latest)
        .where(Bot.workspace_id == workspace_id, Bot.removed_at.is_(None))
        .order_by(Bot.name)
        .limit(limit)
    )
    if text:
        query = query.where(Bot.name.icontains(text, autoescape=True))
    if after is not None:
        query = query.where(Bot.name > after)
    return [Listed(*row) for row in session.execute(query)]


def version(session: Session, bot: Bot, number: int) -> PackageVersion:
    """One version of a bot with its list of files.

    Raises:
        NotFound: when it has no such version.
    """
    found = session.scalars(
        select(PackageVersion)
        .where(PackageVersion.bot_id == bot.id, PackageVersion.number == number)
        .options(undefer(PackageVersion.files))
    ).one_or_none()
    if found is None:
        raise NotFound(f"The bot {bot.name} has no version {number}; see `botkeep bot show {bot.name}`.")
    return found


def side(version: PackageVersion) -> Side:
    """A version, to be compared with another."""
    return Side(version.files, version.manifest, version.dependencies)
