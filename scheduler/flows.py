"""Flows: queues and workflows as they are saved; each change makes a version, and a run keeps the one it began with.

Everything that can be known is refused here, by a sentence that names the field: an unknown bot, a parameter that it
does not declare or needs, a reference to an asset that it may not see.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from runner import requests
from runner.errors import Invalid, NotFound
from runner.jobs import Cause, Priority
from runner.preflight import Unset
from runner.requests import Order
from scheduler import flow_files
from scheduler.flow_files import DefinitionInvalid
from scheduler.models import Flow, FlowVersion, Run
from scheduler.queues import Queue
from scheduler.workflows import Workflow
from vault import audit, db
from vault.audit import Actor
from vault.errors import Invalid as VaultInvalid
from vault.names import shown

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)


class Kind(StrEnum):
    """What a flow is."""

    QUEUE = "queue"
    WORKFLOW = "workflow"


#: The definition of each kind.
MODELS: Mapping[Kind, type[Queue | Workflow]] = {Kind.QUEUE: Queue, Kind.WORKFLOW: Workflow}


@dataclass(frozen=True, slots=True)
class Saved:
    """What saving answered; `new` is false where the newest version says the same already."""

    flow: Flow
    definition: Queue | Workflow
    new: bool


def read(kind: Kind, text: bytes) -> Queue | Workflow:
    """The definition in a file.

    Raises:
        DefinitionInvalid: naming the field.
    """
    return flow_files.read(text, Queue) if kind is Kind.QUEUE else flow_files.read(text, Workflow)


def restored(kind: Kind, document: Mapping[str, Any]) -> Queue | Workflow:
    """The definition that was stored."""
    table = dict(document)
    return flow_files.from_json(table, Queue) if kind is Kind.QUEUE else flow_files.from_json(table, Workflow)


def check_name(kind: Kind, name: str) -> str:
    """Give `name` back when it can name a flow; one that reads as the id of a run cannot.

    Raises:
        Invalid: otherwise.
    """
    try:
        uuid.UUID(name)
    except ValueError:
        if _NAME.fullmatch(name):
            return name
    raise Invalid(
        f"name: that of a {kind} is 1 to 128 ASCII letters, digits, dots, hyphens or underscores, begins with a letter "
        f"or digit and is no id; {shown(name[:60])} is not."
    )


def save(
    session: Session,
    kind: Kind,
    name: str,
    definition: Queue | Workflow,
    *,
    workspace_id: uuid.UUID,
    actor: Actor,
    now: datetime,
) -> Saved:
    """Save a flow, or the next version of one that exists.

    Raises:
        Invalid: naming the field that cannot be used.
    """
    check_name(kind, name)
    _check_bots(session, definition, workspace_id=workspace_id)
    document = flow_files.stored(definition)
    flow = find(session, kind, name, workspace_id=workspace_id, lock=True)
    if flow is None:
        flow = Flow(workspace_id=workspace_id, kind=kind, name=name, version=0, created_at=now, created_by=actor.name)
        session.add(flow)
        session.flush()
    elif version(session, flow).definition == document:
        return Saved(flow, definition, new=False)
    flow.version += 1
    session.flush()
    session.execute(
        insert(FlowVersion).values(
            flow_id=flow.id, number=flow.version, definition=document, created_at=now, created_by=actor.name
        )
    )
    _record(session, flow, "added", actor=actor, now=now, details={"version": flow.version})
    return Saved(flow, definition, new=True)


def _check_bots(session: Session, definition: Queue | Workflow, *, workspace_id: uuid.UUID) -> None:
    for place, (bot, parameters) in definition.bots().items():
        try:
            found = requests.newest(session, bot, workspace_id=workspace_id)
            requests.fill(found.manifest, parameters, how=requests.IN_FILE)
            order = Order(
                workspace_id,
                Cause("check", place),
                environment=definition.environment,
                parameters=parameters,
                group=definition.group,
                priority=Priority.of(definition.priority),
            )
            requests.approve(session, found, order)
        except (NotFound, Unset) as error:
            raise DefinitionInvalid(f"{place}.bot: {error}") from None
        except (Invalid, VaultInvalid) as error:
            raise DefinitionInvalid(f"{place}.parameters: {error}") from None


def find(session: Session, kind: Kind, name: str, *, workspace_id: uuid.UUID, lock: bool = False) -> Flow | None:
    """The flow of this name that is in use, or `None`."""
    query = select(Flow).where(
        Flow.workspace_id == workspace_id, Flow.kind == kind, Flow.name == name, Flow.removed_at.is_(None)
    )
    return session.scalars(query.with_for_update() if lock else query).one_or_none()


def require(session: Session, kind: Kind, name: str, *, workspace_id: uuid.UUID, lock: bool = False) -> Flow:
    """The flow of this name that is in use.

    Raises:
        NotFound: when there is none.
    """
    flow = find(session, kind, name, workspace_id=workspace_id, lock=lock)
    if flow is None:
        raise NotFound(
            f"There is no {kind} {shown(name)}; see `botkeep {kind} list`, or add it: "
            f"botkeep {kind} add NAME --file FILE"
        )
    return flow


def version(session: Session, flow: Flow, number: int | None = None) -> FlowVersion:
    """The version of a flow, the newest where none is named."""
    return session.get_one(FlowVersion, (flow.id, number or flow.version))


def listing(session: Session, kind: Kind, *, workspace_id: uuid.UUID) -> Sequence[Flow]:
    """Every flow of a kind that is in use, by name."""
    query = select(Flow).where(Flow.workspace_id == workspace_id, Flow.kind == kind, Flow.removed_at.is_(None))
    return session.scalars(query.order_by(Flow.name)).all()


def remove(session: Session, flow: Flow, *, actor: Actor, now: datetime) -> None:
    """Take a flow out of use; its runs go on, and stay in history."""
    flow.removed_at = now
    flow.pause_requested_at = None
    _record(session, flow, "removed", actor=actor, now=now)
    session.flush()


def pause(session: Session, flow: Flow, *, actor: Actor, now: datetime) -> None:
    """Let no run of it begin anything until it is resumed; what runs is finished."""
    changed = db.changes(
        session,
        update(Flow)
        .where(Flow.id == flow.id, Flow.pause_requested_at.is_(None))
        .values(pause_requested_at=now, pause_requested_by=actor.name),
    )
    if changed:
        _record(session, flow, "paused", actor=actor, now=now)
    session.refresh(flow)


def resume(session: Session, flow: Flow, *, actor: Actor, now: datetime) -> Sequence[uuid.UUID]:
    """Let its runs go on; answers those that wait for it."""
    changed = db.changes(
        session,
        update(Flow)
        .where(Flow.id == flow.id, Flow.pause_requested_at.is_not(None))
        .values(pause_requested_at=None, pause_requested_by=None),
    )
    if changed:
        _record(session, flow, "resumed", actor=actor, now=now)
    session.refresh(flow)
    return session.scalars(
        update(Run).where(Run.flow_id == flow.id, Run.state == "running").values(look_at=now).returning(Run.id)
    ).all()


def _record(
    session: Session,
    flow: Flow,
    verb: str,
    *,
    actor: Actor,
    now: datetime,
    details: dict[str, Any] | None = None,
) -> None:
    audit.record(
        session,
        actor,
        workspace_id=flow.workspace_id,
        action=f"{flow.kind}.{verb}",
        target=f"{flow.kind} {flow.name}",
        now=now,
        details=details,
    )
