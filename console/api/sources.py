"""Data sources over HTTP: definitions that hold references, and checks that a runner does."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from console.deps import After, Allowed, Body, Call, Limit
from console.paging import Page, cut
from console.text import JsonObject, Text
from runner import signals, source_checks, sources
from runner.errors import Invalid
from runner.source_checks import Seen
from runner.source_models import DataSource
from runner.sources import Written
from vault.names import ENVIRONMENTS, shown

router = APIRouter(prefix="/api/v1/sources", tags=["sources"])


class SourceText(BaseModel):
    """A data source as it is written; `bots` is empty for every bot, and a new one is open in every environment."""

    model_config = ConfigDict(extra="forbid")

    kind: Text
    definition: JsonObject
    environments: list[Text] = Field(default=list(ENVIRONMENTS), max_length=len(ENVIRONMENTS))
    bots: list[Text] | None = Field(default=None, max_length=1000)


class SourceOrder(SourceText):
    """A data source to make."""

    name: Text


class SourceItem(BaseModel):
    """A data source; `definition` is complete and holds references, never what they stand for."""

    name: str
    kind: str
    definition: dict[str, Any]
    environments: list[str]
    bots: list[str] | None
    created_at: datetime
    created_by: str
    updated_at: datetime
    updated_by: str


class CheckOrder(BaseModel):
    """Where to check."""

    model_config = ConfigDict(extra="forbid")

    environment: Text


class CheckItem(BaseModel):
    """A check; `state` is `waiting`, `running`, `ok`, `failed` or `expired`, and `sentence` says what was found."""

    id: uuid.UUID
    source: str
    environment: str
    state: str
    sentence: str
    requested_at: datetime
    requested_by: str
    runner: str | None
    finished_at: datetime | None


def each_key_once(body: Body) -> None:
    """Refuse a body in which a key is given twice, where the usual reading would silently take the last.

    Raises:
        Invalid: naming the key.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise Invalid(f"The key {shown(twice)} is given twice: remove one of the two.")
        return dict(pairs)

    try:
        json.loads(body, object_pairs_hook=once)
    except (ValueError, RecursionError):
        return  # whoever reads the body says what is wrong


EachKeyOnce = [Depends(each_key_once)]
SourceName = Annotated[str, "The data source's name."]


@router.get("", summary="List data sources")
def listed(call: Allowed, limit: Limit = 50, after: After = None) -> Page[SourceItem]:
    """Every data source, by name."""
    with call.reading() as session:
        rows = sources.listing(session, workspace_id=call.workspace_id)
    page, following = cut(rows, key=lambda row: row.name, limit=limit, after=after)
    return Page(items=[source_item(row) for row in page], next=following)


@router.post("", status_code=201, summary="Add a data source", dependencies=EachKeyOnce)
def add(call: Allowed, order: SourceOrder) -> SourceItem:
    """Save a definition; the token must cover every environment that it is open in."""
    _require(call, order.environments)
    with call.writing() as session:
        row = sources.add(
            session, order.name, _written(order), workspace_id=call.workspace_id, actor=call.actor, now=call.now
        )
        return source_item(row)


@router.get("/{name}", summary="Show a data source")
def shown_one(call: Allowed, name: SourceName) -> SourceItem:
    """A definition and who may use it."""
    with call.reading() as session:
        return source_item(sources.find(session, name, workspace_id=call.workspace_id))


@router.put("/{name}", summary="Change a data source", dependencies=EachKeyOnce)
def change(call: Allowed, name: SourceName, text: SourceText) -> SourceItem:
    """Replace a definition; the token must cover every environment that it was and will be open in."""
    with call.writing() as session:
        _require(call, [*sources.find(session, name, workspace_id=call.workspace_id).environments, *text.environments])
        row = sources.change(
            session, name, _written(text), workspace_id=call.workspace_id, actor=call.actor, now=call.now
        )
        return source_item(row)


@router.delete("/{name}", status_code=204, summary="Remove a data source")
def remove(call: Allowed, name: SourceName) -> None:
    """Forget a definition; the assets that it referred to stay."""
    with call.writing() as session:
        _require(call, sources.find(session, name, workspace_id=call.workspace_id).environments)
        sources.remove(session, name, workspace_id=call.workspace_id, actor=call.actor, now=call.now)


@router.post("/{name}/checks", status_code=201, summary="Check a data source", dependencies=EachKeyOnce)
def check(call: Allowed, name: SourceName, order: CheckOrder) -> CheckItem:
    """Let a runner of the environment open it; ask for the answer under the id."""
    call.require_environment(order.environment)
    with call.writing() as session:
        seen = source_checks.request(
            session,
            name,
            environment=order.environment,
            workspace_id=call.workspace_id,
            actor=call.actor,
            now=call.now,
        )
    signals.look_at_checks(call.console.transport, order.environment)
    return _check(seen)


@router.get("/{name}/checks/{check_id}", summary="Show a check")
def check_shown(call: Allowed, name: SourceName, check_id: uuid.UUID) -> CheckItem:
    """What a runner found so far."""
    with call.reading() as session:
        return _check(source_checks.find(session, check_id, source=name, workspace_id=call.workspace_id))


def _require(call: Call, environments: Sequence[str]) -> None:
    for environment in environments:
        call.require_environment(environment)


def _written(text: SourceText) -> Written:
    return Written(text.kind, text.definition, text.environments, text.bots)


def source_item(row: DataSource) -> SourceItem:
    """A data source as it is shown."""
    return SourceItem(
        name=row.name,
        kind=row.kind,
        definition=row.definition,
        environments=row.environments,
        bots=row.bots,
        created_at=row.created_at,
        created_by=row.created_by,
        updated_at=row.updated_at,
        updated_by=row.updated_by,
    )


def _check(seen: Seen) -> CheckItem:
    row = seen.row
    return CheckItem(
        id=row.id,
        source=row.source,
        environment=row.environment,
        state=seen.state,
        sentence=seen.sentence,
        requested_at=row.requested_at,
        requested_by=row.requested_by,
        runner=row.runner,
        finished_at=row.finished_at,
    )
