"""How long logs and artefacts are kept: rules by age and size, for a bot in an environment, and what they let go.

Each of age and size is decided by the narrowest rule that says something of it: of the bot in the environment, of the
bot, of the environment, of all; else by `DEFAULT`. The size counts for each bot and environment by itself, newest
first. History's rows always stay: an attempt says when it was pruned, and by which rule.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Subquery, and_, delete, exists, func, or_, select, update
from sqlalchemy.orm import Session

from runner.errors import Invalid, NotFound
from runner.job_ids import first_id
from runner.limits import size as bytes_of
from runner.limits import written
from runner.models import Attempt, Bot, Job, Pruning, RetentionRule
from runner.states import FINAL
from vault import audit
from vault.audit import Actor
from vault.db import clock
from vault.names import ENVIRONMENTS, shown

_AGE = re.compile(r"([1-9][0-9]{0,4})(h|d)", re.ASCII)
_HOURS = {"h": 1, "d": 24}


@dataclass(frozen=True, slots=True)
class Keep:
    """How long, and how many bytes; `None` is for ever, and any number."""

    age: timedelta | None
    size: int | None


#: What holds where no rule says anything, on from the start.
DEFAULT = Keep(timedelta(days=30), 1 << 30)

#: A rule's own words for what it leaves to wider rules, and for ever.
INHERIT, FOREVER = "default", "forever"


@dataclass(frozen=True, slots=True)
class Scope:
    """The jobs of one bot in one environment."""

    bot_id: uuid.UUID
    bot: str
    environment: str


@dataclass(frozen=True, slots=True)
class Due:
    """Something that a rule lets go; `rule` are its words."""

    job_id: uuid.UUID
    attempt: int
    size: int
    rule: str


def age_of(text: str) -> int | None:
    """Reads `"30d"`, `"12h"`, `"forever"` or `"default"` as seconds; 0 is for ever, `None` is left to wider rules.

    Raises:
        Invalid: for anything else.
    """
    if text in {INHERIT, FOREVER}:
        return None if text == INHERIT else 0
    match = _AGE.fullmatch(text)
    if match is None:
        raise Invalid(f'An age is "30d", "12h", "{FOREVER}" or "{INHERIT}", not {shown(text)}.')
    return int(match[1]) * _HOURS[match[2]] * 3600


def size_of(text: str) -> int | None:
    """Reads `"500MB"`, `"forever"` or `"default"` as bytes; 0 is any number, `None` is left to wider rules.

    Raises:
        Invalid: for anything else.
    """
    if text in {INHERIT, FOREVER}:
        return None if text == INHERIT else 0
    try:
        found = bytes_of(text)
    except ValueError:
        found = 0
    if found <= 0:
        raise Invalid(f'A size is "500MB", "2GB", "{FOREVER}" or "{INHERIT}", not {shown(text)}.')
    return found


def lasting(seconds: int) -> timedelta | None:
    """The age of a rule that says one; `None` is for ever."""
    return timedelta(seconds=seconds) if seconds else None


def in_words(keep: Keep) -> tuple[str, str]:
    """Age and size as `age_of` and `size_of` read them."""
    hours = 0 if keep.age is None else round(keep.age.total_seconds() / 3600)
    age = FOREVER if keep.age is None else f"{hours // 24}d" if hours % 24 == 0 else f"{hours}h"
    return age, FOREVER if keep.size is None else written(keep.size)


def rules(session: Session, *, workspace_id: uuid.UUID) -> Sequence[RetentionRule]:
    """The rules that the workspace made, the widest first."""
    query = select(RetentionRule).where(RetentionRule.workspace_id == workspace_id)
    return session.scalars(query.order_by(RetentionRule.bot, RetentionRule.environment)).all()


def keep_for(made: Sequence[RetentionRule], bot_id: uuid.UUID | None, environment: str) -> Keep:
    """What holds for a bot in an environment."""
    by_scope: Mapping[tuple[str, str], RetentionRule] = {(rule.bot, rule.environment): rule for rule in made}
    own = "" if bot_id is None else str(bot_id)
    order = [by_scope[key] for key in ((own, environment), (own, ""), ("", environment), ("", "")) if key in by_scope]
    age = next((rule.age for rule in order if rule.age is not None), None)
    size = next((rule.size for rule in order if rule.size is not None), None)
    return Keep(
        DEFAULT.age if age is None else lasting(age),
        DEFAULT.size if size is None else size or None,
    )


def decide(
    session: Session,
    *,
    workspace_id: uuid.UUID,
    bot_id: uuid.UUID | None,
    environment: str,
    age: str,
    size: str,
    actor: Actor,
    now: datetime,
) -> None:
    """Make or change the rule of a scope, whose bot and environment may be all (`None`, empty); an empty one goes.

    Raises:
        Invalid: for an age or a size that makes no sense.
        NotFound: for an unknown environment.
    """
    if environment and environment not in ENVIRONMENTS:
        raise NotFound(f"There is no environment {shown(environment)}; use one of {', '.join(ENVIRONMENTS)}.")
    seconds, most = age_of(age), size_of(size)
    bot = "" if bot_id is None else str(bot_id)
    session.execute(
        delete(RetentionRule).where(
            RetentionRule.workspace_id == workspace_id,
            RetentionRule.bot == bot,
            RetentionRule.environment == environment,
        )
    )
    if seconds is not None or most is not None:
        session.add(
            RetentionRule(
                workspace_id=workspace_id,
                bot=bot,
                environment=environment,
                age=seconds,
                size=most,
                set_at=now,
                set_by=actor.name,
            )
        )
    audit.record(
        session,
        actor,
        workspace_id=workspace_id,
        action="retention.decided",
        target=f"logs of {f'bot {bot}' if bot else 'all bots'} in {environment or 'every environment'}",
        environment=environment or None,
        now=now,
        details={"age": age, "size": size},
    )
    session.flush()


def scopes(session: Session, *, workspace_id: uuid.UUID | None = None) -> list[tuple[uuid.UUID, Scope]]:
    """Every bot that has jobs, in every environment, with its workspace; removed bots, too, since their logs stay."""
    used = exists().where(Job.bot_id == Bot.id)
    query = select(Bot.workspace_id, Bot.id, Bot.name).where(used).order_by(Bot.id)
    if workspace_id is not None:
        query = query.where(Bot.workspace_id == workspace_id)
    return [
        (row.workspace_id, Scope(row.id, row.name, environment))
        for row in session.execute(query)
        for environment in ENVIRONMENTS
    ]


def due(session: Session, scope: Scope, keep: Keep, *, now: datetime, limit: int | None = None) -> list[Due]:
    """What the rule lets go now, the oldest first, at most `limit`."""
    age_words, size_words = (f"{word} of {scope.bot} in {scope.environment}" for word in in_words(keep))
    stored = _stored(scope, since=_mark(session, scope))
    over = [stored.c.newer > keep.size] if keep.size is not None else []
    old = [] if keep.age is None else [_ended_before(stored, now - keep.age)]
    if not over and not old:
        return []
    rows = session.execute(
        select(stored).where(stored.c.ended, or_(*old, *over)).order_by(stored.c.job_id, stored.c.number).limit(limit)
    )
    return [
        Due(
            row.job_id,
            row.number,
            row.size,
            f"size {size_words}" if keep.size is not None and row.newer > keep.size else f"age {age_words}",
        )
        for row in rows
    ]


def mark(session: Session, pruned: Sequence[Due], scope: Scope) -> None:
    """Write down that these are gone, and how far the scope is pruned."""
    for one in pruned:
        session.execute(
            update(Attempt)
            .where(Attempt.job_id == one.job_id, Attempt.number == one.attempt, Attempt.pruned_at.is_(None))
            .values(pruned_at=clock(), pruned_by=one.rule[:200])
        )
    left = session.scalar(
        select(Job.id)
        .where(
            _of(scope, since=_mark(session, scope)),
            or_(
                Job.state.not_in(FINAL),
                select(Attempt.job_id).where(Attempt.job_id == Job.id, Attempt.pruned_at.is_(None)).exists(),
            ),
        )
        .order_by(Job.id)
        .limit(1)
    )
    if left is None:
        left = pruned[-1].job_id
    row = session.get(Pruning, (scope.bot_id, scope.environment))
    if row is None:
        session.add(Pruning(bot_id=scope.bot_id, environment=scope.environment, up_to=left))
    elif row.up_to != left:
        row.up_to = left
    session.flush()


def _mark(session: Session, scope: Scope) -> uuid.UUID:
    row = session.get(Pruning, (scope.bot_id, scope.environment))
    return uuid.UUID(int=0) if row is None else row.up_to


def _of(scope: Scope, *, since: uuid.UUID) -> ColumnElement[bool]:
    return and_(Job.bot_id == scope.bot_id, Job.environment == scope.environment, Job.id >= since)


def _stored(scope: Scope, *, since: uuid.UUID) -> Subquery:
    """What a scope has in the store, with the bytes of each attempt and of all that are newer."""
    size = func.coalesce(Attempt.log_bytes, 0) + func.coalesce(Attempt.artefact_bytes, 0)
    query = (
        select(
            Attempt.job_id,
            Attempt.number,
            Attempt.finished_at,
            size.label("size"),
            func.sum(size).over(order_by=(Attempt.job_id.desc(), Attempt.number.desc())).label("newer"),
            Job.state.in_(FINAL).label("ended"),
        )
        .join(Job, Job.id == Attempt.job_id)
        .where(_of(scope, since=since), Attempt.pruned_at.is_(None))
    )
    return query.subquery()


def _ended_before(stored: Subquery, at: datetime) -> ColumnElement[bool]:
    # Nobody saw the end of an attempt that was lost with its runner and its database.
    return and_(stored.c.job_id < first_id(at), or_(stored.c.finished_at.is_(None), stored.c.finished_at < at))
