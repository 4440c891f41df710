"""Bots as targets of triggers: jobs, many at once.

The console checks a trigger's references when it is saved, the runner when a job starts; in between nobody does, since
the scheduler may not read the names of assets.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from runner import batches, bots, dispatches, jobs, preflight, requests, workspaces
from runner.errors import Conflict, Invalid, NotFound, RunnerError
from runner.jobs import Priority, Request
from runner.manifest import Manifest
from runner.models import Bot, Job
from runner.requests import Version
from runner.states import State
from runner.triggers import Firing
from scheduler.precedence import environment_of
from scheduler.starting import Started, Wanted
from vault.audit import Actor

#: Workspace and name of a bot to its newest version, or `None` where there is no such bot.
_Known = dict[tuple[uuid.UUID, str], Version | None]


def environment(_session: Session, wanted: Wanted) -> str:
    """Where its jobs go."""
    return environment_of(explicit=wanted.explicit, trigger=wanted.environment)


def check(session: Session, wanted: Wanted) -> None:
    """Refuse an unknown bot, an undeclared or missing parameter, and references that could not be resolved.

    Raises:
        NotFound, Invalid, InvalidToken: naming the field.
    """
    newest = _newest(session, wanted, {})
    filled = _filled(newest.manifest, wanted.parameters, promised=wanted.promised)
    place = {"workspace_id": wanted.workspace_id, "bot_id": newest.bot_id}
    requests.check_references(session, newest.manifest, filled, **place)
    chosen = environment(session, wanted)
    if chosen in workspaces.strict(session, workspace_id=wanted.workspace_id):
        preflight.check(session, newest.manifest, environment=chosen, **place)


def start(session: Session, wanted: Sequence[Wanted], *, now: datetime) -> list[Started | str]:
    """Queue a job for each, in order; text where it cannot be queued: the sentence that says why.

    Raises:
        Conflict: when a bot was removed at the same moment; the next try says so for its triggers only.
    """
    known: _Known = {}
    prepared: list[Request | str] = []
    for one in wanted:
        try:
            prepared.append(_request(session, one, known))
        except RunnerError as error:
            prepared.append(str(error))
    requested = [one for one in prepared if isinstance(one, Request)]
    made = batches.enqueue(session, requested, now=now)
    dispatches.record(session, ((job.id, one) for job, one in zip(made, requested, strict=True)), now=now)
    queued = iter(made)
    _still_there(session, {one.bot_id for one in requested})
    answers: list[Started | str] = []
    for answer in prepared:
        if isinstance(answer, str):
            answers.append(answer)
        else:
            job = next(queued)
            answers.append(Started(job.id, (job,)))
    return answers


def unfinished(session: Session, trigger_ids: Sequence[uuid.UUID]) -> list[tuple[uuid.UUID, uuid.UUID]]:
    """Trigger and job of the queued and running jobs that these triggers started."""
    rows = session.execute(
        select(Firing.trigger_id, Job.id)
        .join(Job, Job.id == Firing.started_id)
        .where(Firing.trigger_id.in_(trigger_ids), Job.state.in_([State.QUEUED, State.RUNNING]))
        .order_by(Job.id)
    ).all()
    return [(row[0], row[1]) for row in rows]


def cancel(session: Session, started_id: uuid.UUID, *, actor: Actor, now: datetime) -> None:
    """Cancel a queued job, ask the runner of a running one; nothing happens where it has ended."""
    job = session.get_one(Job, started_id, populate_existing=True)
    try:
        jobs.cancel(session, job, actor=actor, now=now)
    except Conflict:
        return


def _request(session: Session, wanted: Wanted, known: _Known) -> Request:
    newest = _newest(session, wanted, known)
    return Request(
        workspace_id=wanted.workspace_id,
        bot_id=newest.bot_id,
        version_id=newest.id,
        environment=environment_of(explicit=wanted.explicit, trigger=wanted.environment),
        group=wanted.group,
        priority=Priority.of(wanted.priority),
        concurrency=newest.manifest.concurrency,
        parameters=_filled(newest.manifest, wanted.parameters),
        cause=wanted.cause,
    )


def _newest(session: Session, wanted: Wanted, known: _Known) -> Version:
    place = (wanted.workspace_id, wanted.name)
    if place not in known:
        try:
            known[place] = requests.newest(session, wanted.name, workspace_id=wanted.workspace_id, lock=False)
        except NotFound:
            known[place] = None
    found = known[place]
    if found is None:
        raise NotFound(f"bot: {bots.unknown(wanted.name)}")
    return found


def _filled(manifest: Manifest, given: Mapping[str, Any], *, promised: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The parameters of a job; those that events bring are taken for given and left out."""
    try:
        filled = requests.fill(manifest, {**given, **dict.fromkeys(promised, "")})
    except Invalid as error:
        raise Invalid(f"parameters: {error}") from None
    return {name: value for name, value in filled.items() if name not in promised}


def _still_there(session: Session, bot_ids: set[uuid.UUID]) -> None:
    """Whoever removes a bot locks its row, which the new jobs waited for; so this look comes after it."""
    gone = session.scalars(select(Bot.name).where(Bot.id.in_(bot_ids), Bot.removed_at.is_not(None))).first()
    if gone is not None:
        raise Conflict(f"Bot {gone} was removed at the same moment; try again.")
