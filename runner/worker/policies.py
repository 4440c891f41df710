"""The policies of workspaces and environments, as this worker last read them."""

from __future__ import annotations

import time
import uuid

from sqlalchemy import Engine

from runner import workspaces
from runner.workspaces import Policy
from vault import db

#: Seconds for which a policy is taken as read: a transaction less for each job, and a change holds soon enough.
FRESH = 5.0


class Policies:
    """Shared by all attempts of a worker; a changed policy holds after at most `FRESH` seconds."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._read: dict[tuple[uuid.UUID, str], tuple[float, Policy]] = {}

    def of(self, workspace_id: uuid.UUID, environment: str) -> Policy:
        """The policy of an environment. Raises `Unavailable` when it must be read and the database is away."""
        at, policy = self._read.get((workspace_id, environment), (0.0, None))
        if policy is None or time.monotonic() - at > FRESH:
            at = time.monotonic()
            with db.reading(self._engine) as session:
                policy = workspaces.policy(session, environment, workspace_id=workspace_id)
            self._read[workspace_id, environment] = (at, policy)
        return policy
