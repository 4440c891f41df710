"""From an outcome to what history says."""

import signal
from dataclasses import replace

import pytest

from runner.jobs import Report
from runner.states import Reason, State
from runner.worker import ending
from runner.worker.masker import Masker
from runner.worker.outcomes import EndReason, Outcome


def outcome(
    exit_code: int | None = None,
    *,
    number: int | None = None,
    reason: EndReason = "exit",
    detail: str = "",
    survivors: int = 0,
) -> Outcome:
    return Outcome(
        exit_code=exit_code,
        signal=number,
        reason=reason,
        detail=detail,
        survivors=survivors,
        max_rss_kb=1000,
        user_seconds=0.5,
        system_seconds=0.25,
        started_at=1_000_000.0,
        ended_at=1_000_001.0,
        started_after=0.25,
    )


def judged(ended: Outcome, ended_by: Reason | None = None) -> tuple[State, Reason | None]:
    report = ending.report(ended, ended_by=ended_by, runner="r1", warnings=())
    return report.state, report.reason


@pytest.mark.parametrize(
    ("ended", "ended_by", "state", "reason"),
    [
        (outcome(0), None, State.SUCCEEDED, None),
        (outcome(1), None, State.FAILED, Reason.EXIT_CODE),
        (outcome(ending.BUSINESS_STATUS), None, State.FAILED, Reason.BUSINESS),
        (outcome(number=signal.SIGSEGV), None, State.FAILED, Reason.SIGNAL),
        (outcome(number=signal.SIGKILL, reason="timeout"), None, State.FAILED, Reason.TIMEOUT),
        (outcome(reason="start_failed", detail="why"), None, State.FAILED, Reason.START_FAILED),
        (outcome(number=signal.SIGTERM, reason="killed"), Reason.CANCELLED, State.CANCELLED, Reason.CANCELLED),
        (outcome(143, reason="killed"), Reason.CANCELLED, State.CANCELLED, Reason.CANCELLED),
        (outcome(number=15, reason="killed"), Reason.RUNNER_STOPPED, State.FAILED, Reason.RUNNER_STOPPED),
        (outcome(number=9, reason="killed"), Reason.RUNNER_LOST, State.FAILED, Reason.RUNNER_LOST),
        (outcome(number=9, reason="worker_died"), None, State.FAILED, Reason.RUNNER_LOST),
        (outcome(number=9, reason="lease_over"), Reason.CANCELLED, State.FAILED, Reason.RUNNER_LOST),
        (outcome(0, reason="lease_over"), Reason.RUNNER_LOST, State.SUCCEEDED, None),
        (outcome(5, reason="worker_died"), None, State.FAILED, Reason.RUNNER_LOST),
        (outcome(5, reason="lease_over"), None, State.FAILED, Reason.EXIT_CODE),
        (outcome(None, reason="spawner_died"), None, State.FAILED, Reason.RUNNER_LOST),
    ],
)
def test_an_outcome_has_one_state_and_reason(
    ended: Outcome, ended_by: Reason | None, state: State, reason: Reason | None
) -> None:
    assert judged(ended, ended_by) == (state, reason)


@pytest.mark.parametrize("ended_by", [Reason.CANCELLED, Reason.RUNNER_STOPPED, Reason.RUNNER_LOST])
def test_a_bot_that_finished_its_work_while_it_was_to_end_has_succeeded(ended_by: Reason) -> None:
    assert judged(outcome(0), ended_by) == (State.SUCCEEDED, None)


def test_the_status_of_a_business_error_means_nothing_of_a_command_that_is_not_python() -> None:
    command = replace(outcome(ending.BUSINESS_STATUS), mode="exec")
    assert judged(command) == (State.FAILED, Reason.EXIT_CODE)


@pytest.mark.parametrize(
    ("ended", "ended_by", "words"),
    [
        (outcome(1), None, None),
        (outcome(0), Reason.RUNNER_STOPPED, None),
        (outcome(number=9, reason="timeout"), None, "time limit"),
        (outcome(number=15, reason="killed"), Reason.RUNNER_STOPPED, "runner r1, which was stopping"),
        (outcome(number=15, reason="killed"), Reason.RUNNER_LOST, "runner r1, which lost its lease"),
        (outcome(number=9, reason="worker_died"), None, "launcher, since the process of runner r1 ended"),
        (outcome(number=9, reason="lease_over"), None, "launcher, since runner r1 did not keep its lease"),
        (outcome(0, reason="worker_died"), None, None),
    ],
)
def test_an_end_from_outside_names_who_made_it(ended: Outcome, ended_by: Reason | None, words: str | None) -> None:
    assert ending.report(ended, ended_by=ended_by, runner="r1", warnings=()).ended_by == words


def test_what_a_dead_worker_had_ordered_counts_as_its_stop() -> None:
    ordered = ending.adopted(outcome(number=15, reason="killed"), runner="r1")
    unseen = ending.adopted(outcome(reason="killed", detail="The bot's supervisor ended early."), runner="r1")
    assert (ordered.reason, unseen.reason) == (Reason.RUNNER_STOPPED, Reason.INTERNAL)
    assert ordered.warnings == (ending.ADOPTED,)


def test_a_time_limit_counts_more_than_the_exit_code() -> None:
    assert judged(outcome(0, reason="timeout")) == (State.FAILED, Reason.TIMEOUT)


def test_a_signal_is_named_and_an_unknown_one_numbered() -> None:
    for number, name in ((signal.SIGSEGV, "SIGSEGV"), (40, "signal 40")):
        report = ending.report(outcome(number=number), ended_by=None, runner="r1", warnings=())
        assert report.detail is not None
        assert name in report.detail


def test_survivors_are_a_warning_after_those_there_are() -> None:
    report = ending.report(outcome(0, survivors=2), ended_by=None, runner="r1", warnings=("first",))
    assert report.warnings[0] == "first"
    assert report.warnings[1].startswith("2 processes of the bot could not be ended")
    assert report.survivors == 2


def test_what_the_process_used_is_reported() -> None:
    report = ending.report(outcome(0), ended_by=None, runner="r1", warnings=())
    assert (report.max_rss_kb, report.cpu_seconds) == (1000, 0.75)
    assert report.started_after == 0.25


def test_no_sentence_of_a_report_holds_a_value() -> None:
    mask = Masker([("SAP.PASSWORD", b"hunter2!")]).mask_text
    told = Report(
        State.FAILED, Reason.START_FAILED, detail="There is no ./hunter2! here.", warnings=("a hunter2!", "b")
    )

    steps, left = {"claim": 0.0}, ending.Left(7, warnings=("hunter2! is left",))

    masked = ending.masked(told, mask, left=left, steps=steps)

    assert (masked.detail, masked.warnings) == ("There is no ./*** here.", ("a ***", "b", "*** is left"))
    well = Report(State.SUCCEEDED, None)
    assert ending.masked(well, mask, left=ending.Left(7), steps=steps) == replace(well, log_bytes=7, steps=steps)
