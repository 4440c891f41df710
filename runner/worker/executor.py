"""One attempt of one job, as named steps over one record.

    claim → preflight → prepare → resolve → start → pump → report

The package is verified and its virtual environment built *before* anything is decrypted, so that a tampered
package or a broken dependency never costs a reading, and plaintexts live as short as they can.
`docs/LIFE-OF-A-JOB.md` says at each step what happens if everything dies there.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeVar

from runner import jobs, unreadable
from runner.archive import PackageTampered
from runner.artefacts import Kept
from runner.dependencies import Dependencies
from runner.errors import RunnerError
from runner.jobs import Claim, Report
from runner.limits import DEFAULTS, Limits
from runner.logging import bound, logger
from runner.output import LogWriter
from runner.states import Isolation, Reason, State
from runner.worker import capture, credentials, ending, isolation, reporting, resolution
from runner.worker.bot_users import open_environment
from runner.worker.ending import Left
from runner.worker.environment import Folders, encode, public_environment, write_files
from runner.worker.environments import EnvironmentBuildFailed, VirtualEnvironment, provide, ready
from runner.worker.granting import Granted
from runner.worker.held import KILL_AFTER, Hold
from runner.worker.hints import Hint
from runner.worker.launch import ProcessError
from runner.worker.launching import Confined, launch_of
from runner.worker.masker import Masker
from runner.worker.on_demand import Part, load
from runner.worker.outcomes import Entry, Outcome
from runner.worker.packages import Declaration, Version
from runner.worker.process import Process
from runner.worker.pump import wall_clock
from runner.worker.refusal import Refusal
from runner.worker.resolution import Resolved
from runner.worker.station import Station
from runner.worker.timeline import Timeline
from runner.worker.turn import Claimed, Turn
from runner.worker.unopened import Sources, Unopened
from vault.errors import DamagedRow, Unavailable

#: Seconds between two looks for a database that is away before the bot was started.
_DATABASE_PAUSE = 0.5

_log = logger()

T = TypeVar("T")


@dataclass(slots=True)
class Run:
    """One attempt on its way through the steps."""

    station: Station
    claim: Claim
    hold: Hold
    folders: Folders
    writer: LogWriter
    version: Version
    entry: Entry
    timeline: Timeline
    masker: Masker
    warnings: list[str] = field(default_factory=list)
    isolation: Isolation = Isolation.ANY
    limits: Limits = DEFAULTS
    resolved: Resolved | None = None
    artefacts: list[Kept] = field(default_factory=list)
    #: Processes of the bot that may live on in its folders; -1 for an unknown number.
    survivors: int = 0


def execute(station: Station, turn: Turn) -> Claim | None:
    """Run the job that was claimed for a turn, or the next one of its lane; `None` where there was none to claim.

    The next hint is asked for when the bot has ended: what is left to do takes as long as fetching it, or less.
    """
    claimed = turn.take() or _claim(station, turn.hint)
    if claimed is None:
        return None
    claim, since = claimed.claim, claimed.since
    masker = Masker()
    with (
        bound(job_id=str(claim.job_id), attempt=claim.attempt),
        station.censor.using(masker),
        station.held.holding(claim.job_id, claim.attempt, since=since) as hold,
        station.journal.entry(claim.job_id, claim.attempt) as entry,
    ):
        _log.debug("job.claimed", environment=claim.environment)
        timeline = Timeline(since=since)
        if not claim.limited:  # such a claim is followed by another
            timeline.at_end(turn.ask)
        report, left = _attempt(station, claim, hold, entry=entry, timeline=timeline, masker=masker)
        timeline.begin("report")
        report = ending.masked(report, masker.mask_text, left=left, steps=timeline.steps())
        _report(station, claim, report, turn=turn)
    return claim


def _claim(station: Station, hint: Hint) -> Claimed | None:
    settings, direct, since = station.settings, station.direct, time.monotonic()
    environment, group, lease = hint.environment, hint.group, timedelta(seconds=settings.lease)
    while True:
        try:
            claim = jobs.claim(direct, environment=environment, group=group, runner=settings.runner_name, lease=lease)
        except DamagedRow as error:  # of the next job, which would keep all others of its lane waiting
            if not unreadable.refuse(direct, environment=environment, group=group):
                raise
            _log.error("job.unreadable", environment=environment, group=group, error=str(error))
        else:
            return None if claim is None else Claimed(claim, since)


def _attempt(
    station: Station, claim: Claim, hold: Hold, *, entry: Entry, timeline: Timeline, masker: Masker
) -> tuple[Report, Left]:
    """The end of an attempt, whatever happens in it, and what it left in the store."""
    try:
        folders, again = station.scratch.open(), False
        try:
            with capture.log_writer(station, claim) as writer:
                version = _when_database_is_back(hold, lambda: station.packages.version(claim.version_id))
                run = Run(station, claim, hold, folders, writer, version, entry, timeline, masker)
                report = _end_of(run)
            again = run.survivors == 0
            return report, capture.left(writer, run.artefacts)
        finally:
            _discard(station, folders, again=again)
    except Exception:
        # Whatever it was (a full disk, say), the job must end; no value was opened here.
        _log.exception("attempt.broken")
        return Report(State.FAILED, Reason.INTERNAL, detail=Reason.INTERNAL.sentence), Left()


def _discard(station: Station, folders: Folders, *, again: bool) -> None:
    try:
        station.scratch.discard(folders, again=again)
    except Exception:
        # The attempt has its outcome; what is left is swept at the next start.
        _log.exception("scratch.left", folder=str(folders.root))


def _end_of(run: Run) -> Report:
    try:
        return _steps(run)
    except Refusal as refusal:
        _learn(run)
        _say(run, refusal.detail)
        return Report(
            State.CANCELLED if refusal.reason is Reason.CANCELLED else State.FAILED,
            refusal.reason,
            detail=refusal.detail,
            paused_seconds=run.hold.stood or None,
            ended_by=ending.words(refusal.reason, run.station.settings.runner_name),
            warnings=tuple(run.warnings),
        )
    except Exception:
        _learn(run)
        _log.exception("attempt.broken")
        return Report(State.FAILED, Reason.INTERNAL, detail=Reason.INTERNAL.sentence, warnings=tuple(run.warnings))


def _steps(run: Run) -> Report:
    run.timeline.begin("preflight")
    package = _preflight(run)
    run.timeline.begin("prepare")
    python = _prepare(run, package)
    _stand(run.hold)
    run.timeline.begin("resolve")
    resolved = _resolve(run, package)
    run.timeline.begin("start")
    sources = _sources(run, package)
    granted = _granted(run, package, resolved, sources)
    succeeded = False
    try:
        run.masker.add(granted.named_values())
        process = _start(run, package, resolved, python=python, granted=granted)
        with process:
            process.on_pause = run.hold.stands
            run.hold.on_end(
                process.terminate,
                kill=process.kill,
                keep=process.keep,
                pause=process.pause,
                resume=process.resume,
            )
            # After the start, so that the bot's interpreter starts meanwhile.
            resolved.forget()
            run.warnings.extend(map(_weak_warning, run.masker.weak))
            outcome = _pump(run, process)
        run.warnings.extend(granted.requested.warnings())
        runner = run.station.settings.runner_name
        reason, stood = run.hold.reason, run.hold.stood
        report = ending.report(outcome, ended_by=reason, runner=runner, warnings=run.warnings, stood=stood)
        succeeded = report.state is State.SUCCEEDED
        return report
    finally:
        granted.close()
        sources.close(succeeded=succeeded)


def _preflight(run: Run) -> Declaration:
    """Verify the package before anything else and unpack what was verified; a mismatch decrypts nothing."""
    try:
        package = _when_database_is_back(run.hold, lambda: run.station.packages.load(run.version.digest))
    except PackageTampered as error:
        raise Refusal(Reason.PACKAGE_TAMPERED, str(error)) from None
    except RunnerError as error:
        raise Refusal(Reason.START_FAILED, str(error)) from None
    _obey_policies(run, package.declaration)
    run.station.scratch.lay_out(run.folders, package.content, listed=package.declaration.listed)
    return package.declaration


def _obey_policies(run: Run, package: Declaration) -> None:
    """Refuse what this host cannot isolate, before anything is decrypted, and settle the limits."""
    station, claim = run.station, run.claim
    policy = _when_database_is_back(run.hold, lambda: station.policies.of(claim.workspace_id, claim.environment))
    run.isolation = isolation.require(station.facts, policy.isolation, package.manifest.isolation)
    run.limits = _narrowest(policy.limits, package.manifest.limits, output=station.settings.output_limit)


@lru_cache(maxsize=1024)
def _narrowest(policy: Limits, bot: Limits, *, output: int) -> Limits:
    return policy.narrowed(bot).narrowed(Limits(output=output))


def _prepare(run: Run, package: Declaration) -> Path | None:
    """Make the virtual environment ready; no value is known yet."""
    if package.manifest.entry is None and package.dependencies is None:
        return None
    station, wanted = run.station, package.dependencies
    try:
        made = ready(wanted, root=station.environments, interpreter=station.interpreter) or _built(run, wanted)
    except EnvironmentBuildFailed as error:
        run.masker.add(credentials.given(os.environ, wanted))
        _go_on_unless_ended(run.hold)
        raise Refusal(Reason.DEPENDENCIES, str(error)) from None
    _go_on_unless_ended(run.hold)
    if station.spawner.users is not None:
        open_environment(made.python.parent.parent)
    return made.python


def _built(run: Run, wanted: Dependencies | None) -> VirtualEnvironment:
    stop, station = threading.Event(), run.station
    run.hold.on_end(stop.set)
    run.masker.add(credentials.given(os.environ, wanted))
    where, python = station.environments, station.interpreter
    return provide(wanted, root=where, interpreter=python, environ=os.environ, stop=stop, tell=partial(_say_soon, run))


def _stand(hold: Hold) -> None:
    """A job that was paused before its bot was started waits here: nothing is decrypted for it meanwhile."""
    hold.stand()
    _go_on_unless_ended(hold)


def _resolve(run: Run, package: Declaration) -> Resolved:
    station = run.station
    resolved = _when_database_is_back(
        run.hold,
        lambda: resolution.resolve(
            station.direct,
            station.snapshots,
            station.keyring,
            run.claim,
            local=station.local,
            bot=run.version.bot,
            manifest=package.manifest,
            runner=station.settings.runner_name,
        ),
    )
    run.resolved = resolved
    run.masker.add(resolved.named_values())
    run.warnings.extend(resolved.warnings)
    write_files(run.folders, resolved.delivery, parameters=resolved.parameters)
    return resolved


def _sources(run: Run, package: Declaration) -> Unopened:
    def make() -> Sources:
        made: Sources = load(Part.SOURCES).AttemptSources(
            run.station,
            run.claim,
            bot=run.version.bot,
            manifest=package.manifest,
            folders=run.folders,
            masker=run.masker,
            warn=run.warnings.append,
        )
        return made

    return Unopened(make)


def _granted(run: Run, package: Declaration, resolved: Resolved, sources: Sources) -> Granted:
    return Granted(
        run.station,
        run.claim,
        package,
        resolved,
        bot=run.version.bot,
        folders=run.folders,
        masker=run.masker,
        sources=sources,
    )


def _start(run: Run, package: Declaration, resolved: Resolved, *, python: Path | None, granted: Granted) -> Process:
    public = {
        **public_environment(granted.facts, run.folders, python=python, python_path=package.manifest.python_path),
        **granted.variables,
    }
    patience = timedelta(seconds=run.station.settings.lease * KILL_AFTER)
    launch = launch_of(
        package.manifest,
        run.folders,
        run.entry,
        public=public,
        python=python,
        confined=Confined(run.isolation, run.station.facts, run.station.grants, run.limits),
        claimed=run.timeline.since,
        kept_at=run.hold.extended_at,
        patience=patience,
    )
    run.survivors = -1
    try:
        return run.station.spawner.launch(launch, encode(public, resolved.delivery))
    except ProcessError as error:
        raise Refusal(Reason.START_FAILED, str(error)) from None


def _pump(run: Run, process: Process) -> Outcome:
    limit, warn = run.limits.output or run.station.settings.output_limit, run.warnings.append
    outcome = capture.pump(process, run.writer, run.masker, limit=limit, timeline=run.timeline)
    run.survivors = outcome.survivors
    run.artefacts = capture.collect(run.station, run.claim, run.folders, run.masker, warn=warn)
    return outcome


def _report(station: Station, claim: Claim, report: Report, *, turn: Turn) -> None:
    done = reporting.write(station, claim, report, turn=turn)
    if done is not None and done.wait == timedelta(0):
        station.announce(claim, turn.hint.group)
    station.telling.ended(claim.job_id, claim.attempt)


def _when_database_is_back(hold: Hold, step: Callable[[], T]) -> T:
    """Run a step that nothing was started before, again and again while the database is away."""
    while True:
        try:
            return step()
        except Unavailable as error:
            _log.warning("attempt.waiting", error=str(error))
        time.sleep(_DATABASE_PAUSE)
        _go_on_unless_ended(hold)


def _go_on_unless_ended(hold: Hold) -> None:
    if hold.reason is not None:
        raise Refusal(hold.reason, hold.reason.sentence)


def _learn(run: Run) -> None:
    """What was decrypted for an attempt that broke before its bot was started is masked in what is said of it."""
    if run.resolved is not None:
        run.masker.add(run.resolved.named_values())


def _say(run: Run, text: str) -> None:
    run.writer.write("system", run.masker.mask_text(text).splitlines(), at=wall_clock())


def _say_soon(run: Run, text: str) -> None:
    """What may be the last word for minutes; called again meanwhile, with nothing to say."""
    if text:
        _say(run, text)
    if run.writer.due() == 0:
        run.writer.settle()


def _weak_warning(name: str) -> str:
    return f"{name} is empty or shorter than 4 characters, too little to be masked in the log."
