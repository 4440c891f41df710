"""The tables of people: accounts, what they may do in which workspace, and how they are signed in.

Nothing here can be used by whoever reads it: passwords are argon2id hashes, links, sessions and states SHA-256 digests
of 256 random bits, recovery codes of 100, one-time password keys sealed with a file of the console's own.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column
from uuid_utils.compat import uuid7

from vault.models import ACTOR_LENGTH, Model

#: What a partial index calls an account that can be used.
ACTIVE = text("removed_at IS NULL")


class User(Model):
    """A person's account, the same in every workspace; `folded` is the name without regard to case."""

    __tablename__ = "users"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid7)
    name: Mapped[str] = mapped_column(String(ACTOR_LENGTH))
    folded: Mapped[str] = mapped_column(String(ACTOR_LENGTH))
    password: Mapped[str | None] = mapped_column(String(200))
    #: The sealed key of one-time passwords, and the last time step that was used.
    totp: Mapped[bytes | None] = mapped_column(LargeBinary)
    totp_step: Mapped[int | None]
    #: Who the person is at the OpenID provider.
    issuer: Mapped[str | None] = mapped_column(String(400))
    subject: Mapped[str | None] = mapped_column(String(255))
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(ACTOR_LENGTH))
    removed_at: Mapped[datetime | None]

    __table_args__ = (
        Index("uq_users_folded", "folded", unique=True, postgresql_where=ACTIVE, sqlite_where=ACTIVE),
        Index("uq_users_subject", "issuer", "subject", unique=True, postgresql_where=ACTIVE, sqlite_where=ACTIVE),
    )


class Membership(Model):
    """What a person may do in a workspace; `narrowed` has roles by environment where they are lower than `role`."""

    __tablename__ = "memberships"

    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"), primary_key=True)
    workspace_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("workspaces.id"), primary_key=True, index=True)
    role: Mapped[str] = mapped_column(String(16))
    narrowed: Mapped[dict[str, Any]] = mapped_column(default=dict)
    added_at: Mapped[datetime]
    added_by: Mapped[str] = mapped_column(String(ACTOR_LENGTH))
    #: Since when the person and their tokens are refused in this workspace.
    disabled_at: Mapped[datetime | None]


class RecoveryCode(Model):
    """A code that stands once for one of the authenticator; found by its SHA-256, bound to the account."""

    __tablename__ = "recovery_codes"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"), index=True)
    created_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class BrowserSession(Model):
    """A browser that is signed in, and the workspace it looks at; found by the SHA-256 of its cookie."""

    __tablename__ = "sessions"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(unique=True, default=uuid7)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"), index=True)
    workspace_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("workspaces.id"))
    #: `password`, `link` or `openid`.
    method: Mapped[str] = mapped_column(String(16))
    address: Mapped[str] = mapped_column(String(64))
    agent: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class SignInLink(Model):
    """A link that signs a person in once, before it expires."""

    __tablename__ = "sign_in_links"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"), index=True)
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(ACTOR_LENGTH))
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class SignInFlow(Model):
    """A sign-in that was sent to the OpenID provider and did not come back yet; a row is used up by deleting it."""

    __tablename__ = "sign_in_flows"

    state: Mapped[str] = mapped_column(String(64), primary_key=True)
    #: The SHA-256 of a cookie: only the browser that began may end it.
    browser: Mapped[str] = mapped_column(String(64))
    nonce: Mapped[str] = mapped_column(String(64))
    verifier: Mapped[str] = mapped_column(String(128))
    target: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]
