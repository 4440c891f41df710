"""How attempts look to a person."""

from cli.attempts import lines

FIRST = {
    "number": 1,
    "state": "failed",
    "runner": "host\x1b[1m",
    "reason": "runner_lost",
    "detail": "The runner disappeared.",
    "exit_code": None,
    "ended_by": "launcher",
    "adopted_at": "2026-08-01T12:00:00Z",
    "steps": None,
    "max_rss_kb": 0,
    "cpu_seconds": None,
    "survivors": 2,
}
SECOND = {
    "number": 2,
    "state": "succeeded",
    "runner": "host",
    "steps": {"claim": 0.0, "preflight": 0.0042, "first_output": 1.25, "end": 75.0},
    "max_rss_kb": 20_480,
    "cpu_seconds": 0.35,
    "survivors": 0,
}


def test_an_attempt_says_how_it_ended_when_its_steps_began_and_what_it_cost() -> None:
    assert list(lines([FIRST, SECOND])) == [
        "attempt 1  failed on host\\x1b[1m (runner_lost: The runner disappeared.) ended by launcher adopted",
        "  2 processes left",
        "attempt 2  succeeded on host",
        "  claim 0 ms, preflight 4 ms, first output 1.2 s, end 1 min",
        "  peak memory 20.0 MiB, CPU time 350 ms",
    ]


def test_an_attempt_that_runs_says_where() -> None:
    running = {"number": 1, "state": "running", "runner": "host"}
    assert list(lines([running])) == ["attempt 1  running on host"]
