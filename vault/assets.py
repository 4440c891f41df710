"""Assets as people see them: created, given values, listed, never shown a plaintext.

A value is encrypted to its environment's recipient in the call that takes it. Numbers are given out under a
lock on the asset's row, since the number is part of what the envelope is bound to; a value is never
overwritten: `set_value` adds a number, `rollback` points to an older one, `unset` points to none.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from vault import audit
from vault.audit import Actor
from vault.encrypt import encrypt
from vault.envelope import Context
from vault.errors import AssetExists, Conflict, InvalidValue, LocalAsset, UnknownAsset, UnknownValue
from vault.grading import grade
from vault.models import Asset, AssetValue, CurrentValue, LastReading
from vault.names import AssetName, check_environment, stored
from vault.recipients import current
from vault.variables import claim_variables, release_variables

#: Characters of what an asset is for.
MAX_DESCRIPTION = 1000

#: The largest value that is stored, in bytes; a certificate store or a JSON key file is far smaller.
MAX_VALUE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose an asset is: the workspace's, or one bot's alone."""

    workspace_id: uuid.UUID
    bot_id: uuid.UUID | None = None
    bot: str | None = None

    @property
    def label(self) -> str:
        """The word that history and lists use."""
        return "workspace" if self.bot is None else self.bot

    def target(self, name: AssetName) -> str:
        """How an audit row names an asset of this scope."""
        return f"asset {name}" if self.bot is None else f"asset {name} of bot {self.bot}"


@dataclass(frozen=True, slots=True)
class Written:
    """What a write answers: the value's number, and advice for the person, never the value."""

    number: int
    warnings: tuple[str, ...]


def add(session: Session, name: AssetName, *, scope: Scope, description: str, actor: Actor, now: datetime) -> None:
    """Create an asset that has no value yet.

    Raises:
        AssetExists: when there is one of this name in this scope.
        InvalidValue: for a description above `MAX_DESCRIPTION` characters.
        NameCollision: when a variable derived from `name` belongs to another asset or to the runner.
    """
    if _find(session, name, scope=scope, lock=True) is not None:
        raise AssetExists(str(name), scope.label)
    asset = _create(session, name, scope=scope, actor=actor, now=now)
    asset.description = _checked_description(description)
    _record(session, "asset.added", name, scope=scope, actor=actor, now=now)


def describe(session: Session, name: AssetName, *, scope: Scope, description: str, actor: Actor, now: datetime) -> None:
    """Say anew what an asset is for.

    Raises:
        UnknownAsset: when the asset does not exist in this scope.
        InvalidValue: for a description above `MAX_DESCRIPTION` characters.
    """
    asset = require(session, name, scope=scope, lock=True)
    asset.description = _checked_description(description)
    _record(session, "asset.described", name, scope=scope, actor=actor, now=now)


def set_value(
    session: Session,
    name: AssetName,
    *,
    scope: Scope,
    environment: str,
    plaintext: bytes,
    actor: Actor,
    now: datetime,
    description: str | None = None,
) -> Written:
    """Encrypt and store the next value of an asset, creating the asset where it is new.

    Raises:
        InvalidValue: for a value above `MAX_VALUE_BYTES`.
        LocalAsset: for an asset whose values live on runners' hosts.
        InvalidName: for an unknown environment.
        NameCollision: when a variable derived from `name` belongs to another asset or to the runner.
        NoRecipient: when the environment has no key pair.
    """
    check_environment(environment)
    check_size(plaintext)
    asset = _find(session, name, scope=scope, lock=True)
    if asset is None:
        asset = _create(session, name, scope=scope, actor=actor, now=now)
    if asset.local:
        raise LocalAsset(str(name), scope.label, environment)
    if description is not None:
        asset.description = description
    number = _next_number(session, asset.id, environment)
    context = _context(name, scope=scope, environment=environment, number=number)
    _store(session, asset.id, plaintext, context=context, actor=actor, now=now)
    _point(session, asset.id, environment=environment, number=number, actor=actor, now=now)
    audit.record(
        session,
        actor,
        workspace_id=scope.workspace_id,
        action="asset.set",
        target=scope.target(name),
        environment=environment,
        now=now,
        details={"number": number},
    )
    return Written(number=number, warnings=grade(plaintext, name))


