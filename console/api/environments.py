"""Environments over HTTP: their policies, and which key new values are encrypted to."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict
from sqlalchemy.orm import Session

from console.deps import After, Allowed, Limit
from console.paging import Page
from console.text import Text
from runner import workspaces
from vault import recipients
from vault.models import Environment

router = APIRouter(prefix="/api/v1/environments", tags=["environments"])


class Policy(BaseModel):
    """What to change.

    `unset` is what happens when a job's asset has no value (`warn` or `refuse`), `isolation` what a runner must give
    before it may start a bot (`any`, `landlock`, `user` or `sandbox`).
    """

    model_config = ConfigDict(extra="forbid")

    unset: Text | None = None
    isolation: Text | None = None


class EnvironmentItem(BaseModel):
    """An environment; `recipient` is the id of its public key, empty before there is one."""

    environment: str
    unset: str
    isolation: str
    recipient: str | None


@router.get("", summary="List environments")
def listed(call: Allowed, limit: Limit = 50, after: After = None) -> Page[EnvironmentItem]:
    """The three environments, in the order in which a bot is promoted; `limit` and `after` change nothing."""
    del limit, after  # a list of three, in an order that no key has
    with call.reading() as session:
        rows = workspaces.environments(session, workspace_id=call.workspace_id)
        return Page(items=[_item(session, row) for row in rows], next=None)


@router.put("/{environment}", summary="Decide about an environment")
def decide(call: Allowed, environment: str, policy: Policy) -> EnvironmentItem:
    """Say what happens to jobs whose asset has no value, and how bots must be kept apart."""
    call.require_environment(environment)
    with call.writing() as session:
        row = workspaces.set_policy(
            session,
            environment,
            workspace_id=call.workspace_id,
            unset=policy.unset,
            isolation=policy.isolation,
            actor=call.actor,
            now=call.now,
        )
        return _item(session, row)


def _item(session: Session, row: Environment) -> EnvironmentItem:
    recipient = recipients.registered(session, row.name)
    key_id = None if recipient is None else recipient.id.hex()
    return EnvironmentItem(environment=row.name, unset=row.unset, isolation=row.isolation, recipient=key_id)
