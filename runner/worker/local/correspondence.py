"""What a runner and the database tell each other of local values: names this way, names that way, never a value.

At each beat the declared assets are read, and the host's file of names is written where they changed; which of them
the host has is written into the runner's row where that changed. Whatever fails here is logged and tried again at the
next beat: it never costs a heartbeat.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Engine

from runner import local_values
from runner.local_values import Definition
from runner.logging import logger
from runner.worker.local import known
from runner.worker.local.custody import Custody
from runner.worker.local.known import Resident
from runner.worker.local.store import Store
from vault import db
from vault.errors import Unavailable, VaultError

#: How long a heartbeat may wait for a person's command that is saving something: what is missed is done by the next.
PATIENCE = timedelta(milliseconds=100)

_log = logger()


class Correspondence:
    """One runner's side of it."""

    def __init__(
        self, engine: Engine, store: Store, custody: Custody, *, runner: str, instance: uuid.UUID, resident: Resident
    ) -> None:
        """`resident` is what the file of names says of this runner."""
        self._engine, self._store, self._custody = engine, store, custody
        self._runner, self._instance, self._resident = runner, instance, resident
        self._said: dict[str, Any] | None = None
        self._problem = ""

    def beat(self) -> None:
        """Hear what is declared, and say what is here."""
        try:
            with db.reading(self._engine) as session:
                declared = local_values.definitions(session)
            self._hear(declared)
            self._say(declared)
        except Unavailable:
            return  # the heartbeat says so itself
        except (VaultError, OSError) as error:
            if self._problem != str(error):
                _log.warning("local_values.unusable", error=str(error))
            self._problem = str(error)
        else:
            self._problem = ""

    def _hear(self, declared: Sequence[Definition]) -> None:
        if declared or self._store.folder.exists():
            resident = (self._runner, self._resident)
            known.write(self._store.folder, declared, resident=resident, patience=PATIENCE)

    def _say(self, declared: Sequence[Definition]) -> None:
        said = self._here(declared) if declared or self._store.signature() is not None else None
        if said != self._said:
            with db.writing(self._engine) as session:
                local_values.note(session, self._runner, instance=self._instance, said=said)
            self._said = said

    def _here(self, declared: Sequence[Definition]) -> dict[str, Any]:
        protection, locked, problem = "none", False, None
        held: dict[uuid.UUID, list[str]] = defaultdict(list)
        try:
            document = self._store.read()
            for entry in document.held if document is not None else ():
                held[entry.asset_id].append(entry.environment)
            if self._custody.exists or document is not None:
                state = self._custody.state()
                protection, locked = state.protection, state.locked
        except VaultError as error:
            problem = str(error)
        names = {one.asset_id for one in declared}
        return local_values.said(
            protection=protection,
            locked=locked,
            held={asset_id: environments for asset_id, environments in held.items() if asset_id in names},
            orphans=len(held.keys() - names),
            problem=problem,
        )
