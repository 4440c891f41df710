"""Orders: single jobs that people and programs ask for, each with the audit row that says so.

Most orders need nothing that has to be looked up. Their job is inserted for the version that this process took for
the newest, by a statement that finds out whether it still is: one round trip, which is one transaction, on PostgreSQL.
What speaks against that is no answer: such an order is looked at closely, in a session, and refused there if need be.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from types import SimpleNamespace
from typing import Any, cast

from sqlalchemy import ColumnElement, Engine, Insert, bindparam, exists, func, insert, literal_column, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from runner import history, jobs, requests, statements
from runner.errors import Conflict, RunnerError
from runner.history import Entry
from runner.jobs import Request
from runner.models import Bot, Job, PackageVersion
from runner.requests import Order, Version
from runner.states import State
from vault import audit, db, tokens
from vault.audit import Actor, Deed
from vault.db import clock
from vault.direct import pooled, within
from vault.errors import VaultError
from vault.models import AuditEvent, Environment, Model
from vault.names import ENVIRONMENTS

_jobs = Model.metadata.tables[Job.__tablename__]
_bots = Model.metadata.tables[Bot.__tablename__]
_versions = Model.metadata.tables[PackageVersion.__tablename__]
_environments = Model.metadata.tables[Environment.__tablename__]
_events = Model.metadata.tables[AuditEvent.__tablename__]

#: What stands in the statements as it is, not as a parameter, which would be converted each time.
_FIXED: dict[str, ColumnElement[Any]] = {
    name: literal_column(text)
    for name, text in (
        ("state", f"'{State.QUEUED}'"),
        ("attempt", "0"),
        ("warnings", "'[]'"),
        ("outcome", "'done'"),
        ("details", "'{}'"),
    )
}

#: Before the names of the audit row's columns, some of which the job has, too.
_RECORDED = "recorded_"

#: A row of `jobs`, as far as that of a new job is known without being read, and its order does not say it.
_NEW: dict[str, Any] = dict.fromkeys(_jobs.columns.keys()) | {"state": State.QUEUED, "attempt": 0, "warnings": []}


@dataclass(frozen=True, slots=True)
class Asker:
    """Who orders, and by which action, as the audit says it."""

    actor: Actor
    action: str


def _enqueue() -> Insert:
    """A job, where its version is the newest of a bot in use and its environment takes bots that lack values."""
    row = {name: bindparam(name, type_=_jobs.c[name].type) for name in statements.COLUMNS} | {
        "published_at": clock(),
        "turn": statements.TURN,
        **{name: fixed for name, fixed in _FIXED.items() if name in _jobs.columns},
    }
    newest = select(func.max(_versions.c.number)).where(_versions.c.bot_id == _bots.c.id).scalar_subquery()
    strict = exists().where(
        _environments.c.workspace_id == bindparam("workspace_id"),
        _environments.c.name == bindparam("environment"),
        _environments.c.unset == "refuse",
    )
    # A bot that is being removed is waited for, as `statements.NEWEST` does.
    unchanged = (
        select(*row.values())
        .where(
            _bots.c.id == bindparam("bot_id"),
            _bots.c.removed_at.is_(None),
            newest == bindparam("number"),
            ~strict,
        )
        .with_for_update(read=True, of=_bots)
    )
    return insert(_jobs).from_select(list(row), unchanged).returning(_jobs.c.id)


#: The job of an order. Parameters: its columns, and the `number` of its version; answers its id, or no row.
_ENQUEUE = _enqueue()
_queued = _ENQUEUE.cte("queued")
_event = {
    column.name: _FIXED.get(column.name, bindparam(_RECORDED + column.name, type_=column.type))
    for column in _events.columns
}

#: The audit row of it. Parameters: its columns, with `_RECORDED` before their names.
_RECORD = insert(_events).values(_event)

#: Both, for PostgreSQL.
_ENQUEUE_RECORDED = select(_queued.c.id).add_cte(
    insert(_events)
    .from_select(list(_event), select(*_event.values()).select_from(_queued))
    .returning(_events.c.id)
    .cte("recorded")
)


def place(engine: Engine, bot: str, order: Order, *, asker: Asker, now: datetime) -> tuple[Entry, bool]:
    """The job of an order, committed and to be published, and whether it is new.

    A repeated idempotency key answers the job that it made.

    Raises:
        NotFound, Invalid, InvalidName, InvalidToken: as `requests.prepare`.
        Conflict: for a key that was used for something else.
        Unavailable: when the database cannot be reached; whether there is a job is then unknown without a key.
    """
    entry = _at_once(engine, bot, order, asker=asker, now=now)
    if entry is not None:
        return entry, True
    try:
        return _looked_at(engine, bot, order, asker=asker, now=now)
    except IntegrityError:
        if order.idempotency_key is None:
            raise
        return _looked_at(engine, bot, order, asker=asker, now=now)  # another order used the key a moment ago


def former(session: Session, bot: str, order: Order) -> Entry | None:
    """The job that the order's key made; a key that was used for something else is refused with `Conflict`."""
    if order.idempotency_key is None:
        return None
    job_id = history.by_idempotency_key(session, order.idempotency_key, workspace_id=order.workspace_id)
    if job_id is None:
        return None
    before = history.entry(session, job_id, workspace_id=order.workspace_id)
    given = order.parameters.items()
    if (before.bot, before.job.environment) != (bot, order.environment or ENVIRONMENTS[0]) or any(
        before.job.parameters.get(name) != value for name, value in given
    ):
        raise Conflict(
            f"This idempotency key made job {job_id}, which runs {before.bot} in {before.job.environment} and is "
            "not what is asked for now; use another key."
        )
    return before


