"""A new key pair for an environment: data keys are wrapped again, no value is opened.

It can be stopped at any moment, and a second run goes on where the first one ended: each row says which key
wraps it, and a key file that is ahead of the database says which key comes next. The old identity stays in the key
file until `forget`, which refuses while any value still needs it.

    prepare   the new identity goes into the key file only; now give the file to every runner
    rotate    the database learns the new key, and every data key is wrapped for it
    forget    the old identity leaves the key file
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine, Select, func, select, tuple_, update
from sqlalchemy.orm import Session

from vault import audit, db, recipients
from vault.decrypt import Identities, Identity, rewrap
from vault.encrypt import Recipient
from vault.errors import Conflict, DamagedRow, DecryptError, InvalidName
from vault.identities import Passphrase, append_identity, key_path, newest, read_identities, remove_identity
from vault.keyhost import (
    BATCH,
    Failure,
    Step,
    ValueRow,
    context_of,
    failure_of,
    key_host,
    passphrase_of,
    register_key,
    value_rows,
)
from vault.models import AssetValue
from vault.settings import VaultSettings


def prepare(engine: Engine, environment: str, *, settings: VaultSettings) -> str:
    """Add the next identity to the key file without using it yet; answers its key id.

    Raises:
        Conflict: when this host does not hold the current key.
    """
    path = key_path(settings.keys(), environment)
    passphrase = passphrase_of(settings)
    with db.reading(engine) as session:
        current = recipients.current(session, environment)
    held = _held(path, current, passphrase=passphrase)
    if newest(held).id != current.id:
        return newest(held).id.hex()  # prepared before
    identity = Identity.generate(environment)
    append_identity(path, identity, passphrase=passphrase)
    return identity.id.hex()


def rotate(
    engine: Engine, environment: str, *, settings: VaultSettings, failures: list[Failure], now: datetime
) -> Iterator[Step]:
    """Give an environment its next key and wrap every data key again; yields after each batch.

    A value that does not open stays as it is and is appended to `failures`: one damaged row keeps no other from the
    new key.

    Raises:
        Conflict: when this host does not hold the current key.
    """
    path = key_path(settings.keys(), environment)
    passphrase = passphrase_of(settings)
    target = _target(engine, environment, path=path, passphrase=passphrase, now=now)
    identities: Identities = {environment: read_identities(path, environment, passphrase=passphrase)}
    with db.reading(engine) as session:
        total = session.scalar(select(func.count()).select_from(_old_values(environment, target).subquery())) or 0
    done = 0
    yield Step(0, total)
    # Values that were set for the old key meanwhile are found by a further pass.
    while True:
        before, failed = done, list[Failure]()
        for number in _pass(engine, target, identities=identities, failures=failed):
            done += number
            yield Step(done, max(total, done))
        if done == before:
            failures += failed
            return


def _pass(engine: Engine, target: Recipient, *, identities: Identities, failures: list[Failure]) -> Iterator[int]:
    """Look once at each value that another key wraps; answers batch by batch how many are wrapped for the target."""
    place: tuple[uuid.UUID, int] | None = None
    while True:
        wrapped = 0
        query = _old_values(target.environment, target).order_by(AssetValue.asset_id, AssetValue.number)
        if place is not None:
            query = query.where(tuple_(AssetValue.asset_id, AssetValue.number) > place)
        with db.writing(engine) as session:
            rows = session.execute(query.limit(BATCH).with_for_update(of=AssetValue)).all()
            for row in rows:
                try:
                    _rewrap_row(session, row, identities=identities, recipient=target)
                    wrapped += 1
                except (DecryptError, DamagedRow) as error:
                    failures.append(failure_of(row, target.environment, error))
        if not rows:
            return
        place = rows[-1].asset_id, rows[-1].number
        yield wrapped


def forget(engine: Engine, environment: str, *, key_id: str, settings: VaultSettings, now: datetime) -> None:
    """Remove an old identity from the key file for good.

    Raises:
        Conflict: while it wraps a value.
        IdentityFileError: when the file does not hold it, or it is the newest.
        InvalidName: for text that is no key id.
    """
    try:
        identity_id = bytes.fromhex(key_id)
    except ValueError:
        raise InvalidName(f"{key_id!r} is no key id; see: python -m vault list") from None
    with db.writing(engine) as session:
        left = recipients.value_counts(session).get(key_id.lower(), 0)
        if left:
            raise Conflict(
                f"The key {key_id} still wraps {left} values; run: python -m vault rotate --env {environment}"
            )
        remove_identity(
            key_path(settings.keys(), environment), environment, key_id=identity_id, passphrase=passphrase_of(settings)
        )
        audit.record(
            session,
            key_host(),
            workspace_id=recipients.owner(session),
            action="key.forgotten",
            target=f"key {key_id}",
            environment=environment,
            now=now,
        )


def _target(engine: Engine, environment: str, *, path: Path, passphrase: Passphrase, now: datetime) -> Recipient:
    """The recipient to wrap for: the prepared one, that of a rotation that was stopped, or a new one."""
    with db.writing(engine) as session:
        current = recipients.current(session, environment)
        held = _held(path, current, passphrase=passphrase)
        following = newest(held)
        if following.id == current.id:
            if _stopped(session, current, identities={environment: held}):
                return current
            following = Identity.generate(environment)
            append_identity(path, following, passphrase=passphrase)
        register_key(session, following.recipient, action="key.rotated", now=now)
        return following.recipient


def _stopped(session: Session, current: Recipient, *, identities: Identities) -> bool:
    """Whether a rotation to the current key was stopped: a value of an older one can be wrapped for it."""
    for row in session.execute(_old_values(current.environment, current).execution_options(yield_per=BATCH)):
        try:
            rewrap(row.envelope, identities, recipient=current, context=context_of(row, current.environment))
        except (DecryptError, DamagedRow):
            continue
        return True
    return False


def _held(path: Path, current: Recipient, *, passphrase: Passphrase) -> dict[bytes, Identity]:
    held = read_identities(path, current.environment, passphrase=passphrase)
    if current.id not in held:
        raise Conflict(
            f"{path} does not hold the current {current.environment} key {current.id.hex()}; "
            "rotate on the host that does."
        )
    return held


def _old_values(
    environment: str, recipient: Recipient
) -> Select[uuid.UUID, uuid.UUID, uuid.UUID | None, str, str, int, bytes]:
    return value_rows(environment).where(AssetValue.recipient_id != recipient.id.hex())


def _rewrap_row(session: Session, row: ValueRow, *, identities: Identities, recipient: Recipient) -> None:
    environment = recipient.environment
    envelope = rewrap(row.envelope, identities, recipient=recipient, context=context_of(row, environment))
    session.execute(
        update(AssetValue)
        .where(
            AssetValue.asset_id == row.asset_id,
            AssetValue.environment == environment,
            AssetValue.number == row.number,
        )
        .values(envelope=envelope, recipient_id=recipient.id.hex())
    )
