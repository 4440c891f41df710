"""A mailbox that the runner opens for itself, with no job: to mark messages, and to look for new ones.

Promises that the audit says which values were read, by which runner and what for, before one is opened; that errors are
sentences without values; and that the connection ends with the block.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine

from runner import sources, workspaces
from runner.mail_definition import MailDefinition
from runner.source_models import DataSource
from runner.worker import filling
from runner.worker.censor import Censor
from runner.worker.failures import SourceFailed
from runner.worker.filling import Values
from runner.worker.keyring import Keyring
from runner.worker.mail_opening import connect, fill
from runner.worker.mailbox import Mailbox
from runner.worker.masker import Masker
from vault import audit, db
from vault.audit import Actor
from vault.db import database_time
from vault.direct import Direct
from vault.reader import Snapshots


@dataclass(frozen=True, slots=True)
class Post:
    """What a runner needs to open mailboxes for itself."""

    engine: Engine
    direct: Direct
    snapshots: Snapshots
    keyring: Keyring
    censor: Censor
    runner: str
    environments: Sequence[str]

    @contextmanager
    def opened(
        self, row: DataSource, environment: str, *, action: str, folder: str | None = None
    ) -> Iterator[tuple[MailDefinition, Mailbox]]:
        """The mailbox of a data source; `action` is what the audit calls it.

        `folder` goes before the definition's, as written.

        Raises:
            SourceFailed: with a masked detail.
            VaultError: when the database cannot be reached.
        """
        document: Mapping[str, Any] = row.definition if folder is None else {**row.definition, "folder": folder}
        masker = Masker()
        with self.censor.using(masker):
            values, policy = self._values(row, environment, masker, action=action)
            try:
                definition = fill(document, values)
                with connect(definition, values, policy) as mailbox:
                    yield definition, mailbox
            except SourceFailed as failure:
                detail = masker.mask_text(failure.detail)
                raise SourceFailed(failure.step, detail, field=failure.field, retriable=failure.retriable) from None

    def _values(self, row: DataSource, environment: str, masker: Masker, *, action: str) -> tuple[Values, Any]:
        workspace_id: uuid.UUID = row.workspace_id
        sealed = filling.take(
            self.snapshots, sources.references(row), workspace_id=workspace_id, environment=environment
        )
        with db.writing(self.engine) as session:
            policy = workspaces.connections(session, workspace_id=workspace_id)
            audit.record(
                session,
                Actor(f"runner {self.runner}"),
                workspace_id=workspace_id,
                action=action,
                target=f"source {row.name}",
                environment=environment,
                now=database_time(session),
                details={"readings": filling.readings(sealed)},
            )
        return Values(filling.opened(sealed, self.keyring), environment, masker.add), policy
