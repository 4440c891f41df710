"""Shots: what is to fire and what it came to; and deciding about them. The rows are `scheduler.firing`'s.

For each shot the policy is asked, the event becomes parameters, and the target starts all that remain at once.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from runner.batches import Queued
from runner.errors import Invalid
from runner.jobs import Cause, Priority
from runner.triggers import FiringState, Trigger
from scheduler import mapping
from scheduler.definitions import Overlap
from scheduler.starting import Started, Wanted
from scheduler.targets import target
from vault.audit import Actor

#: How many firings may lead to each other by completions before somebody must have built a circle.
MAX_DEPTH = 20


@dataclass(frozen=True, slots=True)
class Shot:
    """One wish to fire. `event` is what a webhook, a file, a message or the end of a job says.

    Where a person (`asked_by`) runs the trigger `by_hand`, no policy is asked, and `parameters` and `environment` go
    before the trigger's own.
    """

    trigger: Trigger
    key: str
    instant: datetime
    event: Any = None
    depth: int = 0
    by_hand: bool = False
    environment: str | None = None
    asked_by: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    #: Why it must not start anything, where that is known before.
    skip: str | None = None


@dataclass(frozen=True, slots=True)
class Fired:
    """What a firing came to; `new` is false where an earlier one had the key."""

    id: uuid.UUID
    shot: Shot
    state: FiringState
    why: str | None = None
    started_kind: str | None = None
    started_id: uuid.UUID | None = None
    queued: tuple[Queued, ...] = ()
    new: bool = True


def decide(session: Session, shots: Sequence[tuple[uuid.UUID, Shot]], *, now: datetime) -> list[Fired]:
    """Start what the policies allow, for firings with these ids; in order."""
    answers: dict[uuid.UUID, Fired] = {}
    ready: dict[str, list[tuple[uuid.UUID, Shot, Wanted]]] = defaultdict(list)
    replaced: dict[uuid.UUID, list[uuid.UUID]] = {}
    for firing_id, shot, why, before in _after_overlap(session, shots):
        replaced[firing_id] = before
        if why is not None:
            answers[firing_id] = Fired(firing_id, shot, FiringState.SKIPPED, why)
            continue
        try:
            ready[shot.trigger.target_kind].append((firing_id, shot, _wanted(firing_id, shot)))
        except Invalid as error:
            answers[firing_id] = Fired(firing_id, shot, FiringState.FAILED, str(error))
    for kind, some in ready.items():
        started = target(kind).start(session, [one[2] for one in some], now=now)
        for (firing_id, shot, _), answer in zip(some, started, strict=True):
            answers[firing_id] = _fired(firing_id, shot, kind, answer)
            if isinstance(answer, Started):  # what could not be started takes nobody's place
                for started_id in replaced[firing_id]:
                    target(kind).cancel(session, started_id, actor=_actor(shot.trigger), now=now)
    return [answers[firing_id] for firing_id, _ in shots]


def _fired(firing_id: uuid.UUID, shot: Shot, kind: str, answer: Started | str) -> Fired:
    if isinstance(answer, str):
        return Fired(firing_id, shot, FiringState.FAILED, answer)
    return Fired(firing_id, shot, FiringState.STARTED, None, kind, answer.id, answer.queued)


def _wanted(firing_id: uuid.UUID, shot: Shot) -> Wanted:
    trigger = shot.trigger
    pointers = trigger.definition.get("parameters_from") or {}
    brought = {} if shot.by_hand else mapping.parameters(pointers, shot.event)
    return Wanted(
        workspace_id=trigger.workspace_id,
        name=trigger.target,
        environment=trigger.definition.get("environment"),
        explicit=shot.environment,
        requested_by=shot.asked_by or trigger.created_by,
        group=trigger.group_name,
        priority=trigger.definition.get("priority", Priority.NORMAL.word),
        parameters={**trigger.parameters, **brought, **shot.parameters},
        cause=Cause("trigger", trigger.name, str(firing_id)),
    )


def _after_overlap(
    session: Session, shots: Sequence[tuple[uuid.UUID, Shot]]
) -> list[tuple[uuid.UUID, Shot, str | None, list[uuid.UUID]]]:
    """Each shot with the reason to skip it, if there is one, and with what was started before and gives way to it."""
    policies = {shot.trigger.id: _policy(shot) for _, shot in shots}
    unfinished = _unfinished(session, [shot for _, shot in shots if _policy(shot) is not Overlap.QUEUE])
    last = {shot.trigger.id: firing_id for firing_id, shot in shots if _allowed(shot) is None}
    answers: list[tuple[uuid.UUID, Shot, str | None, list[uuid.UUID]]] = []
    begun: set[uuid.UUID] = set()
    for firing_id, shot in shots:
        trigger, why = shot.trigger, _allowed(shot)
        policy = policies[trigger.id] if why is None and not shot.by_hand else Overlap.QUEUE
        before, replaced = unfinished.get(trigger.id, []), list[uuid.UUID]()
        if policy is Overlap.SKIP and (before or trigger.id in begun):
            why = f"overlap: {before[-1] if before else 'an instant of the same moment'} is not over yet."
        elif policy is Overlap.CANCEL_PREVIOUS and last[trigger.id] != firing_id:
            why = "overlap: a later firing of the same moment took its place."
        elif policy is Overlap.CANCEL_PREVIOUS:
            replaced = before
        if why is None:
            begun.add(trigger.id)
        answers.append((firing_id, shot, why, replaced))
    return answers


def _allowed(shot: Shot) -> str | None:
    if shot.depth > MAX_DEPTH:
        return f"{MAX_DEPTH} triggers fired each other in a row; look for a circle of completion triggers."
    return shot.skip


def _policy(shot: Shot) -> Overlap:
    return Overlap(shot.trigger.definition.get("overlap", Overlap.QUEUE))


def _unfinished(session: Session, shots: Sequence[Shot]) -> dict[uuid.UUID, list[uuid.UUID]]:
    by_kind: dict[str, set[uuid.UUID]] = defaultdict(set)
    for shot in shots:
        by_kind[shot.trigger.target_kind].add(shot.trigger.id)
    found: dict[uuid.UUID, list[uuid.UUID]] = defaultdict(list)
    for kind, trigger_ids in by_kind.items():
        for trigger_id, started_id in target(kind).unfinished(session, list(trigger_ids)):
            found[trigger_id].append(started_id)
    return found


def _actor(trigger: Trigger) -> Actor:
    return Actor(f"trigger {trigger.name}")


def repeated(fired: Fired) -> Fired:
    """The same answer for who asks again."""
    return replace(fired, new=False, queued=())
