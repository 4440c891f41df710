"""Which jobs a limit keeps back, as conditions of the claim and the statements about them.

Everything is counted from the jobs that run, never from a counter, so that a killed runner leaves nothing behind. The
subqueries depend on no candidate: a claim evaluates each once, however many jobs wait.
"""

from __future__ import annotations

from sqlalchemy import String, and_, bindparam, func, literal_column, or_, select, tuple_

from runner.concurrency_models import ConcurrencyLimit, LimitMember
from runner.models import Job
from runner.states import State
from vault.models import Model

#: States within a statement's text. As parameters, for which partial indexes hold in some cases only, SQLite would
#: prepare each statement anew for every execution (measured: 62 of the 94 us of a claim), and PostgreSQL plan it anew.
QUEUED, RUNNING = (literal_column(f"'{state}'", String) for state in (State.QUEUED, State.RUNNING))

#: The kinds of limits that count jobs by their cause (`runner.concurrency`), written into the text for the same reason.
_FLOW_KINDS = (literal_column("'queue'", String), literal_column("'workflow'", String))

_jobs = Model.metadata.tables[Job.__tablename__]
_limits = Model.metadata.tables[ConcurrencyLimit.__tablename__]
_members = Model.metadata.tables[LimitMember.__tablename__]
_running = _jobs.alias("running")

#: The bots that run as many attempts as they may, counted from the jobs that run, never from a counter.
_SATURATED = (
    select(_running.c.bot_id)
    .where(_running.c.state == RUNNING, _running.c.concurrency.is_not(None))
    .group_by(_running.c.bot_id)
    .having(func.count() >= func.min(_running.c.concurrency))
)

#: The limits of an environment that are reached, counted in the same way from the jobs of their members.
_REACHED = (
    select(_limits.c.id)
    .join(_members, _members.c.limit_id == _limits.c.id)
    .join(_running, _running.c.version_id == _members.c.version_id)
    .where(
        _limits.c.environment == bindparam("environment"),
        _running.c.state == RUNNING,
        _running.c.environment == bindparam("environment"),
    )
    .group_by(_limits.c.id, _limits.c.at_once)
    .having(func.count() >= _limits.c.at_once)
)

#: The queues and workflows whose limits are reached: a job counts by its cause.
_FLOW = tuple_(_jobs.c.workspace_id, _jobs.c.cause_kind, _jobs.c.cause_name)
_LIMITED_FLOWS = select(_limits.c.workspace_id, _limits.c.kind, _limits.c.target).where(_limits.c.kind.in_(_FLOW_KINDS))
_REACHED_FLOWS = (
    select(_limits.c.workspace_id, _limits.c.kind, _limits.c.target)
    .join(
        _running,
        and_(
            _running.c.workspace_id == _limits.c.workspace_id,
            _running.c.cause_kind == _limits.c.kind,
            _running.c.cause_name == _limits.c.target,
        ),
    )
    .where(
        _limits.c.kind.in_(_FLOW_KINDS),
        _limits.c.environment == bindparam("environment"),
        _running.c.state == RUNNING,
        _running.c.environment == bindparam("environment"),
    )
    .group_by(_limits.c.id, _limits.c.workspace_id, _limits.c.kind, _limits.c.target, _limits.c.at_once)
    .having(func.count() >= _limits.c.at_once)
)

#: The versions whose jobs such a limit keeps back, and those that have a limit at all.
_KEPT_BACK = select(_members.c.version_id).where(_members.c.limit_id.in_(_REACHED))
_MEMBERS = (
    select(_members.c.version_id)
    .join(_limits, _limits.c.id == _members.c.limit_id)
    .where(_limits.c.environment == bindparam("environment"))
)

#: What no limit keeps back. Parameter: `environment`.
WITHIN_LIMITS = and_(
    or_(_jobs.c.concurrency.is_(None), _jobs.c.bot_id.not_in(_SATURATED)),
    _jobs.c.version_id.not_in(_KEPT_BACK),
    _FLOW.not_in(_REACHED_FLOWS),
)

#: Whether two claims at the same time could pass a limit of the job. Not `IS NOT NULL`: of what an UPDATE returns,
#: SQLite 3.40 says that of every column, and each job would be claimed as if it had a limit.
LIMITED = or_(
    func.coalesce(_jobs.c.concurrency, 0) > 0,
    _jobs.c.version_id.in_(_MEMBERS),
    _FLOW.in_(_LIMITED_FLOWS.where(_limits.c.environment == bindparam("environment"))),
).label("limited")

#: The lanes in which jobs wait that have a limit.
LIMITED_LANES = (
    select(_jobs.c.environment, _jobs.c.group_name)
    .where(
        _jobs.c.state == QUEUED,
        or_(
            _jobs.c.concurrency.is_not(None),
            _jobs.c.version_id.in_(select(_members.c.version_id)),
            _FLOW.in_(_LIMITED_FLOWS),
        ),
    )
    .distinct()
)
