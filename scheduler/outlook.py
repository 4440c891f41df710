"""What a run's rows say about it now, and what is to be done next; pure.

A definition looks at the `Facts`, which are read from the rows of jobs, and answers an `Outlook`. The same facts give
the same outlook, however often and by whoever they are looked at; nothing is counted and nothing remembered.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from runner.states import FINAL, Reason, State
from scheduler.flow_files import Retrying


class Standing(StrEnum):
    """Where a step of a run is; derived, never stored."""

    WAITING = "waiting"
    """Its turn has not come, or it waits before another try."""

    APPROVAL = "approval"
    """A person is asked."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    """As its job is; a person cancelled that job."""

    SKIPPED = "skipped"
    """It will not run; the reason says why."""


#: What nothing changes any more.
SETTLED = frozenset({Standing.SUCCEEDED, Standing.FAILED, Standing.CANCELLED, Standing.SKIPPED})

#: What counts as a failure for edges and policies.
FAILED = frozenset({Standing.FAILED, Standing.CANCELLED})

#: The reason of a step whose job was cancelled because its time was up, and of one that was never made a job of.
TIMEOUT, REFUSED = "timeout", "refused"


@dataclass(frozen=True, slots=True)
class Try:
    """One job of a step, or the sentence why there is none."""

    number: int
    created_at: datetime
    job_id: uuid.UUID | None = None
    state: str = State.FAILED
    reason: str | None = None
    detail: str | None = None
    finished_at: datetime | None = None
    cancel_requested: bool = False
    reused: bool = False
    results: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """A question of an approval step; `allowed` is empty while nobody has answered."""

    expires_at: datetime
    allowed: bool | None = None
    by: str | None = None
    comment: str | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rows say: tries by step and item, answers by step, and the run's own columns."""

    now: datetime
    environment: str = "dev"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    tries: Mapping[str, Mapping[int, Sequence[Try]]] = field(default_factory=dict)
    answers: Mapping[str, Answer] = field(default_factory=dict)
    paused: bool = False
    #: Why nothing more is begun: a person cancelled the run, or its time is up.
    ending: str | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """Where a step is, and why."""

    standing: Standing
    reason: str | None = None
    detail: str | None = None

    @property
    def settled(self) -> bool:
        """Whether nothing changes it any more."""
        return self.standing in SETTLED


@dataclass(frozen=True, slots=True)
class Dispatch:
    """A job to be made; or, where `refusal` says why not, a try that failed without one."""

    step: str
    item: int
    number: int
    bot: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class End:
    """How the run ended."""

    state: State
    reason: str | None = None
    detail: str | None = None


@dataclass(slots=True)
class Outlook:
    """Where each step is, and what is to be done: jobs to make, questions to ask, jobs whose time is up."""

    steps: dict[str, Status] = field(default_factory=dict)
    dispatches: list[Dispatch] = field(default_factory=list)
    questions: dict[str, timedelta] = field(default_factory=dict)
    overdue: list[uuid.UUID] = field(default_factory=list)
    #: When something changes though no job ends: a pause before a try is over, a question expires.
    again_at: datetime | None = None
    end: End | None = None

    def again(self, at: datetime) -> None:
        """Look again at this time, or before."""
        self.again_at = at if self.again_at is None else min(at, self.again_at)


@dataclass(frozen=True, slots=True)
class Policy:
    """What holds for each job of a step."""

    retrying: Retrying
    timeout: timedelta | None = None


def unit(tries: Sequence[Try], policy: Policy, facts: Facts, outlook: Outlook) -> tuple[Status, int | None]:
    """Where one item of a step is, and the number of the try that is due, if one is.

    Notes in the outlook which job is overdue, and when to look again.
    """
    if not tries:
        return Status(Standing.WAITING), 1
    last = tries[-1]
    if last.state not in FINAL:
        _watch(last, policy, facts, outlook)
        return Status(Standing(last.state), last.reason, last.detail), None
    if last.state == State.SUCCEEDED:
        return Status(Standing.SUCCEEDED, "reused" if last.reused else None), None
    status = _ended(last, policy)
    if not _repeatable(last, status) or last.number > policy.retrying.retries or facts.ending:
        return status, None
    due = (last.finished_at or last.created_at) + policy.retrying.delay
    if facts.now < due:
        outlook.again(due)
        return Status(Standing.WAITING, status.reason, f"Try {last.number + 1} begins after a pause."), None
    return Status(Standing.WAITING, status.reason, status.detail), last.number + 1


def _watch(last: Try, policy: Policy, facts: Facts, outlook: Outlook) -> None:
    if policy.timeout is None or last.job_id is None or last.cancel_requested:
        return
    due = last.created_at + policy.timeout
    if facts.now >= due:
        outlook.overdue.append(last.job_id)
    else:
        outlook.again(due)


def _ended(last: Try, policy: Policy) -> Status:
    late = policy.timeout is not None and (last.finished_at or last.created_at) >= last.created_at + policy.timeout
    if last.state == State.CANCELLED and late:
        return Status(Standing.FAILED, TIMEOUT, "Its time was up, and its job was cancelled.")
    return Status(Standing(last.state), last.reason, last.detail)


def _repeatable(last: Try, status: Status) -> bool:
    """A refusal and wrong data stay what they are, and what a person cancelled is not begun again."""
    return status.standing is Standing.FAILED and last.job_id is not None and status.reason != Reason.BUSINESS


def stop_short(facts: Facts, outlook: Outlook) -> None:
    """Make of an outlook what a pause or an end leaves of it."""
    if not (facts.paused or facts.ending):
        return
    outlook.dispatches.clear()
    outlook.questions.clear()
    if not facts.ending:
        return
    for name, status in outlook.steps.items():
        if status.standing in {Standing.WAITING, Standing.APPROVAL}:
            outlook.steps[name] = Status(Standing.SKIPPED, facts.ending, "The run ended before its turn.")


def end_of(facts: Facts, outlook: Outlook, usual: End) -> End | None:
    """How the run ended, once every step is settled; `usual` unless somebody or its time limit ended it."""
    if not all(status.settled for status in outlook.steps.values()):
        return None
    if facts.ending == TIMEOUT:
        return End(State.FAILED, TIMEOUT, "The run took longer than its `timeout`; what still ran was cancelled.")
    if facts.ending:
        return End(State.CANCELLED, "cancelled", "A person cancelled the run.")
    return usual
