"""Bots: registered programs and their immutable package versions."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from runner import concurrency
from runner.archive import Package
from runner.errors import Conflict, Invalid, NotFound
from runner.models import Bot, Job, PackageBlob, PackageVersion
from runner.states import State
from vault import assets, audit
from vault.audit import Actor
from vault.names import shown

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Added:
    """What registering answered; `new` is false when the newest version holds the same package already."""

    version: PackageVersion
    new: bool


def check_name(name: str) -> str:
    """Give `name` back when it can name a bot.

    Raises:
        Invalid: otherwise.
    """
    if not _NAME.fullmatch(name):
        raise Invalid(
            "A bot's name is 1 to 128 ASCII letters, digits, dots, hyphens or underscores and begins with a "
            f"letter or digit; {name[:60]!a} is not."
        )
    return name


def add(
    session: Session,
    name: str,
    *,
    workspace_id: uuid.UUID,
    package: Package,
    actor: Actor,
    now: datetime,
) -> Added:
    """Register a bot, or the next version of one that exists.

    Raises:
        Invalid: for a name that cannot be used.
    """
    check_name(name)
    bot = find(session, name, workspace_id=workspace_id, lock=True)
    if bot is None:
        bot = Bot(workspace_id=workspace_id, name=name, created_at=now, created_by=actor.name)
        session.add(bot)
        session.flush()
    newest = _newest(session, bot.id)
    if newest is not None and newest.digest == package.digest:
        return Added(newest, new=False)
    _store(session, package)
    version = PackageVersion(
        bot_id=bot.id,
        number=1 if newest is None else newest.number + 1,
        digest=package.digest,
        size=len(package.content),
        manifest=package.manifest.model_dump(mode="json"),
        files=dict(package.listing),
        dependencies=None if package.dependencies is None else asdict(package.dependencies),
        created_at=now,
        created_by=actor.name,
    )
    session.add(version)
    session.flush()
    concurrency.join(session, version, bot=name, workspace_id=workspace_id)
    audit.record(
        session,
        actor,
        workspace_id=workspace_id,
        action="bot.added",
        target=f"bot {name}",
        now=now,
        details={"version": version.number, "digest": version.digest},
    )
    session.flush()
    return Added(version, new=True)


def remove(session: Session, name: str, *, workspace_id: uuid.UUID, actor: Actor, now: datetime) -> None:
    """Take a bot out of use with its exclusive assets; its versions and its history stay.

    Raises:
        NotFound: when there is no such bot.
        Conflict: while jobs of it are queued or running.
    """
    bot = require(session, name, workspace_id=workspace_id, lock=True)
    open_jobs = session.scalar(
        select(func.count()).select_from(Job).where(Job.bot_id == bot.id, Job.state.in_([State.QUEUED, State.RUNNING]))
    )
    if open_jobs:
        raise Conflict(f"Bot {name} has {open_jobs} queued or running jobs; cancel them or wait for their end.")
    assets.remove_of_bot(session, scope=assets.Scope(workspace_id, bot.id, bot.name), actor=actor, now=now)
    bot.removed_at = now
    audit.record(session, actor, workspace_id=workspace_id, action="bot.removed", target=f"bot {name}", now=now)
    session.flush()


def find(session: Session, name: str, *, workspace_id: uuid.UUID, lock: bool = False) -> Bot | None:
    """The bot of this name that is in use, or `None`."""
    query = select(Bot).where(Bot.workspace_id == workspace_id, Bot.name == name, Bot.removed_at.is_(None))
    return session.scalars(query.with_for_update() if lock else query).one_or_none()


def require(session: Session, name: str, *, workspace_id: uuid.UUID, lock: bool = False) -> Bot:
    """The bot of this name that is in use.

    Raises:
        NotFound: when there is none.
    """
    bot = find(session, name, workspace_id=workspace_id, lock=lock)
    if bot is None:
        raise unknown(name)
    return bot


def unknown(name: str) -> NotFound:
    """The error for a bot that does not exist."""
    return NotFound(f"There is no bot {shown(name)}; see `botkeep bot list`, or add it: botkeep bot add NAME PATH")


def versions(session: Session, bot_id: uuid.UUID) -> Sequence[PackageVersion]:
    """Every version of a bot, newest first."""
    return session.scalars(
        select(PackageVersion).where(PackageVersion.bot_id == bot_id).order_by(PackageVersion.number.desc())
    ).all()


def listing(session: Session, *, workspace_id: uuid.UUID) -> list[tuple[Bot, PackageVersion]]:
    """Every bot in use by name, with its newest version."""
    newest = (
        select(PackageVersion.bot_id, func.max(PackageVersion.number).label("number"))
        .group_by(PackageVersion.bot_id)
        .subquery()
    )
    rows = session.execute(
        select(Bot, PackageVersion)
        .join(newest, newest.c.bot_id == Bot.id)
        .join(
            PackageVersion,
            (PackageVersion.bot_id == Bot.id) & (PackageVersion.number == newest.c.number),
        )
        .where(Bot.workspace_id == workspace_id, Bot.removed_at.is_(None))
        .order_by(Bot.name)
    ).all()
    return [(bot, version) for bot, version in rows]


def _newest(session: Session, bot_id: uuid.UUID) -> PackageVersion | None:
    return session.scalars(
        select(PackageVersion).where(PackageVersion.bot_id == bot_id).order_by(PackageVersion.number.desc()).limit(1)
    ).one_or_none()


def _store(session: Session, package: Package) -> None:
    known = session.scalar(select(PackageBlob.digest).where(PackageBlob.digest == package.digest))
    if known is None:
        session.execute(insert(PackageBlob).values(digest=package.digest, content=package.content))
