"""The duties that only data sources make: loaded and begun when the database knows the first source of their kind.

Promises that a check which is asked for before that waits a moment at most: its signal makes this look at once. What
was begun stays, since it has things to end when the last source is gone. Without any it looks every `LOOK` seconds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from sqlalchemy import Select, String, column, select, table

from runner.logging import logger
from runner.worker.on_demand import Part, load
from runner.worker.station import Station
from vault import db
from vault.errors import VaultError

#: Seconds between two looks whether there are data sources.
LOOK = 1.0

#: The kind that mailboxes have. Not the model, with which all that belongs to sources would be loaded.
_IMAP = "imap"
_KINDS: Select[str] = select(column("kind", String)).select_from(table("data_sources")).distinct()

_log = logger()


class Begun(Protocol):
    """A duty that can be begun and ended."""

    def start(self) -> None:
        """Begin."""

    def close(self) -> None:
        """End, within moments."""


class SourceDuties:
    """Begins checks and fan-outs with the first data source, email triggers and marks with the first mailbox."""

    def __init__(self, station: Station, *, stopping: Callable[[], bool]) -> None:
        self._station, self._stopping = station, stopping
        self._news, self._stopped = threading.Event(), threading.Event()
        self._begun: dict[Part, tuple[Begun, ...]] = {}
        self._look_at_checks: Callable[[], None] = self._news.set
        self._thread = threading.Thread(target=self._run, name="source-duties", daemon=True)

    def start(self) -> None:
        """Look for data sources from now on."""
        self._thread.start()

    def look(self) -> None:
        """Look at once whether a check waits."""
        self._look_at_checks()

    def close(self) -> None:
        """End what was begun."""
        self._stopped.set()
        self._news.set()
        self._thread.join()
        for duties in self._begun.values():
            for duty in duties:
                duty.close()

    def _run(self) -> None:
        while not self._stopped.is_set() and len(self._begun) < len((Part.CHECKS, Part.MAIL)):
            self._news.clear()
            try:
                if not self._stopping():
                    self._begin()
            except VaultError as error:
                _log.warning("checks.delayed", error=str(error))
            except Exception:
                # Whatever it was, the next look tries again.
                _log.exception("checks.broken")
            self._news.wait(LOOK)

    def _begin(self) -> None:
        with db.reading(self._station.engine) as session:
            kinds = set(session.scalars(_KINDS))
        if kinds and Part.CHECKS not in self._begun:
            checks = load(Part.CHECKS).Checks.of(self._station, stopping=self._stopping)
            self._start(Part.CHECKS, checks)
            self._look_at_checks = checks.look
        if _IMAP in kinds and Part.MAIL not in self._begun:
            self._start(Part.MAIL, *load(Part.MAIL).duties(self._station, stopping=self._stopping))

    def _start(self, part: Part, *duties: Begun) -> None:
        for duty in duties:
            duty.start()
        self._begun[part] = duties
