"""From how a bot's process ended to what history says; pure."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from runner.artefacts import Kept
from runner.jobs import Report
from runner.states import Reason, State
from runner.worker.outcomes import Outcome

#: The exit status of an uncaught `botkeep.BusinessError` (73; Python uses 1, 2 and 120 itself). Of a command that is
#: not Python it is a status like any other.
BUSINESS_STATUS = 73

#: What history says of an attempt whose end came from its launcher's record.
ADOPTED = (
    "Adopted from its launcher's record, since its runner had ended or fallen silent; the last lines of its log may be "
    "missing."
)
#: Exit statuses of Python bots (`bot_main.py`) and signals (setrlimit(2)) that tell of a limit, and which.
_LIMIT_STATUSES = {231: "memory", 232: "open_files", 233: "disk"}
_LIMIT_SIGNALS: dict[int, str] = {signal.SIGXCPU: "cpu_time", signal.SIGXFSZ: "disk"}


#: The ends that come from the fall of what holds a bot, and in whose name; they are repeated as that of a lost runner.
_GUARDS = {
    "worker_died": "launcher, since the process of runner {} ended",
    "lease_over": "launcher, since runner {} did not keep its lease",
    "spawner_died": "whoever killed the spawner of runner {}",
    "launcher_died": "whoever killed the bot's launcher on runner {}",
}


@dataclass(frozen=True, slots=True)
class Left:
    """What an attempt left in the store: its log, its artefacts, and what is to be said of them."""

    log_bytes: int | None = None
    artefacts: tuple[Kept, ...] = ()
    warnings: tuple[str, ...] = ()


def report(
    outcome: Outcome, *, ended_by: Reason | None, runner: str, warnings: Sequence[str], stood: float = 0.0
) -> Report:
    """What to write for an outcome on this runner; `ended_by` is why the runner ended the bot, if it did.

    `stood` are the seconds of pause before the bot was started, on top of those that its launcher counted.
    """
    state, reason, detail = _judge(outcome, ended_by)
    notes = list(warnings)
    if outcome.survivors:
        count = f"{outcome.survivors} processes" if outcome.survivors > 0 else "An unknown number of processes"
        notes.append(f"{count} of the bot could not be ended; look for them on the runner's host.")
    return Report(
        state=state,
        reason=reason,
        detail=detail,
        exit_code=outcome.exit_code,
        started_after=outcome.started_after,
        survivors=outcome.survivors,
        user=outcome.user,
        max_rss_kb=outcome.max_rss_kb,
        cpu_seconds=outcome.user_seconds + outcome.system_seconds,
        paused_seconds=(stood + outcome.paused_seconds) or None,
        warnings=tuple(notes),
        ended_by=_guard(outcome, runner) if reason is Reason.RUNNER_LOST else words(reason, runner),
    )


def masked(report: Report, mask: Callable[[str], str], *, left: Left, steps: Mapping[str, float]) -> Report:
    """The report as the database may keep it: whatever a sentence of it quotes, no value is in it."""
    return replace(
        report,
        detail=None if report.detail is None else mask(report.detail),
        warnings=tuple(map(mask, (*report.warnings, *left.warnings))),
        log_bytes=left.log_bytes,
        artefacts=left.artefacts,
        steps=steps,
    )


def words(reason: Reason | None, runner: str) -> str | None:
    """Who or what ends a bot for this reason; `None` where it ends by itself, and where the database knows."""
    by = {
        Reason.TIMEOUT: "time limit",
        Reason.RUNNER_STOPPED: f"runner {runner}, which was stopping",
        Reason.RUNNER_LOST: f"runner {runner}, which lost its lease",
    }
    return None if reason is None else by.get(reason)


def _guard(outcome: Outcome, runner: str) -> str | None:
    by = _GUARDS.get(outcome.reason)
    return by.format(runner) if by else words(Reason.RUNNER_LOST, runner)


def adopted(outcome: Outcome, *, runner: str) -> Report:
    """What to write for an outcome that a worker of `runner` could not report any more."""
    # Nobody knows any more why it ordered the end: a cancellation is in the database, the other order is its own stop.
    ordered = outcome.reason == "killed" and (outcome.exit_code, outcome.signal) != (None, None)
    ended_by = Reason.RUNNER_STOPPED if ordered else None
    return report(outcome, ended_by=ended_by, runner=runner, warnings=[ADOPTED])


def _judge(outcome: Outcome, ended_by: Reason | None) -> tuple[State, Reason | None, str | None]:
    if outcome.reason == "start_failed":
        return State.FAILED, Reason.START_FAILED, outcome.detail
    if outcome.reason in {"timeout", "limit"}:
        by = Reason(outcome.reason)
        return State.FAILED, by, outcome.detail if by is Reason.LIMIT else by.sentence
    if outcome.exit_code == 0:
        # A bot that finished its work while somebody wanted to end it has finished its work.
        return State.SUCCEEDED, None, None
    # A bot whose runner died may have failed since it could write to nobody, and ask nobody.
    if outcome.reason == "worker_died" or (outcome.reason in _GUARDS and outcome.exit_code is None):
        ended_by = Reason.RUNNER_LOST
    if ended_by is Reason.CANCELLED:
        return State.CANCELLED, Reason.CANCELLED, Reason.CANCELLED.sentence
    if ended_by is not None:
        killed = outcome.reason == "launcher_died"
        return State.FAILED, ended_by, f"{outcome.detail} It may have done its work." if killed else ended_by.sentence
    return State.FAILED, *_own_failure(outcome)


def _own_failure(outcome: Outcome) -> tuple[Reason, str]:
    """Why a bot failed that nobody ended."""
    if outcome.exit_code is None and outcome.signal is None:
        return Reason.INTERNAL, outcome.detail
    if limit := _LIMIT_SIGNALS.get(outcome.signal or 0) or _LIMIT_STATUSES.get(outcome.exit_code or 0):
        return Reason.LIMIT, f"The bot reached its limit `{limit}` and ended; its log may say where."
    if outcome.signal is not None:
        return Reason.SIGNAL, f"The bot was ended by {_signal_name(outcome.signal)}."
    if outcome.exit_code == BUSINESS_STATUS and outcome.mode == "bootstrap":
        return Reason.BUSINESS, Reason.BUSINESS.sentence
    return Reason.EXIT_CODE, f"The bot ended with exit status {outcome.exit_code}; its log says why."


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
