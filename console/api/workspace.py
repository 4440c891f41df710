"""The workspace over HTTP: the limits of its bots' resources, and where its data sources may connect to."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from console.deps import Allowed
from runner import workspaces
from runner.connection_policy import ConnectionPolicy
from runner.limits import DEFAULTS, Limits

router = APIRouter(prefix="/api/v1/workspace", tags=["workspace"])


class LimitsItem(BaseModel):
    """`chosen` is what the workspace decided, `limits` what holds: that, and Botkeep's own limits. Sizes in bytes."""

    chosen: Limits
    limits: Limits


@router.get("/limits", summary="Show the limits of bots")
def shown(call: Allowed) -> LimitsItem:
    """What a bot may use of its host where its bot.toml asks for no less."""
    with call.reading() as session:
        return _item(workspaces.limits(session, workspace_id=call.workspace_id))


@router.patch("/limits", summary="Change the limits of bots")
def change(call: Allowed, changes: dict[str, Any]) -> LimitsItem:
    """Change the limits that are named, in the words of bot.toml; `null` goes back to Botkeep's own."""
    call.require_every_environment("a limit of all bots")
    with call.writing() as session:
        chosen = workspaces.set_limits(session, changes, workspace_id=call.workspace_id, actor=call.actor, now=call.now)
    return _item(chosen)


@router.get("/connections", summary="Show where data sources may connect to")
def connections(call: Allowed) -> ConnectionPolicy:
    """Hosts, networks and folders; `deny` goes before `allow`."""
    with call.reading() as session:
        return workspaces.connections(session, workspace_id=call.workspace_id)


@router.patch("/connections", summary="Change where data sources may connect to")
def change_connections(call: Allowed, changes: dict[str, Any]) -> ConnectionPolicy:
    """Replace the lists that are named (`allow`, `deny`, `paths`); `null` goes back to Botkeep's own."""
    call.require_every_environment("where data sources may connect to")
    with call.writing() as session:
        return workspaces.set_connections(
            session, changes, workspace_id=call.workspace_id, actor=call.actor, now=call.now
        )


def _item(chosen: Limits) -> LimitsItem:
    return LimitsItem(chosen=chosen, limits=DEFAULTS.replaced(chosen))
