"""A data source that a runner opens without a job: for a check, or to fan it out.

Promises that the audit says which values were read, for whom and what for, before one of them is opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from sqlalchemy import Engine

from runner import sources, workspaces
from runner.errors import Invalid
from runner.source_models import DataSource
from runner.worker import filling
from runner.worker.filling import Values
from runner.worker.keyring import Keyring
from runner.worker.masker import Masker
from runner.worker.questions import Context
from runner.worker.station import Station
from vault import audit, db
from vault.audit import Actor
from vault.db import database_time
from vault.direct import Direct
from vault.reader import Snapshots


@dataclass(frozen=True, slots=True)
class Unasked:
    """What a runner needs to open sources by itself."""

    engine: Engine
    direct: Direct
    snapshots: Snapshots
    keyring: Keyring
    runner: str

    @classmethod
    def of(cls, station: Station) -> Self:
        """As a worker has it."""
        name = station.settings.runner_name
        return cls(station.engine, station.direct, station.snapshots, station.keyring, name)

    def prepare(
        self, row: DataSource, environment: str, *, action: str, requested_by: str, masker: Masker
    ) -> tuple[Values, Context]:
        """The values and the context of a source, recorded as `action`.

        Raises:
            Invalid: for an environment that the source is not open in any more.
            SourceFailed: for a value that does not open.
            Unavailable: when the database cannot be reached.
        """
        if environment not in row.environments:
            raise Invalid(f"the data source is not open in {environment} any more.")
        sealed = filling.take(
            self.snapshots, sources.references(row), workspace_id=row.workspace_id, environment=environment
        )
        with db.writing(self.engine) as session:
            policy = workspaces.connections(session, workspace_id=row.workspace_id)
            audit.record(
                session,
                Actor(f"runner {self.runner}"),
                workspace_id=row.workspace_id,
                action=action,
                target=f"source {row.name}",
                environment=environment,
                now=database_time(session),
                details={"requested_by": requested_by, "readings": filling.readings(sealed)},
            )
        values = Values(filling.opened(sealed, self.keyring), environment, masker.add)
        context = Context(
            source=row.name,
            environment=environment,
            workspace_id=row.workspace_id,
            runner=self.runner,
            policy=policy,
            engine=self.engine,
        )
        return values, context
