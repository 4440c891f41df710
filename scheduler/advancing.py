"""Advancing: makes the jobs that a run's outlook asks for, and writes down how it ended.

Promises that a look at a run is one transaction that holds its row, and that each try of a step is made once: its
row and its job come together, and its key is unique. So it may be done by anybody at any time, twice at once or never
for a while; nothing is counted. Wakes by the broker's hint that a job ended, and by the tick where there is none.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from celery import Celery
from sqlalchemy import Engine, exists, insert, or_, select, union_all, update
from sqlalchemy.orm import Session

from runner import batches, jobs, requests, signals
from runner import dispatches as audited
from runner.batches import Queued
from runner.errors import Conflict, Invalid, NotFound
from runner.jobs import Cause, Priority
from runner.logging import logger
from runner.models import Bot, Job
from runner.states import FINAL, State
from scheduler import flows, standing
from scheduler.flows import Kind
from scheduler.models import Approval, Flow, Run, RunTry
from scheduler.outlook import Dispatch, End, Facts, Outlook
from vault import db
from vault.audit import Actor
from vault.db import clock, moment
from vault.errors import Unavailable, VaultError

#: The longest time between two looks at a run, whatever its outlook says.
LONGEST_LOOK = timedelta(seconds=60)

#: How many runs one round looks at.
ROUND = 1000

#: Seconds for which a run that cannot be looked at (a defect) is left alone.
PAUSE = 60.0

_log = logger()


@dataclass(slots=True)
class Done:
    """What a look has done, to be told to others after the commit."""

    queued: list[Queued] = field(default_factory=list)
    stopped: list[uuid.UUID] = field(default_factory=list)
    #: Whether something ended by this look itself, so that the next one is due.
    again: bool = False
    end: End | None = None


_UNSEEN = (RunTry.job_id == Job.id, ~RunTry.seen, Job.state.in_(sorted(FINAL)))
_TIMED = (Run.state == State.RUNNING, Run.look_at <= moment())

#: Whether there is a run to be looked at.
WAITING = or_(exists().where(*_UNSEEN), exists().where(*_TIMED))


def due(session: Session, *, limit: int = ROUND) -> list[uuid.UUID]:
    """The runs of which a job ended that nobody has seen, and those whose time to be looked at has come."""
    ended = select(RunTry.run_id).where(*_UNSEEN).limit(limit).subquery()
    timed = select(Run.id).where(*_TIMED).order_by(Run.look_at).limit(limit).subquery()
    return list(dict.fromkeys(session.scalars(union_all(select(ended), select(timed)))))


def advance(session: Session, run_id: uuid.UUID, *, wait: bool = True) -> Done:
    """Do what a run's rows ask for now. Without `wait` nothing is done while somebody else looks at it."""
    done = Done()
    query = select(Run).where(Run.id == run_id, Run.state == State.RUNNING)
    run = session.scalars(query.with_for_update(skip_locked=not wait)).one_or_none()
    if run is None:
        return done
    flow = session.get_one(Flow, run.flow_id)
    definition = flows.restored(Kind(flow.kind), flows.version(session, flow, run.version).definition)
    now = db.database_time(session)
    if run.deadline_at is not None and run.timed_out_at is None and run.deadline_at <= now:
        run.timed_out_at = now
        session.flush()
    while True:
        facts = standing.facts(session, run, flow, now=now)
        outlook = definition.look(facts)
        if not _make(session, run, flow, outlook.dispatches, done, now=now):  # a refusal settles its step at once
            break
    _check_bots(session, done)
    _ask(session, run, outlook, now=now)
    _stop(session, flow, outlook, facts, done, now=now)
    _write_down(session, run, outlook, facts, now=now)
    done.end = outlook.end
    return done


def _make(session: Session, run: Run, flow: Flow, dispatches: Sequence[Dispatch], done: Done, *, now: datetime) -> int:
    """Make tries with their jobs; answers how many have none, and a reason for that which is written down instead."""
    asked = [_request(session, run, flow, each) for each in dispatches]
    requested = [each for each in asked if isinstance(each, jobs.Request)]
    made = batches.enqueue(session, requested, now=now)
    audited.record(session, ((job.id, each) for job, each in zip(made, requested, strict=True)), now=now)
    queued = iter(made)
    rows = []
    for wanted, request in zip(dispatches, asked, strict=True):
        job = next(queued) if isinstance(request, jobs.Request) else None
        done.queued += [job] if job else []
        rows.append(
            {
                "run_id": run.id,
                "step": wanted.step,
                "item": wanted.item,
                "number": wanted.number,
                "job_id": job.id if job else None,
                "refusal": None if job else request,
                "reused": False,
                "seen": job is None,
                "created_at": now,
            }
        )
    if rows:
        session.execute(insert(RunTry), rows)
    return sum(1 for each in asked if isinstance(each, str))


