"""What is done with one asset on its page: values set, unset and rolled back, its description, its removal."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from console.deps import Allowed
from console.pages import shell
from console.pages.assets import chosen_value, one, saved
from console.pages.owner import Slotted
from console.pages.shell import REFUSALS, Fields
from runner.errors import Invalid
from vault import assets
from vault.names import check_environment

router = APIRouter()


@router.post("/assets/{group}/{name}/values/{environment}")
@router.post("/bots/{bot}/assets/{group}/{name}/values/{environment}")
def set_value(call: Allowed, slot: Slotted, environment: str, fields: Fields) -> Response:
    """Encrypt the next value for the runners of that environment only."""
    call.require_environment(check_environment(environment))
    try:
        value = chosen_value(fields, environment)
        if value is None and not fields.get("empty"):
            raise Invalid("Give a value, or tick that it is to be empty.")
        with call.writing() as session:
            scope = slot.owner.scope(session, call)
            assets.require(session, slot.name, scope=scope)
            written = assets.set_value(
                session,
                slot.name,
                scope=scope,
                environment=environment,
                plaintext=value or b"",
                actor=call.actor,
                now=call.now,
            )
    except REFUSALS as error:
        return one(call, slot, errors={environment: str(error)}, status=422)
    sentence = f"Value {written.number} of {slot.name} is in force in {environment}."
    return saved(call, slot.path, sentence, list(written.warnings))


@router.post("/assets/{group}/{name}/values/{environment}/removal")
@router.post("/bots/{bot}/assets/{group}/{name}/values/{environment}/removal")
def unset(call: Allowed, slot: Slotted, environment: str) -> Response:
    """Leave the asset without a value there; its numbers stay for a rollback."""
    call.require_environment(check_environment(environment))
    with call.writing() as session:
        scope = slot.owner.scope(session, call)
        assets.unset(session, slot.name, scope=scope, environment=environment, actor=call.actor, now=call.now)
    return shell.redirect(call, slot.path, notice=f"{slot.name} has no value in {environment} now.")


@router.post("/assets/{group}/{name}/values/{environment}/rollback")
@router.post("/bots/{bot}/assets/{group}/{name}/values/{environment}/rollback")
def rollback(call: Allowed, slot: Slotted, environment: str, fields: Fields) -> Response:
    """Put an earlier number in force again; nothing is read or copied."""
    call.require_environment(check_environment(environment))
    number = _number(fields.words("number"))
    with call.writing() as session:
        scope = slot.owner.scope(session, call)
        assets.rollback(
            session, slot.name, scope=scope, environment=environment, number=number, actor=call.actor, now=call.now
        )
    return shell.redirect(call, slot.path, notice=f"Value {number} of {slot.name} is in force in {environment} again.")


@router.post("/assets/{group}/{name}/description")
@router.post("/bots/{bot}/assets/{group}/{name}/description")
def describe(call: Allowed, slot: Slotted, fields: Fields) -> Response:
    """Say anew what the asset is for."""
    try:
        with call.writing() as session:
            scope = slot.owner.scope(session, call)
            description = fields.words("description")
            assets.describe(session, slot.name, scope=scope, description=description, actor=call.actor, now=call.now)
    except REFUSALS as error:
        return one(call, slot, errors={"description": str(error)}, status=422)
    return shell.redirect(call, slot.path, notice=f"The description of {slot.name} was saved.")


@router.post("/assets/{group}/{name}/removal")
@router.post("/bots/{bot}/assets/{group}/{name}/removal")
def remove(call: Allowed, slot: Slotted) -> Response:
    """Delete the asset and its values in every environment, for good."""
    call.require_every_environment("removing an asset")
    with call.writing() as session:
        scope = slot.owner.scope(session, call)
        assets.remove(session, slot.name, scope=scope, actor=call.actor, now=call.now)
    return shell.redirect(call, slot.owner.base, notice=f"{slot.name} was removed, with all its values.")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text[:11]) < 2**31):
        raise Invalid("The number of a value is a whole number from 1.")
    return int(text)
