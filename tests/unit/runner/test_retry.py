"""When an attempt is followed by another."""

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.manifest import Retries
from runner.retry import LONGEST_WAIT, STOPPED_LIMIT, UNREADABLE, policy_of, wait
from runner.states import REPEATABLE, Reason

EXACT = Retries(limit=3, delay=timedelta(seconds=10), factor=2.0, jitter=0.0)
OWN = [Reason(each) for each in REPEATABLE]
POLICIES = st.builds(
    Retries,
    limit=st.integers(0, 100),
    delay=st.timedeltas(timedelta(0), timedelta(days=30)),
    factor=st.floats(1, 10),
    jitter=st.floats(0, 1),
    runner_lost=st.integers(0, 10),
)


def waits(policy: Retries, reason: Reason, *, lot: float = 0.0) -> list[float | None]:
    """The waits after the first, second … attempt that all end for one reason, up to the first without another."""
    found: list[float | None] = []
    while not found or found[-1] is not None:
        after = wait(policy, reason, before={reason: len(found)}, lot=lot)
        found.append(None if after is None else after.total_seconds())
    return found


@pytest.mark.parametrize("reason", OWN)
def test_a_failure_of_the_bot_is_repeated_up_to_its_limit_and_ever_later(reason: Reason) -> None:
    assert waits(EXACT, reason) == [10, 20, 40, None]


def test_without_a_limit_no_failure_is_repeated() -> None:
    assert {reason: waits(Retries(), reason) for reason in OWN} == {reason: [None] for reason in OWN}


@pytest.mark.parametrize(
    "reason",
    [
        Reason.BUSINESS,
        Reason.CANCELLED,
        Reason.ASSET_MISSING,
        Reason.ASSET_DENIED,
        Reason.PACKAGE_TAMPERED,
        Reason.UNDECRYPTABLE,
    ],
)
def test_what_a_person_must_mend_is_never_repeated(reason: Reason) -> None:
    assert waits(Retries(limit=100), reason) == [None]


def test_only_the_reasons_that_the_bot_names_are_repeated() -> None:
    policy = Retries(limit=1, on=("timeout",))
    assert wait(policy, Reason.EXIT_CODE, before={}, lot=0) is None
    assert wait(policy, Reason.TIMEOUT, before={}, lot=0) is not None


def test_failures_of_different_reasons_share_the_limit() -> None:
    assert wait(EXACT, Reason.EXIT_CODE, before={"timeout": 2, "signal": 1}, lot=0) is None
    assert wait(EXACT, Reason.EXIT_CODE, before={"timeout": 2}, lot=0) == timedelta(seconds=40)


def test_a_lost_runner_is_repeated_at_once_and_a_poison_job_ends() -> None:
    assert waits(Retries(jitter=0.0), Reason.RUNNER_LOST) == [0, 10, None]
    assert waits(Retries(runner_lost=0), Reason.RUNNER_LOST) == [None]


def test_a_stopped_runner_returns_the_job_at_once_but_not_for_ever() -> None:
    assert waits(Retries(), Reason.RUNNER_STOPPED) == [0.0] * STOPPED_LIMIT + [None]


def test_lost_and_stopped_runners_do_not_use_up_the_bots_own_limit() -> None:
    before = {"runner_lost": 2, "runner_stopped": 7}
    assert wait(EXACT, Reason.EXIT_CODE, before=before, lot=0) == timedelta(seconds=10)
    assert wait(EXACT, Reason.RUNNER_LOST, before={"exit_code": 3}, lot=0) == timedelta(0)


def test_jitter_takes_away_at_most_its_part() -> None:
    policy = Retries(limit=1, delay=timedelta(seconds=10), jitter=0.5)
    assert [waits(policy, Reason.SIGNAL, lot=lot)[0] for lot in (0.0, 0.5, 1.0)] == [10, 7.5, 5]
    assert waits(Retries(limit=1, jitter=1.0), Reason.SIGNAL, lot=1.0)[0] == 0


@given(POLICIES, st.sampled_from(list(Reason)), st.integers(0, 99), st.floats(0, 1))
def test_a_wait_is_never_negative_nor_longer_than_a_day(
    policy: Retries, reason: Reason, before: int, lot: float
) -> None:
    after = wait(policy, reason, before={reason: before}, lot=lot)
    assert after is None or timedelta(0) <= after <= LONGEST_WAIT


@given(POLICIES, st.sampled_from([*OWN, Reason.RUNNER_LOST]))
def test_without_jitter_waits_never_shrink_and_there_are_as_many_as_the_limit(policy: Retries, reason: Reason) -> None:
    steady = policy.model_copy(update={"jitter": 0.0})
    found = waits(steady, reason)
    times = [each for each in found if each is not None]
    assert times == sorted(times)
    assert len(times) == (steady.runner_lost if reason is Reason.RUNNER_LOST else steady.limit)


def test_a_stored_policy_is_read_and_one_that_cannot_be_read_repeats_nothing() -> None:
    assert policy_of(json.dumps({"retries": EXACT.model_dump(mode="json")})) == EXACT
    assert policy_of("{}") == Retries()
    assert policy_of('{"retries": {"limit": 3, "of_a_newer_version": 1}}') == UNREADABLE
    for edited in ("[]", "5", "null", '"x"', "none of it is JSON", ""):
        assert policy_of(edited) == UNREADABLE
    assert waits(UNREADABLE, Reason.RUNNER_LOST) == waits(UNREADABLE, Reason.EXIT_CODE) == [None]
