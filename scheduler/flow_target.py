"""Queues and workflows as targets of triggers: runs, whose jobs `scheduler.advancing` makes at its next look.

Where the trigger names no environment, that of the definition holds, and then dev (`scheduler.precedence`).
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from runner.errors import Conflict, Invalid, NotFound, RunnerError
from runner.requests import IN_FILE, fill_declared
from runner.states import State
from runner.triggers import Firing
from scheduler import flow_preflight, flows, runs
from scheduler.flows import Kind
from scheduler.models import Flow, Run
from scheduler.queues import Queue
from scheduler.starting import Started, Wanted
from scheduler.workflows import Workflow
from vault.audit import Actor


class FlowTarget:
    """One kind of flow."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind

    def environment(self, session: Session, wanted: Wanted) -> str:
        """Where a run would go.

        Raises:
            NotFound: when there is no such flow.
        """
        return runs.environment_for(session, self._flow(session, wanted), _asked(wanted))

    def bots(self, session: Session, wanted: Wanted) -> frozenset[str]:
        """The bots of its steps.

        Raises:
            NotFound: when there is no such flow.
        """
        return frozenset(bot for bot, _ in self._definition(session, self._flow(session, wanted)).bots().values())

    def check(self, session: Session, wanted: Wanted) -> None:
        """Refuse an unknown flow, parameters that it does not declare or needs, and steps that could not start.

        Raises:
            NotFound, Invalid: naming the field.
        """
        flow = self._flow(session, wanted)
        definition = self._definition(session, flow)
        given = {**wanted.parameters, **dict.fromkeys(wanted.promised, "")}
        try:
            filled = fill_declared(definition.parameters, given, owner=self._kind, how=IN_FILE)
        except Invalid as error:
            raise Invalid(f"parameters: {error}") from None
        chosen = runs.environment_for(session, flow, _asked(wanted))
        try:
            flow_preflight.check(
                session, definition, workspace_id=wanted.workspace_id, environment=chosen, parameters=filled
            )
        except Invalid as error:
            raise Invalid(f"{self._kind}: {error}") from None

    def start(self, session: Session, wanted: Sequence[Wanted], *, now: datetime) -> list[Started | str]:
        """A run for each, in order; text where there cannot be one: the sentence that says why."""
        answers: list[Started | str] = []
        for one in wanted:
            try:
                run = runs.start(session, self._flow(session, one), _asked(one), now=now)
                answers.append(Started(run.id))
            except RunnerError as error:
                answers.append(str(error))
        return answers

    def unfinished(self, session: Session, trigger_ids: Sequence[uuid.UUID]) -> list[tuple[uuid.UUID, uuid.UUID]]:
        """Trigger and run of what these triggers started and what has not ended."""
        rows = session.execute(
            select(Firing.trigger_id, Run.id)
            .join(Run, Run.id == Firing.started_id)
            .where(Firing.trigger_id.in_(trigger_ids), Run.state == State.RUNNING)
            .order_by(Run.id)
        ).all()
        return [(row[0], row[1]) for row in rows]

    def cancel(self, session: Session, started_id: uuid.UUID, *, actor: Actor, now: datetime) -> None:
        """Cancel a run; nothing happens where it has ended."""
        run = session.get_one(Run, started_id, populate_existing=True)
        try:
            runs.cancel(session, run, actor=actor, now=now)
        except Conflict:
            return

    def _definition(self, session: Session, flow: Flow) -> Queue | Workflow:
        return flows.restored(self._kind, flows.version(session, flow).definition)

    def _flow(self, session: Session, wanted: Wanted) -> Flow:
        try:
            return flows.require(session, self._kind, wanted.name, workspace_id=wanted.workspace_id)
        except NotFound as error:
            raise NotFound(f"{self._kind}: {error}") from None


def _asked(wanted: Wanted) -> runs.Wanted:
    return runs.Wanted(
        cause=wanted.cause,
        requested_by=wanted.requested_by or wanted.cause.name,
        environment=wanted.explicit,
        trigger_environment=wanted.environment,
        parameters=wanted.parameters,
    )