def _request(session: Session, run: Run, flow: Flow, wanted: Dispatch) -> jobs.Request | str:
    """The job to be made, or the sentence why there is none."""
    if wanted.refusal is not None:
        return wanted.refusal
    try:
        return requests.dispatched(
            session,
            wanted.bot,
            workspace_id=run.workspace_id,
            cause=Cause(flow.kind, flow.name, str(run.id)),
            environment=run.environment,
            parameters=wanted.parameters,
            group=run.group_name,
            priority=Priority(run.priority),
        )
    except (NotFound, Invalid, VaultError) as error:
        return str(error)


def _check_bots(session: Session, done: Done) -> None:
    """Whoever removes a bot locks its row, which the new jobs waited for; so this look comes after it.

    Raises:
        Conflict: when a bot was removed at the same moment; the next look refuses the step.
    """
    ids = {job.bot_id for job in done.queued}
    gone = (
        session.scalars(select(Bot.name).where(Bot.id.in_(ids), Bot.removed_at.is_not(None))).first() if ids else None
    )
    if gone is not None:
        raise Conflict(f"Bot {gone} was removed at the same moment.")


def _ask(session: Session, run: Run, outlook: Outlook, *, now: datetime) -> None:
    for step, patience in outlook.questions.items():
        session.execute(insert(Approval).values(run_id=run.id, step=step, asked_at=now, expires_at=now + patience))
        outlook.again(now + patience)


def _stop(session: Session, flow: Flow, outlook: Outlook, facts: Facts, done: Done, *, now: datetime) -> None:
    """Cancel the jobs whose time is up, and those of a run that is being ended."""
    wanted = set(outlook.overdue)
    if facts.ending:
        last = [tries[-1] for items in facts.tries.values() for tries in items.values()]
        going_on = [each for each in last if each.state not in FINAL and not each.cancel_requested]
        wanted |= {each.job_id for each in going_on if each.job_id is not None}
    actor = Actor(f"{flow.kind} {flow.name}"[:200])
    for job_id in sorted(wanted):
        job = session.get_one(Job, job_id)
        try:
            state = jobs.cancel(session, job, actor=actor, now=now)
        except Conflict:
            continue  # it ended a moment ago; the next look sees it
        if state is State.RUNNING:
            done.stopped.append(job_id)
        else:
            done.again = True
            outlook.again(now)


def _write_down(session: Session, run: Run, outlook: Outlook, facts: Facts, *, now: datetime) -> None:
    ended = [
        each.job_id
        for items in facts.tries.values()
        for tries in items.values()
        for each in tries
        if each.job_id is not None and each.state in FINAL
    ]
    if ended:
        session.execute(
            update(RunTry)
            .where(RunTry.run_id == run.id, RunTry.job_id.in_(ended), ~RunTry.seen)
            .values(seen=True)
            .execution_options(synchronize_session=False)
        )
    times = [now + LONGEST_LOOK, *filter(None, [outlook.again_at, None if run.timed_out_at else run.deadline_at])]
    values: dict[str, object] = {"look_at": max(now, min(times))}
    if end := outlook.end:
        values |= {"state": end.state, "reason": end.reason, "detail": end.detail, "finished_at": clock()}
    session.execute(
        update(Run)
        .where(Run.id == run.id, Run.state == State.RUNNING)
        .values(**values)
        .execution_options(synchronize_session=False)
    )


class Advancer:
    """Looks at runs for one scheduler process: at those that are due, and at one that a hint names."""

    def __init__(self, engine: Engine, app: Celery) -> None:
        self._engine, self._app = engine, app
        self._broken: dict[uuid.UUID, float] = {}

    def look_at_due(self) -> int:
        """One round over all that are due; answers how many."""
        with db.reading(self._engine) as session:
            found = due(session)
        self._broken = {key: until for key, until in self._broken.items() if until > time.monotonic()}
        for run_id in found:
            self.look(run_id, wait=False)
        return len(found)

    def look(self, run_id: uuid.UUID, *, wait: bool = True) -> None:
        """Advance one run and tell runners about it.

        Raises:
            Unavailable: when the database cannot be reached; the run is due again then.
        """
        if run_id in self._broken:
            return
        try:
            with db.writing(self._engine) as session:
                done = advance(session, run_id, wait=wait)
        except Unavailable:
            raise
        except Conflict as error:
            _log.info("run.delayed", run_id=str(run_id), error=str(error))  # it is due still
            return
        except Exception:
            # One run that cannot be read must not hold up the others.
            _log.exception("run.broken", run_id=str(run_id))
            self._broken[run_id] = time.monotonic() + PAUSE
            return
        self._tell(run_id, done)
        if done.again:
            self.look(run_id, wait=wait)

    def _tell(self, run_id: uuid.UUID, done: Done) -> None:
        if done.queued and not batches.announce(self._app, done.queued):
            with db.writing(self._engine) as session:
                batches.not_announced(session, done.queued)
        for job_id in done.stopped:
            signals.look_at_job(self._app, job_id)
        if done.end is not None:
            _log.info("run.finished", run_id=str(run_id), state=str(done.end.state), reason=done.end.reason)
