"""The statements that every job passes through, built once.

Building an SQLAlchemy statement costs more than running it here (measured: 1.2 ms against 0.4 ms for a claim),
so the ones on the path of each job are constants with named parameters, for `runner.jobs` and `runner.requests`.
"""

from __future__ import annotations

from sqlalchemy import (
    CTE,
    Float,
    Insert,
    Integer,
    Text,
    and_,
    bindparam,
    cast,
    exists,
    func,
    insert,
    literal,
    literal_column,
    or_,
    select,
    true,
    update,
)

from runner.models import Attempt, Bot, Job, PackageVersion
from runner.saturation import LIMITED, QUEUED, RUNNING, WITHIN_LIMITS
from runner.states import State
from vault.db import clock, clock_after, later
from vault.models import Environment, Model

_jobs = Model.metadata.tables[Job.__tablename__]
_attempts = Model.metadata.tables[Attempt.__tablename__]
_bots = Model.metadata.tables[Bot.__tablename__]
_versions = Model.metadata.tables[PackageVersion.__tablename__]
_environments = Model.metadata.tables[Environment.__tablename__]

#: What SQLite calls a row, whatever its columns hold (https://www.sqlite.org/lang_createtable.html#rowid).
_row = literal_column("jobs.rowid", Integer)

#: The newest version of a bot in use, for who may lock no bot. Parameters: `workspace`, `name`.
NEWEST_NOW = (
    select(_versions.c.bot_id, _versions.c.id, _versions.c.number)
    .join(_bots, _bots.c.id == _versions.c.bot_id)
    .where(
        _bots.c.workspace_id == bindparam("workspace"),
        _bots.c.name == bindparam("name"),
        _bots.c.removed_at.is_(None),
    )
    .order_by(_versions.c.number.desc())
    .limit(1)
)

#: The same, and which environments refuse unset values, with commas between them; a bot that is being removed is waited
#: for (SQLite has one writer at a time anyway).
NEWEST = NEWEST_NOW.add_columns(
    # The comma as part of the text: given as a string it is a parameter that is filled in while the statement is
    # built, when no other has its value.
    select(func.aggregate_strings(_environments.c.name, literal_column("','")))  # type: ignore[arg-type]
    .where(_environments.c.workspace_id == bindparam("workspace"), _environments.c.unset == "refuse")
    .scalar_subquery()
    .label("strict")
).with_for_update(read=True, of=_bots)

#: What a version declares. Parameter: `version`.
MANIFEST = select(_versions.c.manifest).where(_versions.c.id == bindparam("version"))

_elsewhere = _jobs.alias("elsewhere")
_of_lane = (
    _elsewhere.c.state == QUEUED,
    _elsewhere.c.environment == bindparam("environment"),
    _elsewhere.c.group_name == bindparam("group_name"),
    _elsewhere.c.priority == bindparam("priority"),
)

#: The place of a new job in its lane: behind the jobs of its own bot, beside the first job of each other. So a bot's
#: ten thousand jobs do not make another's one wait (start-time fair queueing, Goyal, Vin and Cheng 1996).
TURN = func.coalesce(
    select(func.max(_elsewhere.c.turn) + 1)
    .where(_elsewhere.c.bot_id == bindparam("bot_id"), *_of_lane)
    .scalar_subquery(),
    select(func.min(_elsewhere.c.turn)).where(*_of_lane).scalar_subquery(),
    0,
)

#: What is known of a job before it has its turn.
COLUMNS = (
    "id",
    "workspace_id",
    "bot_id",
    "version_id",
    "environment",
    "group_name",
    "priority",
    "concurrency",
    "parameters",
    "cause_kind",
    "cause_name",
    "cause_id",
    "idempotency_key",
    "retry_of",
    "created_at",
)

#: A queued job. Parameters: the row's columns.
ENQUEUE = insert(_jobs).values(
    {name: bindparam(name) for name in COLUMNS}
    | {"state": State.QUEUED, "attempt": 0, "published_at": clock(), "warnings": [], "turn": TURN}
)

#: What a claim may take: it waits, nobody paused it, its time has come, and no limit is reached.
CLAIMABLE = and_(
    _jobs.c.state == QUEUED,
    _jobs.c.pause_requested_at.is_(None),
    or_(_jobs.c.not_before.is_(None), _jobs.c.not_before <= clock()),
    WITHIN_LIMITS,
)

#: What a claim changes.
_TAKEN = {
    "state": State.RUNNING,
    "attempt": _jobs.c.attempt + 1,
    "runner": bindparam("claimant"),
    "started_at": clock(),
    "lease_expires_at": clock_after(bindparam("lease", type_=Float())),
    # What a former attempt ended with stays in its own row.
    "reason": None,
    "detail": None,
    "exit_code": None,
    "not_before": None,
}