def _store(
    session: Session, asset_id: uuid.UUID, plaintext: bytes, *, context: Context, actor: Actor, now: datetime
) -> None:
    """Add the row of a new value, encrypted to whoever may read its environment now."""
    recipient = current(session, context.environment)
    session.execute(
        insert(AssetValue).values(
            asset_id=asset_id,
            environment=context.environment,
            number=context.number,
            recipient_id=recipient.id.hex(),
            envelope=encrypt(plaintext, recipient, context=context),
            empty=not plaintext,
            created_at=now,
            created_by=actor.name,
        )
    )


def check_size(plaintext: bytes) -> None:
    """Refuse (`InvalidValue`) a value that is too large to be stored anywhere."""
    if len(plaintext) > MAX_VALUE_BYTES:
        raise InvalidValue(
            f"The value has {len(plaintext)} bytes; at most {MAX_VALUE_BYTES} can be stored. "
            "Keep large files outside and store the key that opens them."
        )


def declare_local(
    session: Session,
    name: AssetName,
    *,
    scope: Scope,
    actor: Actor,
    now: datetime,
    description: str | None = None,
) -> Asset:
    """Define an asset of one bot whose values live on runners' hosts; again, to change its description.

    Raises:
        InvalidValue: for an asset that belongs to no bot.
        Conflict: when the asset has values here.
        NameCollision: when a variable derived from `name` belongs to another asset or to the runner.
    """
    if scope.bot_id is None:
        raise InvalidValue(f"{name} needs the bot that it belongs to: a local value is one bot's alone.")
    asset = _find(session, name, scope=scope, lock=True)
    if asset is None:
        asset = _create(session, name, scope=scope, actor=actor, now=now)
        asset.local = True
    elif not asset.local:
        raise Conflict(
            f"{name} of bot {scope.label} has its values in the central database. Remove it first: "
            f"botkeep asset remove {name} --bot {scope.label}"
        )
    if description is not None:
        asset.description = description
    audit.record(
        session,
        actor,
        workspace_id=scope.workspace_id,
        action="asset.declared",
        target=scope.target(name),
        now=now,
        details={"local": True},
    )
    session.flush()
    return asset


def rollback(
    session: Session,
    name: AssetName,
    *,
    scope: Scope,
    environment: str,
    number: int,
    actor: Actor,
    now: datetime,
) -> None:
    """Put an older (or newer) number in force again; no value is read or copied.

    Raises:
        UnknownAsset: when the asset does not exist in this scope.
        UnknownValue: when it has no such number in this environment.
    """
    check_environment(environment)
    asset = require(session, name, scope=scope, lock=True)
    found = session.scalar(
        select(AssetValue.number).where(
            AssetValue.asset_id == asset.id,
            AssetValue.environment == environment,
            AssetValue.number == number,
        )
    )
    if found is None:
        raise UnknownValue(str(name), environment, number)
    _point(session, asset.id, environment=environment, number=number, actor=actor, now=now)
    audit.record(
        session,
        actor,
        workspace_id=scope.workspace_id,
        action="asset.rollback",
        target=scope.target(name),
        environment=environment,
        now=now,
        details={"number": number},
    )


def unset(session: Session, name: AssetName, *, scope: Scope, environment: str, actor: Actor, now: datetime) -> None:
    """Leave the asset without a value in `environment`; its numbered values stay for a rollback."""
    check_environment(environment)
    asset = require(session, name, scope=scope, lock=True)
    session.execute(
        delete(CurrentValue).where(CurrentValue.asset_id == asset.id, CurrentValue.environment == environment)
    )
    audit.record(
        session,
        actor,
        workspace_id=scope.workspace_id,
        action="asset.unset",
        target=scope.target(name),
        environment=environment,
        now=now,
    )


