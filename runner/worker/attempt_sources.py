"""The data sources of one attempt: opened when its bot first asks, closed when it ends.

Promises that a value is read only for a bot that asked for a source it may use, after the row of its reading was
committed and before anything was connected; that each source has one connection in an attempt, and that none outlives
it. Answers one question of a source at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

from runner import sources as definitions
from runner import workspaces
from runner.errors import Conflict, NotFound
from runner.jobs import Claim
from runner.logging import logger
from runner.manifest import Manifest
from runner.source_models import DataSource
from runner.worker import filling
from runner.worker import sources as kinds
from runner.worker.environment import Folders
from runner.worker.failures import SourceFailed
from runner.worker.filling import Values
from runner.worker.masker import Masker
from runner.worker.questions import Context, Opened, Question, Reply
from runner.worker.station import Station
from vault import db

_log = logger()

#: Seconds that a question waits for the answer before it to be let go; one that is still read takes longer.
LETTING_GO = 2.0


@dataclass(slots=True)
class _Place:
    """One source of the attempt: its lock is held by whoever opens it or is given an answer."""

    lock: threading.Lock
    opened: Opened | None = None


class AttemptSources:
    """What one bot may ask of the workspace's data sources."""

    def __init__(
        self,
        station: Station,
        claim: Claim,
        *,
        bot: str,
        manifest: Manifest,
        folders: Folders,
        masker: Masker,
        warn: Callable[[str], object] = lambda _text: None,
    ) -> None:
        self._station, self._claim, self._bot, self._manifest = station, claim, bot, manifest
        self._folders, self._masker, self._warn = folders, masker, warn
        self._places: dict[str, _Place] = {}
        self._closed = False
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """The sources that the bot may use in this environment, sorted. Raises `Unavailable`."""
        with db.reading(self._station.engine) as session:
            rows = definitions.listing(session, workspace_id=self._claim.workspace_id)
        return sorted(row.name for row in rows if self._allowed(row))

    def ask(self, name: str, question: Question) -> Reply:
        """The answer of a source; whoever gets it must exhaust or close its chunks.

        Raises:
            NotFound: for a source that there is not, or that this bot may not use here.
            Conflict: while another answer of the source is being read, and after the end of the attempt.
            Invalid: for a question that makes no sense.
            SourceFailed: where the source cannot be opened, or its answer cannot begin.
            VaultError: when the database cannot be reached.
        """
        with self._lock:
            if self._closed:
                raise Conflict("The attempt has ended; its data sources are closed.")
            place = self._places.setdefault(name, _Place(threading.Lock()))
        # The bot may have read an answer to its end, and ask again, before the thread that gave it lets go.
        if not place.lock.acquire(timeout=LETTING_GO):
            raise Conflict(f"An answer of the data source {name} is still being read: read it to its end first.")
        try:
            if place.opened is None:
                try:
                    place.opened = self._open(name)
                finally:
                    self._station.direct.release()  # it keeps a connection for each thread, and this one ends
            reply = place.opened.answer(question)
        except BaseException:
            place.lock.release()
            raise
        return replace(reply, chunks=_released(reply.chunks, place.lock))

    def close(self, *, succeeded: bool) -> None:
        """End every connection; an answer that is being read ends with an error."""
        with self._lock:
            self._closed = True
            places = list(self._places.items())
        for name, place in places:
            if place.opened is not None:
                try:
                    place.opened.close(succeeded=succeeded)
                except Exception:
                    _log.exception("source.left", source=name)

    def _open(self, name: str) -> Opened:
        station, claim = self._station, self._claim
        with db.reading(station.engine) as session:
            row = definitions.find(session, name, workspace_id=claim.workspace_id)
            policy = workspaces.connections(session, workspace_id=claim.workspace_id)
        if not self._allowed(row):
            raise NotFound(self._refused(row))
        sealed = filling.take(
            station.snapshots,
            definitions.references(row),
            workspace_id=claim.workspace_id,
            environment=claim.environment,
        )
        runner = station.settings.runner_name
        station.snapshots.record(sealed, job_id=claim.job_id, attempt=claim.attempt, runner=runner)
        values = Values(filling.opened(sealed, station.keyring), claim.environment, self._masker.add)
        context = Context(
            source=name,
            environment=claim.environment,
            workspace_id=claim.workspace_id,
            runner=runner,
            policy=policy,
            engine=station.engine,
            job_id=claim.job_id,
            attempt=claim.attempt,
            bot_id=claim.bot_id,
            bot=self._bot,
            connection_allowed=name in self._manifest.connections,
            warn=self._warn,
        )
        opened = kinds.of_kind(row.kind).open(row.definition, values, context)
        with self._lock:
            if not self._closed:
                return opened
        opened.close(succeeded=False)
        raise Conflict("The attempt has ended; its data sources are closed.")

    def _allowed(self, row: DataSource) -> bool:
        declared = self._manifest.sources is None or row.name in (*self._manifest.sources, *self._manifest.connections)
        return declared and self._claim.environment in row.environments and (row.bots is None or self._bot in row.bots)

    def _refused(self, row: DataSource) -> str:
        if self._claim.environment not in row.environments:
            return f"The data source {row.name} is not open in {self._claim.environment}."
        if row.bots is not None and self._bot not in row.bots:
            return f"The data source {row.name} is not open to the bot {self._bot}."
        return f'The bot does not declare the data source {row.name}: add "{row.name}" to `sources` in its bot.toml.'

    def sentence(self, name: str, failure: SourceFailed) -> str:
        """What the bot and history read of a failure."""
        return failure.sentence(name, self._claim.environment)


def _released(chunks: Generator[bytes], lock: threading.Lock) -> Generator[bytes]:
    try:
        yield from chunks
    finally:
        chunks.close()
        lock.release()
