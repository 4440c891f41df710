"""Concurrency limits over HTTP: how many jobs of an environment, a bot, an asset or a flow may run at the same time."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, StrictInt

from console.deps import After, Allowed, Call, Limit
from console.paging import Page, cut
from console.text import Text
from runner import announcements, concurrency, lanes
from runner.concurrency import Kind
from scheduler import flows

router = APIRouter(prefix="/api/v1/concurrency", tags=["concurrency"])

Target = Annotated[str, Query(max_length=520, description="The name of what is counted; an asset as GROUP.NAME.")]


class AtOnce(BaseModel):
    """How many jobs at the same time; `target` names what is counted, and is empty for the environment itself."""

    model_config = ConfigDict(extra="forbid")

    at_once: StrictInt
    target: Text = ""


class LimitItem(BaseModel):
    """One limit, and how many jobs it counts now."""

    environment: str
    kind: Kind
    target: str
    at_once: int
    running: int
    created_at: datetime
    created_by: str


@router.get("", summary="List concurrency limits")
def listed(call: Allowed, limit: Limit = 50, after: After = None) -> Page[LimitItem]:
    """Every limit of the workspace with what runs of it now; a bot's own `concurrency` is in its bot.toml."""
    with call.reading() as session:
        rows = concurrency.listing(session, workspace_id=call.workspace_id)
    page, following = cut(rows, key=_key, limit=limit, after=after)
    return Page(items=[_item(row) for row in page], next=following)


@router.put("/{environment}/{kind}", summary="Set a concurrency limit")
def decide(call: Allowed, environment: str, kind: str, wanted: AtOnce) -> LimitItem:
    """Allow so many jobs at the same time from now on; what runs goes on."""
    call.require_environment(environment)
    chosen = Kind.of(kind)
    with call.writing() as session:
        if chosen in {Kind.QUEUE, Kind.WORKFLOW}:
            flows.require(session, flows.Kind(chosen), wanted.target, workspace_id=call.workspace_id)
        row = concurrency.set_limit(
            session,
            chosen,
            wanted.target,
            environment=environment,
            at_once=wanted.at_once,
            workspace_id=call.workspace_id,
            actor=call.actor,
            now=call.now,
        )
    _let_look(call, environment)
    return _item(row)


@router.delete("/{environment}/{kind}", status_code=204, summary="Remove a concurrency limit")
def remove(call: Allowed, environment: str, kind: str, target: Target = "") -> Response:
    """Take a limit away; what waits for it starts."""
    call.require_environment(environment)
    with call.writing() as session:
        concurrency.remove_limit(
            session,
            Kind.of(kind),
            target,
            environment=environment,
            workspace_id=call.workspace_id,
            actor=call.actor,
            now=call.now,
        )
    _let_look(call, environment)
    return Response(status_code=204)


def _let_look(call: Call, environment: str) -> None:
    """What waited for a limit may start now, and no message may be left for it."""
    with call.reading() as session:
        groups = announcements.waiting_groups(session, environment=environment)
    for group in groups:
        lanes.remind(call.console.transport, uuid.uuid4(), environment=environment, group=group)


def _key(row: concurrency.Limit) -> str:
    return f"{row.environment} {row.kind} {row.target}"


def _item(row: concurrency.Limit) -> LimitItem:
    return LimitItem.model_validate(row, from_attributes=True)
