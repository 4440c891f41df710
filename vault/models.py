"""The vault's tables: workspaces, environments, recipients, assets, values, readings, audit.

`Model` is the declarative base of every table in Botkeep; the other packages build on it. The only
ciphertext column is `AssetValue.envelope`: it is deferred and raises when touched through the ORM, so that
a process whose database role may not select it never does so by accident. Only modules that neither the console
nor the scheduler can load select it.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from uuid_utils.compat import uuid7

from vault.errors import DamagedRow
from vault.names import shown

#: Text of one JSON document: JSONB where the database has it.
Document = JSON().with_variant(JSONB(), "postgresql")

#: Actors, descriptions of actors and names of tokens share one width.
ACTOR_LENGTH = 200


class UtcDateTime(TypeDecorator[datetime]):
    """An aware instant in UTC: `timestamptz` on PostgreSQL, sortable text without a zone on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive times; SQLite gets UTC without its zone, so that text order is time order."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("A time without a zone cannot be stored; pass an aware datetime.")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Give back an aware UTC time whatever the session's zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:  # noqa: ANN401 - SQLAlchemy's own
        """As above; raises `DamagedRow` for what is no time, which SQLite keeps where an editor put it."""
        return _distrusting(super().result_processor(dialect, coltype), "a time")


class Id(Uuid[uuid.UUID]):
    """An id: `uuid` on PostgreSQL, 32 lower-case hexadecimal digits on SQLite."""

    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:  # noqa: ANN401 - SQLAlchemy's own
        """Raises `DamagedRow` for what is no id."""
        if dialect.name == "sqlite":
            return _read_id
        return super().result_processor(dialect, coltype)  # type: ignore[no-untyped-call]


def _read_id(stored: Any) -> uuid.UUID | None:  # noqa: ANN401 - SQLite keeps anything
    if stored is None:
        return None
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        read = uuid.UUID(stored)
        if read.hex == stored:  # written otherwise no statement would find it
            return read
    raise damaged("an id", stored)


def _distrusting(convert: Callable[[Any], object] | None, what: str) -> Callable[[object], object] | None:
    if convert is None:
        return None

    def converted(stored: object) -> object:
        try:
            return convert(stored)
        except (ValueError, TypeError, AttributeError):
            raise damaged(what, stored) from None

    return converted


def damaged(what: str, stored: object = None) -> DamagedRow:
    """The complaint about what is stored where only `what` can be; it is quoted, so that its row can be found.

    Documents are not: those of jobs may hold what a person typed in the place of a reference.
    """
    found = "something" if stored is None else shown(str(stored))
    return DamagedRow(
        f"A row of the database was changed by hand, or damaged: {found} is not {what}, which belongs in "
        "its place. `botkeep doctor` on the database's host says where; correct it, or restore a backup."
    )


class Model(DeclarativeBase):
    """Base of every table; constraint names are derived, so migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        },
    )
    type_annotation_map = {  # noqa: RUF012 - read by SQLAlchemy as a class attribute
        datetime: UtcDateTime,
        dict[str, Any]: Document,
        list[Any]: Document,
        uuid.UUID: Id,
    }


class Workspace(Model):
    """A tenant; owns everything else. One named `default` exists after set-up."""

    __tablename__ = "workspaces"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid7)
    name: Mapped[str] = mapped_column(String(128), unique=True)
    created_at: Mapped[datetime]
    #: Limits of its bots' resources, in the words of bot.toml; `None`: the defaults.
    limits: Mapped[dict[str, Any] | None]
    #: Where connections of its data sources may go; `None`: the defaults.
    connections: Mapped[dict[str, Any] | None]


class Environment(Model):
    """The policy of one workspace for one environment; `unset` is `warn` or `refuse`.

    `isolation` is what a runner must give before it may start bots here: `any`, `landlock` or `sandbox`.
    """

    __tablename__ = "environments"

    workspace_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("workspaces.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(16), primary_key=True)
    unset: Mapped[str] = mapped_column(String(16), default="warn")
    isolation: Mapped[str] = mapped_column(String(16), default="any", server_default=text("'any'"))


class RecipientKey(Model):
    """The public half of an environment's key pair, and a canary envelope that its identity must open."""

    __tablename__ = "recipients"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    environment: Mapped[str] = mapped_column(String(16))
    public_key: Mapped[str] = mapped_column(Text)
    canary: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime]
    retired_at: Mapped[datetime | None]


Index(
    "uq_recipients_current",
    RecipientKey.environment,
    unique=True,
    postgresql_where=RecipientKey.retired_at.is_(None),
    sqlite_where=RecipientKey.retired_at.is_(None),
)


