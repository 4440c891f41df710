"""What a bot asked for in vain, written into the audit before it is told so.

Promises one row for each thing that an attempt was refused, the first `MOST` of them: a bot that asks in a loop fills
no table. Where the database is away the refusal stands, and the runner's log says it instead. What the bot wrote is
masked first, for a bot may ask for an asset by its value.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import Engine

from runner.jobs import Claim
from runner.logging import logger
from vault import audit, db
from vault.audit import Actor
from vault.errors import VaultError

#: Rows of one attempt.
MOST = 100

#: Characters of what was asked for that a row repeats.
_SHOWN = 200

_log = logger()


class Refusals:
    """The refusals of one attempt; threads may share it. It outlives the attempt, knows no value and is small."""

    __slots__ = ("_attempt", "_bot", "_engine", "_environment", "_job", "_lock", "_mask", "_noted", "_workspace")

    def __init__(self, engine: Engine, claim: Claim, *, bot: str, mask: Callable[[str], str]) -> None:
        # Not the claim: its parameters may be large, and thousands of attempts that ended are remembered.
        self._job, self._attempt, self._bot = claim.job_id, claim.attempt, bot
        self._engine, self._workspace, self._environment = engine, claim.workspace_id, claim.environment
        self._mask = mask
        self._lock = threading.Lock()
        self._noted: frozenset[str] = frozenset()

    def note(self, what: str) -> None:
        """Write that `what` was refused, unless that was written already."""
        with self._lock:
            if what in self._noted or len(self._noted) >= MOST:
                return
            self._noted |= {what}
        shown = ascii(self._mask(what[:_SHOWN]))[1:-1]
        details = {"job": str(self._job), "attempt": self._attempt, "bot": self._bot}
        try:
            with db.writing(self._engine) as session:
                audit.record(
                    session,
                    Actor(f"job {self._job}"),
                    workspace_id=self._workspace,
                    action="endpoint.refused",
                    target=shown,
                    environment=self._environment,
                    outcome="refused",
                    now=datetime.now(UTC),
                    details=details,
                )
        except VaultError as error:
            _log.warning("endpoint.refused", target=shown, error=str(error), **details)

    def forget(self) -> None:
        """Mask with nothing from now on: the attempt has ended, and its values go with it."""
        self._mask = _hidden


def _hidden(what: str) -> str:
    """What is refused after the end was named by Botkeep, not by the bot."""
    return what
