"""The public keys in the database: which recipient an environment has now, and their canaries."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from vault.encrypt import Recipient, encrypt
from vault.envelope import Context
from vault.errors import Conflict, NoRecipient
from vault.models import AssetValue, RecipientKey, Workspace

#: What a canary holds; opening it proves that an identity belongs to the recipient.
CANARY = b"botkeep canary"


def canary_context(environment: str) -> Context:
    """The context of an environment's canary; no asset can have it, since numbers start at 1."""
    return Context(workspace="-", bot="-", group="BOTKEEP", name="CANARY", environment=environment, number=0)


def current(session: Session, environment: str) -> Recipient:
    """The recipient that new values of `environment` are encrypted to.

    Raises:
        NoRecipient: when the environment has no key pair yet.
    """
    found = registered(session, environment)
    if found is None:
        raise NoRecipient(environment)
    return found


def registered(session: Session, environment: str) -> Recipient | None:
    """The current recipient of `environment`, or `None` where it has no key pair yet."""
    text = session.scalar(
        select(RecipientKey.public_key).where(
            RecipientKey.environment == environment, RecipientKey.retired_at.is_(None)
        )
    )
    return None if text is None else Recipient.from_text(text)


def register(session: Session, recipient: Recipient, *, now: datetime) -> None:
    """Make `recipient` the current one of its environment; the former one is retired, not removed.

    Raises:
        Conflict: when this recipient was registered before.
    """
    key_id = recipient.id.hex()
    if session.get(RecipientKey, key_id) is not None:
        raise Conflict(f"The {recipient.environment} key {key_id} is registered already.")
    session.execute(
        update(RecipientKey)
        .where(RecipientKey.environment == recipient.environment, RecipientKey.retired_at.is_(None))
        .values(retired_at=now)
    )
    session.add(
        RecipientKey(
            id=key_id,
            environment=recipient.environment,
            public_key=recipient.to_text(),
            canary=encrypt(CANARY, recipient, context=canary_context(recipient.environment)),
            created_at=now,
        )
    )
    session.flush()


def all_keys(session: Session, environment: str | None = None) -> Sequence[RecipientKey]:
    """Every registered key, oldest first, of one environment or of all."""
    query = select(RecipientKey).order_by(RecipientKey.environment, RecipientKey.created_at)
    if environment is not None:
        query = query.where(RecipientKey.environment == environment)
    return session.scalars(query).all()


@dataclass(frozen=True, slots=True)
class KeyState:
    """One registered key: in force or retired, and how many stored values it wraps."""

    id: str
    environment: str
    created_at: datetime
    retired_at: datetime | None
    values: int


def states(session: Session) -> list[KeyState]:
    """Every registered key by environment, the newest first; asks for nothing that only key hosts may see."""
    counts = value_counts(session)
    rows = session.execute(
        select(RecipientKey.id, RecipientKey.environment, RecipientKey.created_at, RecipientKey.retired_at).order_by(
            RecipientKey.environment, RecipientKey.created_at.desc()
        )
    ).all()
    return [KeyState(*row, counts.get(row[0], 0)) for row in rows]


def owner(session: Session) -> uuid.UUID:
    """The workspace whose audit says what happens to keys, which belong to the whole installation: the first one."""
    return session.scalars(select(Workspace.id).order_by(Workspace.created_at, Workspace.id).limit(1)).one()


def value_counts(session: Session) -> dict[str, int]:
    """How many stored values each key still wraps, by the key's id."""
    rows = session.execute(select(AssetValue.recipient_id, func.count()).group_by(AssetValue.recipient_id)).all()
    return {row[0]: row[1] for row in rows}
