"""The pruner: removes logs, artefacts and records that no rule keeps any more, a little at a time.

From the store first, then in the database: one that dies in between is repeated, and finds nothing. Two schedulers do
no harm.
"""

from __future__ import annotations

import time
import uuid
from collections import deque

from sqlalchemy import Engine, select

from runner import retention
from runner.logging import logger
from runner.retention import Due, Keep, Scope
from runner.stores import Store
from scheduler import records
from scheduler.records import Rule
from vault import db
from vault.db import database_time
from vault.models import Workspace

#: Seconds that one call takes at most, since other duties wait for it, and attempts that one transaction marks.
PATIENCE, AT_ONCE = 0.5, 100

#: Records that one transaction removes.
RECORDS_AT_ONCE = 500

#: Seconds between two calls while there is more to prune.
EVERY = 2.0

#: What is said of an attempt that should have had something in the store.
NOTHING_THERE = "; the store held nothing: it was removed before, or the scheduler sees another store than the runner"

_log = logger()


class Pruner:
    """Goes through all bots and environments again and again, once in `every` seconds."""

    def __init__(self, engine: Engine, store: Store, *, every: float) -> None:
        self._engine, self._store, self._every = engine, store, every
        self._left: deque[tuple[Scope, Keep]] = deque()
        self._records: deque[tuple[uuid.UUID, Rule]] = deque()
        self._begun: float | None = None

    def check(self) -> int:
        """Prune for a moment, if it is time; answers how many attempts."""
        now = time.monotonic()
        if not self._left and not self._records:
            if self._begun is not None and now - self._begun < self._every:
                return 0
            self._begun = now
            self._left.extend(self._all())
            self._records.extend(self._rules())
        count = 0
        while self._left and time.monotonic() - now < PATIENCE:
            scope, keep = self._left[0]
            found = self._some(scope, keep)
            if len(found) < AT_ONCE:
                self._left.popleft()
            count += len(found)
        while not self._left and self._records and time.monotonic() - now < PATIENCE:
            if self._some_records(*self._records[0]) < RECORDS_AT_ONCE:
                self._records.popleft()
        return count

    def _rules(self) -> list[tuple[uuid.UUID, Rule]]:
        with db.reading(self._engine) as session:
            workspaces = session.scalars(select(Workspace.id)).all()
            return [(one, rule) for one in workspaces for rule in records.rules(session, workspace_id=one)]

    def _some_records(self, workspace_id: uuid.UUID, rule: Rule) -> int:
        with db.reading(self._engine) as session:
            now = database_time(session)
            if not records.count_due(session, rule, workspace_id=workspace_id, now=now, limit=1):
                return 0
        with db.writing(self._engine) as session:
            count = records.prune(session, rule, workspace_id=workspace_id, now=now, limit=RECORDS_AT_ONCE)
        _log.info("records.pruned", kind=rule.kind, count=count)
        return count

    def _all(self) -> list[tuple[Scope, Keep]]:
        with db.reading(self._engine) as session:
            scopes = retention.scopes(session)
            made = {
                workspace_id: retention.rules(session, workspace_id=workspace_id)
                for workspace_id in {workspace_id for workspace_id, _ in scopes}
            }
            return [
                (scope, retention.keep_for(made[workspace_id], scope.bot_id, scope.environment))
                for workspace_id, scope in scopes
            ]

    def _some(self, scope: Scope, keep: Keep) -> list[Due]:
        with db.reading(self._engine) as session:
            found = retention.due(session, scope, keep, now=database_time(session), limit=AT_ONCE)
        if not found:
            return []
        gone = [self._removed(one) for one in found]
        with db.writing(self._engine) as session:
            retention.mark(session, gone, scope)
        size = sum(one.size for one in gone)
        _log.info("logs.pruned", bot=scope.bot, environment=scope.environment, count=len(gone), bytes=size)
        return gone

    def _removed(self, one: Due) -> Due:
        if self._store.remove(one.job_id, one.attempt) or not one.size:
            return one
        return Due(one.job_id, one.attempt, one.size, one.rule + NOTHING_THERE)