_CLAIMED = (
    _jobs.c.id,
    _jobs.c.attempt,
    _jobs.c.workspace_id,
    _jobs.c.bot_id,
    _jobs.c.version_id,
    _jobs.c.environment,
    _jobs.c.parameters,
    _jobs.c.started_at,
    LIMITED,
    _jobs.c.cause_kind,
    _jobs.c.cause_id,
)

_next = (
    select(_jobs.c.id, _jobs.c.workspace_id, LIMITED)
    .where(CLAIMABLE, _jobs.c.environment == bindparam("environment"), _jobs.c.group_name == bindparam("group"))
    .order_by(_jobs.c.priority, _jobs.c.turn, _jobs.c.id)
    .limit(1)
)


def _begun(won: CTE) -> Insert:
    begun = select(won.c.id, won.c.attempt, bindparam("claimant"), won.c.started_at, literal(str(State.RUNNING)))
    return insert(_attempts).from_select(["job_id", "number", "runner", "claimed_at", "state"], begun)


def _claim_next() -> tuple[CTE, CTE, CTE]:
    """Parts of one statement for PostgreSQL: the next job of the lane, its change, and its attempt."""
    picked = _next.with_for_update(skip_locked=True).cte("picked")
    won = (
        update(_jobs)
        .where(_jobs.c.id == picked.c.id, _jobs.c.state == QUEUED, picked.c.limited.is_(False))
        .values(_TAKEN)
        .returning(*_CLAIMED)
        .cte("won")
    )
    return picked, won, _begun(won).returning(_attempts.c.number).cte("begun")


_picked, _won, _attempt = _claim_next()


#: The claim on PostgreSQL. Parameters: `environment`, `group`, `claimant`, `lease` in seconds. It answers the job or,
#: where the next one has a limit, only its workspace: two claims at once could pass the limit, so these go by
#: `LOCK_LIMITS` and `CLAIM_LIMITED`.
CLAIM_NEXT = (
    select(_picked.c.workspace_id.label("limited_in"), _won)
    .select_from(_picked.outerjoin(_won, _won.c.id == _picked.c.id))
    .add_cte(_attempt)
)

#: Keeps the claims of limited jobs apart. Parameter: `workspace`, its id as text.
LOCK_LIMITS = select(func.pg_advisory_xact_lock(func.hashtextextended(bindparam("workspace"), 0)))