class Asset(Model):
    """A named slot GROUP.NAME, workspace-wide (`bot_id` empty) or exclusive to one bot."""

    __tablename__ = "assets"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid7)
    workspace_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("workspaces.id"))
    bot_id: Mapped[uuid.UUID | None]
    group_name: Mapped[str] = mapped_column(String(128))
    name: Mapped[str] = mapped_column(String(128))
    description: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(ACTOR_LENGTH))
    #: Its values live on the hosts of runners, and never here.
    local: Mapped[bool] = mapped_column(default=False, server_default=text("false"))


Index(
    "ix_assets_local",
    Asset.bot_id,
    postgresql_where=Asset.local.is_(True),
    sqlite_where=Asset.local.is_(True),
)
Index(
    "uq_assets_workspace",
    Asset.workspace_id,
    Asset.group_name,
    Asset.name,
    unique=True,
    postgresql_where=Asset.bot_id.is_(None),
    sqlite_where=Asset.bot_id.is_(None),
)
Index(
    "uq_assets_bot",
    Asset.bot_id,
    Asset.group_name,
    Asset.name,
    unique=True,
    postgresql_where=Asset.bot_id.is_not(None),
    sqlite_where=Asset.bot_id.is_not(None),
)


class AssetVariable(Model):
    """Which (GROUP, NAME) owns an environment-variable name in a workspace; the key is the guard."""

    __tablename__ = "asset_variables"

    workspace_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("workspaces.id"), primary_key=True)
    variable: Mapped[str] = mapped_column(String(300), primary_key=True)
    group_name: Mapped[str] = mapped_column(String(128))
    name: Mapped[str] = mapped_column(String(128))


class AssetValue(Model):
    """One immutable, numbered, encrypted content of an asset in an environment.

    Only a key rotation updates a row, and only `recipient_id` and the wrapped data key inside `envelope`.
    """

    __tablename__ = "asset_values"

    asset_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("assets.id"), primary_key=True)
    environment: Mapped[str] = mapped_column(String(16), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    recipient_id: Mapped[str] = mapped_column(ForeignKey("recipients.id"), index=True)
    envelope: Mapped[bytes] = mapped_column(LargeBinary, deferred=True, deferred_raiseload=True)
    empty: Mapped[bool]
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(ACTOR_LENGTH))


class CurrentValue(Model):
    """Which number of an asset is in force in an environment; no row means the value is unset."""

    __tablename__ = "current_values"

    asset_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("assets.id"), primary_key=True)
    environment: Mapped[str] = mapped_column(String(16), primary_key=True)
    number: Mapped[int]
    set_at: Mapped[datetime]
    set_by: Mapped[str] = mapped_column(String(ACTOR_LENGTH))


class Reading(Model):
    """Audit row: this value was decrypted for this attempt of this job. Kept when the asset is removed.

    An attempt may read two numbers of one asset: what its bot set itself, or what a data source needed later.
    There is no index by asset: it would touch one page a value at each start, which costs a job with 100 assets
    ten times what the rows themselves cost.
    """

    __tablename__ = "readings"

    job_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    asset_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    asset: Mapped[str] = mapped_column(String(257))
    scope: Mapped[str] = mapped_column(String(128))
    environment: Mapped[str] = mapped_column(String(16))
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    runner: Mapped[str] = mapped_column(String(128))
    read_at: Mapped[datetime]


class LastReading(Model):
    """When an asset was last read for a bot in an environment; gathered from `Reading` when jobs have ended."""

    __tablename__ = "last_readings"

    asset_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    environment: Mapped[str] = mapped_column(String(16), primary_key=True)
    bot_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    read_at: Mapped[datetime]


class AuditEvent(Model):
    """Who did what to which object, and whether it was allowed; never a value."""

    __tablename__ = "audit_events"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid7)
    workspace_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("workspaces.id"))
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(ACTOR_LENGTH))
    address: Mapped[str] = mapped_column(String(64), default="")
    action: Mapped[str] = mapped_column(String(64))
    object: Mapped[str] = mapped_column(String(400))
    environment: Mapped[str | None] = mapped_column(String(16))
    outcome: Mapped[str] = mapped_column(String(16), default="done")
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)

    __table_args__ = (Index("ix_audit_events_workspace", "workspace_id", "id"),)


class AuditLink(Model):
    """The place of one audit row in its workspace's chain: `hash` covers the row and the link before.

    Written by the scheduler seconds after the row; `vault.chain` says what is hashed. There is no foreign key to the
    row, so that a row which somebody removed leaves its link behind.
    """

    __tablename__ = "audit_links"

    workspace_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("workspaces.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    event_id: Mapped[uuid.UUID] = mapped_column(unique=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    hash: Mapped[bytes] = mapped_column(LargeBinary)
    sealed_at: Mapped[datetime]
