"""Runners: registered by themselves, alive by their heartbeat in the database's time."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from runner.errors import Conflict, NotFound
from runner.models import Job, Runner
from runner.states import State
from vault import db
from vault.db import clock, database_time

#: Time between two heartbeats unless a runner's settings say otherwise.
HEARTBEAT = timedelta(seconds=5)

#: A runner that was not heard of for this long counts as lost: several heartbeats, so that one slow write is not death.
LOST_AFTER = timedelta(seconds=30)


class NameTaken(Conflict):
    """Another living runner has the name; it is free when that one stopped, or was not heard of for a while."""


@dataclass(frozen=True, slots=True)
class Presence:
    """What a runner says of itself when it registers; `instance` tells two processes of one name apart."""

    name: str
    instance: uuid.UUID
    host: str
    version: str
    environments: tuple[str, ...]
    groups: tuple[str, ...]
    concurrency: int
    labels: Mapping[str, str] = field(default_factory=dict)
    isolation: dict[str, object] | None = None
    log_store: str | None = None
    #: The ids of the private keys that it holds, by environment, the newest last.
    keys: Mapping[str, Sequence[str]] | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """A runner as lists show it; `status` is `online`, `draining`, `stopped` or `lost`."""

    row: Runner
    status: str
    running: int


def register(
    session: Session, presence: Presence, *, gone: Callable[[uuid.UUID], bool] = lambda _instance: False
) -> None:
    """Announce a runner; `gone` tells whether the process of an instance of this host has ended for certain.

    Raises:
        NameTaken: when another living process has the name.
    """
    row = session.get(Runner, presence.name, with_for_update=True) or _added(session, presence)
    if row.instance != presence.instance and _stands_in_the_way(row, presence, session, gone=gone):
        raise NameTaken(
            f"A runner named {presence.name!r} is alive on {row.host}; "
            "give this one another name with --name, or stop the other and try again."
        )
    _describe(row, presence, at=database_time(session))
    session.flush()


def _added(session: Session, presence: Presence) -> Runner:
    """The new row of a name, or that of whoever took the name at the same instant."""
    row = Runner(name=presence.name)
    _describe(row, presence, at=database_time(session))
    try:
        with session.begin_nested():
            session.add(row)
            session.flush()
    except IntegrityError:
        # PostgreSQL made us wait for the other's commit, so its row is there.
        return session.get_one(Runner, presence.name, with_for_update=True)
    return row


def _describe(row: Runner, presence: Presence, *, at: datetime) -> None:
    row.instance = presence.instance
    row.host = presence.host
    row.version = presence.version
    row.environments = list(presence.environments)
    row.groups = list(presence.groups)
    row.concurrency = presence.concurrency
    row.labels = dict(presence.labels)
    row.isolation = presence.isolation
    row.log_store = presence.log_store
    row.keys = None if presence.keys is None else _plain(presence.keys)
    row.started_at = row.heartbeat_at = at
    row.stopped_at = row.drain_requested_at = None


def _stands_in_the_way(row: Runner, presence: Presence, session: Session, *, gone: Callable[[uuid.UUID], bool]) -> bool:
    ended = row.host == presence.host and gone(row.instance)
    return not ended and _alive(row, database_time(session))


def beat(session: Session, name: str, *, instance: uuid.UUID) -> bool | None:
    """Say that the runner lives; answers whether it was asked to drain, `None` when the name is not its own."""
    row = session.execute(
        update(Runner)
        .where(Runner.name == name, Runner.instance == instance)
        .values(heartbeat_at=clock())
        .returning(Runner.drain_requested_at)
    ).one_or_none()
    return None if row is None else row.drain_requested_at is not None


def note_keys(session: Session, name: str, *, instance: uuid.UUID, keys: Mapping[str, Sequence[str]]) -> None:
    """Say which private keys the runner holds now: their ids, which are public."""
    mine = update(Runner).where(Runner.name == name, Runner.instance == instance)
    session.execute(mine.values(keys=_plain(keys)))


def _plain(keys: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    return {environment: list(ids) for environment, ids in keys.items()}


def deregister(session: Session, name: str, *, instance: uuid.UUID) -> None:
    """Say that the runner stopped on purpose."""
    session.execute(update(Runner).where(Runner.name == name, Runner.instance == instance).values(stopped_at=clock()))


def request_drain(session: Session, name: str, *, now: datetime) -> None:
    """Ask a runner to finish what it runs, claim nothing more, and stop.

    Raises:
        NotFound: when there is no such runner.
    """
    changed = db.changes(session, update(Runner).where(Runner.name == name).values(drain_requested_at=now))
    if not changed:
        raise NotFound(f"There is no runner {name!r}; see `botkeep runner list`.")


def remove(session: Session, name: str) -> None:
    """Forget a runner that stopped or was lost; history keeps its name.

    Raises:
        NotFound: when there is no such runner.
        Conflict: when it is alive.
    """
    row = session.get(Runner, name)
    if row is None:
        raise NotFound(f"There is no runner {name!r}; see `botkeep runner list`.")
    if _alive(row, database_time(session)):
        raise Conflict(f"Runner {name!r} is alive; drain it first: botkeep runner drain {name}")
    session.delete(row)


def listing(session: Session) -> list[Seen]:
    """Every known runner by name, with its status now and how many jobs it runs."""
    now = database_time(session)
    rows: Sequence[Runner] = session.scalars(select(Runner).order_by(Runner.name)).all()
    counts = select(Job.runner, func.count()).where(Job.state == State.RUNNING).group_by(Job.runner)
    running = {row[0]: row[1] for row in session.execute(counts)}
    return [Seen(row, status(row, now), running.get(row.name, 0)) for row in rows]


def status(row: Runner, now: datetime) -> str:
    """`online`, `draining`, `stopped` or `lost` at the database's time `now`."""
    if row.stopped_at is not None:
        return "stopped"
    if not _alive(row, now):
        return "lost"
    return "draining" if row.drain_requested_at is not None else "online"


def _alive(row: Runner, now: datetime) -> bool:
    return row.stopped_at is None and now - row.heartbeat_at < LOST_AFTER
