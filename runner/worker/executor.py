"""One attempt of one job, as named steps over one record.

    claim → preflight → prepare → resolve → start → pump → report

The package is verified and its virtual environment built *before* anything is decrypted, so that a tampered
package or a broken dependency never costs a reading, and plaintexts live as short as they can.
`docs/LIFE-OF-A-JOB.md` says at each step what happens if everything dies there.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import structlog

from runner import jobs
from runner.archive import PackageTampered
from runner.conclusion import Conclusion, conclude
from runner.errors import RunnerError
from runner.jobs import Claim, Report
from runner.limits import DEFAULTS, Limits
from runner.logging import logger
from runner.output import LogWriter
from runner.states import Isolation, Reason, State
from runner.worker import ending, isolation, resolution
from runner.worker.attempt_sources import AttemptSources
from runner.worker.endpoint import Grant
from runner.worker.environment import Facts, Folders, encode, public_environment, write_files
from runner.worker.environments import EnvironmentBuildFailed, provide
from runner.worker.held import KILL_AFTER, Hold
from runner.worker.launching import Confined, launch_of
from runner.worker.masks import Masks
from runner.worker.outcomes import Entry, Outcome
from runner.worker.packages import Declaration, Version
from runner.worker.process import Process, ProcessError
from runner.worker.pump import Pump, wall_clock
from runner.worker.refusal import Refusal
from runner.worker.resolution import Resolved
from runner.worker.station import Station
from runner.worker.timeline import Timeline
from runner.worker.unpacking import restore
from vault import db
from vault.decrypt import Secret
from vault.errors import Unavailable
from vault.names import AssetName

#: Longest wait between two tries to report an outcome to a database that is away, in seconds.
_REPORT_BACKOFF = 5.0

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
    warnings: list[str] = field(default_factory=list)
    isolation: Isolation = Isolation.ANY
    limits: Limits = DEFAULTS
    resolved: Resolved | None = None
    masks: Masks = field(init=False)

    def __post_init__(self) -> None:
        """The masks of the attempt's values show in the worker's own log, too."""
        self.masks = Masks(self.station.censor)


def execute(
    station: Station, *, environment: str, group: str, free: Callable[[], object] = lambda: None
) -> Claim | None:
    """Run the next job of a lane; answers what it claimed, `None` where there was nothing for this worker.

    `free` is called when the bot has ended: what is left to do takes as long as fetching the next message, or less.
    """
    since = time.monotonic()
    claim = _claim(station, environment=environment, group=group)
    if claim is None:
        return None
    with (
        structlog.contextvars.bound_contextvars(job_id=str(claim.job_id), attempt=claim.attempt),
        station.held.holding(claim.job_id, claim.attempt, since=since) as hold,
        station.journal.entry(claim.job_id, claim.attempt) as entry,
    ):
        _log.debug("job.claimed", environment=claim.environment)
        timeline = Timeline(since=since)
        if not claim.limited:  # such a claim is followed by another
            timeline.at_end(free)
        report = _attempt(station, claim, hold, entry=entry, timeline=timeline)
        timeline.begin("report")
        _report(station, claim, replace(report, steps=timeline.steps()))
    return claim


def _claim(station: Station, *, environment: str, group: str) -> Claim | None:
    settings = station.settings
    lease = timedelta(seconds=settings.lease)
    return jobs.claim(station.direct, environment=environment, group=group, runner=settings.runner_name, lease=lease)


def _attempt(station: Station, claim: Claim, hold: Hold, *, entry: Entry, timeline: Timeline) -> Report:
    """The end of an attempt, whatever happens in it."""
    try:
        folders = station.scratch.open(claim.job_id, claim.attempt)
        try:
            with _log_writer(station, claim) as writer:
                version = _when_database_is_back(hold, lambda: station.packages.version(claim.version_id))
                return _end_of(Run(station, claim, hold, folders, writer, version, entry, timeline))
        finally:
            _discard(station, folders)
    except Exception:
        # Whatever it was (a full disk, say), the job must end; no value was opened here.
        _log.exception("attempt.broken")
        return Report(State.FAILED, Reason.INTERNAL, detail=Reason.INTERNAL.sentence)


def _discard(station: Station, folders: Folders) -> None:
    try:
        station.scratch.discard(folders)
    except Exception:
        # The attempt has its outcome; what is left is swept at the next start.
        _log.exception("scratch.left", folder=str(folders.root))


def _log_writer(station: Station, claim: Claim) -> LogWriter:
    return LogWriter(station.settings.job_logs(), claim.job_id, claim.attempt, group=station.log_group)


def _end_of(run: Run) -> Report:
    try:
        return _steps(run)
    except Refusal as refusal:
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
        run.masks.learn(run.resolved.named_values() if run.resolved else [])
        _log.exception("attempt.broken")
        return Report(State.FAILED, Reason.INTERNAL, detail=Reason.INTERNAL.sentence, warnings=tuple(run.warnings))
    finally:
        run.masks.close()


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
    token = run.station.endpoint.admit(_grant(run, resolved, sources))
    succeeded = False
    try:
        process = _start(run, package, resolved, python=python, token=token)
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
            weak = run.masks.learn([*resolved.named_values(), ("BOTKEEP_TOKEN", token.encode())])
            resolved.forget()
            run.warnings.extend(f"{name} is too short or too common to be masked in the log." for name in weak)
            outcome = _pump(run, process)
        runner = run.station.settings.runner_name
        reason, stood = run.hold.reason, run.hold.stood
        report = ending.report(outcome, ended_by=reason, runner=runner, warnings=run.warnings, stood=stood)
        succeeded = report.state is State.SUCCEEDED
        return report
    finally:
        run.station.endpoint.revoke(token)
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
    restore(package.content, run.folders.package, listed=package.declaration.listed)
    return package.declaration


def _obey_policies(run: Run, package: Declaration) -> None:
    """Refuse what this host cannot isolate, before anything is decrypted, and settle the limits."""
    station, claim = run.station, run.claim
    policy = _when_database_is_back(run.hold, lambda: station.policies.of(claim.workspace_id, claim.environment))
    run.isolation = isolation.require(station.facts, policy.isolation, package.manifest.isolation)
    host = Limits(output=station.settings.output_limit)
    run.limits = policy.limits.narrowed(package.manifest.limits).narrowed(host)


def _prepare(run: Run, package: Declaration) -> Path | None:
    """Make the virtual environment ready; no value is known yet."""
    if package.manifest.entry is None and package.dependencies is None:
        return None
    stop = threading.Event()
    run.hold.on_end(stop.set)
    try:
        made = provide(
            package.dependencies,
            root=run.station.settings.home / "environments",
            interpreter=run.station.interpreter,
            environ=os.environ,
            stop=stop,
        )
    except EnvironmentBuildFailed as error:
        _say(run, error.log)
        _go_on_unless_ended(run.hold)
        raise Refusal(Reason.DEPENDENCIES, str(error)) from None
    if made.log:
        _say(run, made.log)
    _go_on_unless_ended(run.hold)
    return made.python


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
            station.keyring,
            run.claim,
            bot=run.version.bot,
            manifest=package.manifest,
            runner=station.settings.runner_name,
        ),
    )
    run.resolved = resolved
    run.warnings.extend(resolved.warnings)
    write_files(run.folders, resolved.delivery, parameters=resolved.parameters)
    return resolved


def _sources(run: Run, package: Declaration) -> AttemptSources:
    return AttemptSources(
        run.station,
        run.claim,
        bot=run.version.bot,
        manifest=package.manifest,
        folders=run.folders,
        masks=run.masks,
        warn=lambda text: run.warnings.append(run.masks.masker.mask_text(text)),
    )


def _grant(run: Run, resolved: Resolved, sources: AttemptSources) -> Grant:
    sealed = {value.name: value for value in resolved.sealed.values}

    def read(name: AssetName) -> Secret | None:
        value = sealed[name]
        return None if value.envelope is None else run.station.keyring.open(resolved.sealed, value)

    return Grant(names=tuple(sealed), read=read, sources=sources)


def _start(run: Run, package: Declaration, resolved: Resolved, *, python: Path | None, token: str) -> Process:
    facts = Facts(
        job_id=str(run.claim.job_id),
        attempt=run.claim.attempt,
        environment=run.claim.environment,
        bot=run.version.bot,
        endpoint=run.station.endpoint.url,
        token=token,
    )
    public = public_environment(facts, run.folders, python=python)
    patience = timedelta(seconds=run.station.settings.lease * KILL_AFTER)
    launch = launch_of(
        package.manifest,
        run.folders,
        run.entry,
        public=public,
        python=python,
        confined=Confined(run.isolation, run.station.facts, run.station.grants, run.limits),
        kept_at=run.hold.extended_at,
        patience=patience,
    )
    try:
        return run.station.spawner.launch(launch, encode(public, resolved.delivery))
    except ProcessError as error:
        raise Refusal(Reason.START_FAILED, str(error)) from None


def _pump(run: Run, process: Process) -> Outcome:
    pump = Pump(run.writer, run.masks.masker, limit=run.limits.output or run.station.settings.output_limit)
    run.masks.follow(pump.use)

    def feed(stream: str, data: bytes) -> None:
        run.timeline.begin("first_output")
        pump.feed(stream, data)

    try:
        return process.drain(feed)
    finally:
        run.timeline.begin("end")
        pump.close()
        if pump.dropped:
            run.warnings.append(f"The bot went beyond its limit `output`: {pump.dropped:,} bytes were not kept.")


def _report(station: Station, claim: Claim, report: Report) -> None:
    """Write the end of the attempt; a database that is away is waited for, since the bot must not run again."""
    pause = 0.1
    while True:
        try:
            done = _concluded(station, claim, report)
        except Unavailable as error:
            _log.warning("report.delayed", error=str(error))
            time.sleep(pause)
            pause = min(2 * pause, _REPORT_BACKOFF)
        except Exception:
            if report.reason is Reason.INTERNAL:
                raise
            _log.exception("report.broken")
            report = Report(State.FAILED, Reason.INTERNAL, detail=Reason.INTERNAL.sentence)
        else:
            break
    if done is None:
        _log.warning("report.refused", state=str(report.state), reason=report.reason)
    elif done.wait is None:
        _log.info("job.finished", state=str(done.state), reason=done.reason)
    else:
        _log.info("job.repeated", reason=done.reason, wait=done.wait.total_seconds())


def _concluded(station: Station, claim: Claim, report: Report) -> Conclusion | None:
    # The usual end is one statement; every other one may be followed by a further attempt.
    plain = claim.attempt == 1 and report.state is State.SUCCEEDED
    if plain and jobs.finish(station.direct, claim.job_id, attempt=claim.attempt, report=report):
        return Conclusion(report.state, report.reason)
    lot = random.random()  # noqa: S311 - spreads repeats in time, and guards nothing
    with db.writing(station.engine) as session:
        return conclude(session, claim.job_id, attempt=claim.attempt, report=report, lot=lot)


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


def _say(run: Run, text: str) -> None:
    run.writer.write("system", text.splitlines(), at=wall_clock())
