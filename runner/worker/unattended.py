"""A mailbox that the runner opens for itself, with no job: to mark messages, and to look for new ones.

Promises that the audit says which values were read, by which runner and what for, before one is opened; that errors are
sentences without values; and that the connection ends with the block.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine

from runner.mail_definition import MailDefinition
from runner.source_models import DataSource
from runner.worker.censor import Censor
from runner.worker.failures import SourceFailed
from runner.worker.mail_opening import connect, fill
from runner.worker.mailbox import Mailbox
from runner.worker.masker import Masker
from runner.worker.unasked import Unasked

#: For whom values are read, in the audit.
BY = "the runner itself"


@dataclass(frozen=True, slots=True)
class Post:
    """What a runner needs to open mailboxes for itself."""

    unasked: Unasked
    censor: Censor
    environments: Sequence[str]

    @property
    def engine(self) -> Engine:
        """Botkeep's own database."""
        return self.unasked.engine

    def release(self) -> None:
        """Close the calling thread's connection to the database."""
        self.unasked.direct.release()

    @contextmanager
    def opened(
        self, row: DataSource, environment: str, *, action: str, folder: str | None = None
    ) -> Iterator[tuple[MailDefinition, Mailbox]]:
        """The mailbox of a data source; `action` is what the audit calls it.

        `folder` goes before the definition's, as written.

        Raises:
            SourceFailed: with a masked detail.
            Invalid: for an environment that the source is not open in any more.
            VaultError: when the database cannot be reached.
        """
        document: Mapping[str, Any] = row.definition if folder is None else {**row.definition, "folder": folder}
        masker = Masker()
        with self.censor.using(masker):
            values, context = self.unasked.prepare(row, environment, action=action, requested_by=BY, masker=masker)
            try:
                definition = fill(document, values)
                with connect(definition, values, context.policy) as mailbox:
                    yield definition, mailbox
            except SourceFailed as failure:
                detail = masker.mask_text(failure.detail)
                raise SourceFailed(failure.step, detail, field=failure.field, retriable=failure.retriable) from None
