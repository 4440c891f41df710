"""Keys and values where the private keys are: making, verifying, and the one audited way to read.

Nothing here is part of the console or the scheduler; `vault.rotation` gives an environment a new key.
"""

from __future__ import annotations

import getpass
import socket
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine, LargeBinary, Row, Select, cast, select, text
from sqlalchemy.orm import Session

from vault import audit, db, recipients
from vault.audit import Actor
from vault.canary import check_canaries
from vault.decrypt import Identities, Identity, Secret, open_envelope
from vault.encrypt import Recipient
from vault.envelope import Context
from vault.errors import (
    Conflict,
    DamagedRow,
    DecryptError,
    IdentityFileError,
    Invalid,
    NotFound,
    UnknownAsset,
    VaultError,
)
from vault.identities import (
    Passphrase,
    create_key_file,
    file_passphrase,
    key_path,
    newest,
    prompt_new_passphrase,
    prompt_passphrase,
    read_identities,
)
from vault.models import Asset, AssetValue, CurrentValue, Id, Workspace
from vault.names import AssetName
from vault.private_files import present
from vault.settings import VaultSettings

#: Values handled in one transaction; a batch of this size takes a few milliseconds.
BATCH = 200


@dataclass(frozen=True, slots=True)
class Made:
    """A key pair that exists now; `new` tells whether this call made it."""

    key_id: str
    path: Path
    new: bool


@dataclass(frozen=True, slots=True)
class KeyDescription:
    """A registered key and how many stored values it wraps."""

    environment: str
    key_id: str
    created_at: datetime
    retired_at: datetime | None
    values: int


