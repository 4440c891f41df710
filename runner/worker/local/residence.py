"""Where on this host its local values are: folder, key and memory, worked out from the settings once."""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from runner.worker.local.correspondence import Correspondence
from runner.worker.local.custody import Custody
from runner.worker.local.known import Resident
from runner.worker.local.settings import LocalSettings
from runner.worker.local.store import Store
from runner.worker.local.values import LocalValues


@dataclass(frozen=True, slots=True)
class Residence:
    """The values of this host and their key."""

    store: Store
    custody: Custody
    memory: Path | None

    def values(self) -> LocalValues:
        """The values as attempts get them."""
        return LocalValues(self.store, self.custody)

    def letters(
        self, engine: Engine, *, runner: str, instance: uuid.UUID, environments: tuple[str, ...]
    ) -> Correspondence:
        """What a runner and the database tell each other."""
        resident = Resident(environments, "" if self.memory is None else str(self.memory))
        return Correspondence(engine, self.store, self.custody, runner=runner, instance=instance, resident=resident)


def of(settings: LocalSettings, *, in_memory: Path | None, further: Sequence[Path] = ()) -> Residence:
    """The residence of this user on this host.

    `in_memory` is the folder that this process may leave an unlocked key below, `further` are those of others: bots
    reach none of them (`runner.worker.scratch`).
    """
    own = None if in_memory is None else in_memory / f"botkeep-{os.geteuid()}"
    memory = dict.fromkeys([*([own] if own is not None else []), *further])
    return Residence(Store(settings.local_folder()), Custody(settings, memory=tuple(memory)), own)