def remove(session: Session, name: AssetName, *, scope: Scope, actor: Actor, now: datetime) -> None:
    """Delete the asset and all its values for good; readings and audit rows stay."""
    asset = require(session, name, scope=scope, lock=True)
    erase(session, asset)
    release_variables(session, name, workspace_id=scope.workspace_id)
    _record(session, "asset.removed", name, scope=scope, actor=actor, now=now)


def remove_of_bot(session: Session, *, scope: Scope, actor: Actor, now: datetime) -> int:
    """Delete every exclusive asset of one bot; answers how many there were."""
    if scope.bot_id is None:
        raise ValueError("A bot's scope is needed; this one is the workspace's.")
    assets: Sequence[Asset] = session.scalars(select(Asset).where(Asset.bot_id == scope.bot_id)).all()
    for asset in assets:
        remove(session, stored(asset.group_name, asset.name), scope=scope, actor=actor, now=now)
    return len(assets)


def require(session: Session, name: AssetName, *, scope: Scope, lock: bool = False) -> Asset:
    """The asset of this name in this scope.

    Raises:
        UnknownAsset: when there is none.
    """
    asset = _find(session, name, scope=scope, lock=lock)
    if asset is None:
        raise UnknownAsset(str(name), "this workspace" if scope.bot is None else f"bot {scope.bot}")
    return asset


def _checked_description(text: str) -> str:
    if len(text) > MAX_DESCRIPTION:
        raise InvalidValue(f"The description has {len(text)} characters; at most {MAX_DESCRIPTION} can be stored.")
    return text


def _record(session: Session, action: str, name: AssetName, *, scope: Scope, actor: Actor, now: datetime) -> None:
    audit.record(session, actor, workspace_id=scope.workspace_id, action=action, target=scope.target(name), now=now)


def erase(session: Session, asset: Asset) -> None:
    """Delete one asset's rows, values first."""
    session.execute(delete(CurrentValue).where(CurrentValue.asset_id == asset.id))
    session.execute(delete(AssetValue).where(AssetValue.asset_id == asset.id))
    session.execute(delete(LastReading).where(LastReading.asset_id == asset.id))
    session.execute(delete(Asset).where(Asset.id == asset.id))


def _find(session: Session, name: AssetName, *, scope: Scope, lock: bool) -> Asset | None:
    query = select(Asset).where(
        Asset.workspace_id == scope.workspace_id,
        Asset.bot_id.is_(None) if scope.bot_id is None else Asset.bot_id == scope.bot_id,
        Asset.group_name == name.group,
        Asset.name == name.name,
    )
    return session.scalars(query.with_for_update() if lock else query).one_or_none()


def _create(session: Session, name: AssetName, *, scope: Scope, actor: Actor, now: datetime) -> Asset:
    claim_variables(session, name, workspace_id=scope.workspace_id)
    asset = Asset(
        workspace_id=scope.workspace_id,
        bot_id=scope.bot_id,
        group_name=name.group,
        name=name.name,
        created_at=now,
        created_by=actor.name,
    )
    session.add(asset)
    session.flush()
    return asset


def _next_number(session: Session, asset_id: uuid.UUID, environment: str) -> int:
    last = session.scalar(
        select(func.max(AssetValue.number)).where(
            AssetValue.asset_id == asset_id, AssetValue.environment == environment
        )
    )
    return (last or 0) + 1


def _point(
    session: Session, asset_id: uuid.UUID, *, environment: str, number: int, actor: Actor, now: datetime
) -> None:
    pointer = session.get(CurrentValue, (asset_id, environment))
    if pointer is None:
        pointer = CurrentValue(asset_id=asset_id, environment=environment)
        session.add(pointer)
    pointer.number, pointer.set_at, pointer.set_by = number, now, actor.name
    session.flush()


def _context(name: AssetName, *, scope: Scope, environment: str, number: int) -> Context:
    return Context(
        workspace=str(scope.workspace_id),
        bot="-" if scope.bot_id is None else str(scope.bot_id),
        group=name.group,
        name=name.name,
        environment=environment,
        number=number,
    )
