"""How long a runner may take to stop, and whether those who stop it wait that long."""

import re
import threading

from celery.worker import state

from cli import up
from runner.states import Reason
from runner.worker.settings import RunnerSettings
from runner.worker.stopping import LAST_GRACE, Stopping
from tests.support import ROOT, wait_until


def test_whoever_stops_a_runner_waits_for_its_grace_its_last_grace_and_its_reports() -> None:
    unit = (ROOT / "deploy/systemd/botkeep-runner@.service").read_text()
    found = re.search(r"^TimeoutStopSec=(\d+)s$", unit, re.MULTILINE)
    assert found is not None
    grace = RunnerSettings.model_fields["drain_grace"].default
    assert int(found[1]) >= grace + LAST_GRACE + 10
    assert up.RUNNER_LAST >= LAST_GRACE + 5, "`botkeep down` sends the second SIGTERM itself"


def test_the_second_request_ends_bots_at_once_and_later_ones_change_nothing() -> None:
    ended: list[Reason] = []
    reached = threading.Event()

    def end_all(reason: Reason) -> None:
        ended.append(reason)
        reached.set()

    stopping = Stopping(grace=3600)
    stopping.on_grace_over(end_all, kill_all=lambda: None)
    try:
        stopping.signalled(15, None)
        wait_until(stopping.begun.is_set, 5, "the begin")
        assert not reached.wait(0.05)
        stopping.signalled(15, None)
        wait_until(reached.is_set, 5, "the end of the grace")
        assert set(ended) == {Reason.RUNNER_STOPPED}
    finally:
        state.should_stop = None


def test_a_drain_sets_no_limit_and_a_request_after_it_does() -> None:
    reached = threading.Event()
    stopping = Stopping(grace=0.05)
    stopping.on_grace_over(lambda _reason: reached.set(), kill_all=lambda: None)
    try:
        stopping.drain()
        assert not reached.wait(0.2)
        stopping.signalled(15, None)
        wait_until(reached.is_set, 5, "the end of the grace")
    finally:
        state.should_stop = None
