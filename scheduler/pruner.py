"""The pruner: removes logs and artefacts that no rule keeps any more, a little at a time.

From the store first, then in the database: one that dies in between is repeated, and finds nothing. Two schedulers do
no harm.
"""

from __future__ import annotations

import time
from collections import deque

from sqlalchemy import Engine

from runner import retention
from runner.logging import logger
from runner.retention import Due, Keep, Scope
from runner.stores import Store
from vault import db
from vault.db import database_time

#: Seconds that one call takes at most, since other duties wait for it, and attempts that one transaction marks.
PATIENCE, AT_ONCE = 0.5, 100

#: Seconds between two calls while there is more to prune.
EVERY = 2.0

#: What is said of an attempt that should have had something in the store.
NOTHING_THERE = "; nothing was found in the scheduler's store"

_log = logger()


class Pruner:
    """Goes through all bots and environments again and again, once in `every` seconds."""

    def __init__(self, engine: Engine, store: Store, *, every: float) -> None:
        self._engine, self._store, self._every = engine, store, every
        self._left: deque[tuple[Scope, Keep]] = deque()
        self._begun: float | None = None

    def check(self) -> int:
        """Prune for a moment, if it is time; answers how many attempts."""
        now = time.monotonic()
        if not self._left:
            if self._begun is not None and now - self._begun < self._every:
                return 0
            self._begun = now
            self._left.extend(self._all())
        count = 0
        while self._left and time.monotonic() - now < PATIENCE:
            scope, keep = self._left[0]
            found = self._some(scope, keep)
            if len(found) < AT_ONCE:
                self._left.popleft()
            count += len(found)
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
