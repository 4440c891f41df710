"""Bots as targets of triggers: jobs, many at once.

What would be refused when somebody asks for the job is refused here, too, whoever fires: a parameter, a reference that
cannot be resolved, a value that is missing where unset ones are refused. The runner looks again when the job starts.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from runner import batches, dispatches, jobs, preflight, requests, workspaces
from runner.bots import unknown
from runner.errors import Conflict, Invalid, NotFound, RunnerError
from runner.jobs import Priority, Request
from runner.manifest import Manifest
from runner.models import Bot, Job
from runner.requests import Version
from runner.states import State
from runner.triggers import Firing
from scheduler.precedence import environment_of
from scheduler.starting import Started, Wanted
from vault import tokens
from vault.audit import Actor
from vault.errors import Invalid as VaultInvalid


class _Checks:
    """What was found out about bots for some wishes of one transaction, so that many cost little more than one."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._newest: dict[tuple[uuid.UUID, str], Version | None] = {}
        self._strict: dict[uuid.UUID, list[str]] = {}
        #: By bot and what was asked: the environment, or references. The sentence, or nothing.
        self._refusals: dict[tuple[uuid.UUID, str | frozenset[str]], str] = {}

    def newest(self, workspace_id: uuid.UUID, name: str) -> Version:
        """The newest version of a bot. Raises `NotFound`."""
        place = (workspace_id, name)
        if place not in self._newest:
            try:
                self._newest[place] = requests.newest(self._session, name, workspace_id=workspace_id, lock=False)
            except NotFound:
                self._newest[place] = None
        found = self._newest[place]
        if found is None:
            raise NotFound(f"bot: {unknown(name)}")
        return found

    def values(self, version: Version, *, workspace_id: uuid.UUID, environment: str) -> None:
        """Raises `Invalid` where the bot lacks a value in an environment that refuses unset ones."""
        if workspace_id not in self._strict:
            self._strict[workspace_id] = workspaces.strict(self._session, workspace_id=workspace_id)
        if environment in self._strict[workspace_id]:
            place = {"workspace_id": workspace_id, "bot_id": version.bot_id}
            self._once(
                (version.bot_id, environment),
                lambda: preflight.check(self._session, version.manifest, environment=environment, **place),
            )

    def references(self, version: Version, parameters: dict[str, Any], *, workspace_id: uuid.UUID) -> None:
        """Raises `Invalid` for references that could not be resolved for the bot."""
        place = {"workspace_id": workspace_id, "bot_id": version.bot_id}
        names = frozenset(reference.text for reference in tokens.find(parameters))
        if names:
            self._once(
                (version.bot_id, names),
                lambda: requests.check_references(self._session, version.manifest, parameters, **place),
                field="parameters: ",
            )

    def _once(self, key: tuple[uuid.UUID, str | frozenset[str]], check: Callable[[], None], *, field: str = "") -> None:
        if key not in self._refusals:
            try:
                check()
                self._refusals[key] = ""
            except (Invalid, VaultInvalid) as error:
                self._refusals[key] = f"{field}{error}"
        if self._refusals[key]:
            raise Invalid(self._refusals[key])


def environment(_session: Session, wanted: Wanted) -> str:
    """Where its jobs go."""
    return environment_of(explicit=wanted.explicit, trigger=wanted.environment)


def bots(_session: Session, wanted: Wanted) -> frozenset[str]:
    """The bot itself."""
    return frozenset({wanted.name})


def check(session: Session, wanted: Wanted) -> None:
    """Refuse an unknown bot, an undeclared or missing parameter, and references that could not be resolved.

    Raises:
        NotFound, Invalid: naming the field.
    """
    checks = _Checks(session)
    version = checks.newest(wanted.workspace_id, wanted.name)
    filled = _filled(version.manifest, wanted.parameters, promised=wanted.promised)
    checks.references(version, filled, workspace_id=wanted.workspace_id)
    checks.values(version, workspace_id=wanted.workspace_id, environment=environment(session, wanted))


def start(session: Session, wanted: Sequence[Wanted], *, now: datetime) -> list[Started | str]:
    """Queue a job for each, in order; text where it cannot be queued: the sentence that says why.

    Raises:
        Conflict: when a bot was removed at the same moment; the next try says so for its triggers only.
    """
    checks = _Checks(session)
    prepared: list[Request | str] = []
    for one in wanted:
        try:
            prepared.append(_request(one, checks))
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


def _request(wanted: Wanted, checks: _Checks) -> Request:
    newest = checks.newest(wanted.workspace_id, wanted.name)
    chosen = environment_of(explicit=wanted.explicit, trigger=wanted.environment)
    filled = _filled(newest.manifest, wanted.parameters)
    checks.references(newest, filled, workspace_id=wanted.workspace_id)
    checks.values(newest, workspace_id=wanted.workspace_id, environment=chosen)
    return Request(
        workspace_id=wanted.workspace_id,
        bot_id=newest.bot_id,
        version_id=newest.id,
        environment=chosen,
        group=wanted.group,
        priority=Priority.of(wanted.priority),
        concurrency=newest.manifest.concurrency,
        parameters=filled,
        cause=wanted.cause,
    )


def _filled(manifest: Manifest, given: Mapping[str, Any], *, promised: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The parameters of a job; those that events bring are taken for given and left out."""
    try:
        filled = requests.fill(manifest, {**given, **dict.fromkeys(promised, "")}, how=requests.IN_FILE)
    except Invalid as error:
        raise Invalid(f"parameters: {error}") from None
    return {name: value for name, value in filled.items() if name not in promised}


def _still_there(session: Session, bot_ids: set[uuid.UUID]) -> None:
    """Whoever removes a bot locks its row, which the new jobs waited for; so this look comes after it."""
    gone = session.scalars(select(Bot.name).where(Bot.id.in_(bot_ids), Bot.removed_at.is_not(None))).first()
    if gone is not None:
        raise Conflict(f"Bot {gone} was removed at the same moment; try again.")
