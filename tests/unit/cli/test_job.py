"""Running, waiting and following: what is printed when, and which exit status tells how the job went."""

import json
import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from cli import follow
from tests.support import clean_environment, wait_until
from tests.unit.cli.conftest import TOKEN, Answer, Botkeep, Console, items


def job(state: str, **more: object) -> dict[str, Any]:
    return {"id": "j1", "bot": "report", "environment": "staging", "state": state} | more


ENDED = {"started_at": "2026-08-01T12:00:00+00:00", "finished_at": "2026-08-01T12:00:02.5+00:00"}
FAILED = job("failed", reason="exit_code", exit_code=3, warnings=["SAP.USER is unset."], **ENDED)


def line(offset: int, text: str, stream: str = "stdout") -> bytes:
    data = json.dumps({"at": "2026-08-01T12:00:00Z", "stream": stream, "text": text})
    return f"event: line\nid: {offset}\ndata: {data}\n\n".encode()


END = b"event: end\ndata: {}\n\n"


def stream(*parts: bytes) -> Answer:
    return Answer(b"".join(parts), headers={"Content-Type": "text/event-stream"})


@pytest.fixture
def log(console: Console) -> None:
    """A console with a job whose log has no more than what was streamed."""
    console.on("POST", "/api/v1/jobs", Answer(job("queued"), 201))
    console.on("GET", "/api/v1/jobs/j1/log", items())


def test_run_prints_the_id_and_nothing_else(console: Console, botkeep: Botkeep, log: None) -> None:
    line = ["run", "report", "--env", "staging", "--param", "month=2026-08", "--param", "note=a=b", "--param", "e="]
    result = botkeep(*line, "--idempotency-key", "k1", "--group", "windows")
    assert (result.status, result.out, result.err) == (0, "j1\n", "")
    assert console.requests[0].json == {
        "bot": "report",
        "environment": "staging",
        "parameters": {"month": "2026-08", "note": "a=b", "e": ""},
        "idempotency_key": "k1",
        "group": "windows",
    }


def test_the_environment_is_dev_unless_said(console: Console, botkeep: Botkeep, log: None) -> None:
    botkeep("run", "report")
    assert console.requests[0].json == {"bot": "report", "environment": "dev", "parameters": {}}


def waiting(code: str = "no_runner", sentence: str = "No runner serves staging.windows.") -> dict[str, Any]:
    return job("queued", waiting_for={"code": code, "sentence": sentence})


def test_a_job_that_nobody_serves_is_queued_with_a_warning(console: Console, botkeep: Botkeep) -> None:
    console.on("POST", "/api/v1/jobs", Answer(job("queued"), 201))
    console.on("GET", "/api/v1/jobs/j1", Answer(waiting()))
    result = botkeep("run", "report", "--env", "staging", "--group", "windows")
    assert (result.status, result.out, result.err) == (0, "j1\n", "The job waits: No runner serves staging.windows.\n")


@pytest.mark.parametrize("now", [waiting("turn", "A moment."), waiting("busy", "All are busy."), job("running")])
def test_a_job_that_will_start_by_itself_is_queued_without_a_word(
    console: Console, botkeep: Botkeep, now: dict[str, Any]
) -> None:
    console.on("POST", "/api/v1/jobs", Answer(job("queued"), 201))
    console.on("GET", "/api/v1/jobs/j1", Answer(now))
    assert botkeep("run", "report").err == ""


