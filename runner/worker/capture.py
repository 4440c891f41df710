"""What a bot leaves: its log while it runs, its artefacts when it has ended.

Promises that neither costs a bot its end: where a store is away, the job carries a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from runner.artefacts import Kept
from runner.jobs import Claim
from runner.logging import logger
from runner.output import LogWriter
from runner.worker import collection
from runner.worker.ending import Left
from runner.worker.environment import Folders
from runner.worker.masker import Masker
from runner.worker.outcomes import Outcome
from runner.worker.process import Process
from runner.worker.pump import Pump
from runner.worker.station import Station
from runner.worker.timeline import Timeline

_log = logger()


def log_writer(station: Station, claim: Claim) -> LogWriter:
    """What takes the log of an attempt."""
    tell = station.telling.of(claim.job_id, claim.attempt)
    return LogWriter(station.store, claim.job_id, claim.attempt, seen=tell)


def pump(process: Process, writer: LogWriter, masker: Masker, *, limit: int, timeline: Timeline) -> Outcome:
    """Store what the bot prints until it has ended."""
    into = Pump(writer, masker, limit=limit)

    def feed(stream: str, data: bytes) -> None:
        timeline.begin("first_output")
        into.feed(stream, data)

    try:
        return process.drain(feed, due=writer.due, settle=writer.settle)
    finally:
        timeline.begin("end")
        into.close()


def left(writer: LogWriter, artefacts: Sequence[Kept]) -> Left:
    """What an attempt left; after its log was closed."""
    warnings = []
    if writer.dropped:
        warnings.append(
            f"The bot went beyond its limit `output`: {writer.dropped:,} bytes from the middle were not kept."
        )
    if writer.lost:
        warnings.append("A part of the log could not be stored; the runner's log says why (log.delayed).")
    return Left(writer.size, tuple(artefacts), tuple(warnings))


def collect(
    station: Station, claim: Claim, folders: Folders, masker: Masker, *, warn: Callable[[str], None]
) -> list[Kept]:
    """Store what the bot left in its output folder; what is found was masked, or is withheld."""
    try:
        if station.scratch.is_unused(folders):
            return []
        found = collection.collect(
            folders.output,
            masker,
            store=station.store,
            job_id=claim.job_id,
            attempt=claim.attempt,
            most=station.settings.artefacts_limit,
        )
    except Exception:
        _log.exception("artefacts.broken")
        warn("The files in BOTKEEP_OUTPUT_DIR could not be kept; the runner's log says why.")
        return []
    for sentence in found.refused:
        warn(sentence)
    return found.files
