"""Concurrency limits: how many jobs of an environment may run at the same time.

A limit counts the environment's jobs, those of one bot, of one queue or workflow (by their cause), or those whose bot
may see one asset, so that one account is logged in once (a bot that declares no assets may see every one). Its members
are package versions, since what a version declares never changes: they are written when a limit is made and when a
version is added, and the claim (`runner.saturation`) counts the running jobs of members. There is no counter that a
killed runner could leave behind.
A bot's own `concurrency` in bot.toml is the author's word and counts across environments; these are the operator's.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self

from sqlalchemy import ColumnElement, and_, delete, func, insert, or_, select
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from runner.concurrency_models import ConcurrencyLimit, LimitMember
from runner.errors import Invalid, NotFound
from runner.manifest import Manifest, ManifestInvalid
from runner.models import Bot, Job, PackageVersion
from runner.states import State
from vault import audit
from vault.audit import Actor
from vault.models import Asset, Workspace
from vault.names import ENVIRONMENTS, AssetName, check_environment, shown

#: The most that a limit can allow: more is none.
MOST = 10_000


class Kind(StrEnum):
    """Whose jobs a limit counts."""

    ENVIRONMENT = "environment"
    BOT = "bot"
    ASSET = "asset"
    QUEUE = "queue"
    WORKFLOW = "workflow"

    @classmethod
    def of(cls, word: str) -> Self:
        """The kind of a word.

        Raises:
            NotFound: for any other word.
        """
        if word not in set(cls):
            raise NotFound(f"Jobs are counted by environment, bot, asset, queue or workflow, not by {shown(word)}.")
        return cls(word)


_FLOWS = frozenset({Kind.QUEUE, Kind.WORKFLOW})


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit in force, and how many jobs it counts now."""

    environment: str
    kind: Kind
    target: str
    at_once: int
    running: int
    created_at: datetime
    created_by: str

    @property
    def words(self) -> str:
        """What is limited, as in "the asset SAP.LOGIN in prod"."""
        return (
            self.environment
            if self.kind is Kind.ENVIRONMENT
            else f"the {self.kind} {self.target} in {self.environment}"
        )


def set_limit(
    session: Session,
    kind: Kind,
    target: str,
    *,
    environment: str,
    at_once: int,
    workspace_id: uuid.UUID,
    actor: Actor,
    now: datetime,
) -> Limit:
    """Allow at most `at_once` jobs at the same time from now on; what runs goes on.

    That a queue or workflow exists is for the caller to know.

    Raises:
        NotFound: for an unknown bot or asset.
        Invalid: for an unknown environment, a number below 1, or a target that the kind does not have.
    """
    check_environment(environment)
    if not 1 <= at_once <= MOST:
        raise Invalid(f"A concurrency limit is 1 to {MOST:,} jobs at the same time, not {at_once}.")
    name = _known(session, kind, target, workspace_id=workspace_id)
    _lock(session, workspace_id)
    row = _find(session, kind, name, environment=environment, workspace_id=workspace_id)
    if row is None:
        row = ConcurrencyLimit(
            id=uuid7(),
            workspace_id=workspace_id,
            environment=environment,
            kind=kind,
            target=name,
            at_once=at_once,
            created_at=now,
            created_by=actor.name,
        )
        session.add(row)
        session.flush()
        for version, bot in _versions(session, workspace_id):
            _add_member(session, row, version, bot=bot)
    row.at_once = at_once
    _record(session, actor, row, action="concurrency.set", now=now)
    session.flush()
    return _limit(session, row)


def remove_limit(
    session: Session, kind: Kind, target: str, *, environment: str, workspace_id: uuid.UUID, actor: Actor, now: datetime
) -> None:
    """Take a limit away.

    Raises:
        NotFound: when there is none of this environment and target.
    """
    check_environment(environment)
    _lock(session, workspace_id)
    row = _find(session, kind, _canonical(kind, target), environment=environment, workspace_id=workspace_id)
    if row is None:
        what = environment if kind is Kind.ENVIRONMENT else f"{kind} {shown(target)} in {environment}"
        raise NotFound(f"There is no concurrency limit of {what}; see `botkeep concurrency list`.")
    session.execute(delete(LimitMember).where(LimitMember.limit_id == row.id))
    session.execute(delete(ConcurrencyLimit).where(ConcurrencyLimit.id == row.id))
    _record(session, actor, row, action="concurrency.removed", now=now)


def listing(session: Session, *, workspace_id: uuid.UUID) -> list[Limit]:
    """Every limit of the workspace: by environment, then kind and target."""
    rows = session.scalars(select(ConcurrencyLimit).where(ConcurrencyLimit.workspace_id == workspace_id)).all()
    ordered = sorted(rows, key=lambda row: (ENVIRONMENTS.index(row.environment), row.kind, row.target))
    return [_limit(session, row) for row in ordered]