@pytest.mark.parametrize("how", ["--wait", "--follow"])
def test_whoever_waits_is_told_why_a_job_does_not_start_and_when_that_changes(
    console: Console, botkeep: Botkeep, log: None, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(follow, "UNTOLD", 0.0)
    looks = [waiting(), waiting(), waiting("busy", "Busy (4 of 4).\x1b[2J"), waiting("busy", "Busy (5 of 4)."), FAILED]
    console.on("GET", "/api/v1/jobs/j1", *map(Answer, looks))
    console.on("GET", "/api/v1/jobs/j1/log/stream", stream(END))
    told = [line for line in botkeep("run", "report", how).err.splitlines() if line.startswith("Waiting: ")]
    assert told == ["Waiting: No runner serves staging.windows.", "Waiting: Busy (4 of 4).\\x1b[2J"]


def test_whoever_waits_for_a_moment_only_is_told_nothing(console: Console, botkeep: Botkeep, log: None) -> None:
    console.on("GET", "/api/v1/jobs/j1", Answer(waiting()), Answer(job("succeeded", **ENDED)))
    assert "Waiting" not in botkeep("run", "report", "--wait").err


def test_a_job_that_is_not_queued_any_more_waits_for_nobody(console: Console, botkeep: Botkeep) -> None:
    console.on("POST", "/api/v1/jobs", Answer(job("succeeded", group="windows")))
    assert botkeep("run", "report", "--idempotency-key", "k1").err == ""


@pytest.mark.parametrize("given", [["novalue"], ["=x"], ["a=1", "a=2"]])
def test_a_parameter_that_makes_no_sense_is_a_usage_error(console: Console, botkeep: Botkeep, given: list[str]) -> None:
    result = botkeep("run", "report", *(part for text in given for part in ("--param", text)))
    assert (result.status, console.requests) == (2, [])


@pytest.mark.parametrize(("state", "status"), [("succeeded", 0), ("failed", 1), ("cancelled", 1)])
def test_wait_looks_until_the_job_ended_and_tells_how(
    console: Console, botkeep: Botkeep, log: None, state: str, status: int
) -> None:
    console.on("GET", "/api/v1/jobs/j1", Answer(job("running")), Answer(None, 503), Answer(job(state, **ENDED)))
    result = botkeep("run", "report", "--wait")
    assert result.status == status
    assert result.out.splitlines() == ["j1", f"Job j1 {state} [staging] in 2.5 s"]


@pytest.mark.parametrize(("count", "more"), [(10, []), (1001, ["991 more warnings; all of them: botkeep job show j1"])])
def test_the_end_of_a_job_is_not_buried_under_its_warnings(
    console: Console, botkeep: Botkeep, log: None, count: int, more: list[str]
) -> None:
    warnings = [f"BULK.A{number} has no value in staging." for number in range(count)]
    console.on("GET", "/api/v1/jobs/j1", Answer(job("succeeded", **ENDED, warnings=warnings)))
    said = botkeep("run", "report", "--wait").err.splitlines()
    assert said[-10 - len(more) :] == [*(f"Warning: {warning}" for warning in warnings[:10]), *more]


def test_follow_shows_the_log_live_and_ends_with_state_and_reason(
    console: Console, botkeep: Botkeep, log: None
) -> None:
    console.on("GET", "/api/v1/jobs/j1/log/stream", stream(line(1, "one"), line(2, "two", "stderr"), END))
    console.on("GET", "/api/v1/jobs/j1", Answer(FAILED))
    result = botkeep("run", "report", "--follow")
    assert result.status == 1
    assert result.out.splitlines() == [
        "j1",
        "one",
        "two",
        "Job j1 failed [staging] in 2.5 s, exit_code: exit status 3",
    ]
    assert "SAP.USER is unset." in result.err


def test_a_broken_stream_is_taken_up_after_the_last_line(console: Console, botkeep: Botkeep, log: None) -> None:
    path = "/api/v1/jobs/j1/log/stream"
    console.on("GET", path, stream(line(10, "one")), Answer(None, 503), stream(line(20, "two"), END))
    console.on("GET", "/api/v1/jobs/j1", *[Answer(job("running"))] * 3, Answer(job("succeeded")))
    result = botkeep("run", "report", "--follow")
    assert result.out.splitlines()[:3] == ["j1", "one", "two"]
    assert result.status == 0
    asked = [request.query.get("after") for request in console.requests if request.path == path]
    assert asked == [None, "10", "10"]


def test_the_log_of_a_further_attempt_is_followed_from_its_beginning(
    console: Console, botkeep: Botkeep, log: None
) -> None:
    path = "/api/v1/jobs/j1/log/stream"
    console.on("GET", path, stream(line(10, "one"), END), stream(line(5, "again"), END))
    console.on("GET", "/api/v1/jobs/j1", Answer(job("running", attempt=1)), Answer(job("succeeded", attempt=2)))
    result = botkeep("run", "report", "--follow")
    assert result.out.splitlines()[:3] == ["j1", "one", "again"]
    asked = [request.query for request in console.requests if request.path == path]
    assert asked == [{"attempt": "1"}, {"attempt": "2"}]


def test_follow_with_json_is_one_object_a_line_and_the_job_last(console: Console, botkeep: Botkeep, log: None) -> None:
    console.on("GET", "/api/v1/jobs/j1/log/stream", stream(line(1, "one"), END))
    console.on("GET", "/api/v1/jobs/j1", Answer(FAILED))
    result = botkeep("run", "report", "--follow", "--json")
    assert [entry.get("text") or entry["state"] for entry in result.lines] == ["one", "failed"]


def test_logs_reads_every_page(console: Console, botkeep: Botkeep) -> None:
    first = {"items": [{"stream": "stdout", "text": "one"}], "next": 10, "complete": False}
    second = {"items": [{"stream": "system", "text": "two"}], "next": 20, "complete": True}
    console.on("GET", "/api/v1/jobs/j1/log", Answer(first), Answer(second), items())
    assert botkeep("job", "logs", "j1").out == "one\n-- two\n"
    assert [request.query.get("after") for request in console.requests] == [None, "10"]


@pytest.mark.parametrize("option", ["--follow", "--wait"])
def test_what_kept_the_server_from_answering_is_said_at_the_end(
    console: Console, botkeep: Botkeep, log: None, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.setattr(follow, "PATIENCE", 0.2)
    error = {"code": "unavailable", "message": "The console may not read the logs.", "hint": "Share them."}
    console.on("GET", "/api/v1/jobs/j1", Answer({"error": error}, 503))
    result = botkeep("run", "report", option)
    assert result.status == 6
    assert "The console may not read the logs. Share them. The job goes on" in result.err


def test_an_unknown_job_is_exit_status_3_also_when_followed(console: Console, botkeep: Botkeep) -> None:
    assert botkeep("job", "logs", "nope", "--follow").status == 3


def test_ctrl_c_ends_following_quietly_with_130_and_says_the_job_goes_on(console: Console, log: None) -> None:
    console.on("GET", "/api/v1/jobs/j1", Answer(job("running")))
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "run", "report", "--wait"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**clean_environment(), "BOTKEEP_URL": console.url, "BOTKEEP_TOKEN": TOKEN},
        text=True,
    )
    wait_until(lambda: len(console.requests) > 2, 20, "the command to wait")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, "j1\n")
    assert "botkeep job cancel j1" in err
    assert "Traceback" not in err


