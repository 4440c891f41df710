"""Attempts that follow one another as bot.toml says: one job, one log each, and what a person sees meanwhile."""

from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.fault.test_faults import botkeep
from tests.support import Stores, wait_until
from tests.system import System, running

pytestmark = pytest.mark.timeout(240)

#: Fails until it has run three times; counts on its own.
THIRD_TIME = """
import os, sys
open({marks!r}, "a").write("ran\\n")
number = len(open({marks!r}).readlines())
print("run", number, "attempt", os.environ["BOTKEEP_ATTEMPT"])
sys.exit(0 if number == 3 else number)
"""


def test_a_bot_is_repeated_until_it_succeeds_each_time_with_its_own_log_and_timings(
    system: System, tmp_path: Path
) -> None:
    marks = str(tmp_path / "marks")
    toml = 'retries = { limit = 5, delay = "0.5s", factor = 2.0, jitter = 0.0 }\n'
    system.add_bot(source=THIRD_TIME.format(marks=marks), toml=toml)
    job = system.run()
    assert (job["state"], job["attempt"], job["reason"], job["exit_code"]) == ("succeeded", 3, None, 0)
    assert job["not_before"] is None
    ends = [(each["state"], each["reason"], each["exit_code"]) for each in job["attempts"]]
    assert ends == [("failed", "exit_code", 1), ("failed", "exit_code", 2), ("succeeded", None, 0)]
    for number, attempt in enumerate(job["attempts"], 1):
        page = system.client.get(f"/api/v1/jobs/{job['id']}/log", params={"attempt": number}).json()
        said = [line["text"] for line in page["items"] if line["stream"] == "stdout"]
        assert said == [f"run {number} attempt {number}"]
        names = ["claim", "preflight", "prepare", "resolve", "start", "first_output", "end", "report"]
        assert list(attempt["steps"]) == names
        assert sorted(attempt["steps"].values()) == list(attempt["steps"].values())
        assert attempt["max_rss_kb"] > 1000
        assert attempt["cpu_seconds"] > 0
        assert (attempt["survivors"], attempt["ended_by"]) == (0, None)
    assert len(Path(marks).read_text().splitlines()) == 3


def test_a_job_that_waits_for_its_next_attempt_says_when_and_why_and_can_be_cancelled(
    system: System, start: Start
) -> None:
    system.add_bot(source="import sys; sys.exit(7)", toml='retries = { limit = 1, delay = "1h" }\n')
    job_id = system.enqueue()
    wait_until(lambda: system.job(job_id)["reason"] is not None, 30, "the first attempt to end")
    job = system.wait_for(job_id, "queued")
    assert (job["reason"], job["exit_code"], job["attempt"]) == ("exit_code", 7, 1)
    assert job["not_before"] is not None
    shown = botkeep(system, start, "job", "show", job_id).log
    assert "next attempt  20" in shown
    assert "min)" in shown, "in so many minutes"
    assert "attempt 1  failed on" in shown
    assert "first output" not in shown, "it wrote nothing"
    assert "peak memory" in shown
    assert system.client.post(f"/api/v1/jobs/{job_id}/cancellation").json()["state"] == "cancelled"


def test_a_business_error_is_not_repeated_and_its_status_means_nothing_elsewhere(system: System) -> None:
    toml = "retries = { limit = 1, delay = 0 }\n"
    system.add_bot(source="import botkeep; raise botkeep.BusinessError('no such order')", toml=toml)
    job = system.run()
    assert (job["reason"], job["attempt"]) == ("business", 1)
    system.add_bot(source="", toml='command = ["sh", "-c", "exit 73"]\n' + toml)
    job = system.run()
    assert (job["reason"], job["exit_code"], job["attempt"]) == ("exit_code", 73, 2)


def test_waits_grow(system: System) -> None:
    toml = 'retries = { limit = 2, delay = "0.4s", factor = 3.0, jitter = 0.0 }\n'
    system.add_bot(source="raise SystemExit(1)", toml=toml)
    job = system.run()
    ended = [each["finished_at"] for each in job["attempts"]]
    begun = [each["claimed_at"] for each in job["attempts"]]
    waits = [seconds_between(end, start) for end, start in zip(ended, begun[1:], strict=False)]
    assert waits[0] >= 0.4
    assert waits[1] >= 1.2
    assert all(first < second for first, second in pairwise(begun))


def seconds_between(first: str, second: str) -> float:
    return (datetime.fromisoformat(second) - datetime.fromisoformat(first)).total_seconds()


def test_a_further_attempt_without_a_wait_is_announced_by_the_runner_that_ended_the_one_before(stores: Stores) -> None:
    with running(stores, parts=("console", "runner"), forked=True) as system:  # no scheduler that could
        fails_once = "import os, sys; sys.exit(os.environ['BOTKEEP_ATTEMPT'] == '1')"
        system.add_bot(source=fails_once, toml="retries = { limit = 1, delay = 0 }\n")
        job = system.run()
        assert (job["state"], job["attempt"]) == ("succeeded", 2)
