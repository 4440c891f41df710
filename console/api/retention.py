"""How long logs, artefacts and records are kept, over HTTP: the rules, and what they would let go now."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from console.deps import After, Allowed, Call, Limit
from console.paging import Page, cut
from console.text import Text
from runner import bots, retention
from runner.models import Bot
from runner.retention import INHERIT, Keep
from scheduler import records
from vault.db import database_time

router = APIRouter(prefix="/api/v1/retention", tags=["retention"])


class Rule(BaseModel):
    """A rule for a bot or all, in an environment or all.

    `age` is `30d` or `12h`, `size` is `500MB` for each bot and environment; both may be `forever`, or `default`, which
    leaves it to the next wider rule. A rule of two `default`s is none.
    """

    model_config = ConfigDict(extra="forbid")

    bot: Text | None = None
    environment: Text | None = None
    age: Text = INHERIT
    size: Text = INHERIT


class RuleItem(BaseModel):
    """A rule as it stands; the last one, of nobody, is Botkeep's own. `null` is every bot or environment."""

    bot: str | None
    environment: str | None
    age: str
    size: str
    set_at: datetime | None
    set_by: str | None


class DueItem(BaseModel):
    """What a rule lets go of one bot in one environment: so many attempts, so many bytes, the oldest of them first."""

    bot: str
    environment: str
    rule: str
    attempts: int
    bytes: int
    oldest: uuid.UUID = Field(description="The job of the oldest one.")


@router.get("", summary="List the rules of retention")
def listed(call: Allowed, limit: Limit = 50, after: After = None) -> Page[RuleItem]:
    """The rules that somebody made, and Botkeep's own."""
    with call.reading() as session:
        items = _items(session, call)
    page, following = cut(items, key=_key, limit=limit, after=after)
    return Page(items=list(page), next=following)


@router.put("", summary="Decide how long logs and artefacts are kept")
def decide(call: Allowed, rule: Rule) -> Rule:
    """Make, change or take away the rule of a bot and an environment."""
    if rule.environment is None:
        call.require_every_environment("a rule for every environment")
    else:
        call.require_environment(rule.environment)
    with call.writing() as session:
        bot = None if rule.bot is None else bots.require(session, rule.bot, workspace_id=call.workspace_id).id
        retention.decide(
            session,
            workspace_id=call.workspace_id,
            bot_id=bot,
            environment=rule.environment or "",
            age=rule.age,
            size=rule.size,
            actor=call.actor,
            now=call.now,
        )
    return rule


@router.get("/due", summary="Say what would be pruned now")
def due(
    call: Allowed,
    limit: Limit = 50,
    after: After = None,
    environment: Annotated[str | None, Query(description="Only of this environment.")] = None,
) -> Page[DueItem]:
    """A dry run of the scheduler's pruner: nothing is removed."""
    with call.reading() as session:
        now = database_time(session)
        made = retention.rules(session, workspace_id=call.workspace_id)
        items = [
            item
            for _, scope in retention.scopes(session, workspace_id=call.workspace_id)
            if environment in {None, scope.environment}
            for item in _due_items(
                retention.due(session, scope, retention.keep_for(made, scope.bot_id, scope.environment), now=now), scope
            )
        ]
    page, following = cut(
        items, key=lambda item: f"{item.bot}/{item.environment}/{item.rule}", limit=limit, after=after
    )
    return Page(items=list(page), next=following)


class RecordItem(BaseModel):
    """How long one kind of records is kept, and how many the scheduler would remove now, counted up to 10,000."""

    kind: str
    age: str
    due: int
    set_at: datetime | None
    set_by: str | None


class RecordOrder(BaseModel):
    """An age: `30d`, `12h`, `forever`, or `default` for Botkeep's own."""

    model_config = ConfigDict(extra="forbid")

    age: Text


@router.get("/records", summary="Say how long records are kept")
def records_listed(call: Allowed, limit: Limit = 50, after: After = None) -> Page[RecordItem]:
    """Firings, runs, results and work items: their rules, and a dry run of the scheduler's pruner."""
    with call.reading() as session:
        items = _record_items(session, call)
    page, following = cut(items, key=lambda item: item.kind, limit=limit, after=after)
    return Page(items=list(page), next=following)


@router.put("/records/{kind}", summary="Decide how long records are kept")
def records_decided(call: Allowed, kind: str, order: RecordOrder) -> RecordItem:
    """Change the rule of one kind; it holds in every environment."""
    call.require_every_environment("a rule for every environment")
    with call.writing() as session:
        chosen = records.kind_of(kind)
        records.decide(session, chosen, order.age, workspace_id=call.workspace_id, actor=call.actor, now=call.now)
        return next(item for item in _record_items(session, call) if item.kind == chosen)


def _record_items(session: Session, call: Call) -> list[RecordItem]:
    now = database_time(session)
    return [
        RecordItem(
            kind=rule.kind,
            age=retention.in_words(Keep(rule.age, None))[0],
            due=records.count_due(session, rule, workspace_id=call.workspace_id, now=now),
            set_at=rule.set_at,
            set_by=rule.set_by,
        )
        for rule in records.rules(session, workspace_id=call.workspace_id)
    ]


def _due_items(found: list[retention.Due], scope: retention.Scope) -> list[DueItem]:
    by_rule: dict[str, list[retention.Due]] = {}
    for one in found:
        by_rule.setdefault(one.rule, []).append(one)
    return [
        DueItem(
            bot=scope.bot,
            environment=scope.environment,
            rule=rule,
            attempts=len(some),
            bytes=sum(one.size for one in some),
            oldest=some[0].job_id,
        )
        for rule, some in by_rule.items()
    ]


def _key(item: RuleItem) -> str:
    return "~~" if item.set_at is None else f"{item.bot or '~'}/{item.environment or '~'}"


def _items(session: Session, call: Call) -> list[RuleItem]:
    query = select(Bot.id, Bot.name).where(Bot.workspace_id == call.workspace_id)
    names = {row.id: row.name for row in session.execute(query)}
    items = [
        RuleItem(
            bot=names[uuid.UUID(row.bot)] if row.bot else None,
            environment=row.environment or None,
            age=INHERIT if row.age is None else retention.in_words(Keep(retention.lasting(row.age), None))[0],
            size=INHERIT if row.size is None else retention.in_words(Keep(None, row.size or None))[1],
            set_at=row.set_at,
            set_by=row.set_by,
        )
        for row in retention.rules(session, workspace_id=call.workspace_id)
    ]
    age, size = retention.in_words(retention.DEFAULT)
    return [*items, RuleItem(bot=None, environment=None, age=age, size=size, set_at=None, set_by=None)]
