"""Webhooks: `POST /hooks/{id}` takes a delivery from anyone who has the hook's key, and answers what it started.

Promises that nothing is parsed before the sender has proved itself, that a delivery which comes twice starts one job,
that a refusal says nothing about its reason and leaves a row in the audit, and that who keeps failing is slowed down
before it costs rows. While a trigger is paused deliveries are refused with 503, so that the sender keeps them.
"""

from __future__ import annotations

import json
import math
import time
import uuid
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from starlette.exceptions import HTTPException

from console.api.trigger_item import StartedItem
from console.deps import Console, console_of
from console.errors import places
from console.signatures import delivery, verified
from console.text import storable
from runner.errors import Conflict, Invalid, RunnerError
from runner.logging import logger
from runner.triggers import FiringState, Kind, Trigger
from scheduler import firing, mapping
from scheduler.definitions import Webhook
from scheduler.shots import Fired, Shot
from vault import audit, db
from vault.audit import Actor
from vault.errors import VaultError

router = APIRouter(prefix="/hooks", tags=["hooks"])

#: Refused deliveries of one address to one hook in a minute that are looked at and audited; more are turned away.
FAILURES = 10

#: Seconds after which a sender is asked to try a paused trigger again.
PAUSED_RETRY = 300

_log = logger()


class Delivered(BaseModel):
    """What a delivery came to."""

    firing: uuid.UUID
    state: str
    started: StartedItem | None
    why: str | None


@dataclass(frozen=True, slots=True)
class _Hook:
    """A webhook, and what its deliveries are verified by."""

    trigger: Trigger
    webhook: Webhook
    proof: bytes


async def _received(request: Request) -> bytes:
    return await request.body()


@router.post(
    "/{hook_id}",
    status_code=201,
    summary="Deliver to a webhook",
    responses={200: {"model": Delivered, "description": "Nothing new was started: it came before, or was skipped."}},
)
def deliver(
    request: Request, response: Response, hook_id: str, body: Annotated[bytes, Depends(_received)]
) -> Delivered:
    """Start what the trigger starts; the sender proves itself by a signature or a key in a header."""
    console, address = console_of(request), (request.client.host if request.client else "")[:64]
    who = ("failures", hook_id[:64], address)
    if console.rates.empty(who, per_minute=FAILURES, now=time.monotonic()):
        raise HTTPException(429, headers={"Retry-After": "60"})
    hook = _find(console, hook_id)
    size_fits = hook is None or len(body) <= hook.webhook.max_size
    if not (hook and size_fits and verified(hook.webhook, request.headers, body, proof=hook.proof, now=console.now())):
        console.rates.take(who, per_minute=FAILURES, now=time.monotonic())
        _refuse(console, hook, address, size_fits=size_fits)
    assert hook is not None  # noqa: S101 - refused otherwise
    _slow_down(console, hook)
    document = _document(body)
    shot = Shot(hook.trigger, delivery(hook.webhook, request.headers, body, document), console.now(), event=document)
    fired = _fire(console, shot)
    if fired.state == FiringState.FAILED:
        raise Invalid(fired.why or "The delivery cannot be used.")
    if not fired.new or fired.state != FiringState.STARTED:
        response.status_code = 200
    started = None
    if fired.started_kind is not None and fired.started_id is not None:
        started = StartedItem(kind=fired.started_kind, id=fired.started_id)
    return Delivered(firing=fired.id, state=fired.state, started=started, why=fired.why)


def _find(console: Console, hook_id: str) -> _Hook | None:
    """The webhook that takes deliveries under this id."""
    try:
        trigger_id = uuid.UUID(hook_id)
    except ValueError:
        return None
    with db.reading(console.engine) as session:
        trigger = session.scalars(
            select(Trigger).where(Trigger.id == trigger_id, Trigger.kind == Kind.WEBHOOK, Trigger.removed_at.is_(None))
        ).one_or_none()
        if trigger is None:
            return None
        webhook = Webhook.model_validate(trigger.definition["webhook"])
        try:
            proof = console.hooks.proof(session, trigger.id, style=webhook.style)
        except Conflict as error:  # for the operator, not for whoever sends
            _log.error("webhook.unusable", trigger=trigger.name, error=str(error))
            raise HTTPException(503, headers={"Retry-After": str(PAUSED_RETRY)}) from None
        return None if proof is None else _Hook(trigger, webhook, proof)


def _refuse(console: Console, hook: _Hook | None, address: str, *, size_fits: bool) -> None:
    """Say no without saying why; what a hook refuses is written down.

    Raises:
        HTTPException: always.
    """
    if not size_fits:
        raise HTTPException(413)
    _log.info("webhook.refused", address=address, trigger=None if hook is None else hook.trigger.name)
    if hook is None:
        raise HTTPException(404)
    try:
        with db.writing(console.engine) as session:
            audit.record(
                session,
                Actor("webhook", address),
                workspace_id=hook.trigger.workspace_id,
                action="webhook.delivered",
                target=f"trigger {hook.trigger.name}",
                environment=hook.trigger.environment,
                now=console.now(),
                outcome="refused",
            )
    except VaultError as error:
        _log.warning("webhook.refused", audited=False, places=places(error)[-3:])
    raise HTTPException(401)


def _slow_down(console: Console, hook: _Hook) -> None:
    """Go on only at the hook's rate, and only where its trigger fires.

    Raises:
        HTTPException: 429 or 503, saying when to come again.
    """
    wait = console.rates.take(("hook", hook.trigger.id), per_minute=hook.webhook.rate, now=time.monotonic())
    if wait:
        raise HTTPException(429, headers={"Retry-After": str(math.ceil(wait))})
    if not hook.trigger.active:
        raise HTTPException(503, headers={"Retry-After": str(PAUSED_RETRY)})


def _document(body: bytes) -> Any:  # noqa: ANN401 - any JSON
    """The delivery's JSON.

    Raises:
        Invalid: for one that is none, that is nested too deeply, or that holds what no database stores.
    """
    try:
        document = json.loads(body, parse_constant=_no_number)
        storable(json.dumps(document, ensure_ascii=False))
        usable = not mapping.holds_nul(document)
    except (ValueError, RecursionError):
        usable = False
    if not usable:
        raise Invalid("The delivery is not JSON that can be stored; send application/json in UTF-8.")
    if mapping.depth(document) > mapping.MAX_DEPTH:
        raise Invalid(f"The delivery is nested more than {mapping.MAX_DEPTH} deep.")
    return document


def _no_number(name: str) -> None:
    raise ValueError(name)


def _fire(console: Console, shot: Shot) -> Fired:
    for again in (False, True):
        try:
            with db.writing(console.engine) as session:
                fired = firing.fire(session, shot, now=console.now())
            break
        except (IntegrityError, RunnerError):
            if again:
                raise  # the first time another delivery may have come in between
    firing.announce(console.engine, console.transport, [fired])
    return fired