#: The claim of a workspace's next job while its limits are locked. Parameters as above, and `workspace_id`.
CLAIM_LIMITED = (
    update(_jobs)
    .where(
        _jobs.c.id
        == _next.where(_jobs.c.workspace_id == bindparam("workspace_id"))
        .with_only_columns(_jobs.c.id)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    .values(_TAKEN)
    .returning(*_CLAIMED)
)

#: The claim on SQLite, which has one writer at a time. Parameters as above.
CLAIM = (
    update(_jobs)
    .where(_jobs.c.id == _next.with_only_columns(_jobs.c.id).scalar_subquery())
    .values(_TAKEN)
    .returning(*_CLAIMED)
)

#: Which row of SQLite would be claimed next. Parameters: `environment`, `group`.
NEXT_ROW = _next.with_only_columns(_row.label("row"))

#: What a claim would answer of a row of SQLite. Parameters as above, and `row`.
CLAIMABLE_ROW = select(*_CLAIMED).where(_row == bindparam("row"))

#: The end of a queued job that cannot be read, on SQLite. Parameters: `row`, `end`, `why`, `words`.
REFUSE = (
    update(_jobs)
    .where(_row == bindparam("row"), _jobs.c.state == QUEUED)
    .values(state=bindparam("end"), reason=bindparam("why"), detail=bindparam("words"), finished_at=clock())
)

#: The attempt that belongs to a claim. Parameters: `job_id`, `number`, `runner`, `claimed_at`.
BEGIN_ATTEMPT = insert(_attempts).values(
    job_id=bindparam("job_id"),
    number=bindparam("number"),
    runner=bindparam("runner"),
    claimed_at=bindparam("claimed_at"),
    state=State.RUNNING,
)

#: References in the places of typed values. Parameters: `job`, `fence`, `written`.
REFER = (
    update(_jobs)
    .where(_jobs.c.id == bindparam("job"), _jobs.c.state == RUNNING, _jobs.c.attempt == bindparam("fence"))
    .values(parameters=bindparam("written", type_=_jobs.c.parameters.type))
)

#: The end of a job, fenced. Parameters: `job`, `fence`, `end`, and the columns of the report.
FINISH = (
    update(_jobs)
    .where(_jobs.c.id == bindparam("job"), _jobs.c.state == RUNNING, _jobs.c.attempt == bindparam("fence"))
    .values(
        state=bindparam("end"),
        reason=bindparam("why"),
        detail=bindparam("words"),
        exit_code=bindparam("status"),
        finished_at=clock(),
        lease_expires_at=None,
        paused_at=None,
        warnings=bindparam("notes", type_=_jobs.c.warnings.type),
    )
    .returning(_jobs.c.attempt)  # needs no conversion on either database
)

#: The end of its attempt. Parameters as above, and what the process used.
END_ATTEMPT = (
    update(_attempts)
    .where(_attempts.c.job_id == bindparam("job"), _attempts.c.number == bindparam("fence"))
    .values(
        state=bindparam("end"),
        reason=bindparam("why"),
        detail=bindparam("words"),
        exit_code=bindparam("status"),
        started_at=later(_attempts.c.claimed_at, bindparam("began", type_=Float())),
        finished_at=clock(),
        survivors=bindparam("left"),
        os_user=bindparam("user"),
        max_rss_kb=bindparam("memory"),
        cpu_seconds=bindparam("cpu"),
        paused_seconds=bindparam("stood"),
        steps=bindparam("steps", type_=_attempts.c.steps.type),
        ended_by=bindparam("who"),
        log_bytes=bindparam("log_bytes"),
        artefact_bytes=bindparam("artefact_bytes"),
    )
)

_done = FINISH.cte("done")

#: Both ends in one statement, for PostgreSQL; it answers a row where the fence let them through.
FINISH_AT_ONCE = END_ATTEMPT.where(exists(select(_done.c.attempt))).returning(_attempts.c.number)

_ended = FINISH_AT_ONCE.cte("ended")
_always = select(literal(1).label("row")).subquery("always")

#: Both ends and the claim of the next job in one statement, for PostgreSQL; parameters as for `FINISH_AT_ONCE` and
#: `CLAIM_NEXT`. It answers one row: `ended` where the fence let the ends through, and the job where one was won.
FINISH_AND_CLAIM = (
    select(_ended.c.number.label("ended"), _won)
    .select_from(_always.outerjoin(_ended, true()).outerjoin(_won, true()))
    .add_cte(_attempt)
)

#: A further attempt of a job whose attempt was lost, unless somebody wants the job cancelled. Parameters: `job`,
#: `fence`, `wait` in seconds, and the columns of the report that the scheduler may write.
REPEAT_LOST = (
    update(_jobs)
    .where(
        _jobs.c.id == bindparam("job"),
        _jobs.c.state == RUNNING,
        _jobs.c.attempt == bindparam("fence"),
        _jobs.c.cancel_requested_at.is_(None),
    )
    .values(
        state=State.QUEUED,
        reason=bindparam("why"),
        detail=bindparam("words"),
        not_before=clock_after(bindparam("wait")),
        published_at=None,  # the rescuer announces it when it is due
        lease_expires_at=None,
        paused_at=None,
        warnings=bindparam("notes", type_=_jobs.c.warnings.type),
    )
)

#: The same after a report of the runner.
REPEAT = REPEAT_LOST.values(exit_code=bindparam("status"))

#: The end of a job whose attempt was lost. Parameters: `job`, `fence`, `end`, `why`, `words`, `notes`.
LOSE = (
    update(_jobs)
    .where(_jobs.c.id == bindparam("job"), _jobs.c.state == RUNNING, _jobs.c.attempt == bindparam("fence"))
    .values(
        state=bindparam("end"),
        reason=bindparam("why"),
        detail=bindparam("words"),
        finished_at=clock(),
        lease_expires_at=None,
        paused_at=None,
        warnings=bindparam("notes", type_=_jobs.c.warnings.type),
    )
)

#: The end of a lost attempt. Parameters: `job`, `fence`, `why`, `words`, `who`.
LOSE_ATTEMPT = (
    update(_attempts)
    .where(_attempts.c.job_id == bindparam("job"), _attempts.c.number == bindparam("fence"))
    .values(
        state=State.FAILED,
        reason=bindparam("why"),
        detail=bindparam("words"),
        finished_at=clock(),
        ended_by=bindparam("who"),
    )
)

#: What a job's end depends on beside the report, while its attempt is the running one. Parameters: `job`, `fence`.
CIRCUMSTANCES = (
    select(
        _jobs.c.warnings,
        _jobs.c.cancel_requested_at,
        _jobs.c.cancel_requested_by,
        # As text: a row that was edited must not keep a job from its end.
        cast(_versions.c.manifest, Text).label("manifest"),
    )
    .join(_versions, _versions.c.id == _jobs.c.version_id)
    .where(_jobs.c.id == bindparam("job"), _jobs.c.state == RUNNING, _jobs.c.attempt == bindparam("fence"))
)

#: How the earlier attempts of a job ended, counted by reason. Parameters: `job`, `fence`.
EARLIER = (
    select(_attempts.c.reason, func.count())
    .where(_attempts.c.job_id == bindparam("job"), _attempts.c.number < bindparam("fence"))
    .group_by(_attempts.c.reason)
)
