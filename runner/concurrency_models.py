"""The tables of concurrency limits and what counts towards them."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column
from uuid_utils.compat import uuid7

from vault.models import ACTOR_LENGTH, Model


class ConcurrencyLimit(Model):
    """How many jobs of an environment may run at the same time: all, those of a bot, or those that use an asset."""

    __tablename__ = "concurrency_limits"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid7)
    workspace_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("workspaces.id"))
    environment: Mapped[str] = mapped_column(String(16))
    kind: Mapped[str] = mapped_column(String(16))
    #: The name of the bot, or of the asset as GROUP.NAME; empty for the environment itself.
    target: Mapped[str] = mapped_column(String(520), default="")
    at_once: Mapped[int]
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(ACTOR_LENGTH))

    __table_args__ = (
        Index("uq_concurrency_limits_target", "workspace_id", "environment", "kind", "target", unique=True),
    )


class LimitMember(Model):
    """A package version whose jobs count towards a concurrency limit; `runner.concurrency` keeps the rows."""

    __tablename__ = "limit_members"

    limit_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("concurrency_limits.id"), primary_key=True)
    version_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("package_versions.id"), primary_key=True)

    __table_args__ = (Index("ix_limit_members_version", "version_id"),)
