"""Seals the audit: gives rows their place in the chain, and writes the head down outside of the database.

The file is only ever added to, one JSON line a head (`at`, `workspace`, `seq`, `hash`), and each is logged as well, so
that whoever can rewrite the whole table still cannot make it fit what was said before. `botkeep audit verify` compares.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine

from runner.logging import logger
from vault import chain, db
from vault.chain import Head
from vault.direct import Direct

#: Seconds between two looks for new rows, and between two for rows that came very late.
EVERY, LATE_EVERY = 2.0, 300.0

_log = logger()


class Sealer:
    """Seals what is new, and anchors the heads that grew at most every `anchor_every` seconds."""

    def __init__(
        self, engine: Engine, direct: Direct, file: Path, *, anchor_every: float, now: Callable[[], datetime]
    ) -> None:
        self._engine, self._direct = engine, direct
        self._file, self._anchor_every, self._now = file, anchor_every, now
        self._grown: dict[uuid.UUID, Head] = {}
        self._anchored_at = self._looked_at = float("-inf")

    def seal(self) -> int:
        """Give every row a place that has none; answers how many chains grew."""
        moment = time.monotonic()
        late = chain.LATE
        if moment - self._looked_at >= LATE_EVERY:
            late, self._looked_at = chain.VERY_LATE, moment
        grown = 0
        while heads := self._seal_some(late=late):
            self._grown |= heads
            grown += len(heads)
        if self._grown and moment - self._anchored_at >= self._anchor_every:
            self.anchor()
        return grown

    def anchor(self) -> None:
        """Write the heads that grew since the last time into the file, and say them in the log."""
        if not self._grown:
            return
        at = self._now().isoformat()
        lines = [
            {"at": at, "workspace": str(workspace_id), "seq": head.seq, "hash": head.hash.hex()}
            for workspace_id, head in self._grown.items()
        ]
        self._append("".join(json.dumps(line) + "\n" for line in lines))
        for line in lines:
            _log.info("audit.anchored", workspace=line["workspace"], seq=line["seq"], hash=line["hash"])
        self._grown, self._anchored_at = {}, time.monotonic()

    def _seal_some(self, *, late: timedelta) -> dict[uuid.UUID, Head]:
        if not chain.unsealed(self._direct, late=late):
            return {}
        with db.writing(self._engine) as session:
            return chain.seal(session, late=late)

    def _append(self, text: str) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "a") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
