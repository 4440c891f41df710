"""Assets over HTTP: values go in, numbers come out; no handler here can answer a value."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from console.deps import After, Allowed, Body, Call, Limit
from console.paging import Page, cut
from runner import bots
from vault import assets, coverage
from vault.assets import Scope
from vault.coverage import CurrentNumber, Described, Past
from vault.names import AssetName

router = APIRouter(prefix="/api/v1/assets", tags=["assets"])

OfBot = Annotated[str | None, Query(description="The bot whose own asset is meant, not the workspace's.")]
OfLocal = Annotated[str, Query(description="The bot that the asset belongs to.")]
Description = Annotated[str | None, Query(max_length=1000, description="What the asset is for.")]
BYTES = {"requestBody": {"required": True, "content": {"application/octet-stream": {"schema": {"type": "string"}}}}}


class Value(BaseModel):
    """What may be known about the value in force in one environment."""

    number: int
    set_at: datetime
    set_by: str
    empty: bool


class AssetItem(BaseModel):
    """An asset; an environment without a value is `null`. `overrides`: it hides a workspace asset."""

    asset: str
    group: str
    name: str
    scope: str
    description: str
    environments: dict[str, Value | None]
    overrides: bool
    local: bool = Field(description="Its values live on the hosts of runners: see /api/v1/local-values.")


class PastValue(BaseModel):
    """One number that an asset ever had in an environment."""

    number: int
    created_at: datetime
    created_by: str
    empty: bool
    current: bool


class AssetDetail(AssetItem):
    """An asset with every number it ever had, by environment, the newest first."""

    history: dict[str, list[PastValue]]


class WrittenValue(BaseModel):
    """The number that a value got, and advice about its content; never the value."""

    asset: str
    environment: str
    scope: str
    number: int
    warnings: list[str]


class Rollback(BaseModel):
    """Which number is to be in force again."""

    model_config = ConfigDict(extra="forbid")

    number: int = Field(ge=1, le=2**31 - 1)


@router.get("", summary="List assets")
def listed(call: Allowed, bot: OfBot = None, limit: Limit = 50, after: After = None) -> Page[AssetItem]:
    """The workspace's assets, or those of one bot alone."""
    with call.reading() as session:
        scope = _scope(session, call, bot)
        rows = coverage.listing(session, workspace_id=call.workspace_id, bot_id=scope.bot_id)
    page, following = cut(rows, key=lambda row: str(row.name), limit=limit, after=after)
    return Page(items=[_item(row, scope) for row in page], next=following)


@router.get("/{group}/{name}", summary="Show an asset")
def show(call: Allowed, group: str, name: str, bot: OfBot = None) -> AssetDetail:
    """An asset and the history of its values, by number."""
    asset_name = AssetName(group, name)
    with call.reading() as session:
        scope = _scope(session, call, bot)
        asset = assets.require(session, asset_name, scope=scope)
        found = coverage.describe(session, asset)
        numbers = coverage.history(session, asset.id)
    history = {name: [_past(past) for past in pasts] for name, pasts in numbers.items()}
    return AssetDetail(**_item(found, scope).model_dump(), history=history)


@router.delete("/{group}/{name}", status_code=204, summary="Remove an asset")
def remove(call: Allowed, group: str, name: str, bot: OfBot = None) -> None:
    """Delete an asset and its values in every environment, for good."""
    call.require_every_environment("removing an asset")
    asset_name = AssetName(group, name)
    with call.writing() as session:
        scope = _scope(session, call, bot)
        assets.remove(session, asset_name, scope=scope, actor=call.actor, now=call.now)


@router.put("/{group}/{name}/local", summary="Declare a local asset")
def declare_local(call: Allowed, group: str, name: str, bot: OfLocal, *, description: Description = None) -> AssetItem:
    """Define an asset of one bot whose values live on the hosts of runners; again, to change its description."""
    call.require_every_environment("declaring a local asset")
    asset_name = AssetName(group, name)
    with call.writing() as session:
        scope = _scope(session, call, bot)
        asset = assets.declare_local(
            session, asset_name, scope=scope, actor=call.actor, now=call.now, description=description
        )
        found = coverage.describe(session, asset)
    return _item(found, scope)


@router.put(
    "/{group}/{name}/values/{environment}",
    summary="Set a value",
    openapi_extra=BYTES,
)
def set_value(
    call: Allowed,
    group: str,
    name: str,
    environment: str,
    content: Body,
    *,
    bot: OfBot = None,
    description: Description = None,
) -> WrittenValue:
    """Encrypt the body as the next value, for the runners of that environment only."""
    call.require_environment(environment)
    asset_name = AssetName(group, name)
    with call.writing() as session:
        scope = _scope(session, call, bot)
        written = assets.set_value(
            session,
            asset_name,
            scope=scope,
            environment=environment,
            plaintext=content,
            actor=call.actor,
            now=call.now,
            description=description,
        )
    return _written(asset_name, environment, scope=scope, number=written.number, warnings=written.warnings)


@router.delete("/{group}/{name}/values/{environment}", status_code=204, summary="Unset a value")
def unset(call: Allowed, group: str, name: str, environment: str, bot: OfBot = None) -> None:
    """Leave the asset without a value there; its numbers stay for a rollback."""
    call.require_environment(environment)
    asset_name = AssetName(group, name)
    with call.writing() as session:
        scope = _scope(session, call, bot)
        assets.unset(session, asset_name, scope=scope, environment=environment, actor=call.actor, now=call.now)


@router.post("/{group}/{name}/values/{environment}/rollback", summary="Return to an earlier value")
def rollback(
    call: Allowed, group: str, name: str, environment: str, wanted: Rollback, *, bot: OfBot = None
) -> WrittenValue:
    """Put an earlier number in force again; nothing is read or copied."""
    call.require_environment(environment)
    asset_name = AssetName(group, name)
    with call.writing() as session:
        scope = _scope(session, call, bot)
        assets.rollback(
            session,
            asset_name,
            scope=scope,
            environment=environment,
            number=wanted.number,
            actor=call.actor,
            now=call.now,
        )
    return _written(asset_name, environment, scope=scope, number=wanted.number)


def _scope(session: Session, call: Call, bot: str | None) -> Scope:
    if bot is None:
        return Scope(call.workspace_id)
    found = bots.require(session, bot, workspace_id=call.workspace_id)
    return Scope(call.workspace_id, found.id, found.name)


def _item(row: Described, scope: Scope) -> AssetItem:
    return AssetItem(
        asset=str(row.name),
        group=row.name.group,
        name=row.name.name,
        scope=scope.label,
        description=row.description,
        environments={name: _value(value) for name, value in row.environments.items()},
        overrides=row.overrides,
        local=row.local,
    )


def _value(value: CurrentNumber | None) -> Value | None:
    if value is None:
        return None
    return Value(number=value.number, set_at=value.set_at, set_by=value.set_by, empty=value.empty)


def _past(past: Past) -> PastValue:
    return PastValue(
        number=past.number,
        created_at=past.created_at,
        created_by=past.created_by,
        empty=past.empty,
        current=past.current,
    )


def _written(
    name: AssetName, environment: str, *, scope: Scope, number: int, warnings: tuple[str, ...] = ()
) -> WrittenValue:
    return WrittenValue(
        asset=str(name), environment=environment, scope=scope.label, number=number, warnings=list(warnings)
    )