@dataclass(frozen=True, slots=True)
class Step:
    """How far long work has come."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Failure:
    """A stored value that does not open, and why."""

    environment: str
    asset: str
    number: int
    problem: str


def make_key(
    engine: Engine,
    environment: str,
    *,
    settings: VaultSettings,
    protect: bool,
    if_missing: bool,
    now: datetime,
) -> Made:
    """Make the key pair of an environment and register its public half.

    A key file without a registration (from a run that was stopped) is registered, not replaced.

    Raises:
        Conflict: when the environment has a key pair and `if_missing` is false, or when the database knows a key
            that this host does not have.
        IdentityFileError: when the key file cannot be read or written safely.
    """
    path = key_path(settings.keys(), environment)
    with db.writing(engine) as session:
        registered = recipients.registered(session, environment)
        if present(path) or registered is not None:
            return _existing(session, path, environment, settings=settings, if_missing=if_missing, now=now)
        identity = Identity.generate(environment)
        create_key_file(path, identity, passphrase=prompt_new_passphrase if protect else None)
        register_key(session, identity.recipient, action="key.created", now=now)
    return Made(identity.id.hex(), path, new=True)


def register_key(session: Session, recipient: Recipient, *, action: str, now: datetime) -> None:
    """Make `recipient` the current one of its environment, with the audit row that says so."""
    recipients.register(session, recipient, now=now)
    audit.record(
        session,
        key_host(),
        workspace_id=recipients.owner(session),
        action=action,
        target=f"key {recipient.id.hex()}",
        environment=recipient.environment,
        now=now,
    )


def _existing(
    session: Session,
    path: Path,
    environment: str,
    *,
    settings: VaultSettings,
    if_missing: bool,
    now: datetime,
) -> Made:
    registered = recipients.registered(session, environment)
    if not present(path):
        raise IdentityFileError(
            f"The database has a {environment} key, but {path} is missing. Restore the file from your backup; "
            "without it the stored values cannot be opened, and a new key would not open them either."
        )
    held = read_identities(path, environment, passphrase=passphrase_of(settings))
    if registered is None:
        register_key(session, newest(held).recipient, action="key.created", now=now)
        return Made(newest(held).id.hex(), path, new=True)
    if registered.id not in held:
        raise Conflict(
            f"{path} does not hold the {environment} key {registered.id.hex()} that the database has; "
            "put the right key file there, or point BOTKEEP_DATABASE_URL at the database it belongs to."
        )
    if not if_missing:
        raise Conflict(
            f"The environment {environment} has a key pair; to replace it run: "
            f"python -m vault rotate --env {environment}"
        )
    return Made(registered.id.hex(), path, new=False)


def describe_keys(engine: Engine) -> list[KeyDescription]:
    """Every registered key with the number of values it wraps."""
    with db.reading(engine) as session:
        counts = recipients.value_counts(session)
        return [
            KeyDescription(key.environment, key.id, key.created_at, key.retired_at, counts.get(key.id, 0))
            for key in recipients.all_keys(session)
        ]


def verify(
    engine: Engine, environment: str, *, settings: VaultSettings, failures: list[Failure], now: datetime
) -> Iterator[Step]:
    """Open every stored value of an environment; what does not open, or is gone, is appended to `failures`. Audited."""
    identities: Identities = {
        environment: read_identities(
            key_path(settings.keys(), environment), environment, passphrase=passphrase_of(settings)
        )
    }
    with db.writing(engine) as session:
        check_canaries(session, identities)
        audit.record(
            session,
            key_host(),
            workspace_id=recipients.owner(session),
            action="key.verified",
            target=f"every value of {environment}",
            environment=environment,
            now=now,
        )
        rows: Sequence[Row[uuid.UUID, int]] = session.execute(
            select(AssetValue.asset_id, AssetValue.number).where(AssetValue.environment == environment)
        ).all()
        failures.extend(_gone(session, environment))
    for start in range(0, len(rows), BATCH):
        with db.reading(engine) as session:
            for asset_id, number in rows[start : start + BATCH]:
                query = value_rows(environment).where(AssetValue.asset_id == asset_id, AssetValue.number == number)
                row = session.execute(query).one_or_none()
                if row is not None:
                    failures.extend(_problem(row, identities))
        yield Step(min(start + BATCH, len(rows)), len(rows))


def read(
    engine: Engine,
    name: AssetName,
    *,
    environment: str,
    bot: str | None,
    workspace: str | None = None,
    settings: VaultSettings,
    now: datetime,
) -> Secret:
    """Open the value in force, after its audit row is committed; `workspace` may be left out where only one has it.

    Raises:
        NotFound: when there is nothing to read.
        Conflict: when several workspaces have such a value and none was named.
    """
    identities: Identities = {
        environment: read_identities(
            key_path(settings.keys(), environment), environment, passphrase=passphrase_of(settings)
        )
    }
    with db.writing(engine) as session:
        query = value_rows(environment).where(
            Asset.group_name == name.group,
            Asset.name == name.name,
            Asset.bot_id.is_(None) if bot is None else Asset.bot_id.in_(_bot_ids(session, bot)),
        )
        if workspace is not None:
            query = query.where(Asset.workspace_id == _workspace_id(session, workspace))
        current = query.join(
            CurrentValue,
            (CurrentValue.asset_id == AssetValue.asset_id)
            & (CurrentValue.environment == AssetValue.environment)
            & (CurrentValue.number == AssetValue.number),
        )
        rows = session.execute(current).all()
        if not rows:
            if session.execute(query.limit(1)).one_or_none() is None:
                raise UnknownAsset(str(name), environment)
            raise NotFound(f"The asset {name} has no value in {environment}; see `botkeep asset show {name}`.")
        if len(rows) > 1:
            raise Conflict(f"{_named(session, rows)} each have a value of {name}: name one with --workspace.")
        row = rows[0]
        audit.record(
            session,
            key_host(),
            workspace_id=row.workspace_id,
            action="asset.read",
            target=f"asset {name}",
            environment=environment,
            now=now,
            details={"number": row.number},
        )
    return open_envelope(row.envelope, identities, context=context_of(row, environment))


def _workspace_id(session: Session, name: str) -> uuid.UUID:
    found = session.scalar(select(Workspace.id).where(Workspace.name == name))
    if found is None:
        raise NotFound(f"There is no workspace {name!r}; see: botkeep workspace list")
    return found


def _named(session: Session, rows: Sequence[ValueRow]) -> str:
    owners = {row.workspace_id for row in rows}
    names = session.scalars(select(Workspace.name).where(Workspace.id.in_(owners)).order_by(Workspace.name))
    return f"The workspaces {' and '.join(names)}"


def _bot_ids(session: Session, bot: str) -> Sequence[uuid.UUID]:
    """The bots of that name, of which each workspace may have one."""
    # The bots table belongs to another package; a key host needs these columns of it.
    found: Sequence[uuid.UUID] = (
        session.execute(
            text("SELECT id FROM bots WHERE name = :name AND removed_at IS NULL").columns(id=Id()), {"name": bot}
        )
        .scalars()
        .all()
    )
    if not found:
        raise NotFound(f"There is no bot {bot!r}; see: botkeep bot list")
    return found


ValueRow = Row[uuid.UUID, uuid.UUID, uuid.UUID | None, str, str, int, bytes]


def value_rows(environment: str) -> Select[uuid.UUID, uuid.UUID, uuid.UUID | None, str, str, int, bytes]:
    """Every stored value of an environment with what its envelope is bound to."""
    return (
        select(
            AssetValue.asset_id,
            Asset.workspace_id,
            Asset.bot_id,
            Asset.group_name,
            Asset.name,
            AssetValue.number,
            cast(AssetValue.envelope, LargeBinary).label("envelope"),  # SQLite keeps text where an editor put it
        )
        .join(Asset, Asset.id == AssetValue.asset_id)
        .where(AssetValue.environment == environment)
    )


def context_of(row: ValueRow, environment: str) -> Context:
    """The place that a stored value must be in to open.

    Raises:
        DamagedRow: when no value can be there.
    """
    try:
        return Context(
            workspace=str(row.workspace_id),
            bot="-" if row.bot_id is None else str(row.bot_id),
            group=row.group_name,
            name=row.name,
            environment=environment,
            number=row.number,
        )
    except Invalid as error:
        raise DamagedRow(
            f"A row of the database was changed by hand, or damaged. {error} Restore the row from a backup."
        ) from None


def failure_of(row: ValueRow, environment: str, error: VaultError) -> Failure:
    """What is said of a stored value that does not open."""
    return Failure(environment, f"{row.group_name}.{row.name}", row.number, str(error))


def _problem(row: ValueRow, identities: Identities) -> Iterator[Failure]:
    (environment,) = identities
    try:
        open_envelope(row.envelope, identities, context=context_of(row, environment))
    except (DecryptError, DamagedRow) as error:
        yield failure_of(row, environment, error)


def _gone(session: Session, environment: str) -> Iterator[Failure]:
    """The values that are in force and not there."""
    rows = session.execute(
        select(Asset.group_name, Asset.name, CurrentValue.number)
        .join(CurrentValue, CurrentValue.asset_id == Asset.id)
        .outerjoin(
            AssetValue,
            (AssetValue.asset_id == CurrentValue.asset_id)
            & (AssetValue.environment == CurrentValue.environment)
            & (AssetValue.number == CurrentValue.number),
        )
        .where(CurrentValue.environment == environment, AssetValue.asset_id.is_(None))
    )
    for group, name, number in rows:
        problem = f"The value {number} of {group}.{name} in {environment} is in force, and it is not in the database. "
        mend = "Restore the row from a backup, or set the value again."
        yield Failure(environment, f"{group}.{name}", number, problem + mend)


def passphrase_of(settings: VaultSettings) -> Passphrase:
    """How a protected key file is unlocked: by the file that the settings name, or by asking."""
    if settings.key_passphrase_file is not None:
        return file_passphrase(settings.key_passphrase_file)
    return prompt_passphrase


def key_host() -> Actor:
    """Who acts on a key host, as audit rows name them."""
    return Actor(f"{getpass.getuser()} on key host {socket.gethostname()}")
