"""Data sources: named definitions whose credentials are references, filled in by a runner only.

A definition at rest holds tokens, never what they stand for; `definitions` checks it when it is saved. Who may change
one may lead a credential elsewhere: the console asks for every environment that the source is open in, and the
workspace's `connection_policy` says where connections may go at all.
"""

from __future__ import annotations

import difflib
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from runner import definitions
from runner.errors import Conflict, Invalid, NotFound
from runner.source_models import DataSource
from vault import audit, db
from vault.audit import Actor
from vault.coverage import known_names
from vault.names import ENVIRONMENTS, check_environment, shown
from vault.tokens import Reference

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)

#: Stands for no bot where assets are looked for: a source uses those of its workspace, never a bot's own.
NO_BOT = uuid.UUID(int=0)


@dataclass(frozen=True, slots=True)
class Written:
    """A data source as somebody wrote it; `bots` is None where every bot may use it."""

    kind: str
    definition: Mapping[str, Any]
    environments: Sequence[str] = ENVIRONMENTS
    bots: Sequence[str] | None = None


def add(
    session: Session, name: str, written: Written, *, workspace_id: uuid.UUID, actor: Actor, now: datetime
) -> DataSource:
    """Save a new data source.

    Raises:
        Conflict: when there is one of that name.
        Invalid, InvalidName, InvalidToken: naming the field, the environment or the reference that is wrong.
    """
    if not _NAME.fullmatch(name):
        raise Invalid(
            f"{shown(name)} is not a name for a data source: write at most 128 ASCII letters, digits, dots, - and _."
        )
    values = _checked(session, written, workspace_id=workspace_id)
    row = DataSource(
        workspace_id=workspace_id,
        name=name,
        kind=written.kind,
        created_at=now,
        created_by=actor.name,
        updated_at=now,
        updated_by=actor.name,
        **values,
    )
    try:
        with session.begin_nested():
            session.add(row)
            session.flush()
    except IntegrityError:
        raise Conflict(
            f"There is a data source {name!r} already; change it with PUT, or remove it first: "
            f"botkeep source remove {name}"
        ) from None
    _record(session, row, "source.added", actor=actor, now=now)
    return row


def change(
    session: Session, name: str, written: Written, *, workspace_id: uuid.UUID, actor: Actor, now: datetime
) -> DataSource:
    """Replace a data source's definition and who may use it.

    Raises:
        NotFound: when there is none of that name.
        Invalid, InvalidName, InvalidToken: as `add`.
    """
    values = _checked(session, written, workspace_id=workspace_id)
    changed = db.changes(
        session,
        update(DataSource)
        .where(DataSource.workspace_id == workspace_id, DataSource.name == name)
        .values(kind=written.kind, updated_at=now, updated_by=actor.name, **values),
    )
    if not changed:
        raise _unknown(session, name, workspace_id=workspace_id)
    row = find(session, name, workspace_id=workspace_id)
    session.refresh(row)
    _record(session, row, "source.changed", actor=actor, now=now)
    return row


def remove(session: Session, name: str, *, workspace_id: uuid.UUID, actor: Actor, now: datetime) -> None:
    """Forget a data source; the assets that it referred to stay.

    Raises:
        NotFound: when there is none of that name.
    """
    row = find(session, name, workspace_id=workspace_id)
    session.execute(delete(DataSource).where(DataSource.id == row.id))
    _record(session, row, "source.removed", actor=actor, now=now)


def find(session: Session, name: str, *, workspace_id: uuid.UUID) -> DataSource:
    """The data source of that name.

    Raises:
        NotFound: when there is none; the message names a near one.
    """
    row = session.scalar(select(DataSource).where(DataSource.workspace_id == workspace_id, DataSource.name == name))
    if row is None:
        raise _unknown(session, name, workspace_id=workspace_id)
    return row


def listing(session: Session, *, workspace_id: uuid.UUID) -> Sequence[DataSource]:
    """Every data source of the workspace."""
    return session.scalars(select(DataSource).where(DataSource.workspace_id == workspace_id)).all()


def references(row: DataSource) -> tuple[Reference, ...]:
    """The references in a stored definition."""
    return definitions.check(row.kind, row.definition)[1]


def _checked(session: Session, written: Written, *, workspace_id: uuid.UUID) -> dict[str, Any]:
    document, found = definitions.check(written.kind, written.definition)
    known = known_names(session, {each.asset for each in found}, workspace_id=workspace_id, bot_id=NO_BOT)
    for reference in found:
        if reference.workspace not in {None, "default"}:
            raise Invalid(
                f"The reference {reference.text} names another workspace; a source uses its own one's assets."
            )
        if reference.asset not in known:
            raise Invalid(
                f"The reference {reference.text} names the asset {reference.asset}, which does not exist; "
                f"create it with: botkeep asset set {reference.asset} --env ENVIRONMENT"
            )
    chosen = {check_environment(each) for each in written.environments}
    if not chosen:
        raise Invalid("A data source is open in at least one environment: name it under `environments`.")
    bots = None if written.bots is None else sorted(set(written.bots))
    return {
        "definition": document,
        "environments": [each for each in ENVIRONMENTS if each in chosen],
        "bots": bots,
    }


def _unknown(session: Session, name: str, *, workspace_id: uuid.UUID) -> NotFound:
    names = session.scalars(select(DataSource.name).where(DataSource.workspace_id == workspace_id)).all()
    near = difflib.get_close_matches(name, names, 1)
    hint = f"did you mean {near[0]!r}?" if near else "see `botkeep source list`."
    return NotFound(f"There is no data source {shown(name)}; {hint}")


def _record(session: Session, row: DataSource, action: str, *, actor: Actor, now: datetime) -> None:
    audit.record(
        session,
        actor,
        workspace_id=row.workspace_id,
        action=action,
        target=f"source {row.name}",
        now=now,
        details={"kind": row.kind, "environments": row.environments, "bots": row.bots},
    )