def _at_once(engine: Engine, bot: str, order: Order, *, asker: Asker, now: datetime) -> Entry | None:
    version = requests.remembered(bot, workspace_id=order.workspace_id)
    request = None if version is None else _plain(version, order)
    if version is None or request is None:
        return None
    row = jobs.row_of(request, now=now)
    recorded = _recorded(asker, order.workspace_id, row["id"], bot, request.environment, now=now)
    try:
        inserted = _insert(engine, {**row, **recorded, "number": version.number})
    except IntegrityError:  # the key was used before
        return None
    return Entry(cast("Job", SimpleNamespace(**{**_NEW, **row})), bot, version.number) if inserted else None


def _plain(version: Version, order: Order) -> Request | None:
    """The request of an order that refers to nothing which would have to be looked up."""
    if order.environment in version.strict:
        return None
    try:
        request = requests.draft(version, order)
        return None if tokens.find(request.parameters) else request
    except (RunnerError, VaultError):  # to be refused, unless a newer version takes it or its key made a job before
        return None


def _insert(engine: Engine, parameters: dict[str, object]) -> bool:
    with pooled(engine) as run:
        if engine.dialect.name == "postgresql":
            return bool(run(_ENQUEUE_RECORDED, parameters))
        inserted = bool(run(_ENQUEUE, parameters))
        if inserted:
            run(_RECORD, parameters)
        return inserted


def _looked_at(engine: Engine, bot: str, order: Order, *, asker: Asker, now: datetime) -> tuple[Entry, bool]:
    with db.writing(engine) as session:
        before = former(session, bot, order)
        if before is not None:
            return before, False
        request = requests.prepare(session, bot, order)
        job_id = jobs.enqueue(session, request, now=now)
        entry = history.entry(session, job_id, workspace_id=order.workspace_id)
        within(session)(_RECORD, _recorded(asker, order.workspace_id, job_id, bot, request.environment, now=now))
    return entry, True


def _recorded(
    asker: Asker, workspace_id: uuid.UUID, job_id: uuid.UUID, bot: str, environment: str, *, now: datetime
) -> dict[str, object]:
    deed = Deed(asker.actor, workspace_id, asker.action, f"job {job_id} of bot {bot}", environment)
    return {_RECORDED + name: value for name, value in audit.row(deed, now=now).items()}
