"""Where people put the steps of a workflow's drawing: beside its definition, so that moving a step makes no version."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from scheduler.models import Flow, FlowArrangement
from vault import audit
from vault.audit import Actor


def of(session: Session, flow_id: uuid.UUID) -> dict[str, tuple[int, int]]:
    """Left upper corners by step, in units of the drawing; none where nobody moved a step."""
    places = session.scalar(select(FlowArrangement.places).where(FlowArrangement.flow_id == flow_id)) or {}
    return {name: (x, y) for name, (x, y) in places.items()}


def keep(session: Session, flow: Flow, places: Mapping[str, tuple[int, int]], *, actor: Actor, now: datetime) -> bool:
    """Keep these places, or none, for a flow that is locked; answers whether they are others than before."""
    if of(session, flow.id) == dict(places):
        return False
    session.execute(delete(FlowArrangement).where(FlowArrangement.flow_id == flow.id))
    if places:
        stored = {name: list(place) for name, place in places.items()}
        session.execute(
            insert(FlowArrangement).values(flow_id=flow.id, places=stored, changed_at=now, changed_by=actor.name)
        )
    audit.record(
        session,
        actor,
        workspace_id=flow.workspace_id,
        action=f"{flow.kind}.arranged",
        target=f"{flow.kind} {flow.name}",
        now=now,
    )
    return True
