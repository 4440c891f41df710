"""What it means to start something, for whatever kind of thing: the words that targets and firings share.

A target is a module or object with the functions of `Target`. It starts many at once, so that ten thousand
schedules of one minute cost a few statements; it works inside the transaction that records the firing, and never
commits.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy.orm import Session

from runner.batches import Queued
from runner.jobs import Cause
from vault.audit import Actor


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be started, where, with which parameters, and because of what."""

    workspace_id: uuid.UUID
    name: str
    #: The trigger's own environment; where it has none, that of the target holds.
    environment: str | None
    group: str
    priority: str
    parameters: Mapping[str, Any]
    cause: Cause
    #: Names of parameters that each event brings besides; for `check` only.
    promised: frozenset[str] = frozenset()
    #: What somebody who runs the trigger by hand says; it goes before the trigger's environment.
    explicit: str | None = None
    #: Whoever may not answer the approvals of what is started.
    requested_by: str = ""


@dataclass(frozen=True, slots=True)
class Started:
    """The id of the job or run, and the jobs that are to be announced after the commit."""

    id: uuid.UUID
    queued: tuple[Queued, ...] = ()


class Target(Protocol):
    """One kind of thing that can be started."""

    def environment(self, session: Session, wanted: Wanted) -> str:
        """Where it would start. Raises `NotFound` where there is no such thing."""

    def bots(self, session: Session, wanted: Wanted) -> frozenset[str]:
        """The names of the bots that it runs. Raises `NotFound` where there is no such thing."""

    def check(self, session: Session, wanted: Wanted) -> None:
        """Refuse what could never be started. Raises `NotFound` or `Invalid`, naming the field."""

    def start(self, session: Session, wanted: Sequence[Wanted], *, now: datetime) -> list[Started | str]:
        """Start each, in order; text where one cannot be started: the sentence that says why."""

    def unfinished(self, session: Session, trigger_ids: Sequence[uuid.UUID]) -> list[tuple[uuid.UUID, uuid.UUID]]:
        """Trigger and id of what these triggers started and what is not over."""

    def cancel(self, session: Session, started_id: uuid.UUID, *, actor: Actor, now: datetime) -> None:
        """Cancel what was started; nothing happens where it is over."""
