"""The console's own tables: the tokens that people and scripts authenticate with, and the keys of webhooks."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary, String, text
from sqlalchemy.orm import Mapped, mapped_column
from uuid_utils.compat import uuid7

from runner.triggers import Trigger
from vault.models import ACTOR_LENGTH, Model

#: What a partial index calls a token that can be used.
ACTIVE = text("revoked_at IS NULL")


class ApiToken(Model):
    """A bearer token, stored as the SHA-256 of its 256 random bits; `environments` empty means all."""

    __tablename__ = "api_tokens"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid7)
    workspace_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("workspaces.id"))
    name: Mapped[str] = mapped_column(String(ACTOR_LENGTH))
    role: Mapped[str] = mapped_column(String(16))
    environments: Mapped[list[Any]] = mapped_column(default=list)
    #: Roles by environment where they are lower than `role`.
    narrowed: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(ACTOR_LENGTH))
    revoked_at: Mapped[datetime | None]
    #: Whoever answers for it: the person who made it, if a person did.
    user_id: Mapped[uuid.UUID | None]

    __table_args__ = (
        Index(
            "uq_api_tokens_active",
            "workspace_id",
            "name",
            unique=True,
            postgresql_where=ACTIVE,
            sqlite_where=ACTIVE,
        ),
    )


class HookKey(Model):
    """What the deliveries of a webhook are verified by: sealed with the console's own key, for no other process.

    `console.hook_keys` says why it is neither an asset nor a digest.
    """

    __tablename__ = "hook_keys"

    trigger_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Trigger.id), primary_key=True)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    set_at: Mapped[datetime]
    set_by: Mapped[str] = mapped_column(String(ACTOR_LENGTH))