def test_a_reader_that_goes_away_ends_a_list_silently(console: Console) -> None:
    console.on("GET", "/api/v1/jobs", items(*(job("queued") for _ in range(5000)), following="more"))
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.run(
        [sys.executable, "-m", "cli", "job", "list", "--limit", "0", "--json"],
        stdout=writer,
        stderr=subprocess.PIPE,
        env={**clean_environment(), "BOTKEEP_URL": console.url, "BOTKEEP_TOKEN": TOKEN},
        timeout=20,
        check=False,
    )
    os.close(writer)
    assert (process.returncode, process.stderr) == (141, b"")


@pytest.mark.parametrize(
    ("state", "wanted", "so", "shown"),
    [
        ("queued", True, False, "paused"),
        ("running", True, False, "pausing"),
        ("running", True, True, "paused"),
        ("running", False, True, "resuming"),
        ("running", False, False, "running"),
        ("cancelled", True, False, "cancelled"),
    ],
)
def test_a_list_shows_what_a_pause_makes_of_a_state(
    console: Console, botkeep: Botkeep, state: str, *, wanted: bool, so: bool, shown: str
) -> None:
    at = "2026-08-01T12:00:00Z"
    paused = {"pause_requested_at": at if wanted else None, "paused_at": at if so else None}
    console.on("GET", "/api/v1/jobs", items(job(state, **paused)))
    assert shown in botkeep("job", "list").out.split()


def test_a_paused_job_is_shown_with_who_paused_it_and_how_long_it_stood(console: Console, botkeep: Botkeep) -> None:
    at = "2026-08-01T12:00:00Z"
    paused = {"pause_requested_at": at, "pause_requested_by": "ann", "paused_at": at}
    attempts = [{"paused_seconds": 61.0}, {"paused_seconds": None}]
    console.on("GET", "/api/v1/jobs/j1", Answer(job("running", attempts=attempts, **paused)))
    out = botkeep("job", "show", "j1").out
    assert "ann, 2026-08-01 12:00:00Z" in out
    assert "stood still  1 min" in out


def test_pausing_says_how_to_go_on_and_resuming_what_is_so(console: Console, botkeep: Botkeep) -> None:
    at = "2026-08-01T12:00:00Z"
    console.on("PUT", "/api/v1/jobs/j1/pause", Answer(job("running", pause_requested_at=at)))
    console.on("DELETE", "/api/v1/jobs/j1/pause", Answer(job("running")))
    assert botkeep("job", "pause", "j1").out == "Job j1 is pausing. It goes on with: botkeep job resume j1\n"
    assert botkeep("job", "resume", "j1").out == "Job j1 is running.\n"