def reached(session: Session, job: Job) -> Limit | None:
    """The first limit that keeps this job from starting now; `None` when none does."""
    of_version = select(LimitMember.limit_id).where(LimitMember.version_id == job.version_id)
    of_flow = and_(
        ConcurrencyLimit.workspace_id == job.workspace_id,
        ConcurrencyLimit.kind == job.cause_kind,
        ConcurrencyLimit.kind.in_(_FLOWS),
        ConcurrencyLimit.target == job.cause_name,
    )
    rows = session.scalars(
        select(ConcurrencyLimit)
        .where(ConcurrencyLimit.environment == job.environment, or_(ConcurrencyLimit.id.in_(of_version), of_flow))
        .order_by(ConcurrencyLimit.kind, ConcurrencyLimit.target)
    ).all()
    limits = (_limit(session, row) for row in rows)
    return next((limit for limit in limits if limit.running >= limit.at_once), None)


def join(session: Session, version: PackageVersion, *, bot: str, workspace_id: uuid.UUID) -> None:
    """Let a new version count towards the limits that are in force."""
    _lock(session, workspace_id, shared=True)
    limits = session.scalars(select(ConcurrencyLimit).where(ConcurrencyLimit.workspace_id == workspace_id)).all()
    for limit in limits:
        _add_member(session, limit, version, bot=bot)


def _known(session: Session, kind: Kind, target: str, *, workspace_id: uuid.UUID) -> str:
    """The target as it is stored, once it is known to exist."""
    name = _canonical(kind, target)
    if kind is Kind.ENVIRONMENT:
        if target:
            raise Invalid("A limit of an environment has no further target.")
        return name
    if kind in _FLOWS:
        return name
    if kind is Kind.BOT:
        found = select(Bot.id).where(Bot.workspace_id == workspace_id, Bot.name == name, Bot.removed_at.is_(None))
        hint = "see `botkeep bot list`"
    else:
        asset = AssetName.parse(name)
        found = select(Asset.id).where(
            Asset.workspace_id == workspace_id, Asset.group_name == asset.group, Asset.name == asset.name
        )
        hint = "see `botkeep asset list`"
    if session.execute(found.limit(1)).first() is None:
        raise NotFound(f"There is no {kind} {shown(target)}; {hint}.")
    return name


def _canonical(kind: Kind, target: str) -> str:
    return str(AssetName.parse(target)) if kind is Kind.ASSET else target


def _lock(session: Session, workspace_id: uuid.UUID, *, shared: bool = False) -> None:
    """Keeps a limit and a version that are made at the same time from missing each other."""
    session.execute(select(Workspace.id).where(Workspace.id == workspace_id).with_for_update(read=shared)).one()


def _find(
    session: Session, kind: Kind, target: str, *, environment: str, workspace_id: uuid.UUID
) -> ConcurrencyLimit | None:
    return session.scalars(
        select(ConcurrencyLimit).where(
            ConcurrencyLimit.workspace_id == workspace_id,
            ConcurrencyLimit.environment == environment,
            ConcurrencyLimit.kind == kind,
            ConcurrencyLimit.target == target,
        )
    ).one_or_none()


def _versions(session: Session, workspace_id: uuid.UUID) -> Sequence[tuple[PackageVersion, str]]:
    rows = session.execute(
        select(PackageVersion, Bot.name)
        .join(Bot, Bot.id == PackageVersion.bot_id)
        .where(Bot.workspace_id == workspace_id)
    ).all()
    return [(version, bot) for version, bot in rows]


def _add_member(session: Session, limit: ConcurrencyLimit, version: PackageVersion, *, bot: str) -> None:
    if _counts(limit, version, bot=bot):
        session.execute(insert(LimitMember).values(limit_id=limit.id, version_id=version.id))


def _by_cause(row: ConcurrencyLimit) -> tuple[ColumnElement[bool], ...]:
    """What tells the jobs of a limited queue or workflow."""
    return (Job.workspace_id == row.workspace_id, Job.cause_kind == row.kind, Job.cause_name == row.target)


def _counts(limit: ConcurrencyLimit, version: PackageVersion, *, bot: str) -> bool:
    if limit.kind in _FLOWS:
        return False  # they count by their cause
    if limit.kind == Kind.BOT:
        return limit.target == bot
    if limit.kind == Kind.ASSET:
        try:
            return Manifest.from_json(version.manifest).declares(AssetName.parse(limit.target))
        except ManifestInvalid:
            return True  # nobody knows what it sees
    return True


def _limit(session: Session, row: ConcurrencyLimit) -> Limit:
    running = select(func.count()).where(Job.environment == row.environment, Job.state == State.RUNNING)
    if row.kind in _FLOWS:
        counted = running.where(*_by_cause(row))
    else:
        counted = running.join(LimitMember, LimitMember.version_id == Job.version_id).where(
            LimitMember.limit_id == row.id
        )
    return Limit(
        environment=row.environment,
        kind=Kind(row.kind),
        target=row.target,
        at_once=row.at_once,
        running=session.scalar(counted.select_from(Job)) or 0,
        created_at=row.created_at,
        created_by=row.created_by,
    )


def _record(session: Session, actor: Actor, row: ConcurrencyLimit, *, action: str, now: datetime) -> None:
    audit.record(
        session,
        actor,
        workspace_id=row.workspace_id,
        action=action,
        target=row.environment if row.kind == Kind.ENVIRONMENT else f"{row.kind} {row.target}",
        environment=row.environment,
        now=now,
        details={"at_once": row.at_once},
    )
