"""A job from the request to its end in history, on real processes."""

import base64
import contextlib
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from tests import canaries
from tests.support import ROOT, ProcessId, identity_of, wait_until
from tests.system import PARKED, System, digest

pytestmark = pytest.mark.timeout(240)

BOTS = ROOT / "tests/bots"

#: Says its process id, and waits for a signal.
STAYS = "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(3600)\n"


def pid_of(system: System, job_id: str) -> ProcessId:
    """The process of a bot that printed its id."""
    system.wait_for(job_id, "running")
    return identity_of(int(wait_until(lambda: system.log(job_id, "stdout"), 30, "the bot to say its process id")[0]))


def test_a_job_that_succeeds_says_everything_about_itself(system: System) -> None:
    system.add_bot()
    system.add_bot("tells", "print('the second version')\n")
    job = system.run()
    assert (job["state"], job["reason"], job["exit_code"], job["version"]) == ("succeeded", None, 0, 2)
    assert (job["bot"], job["environment"], job["attempt"], job["retry_of"]) == ("tells", "dev", 1, None)
    assert job["cause"] == {"kind": "api", "name": "tests", "id": None}
    times = [datetime.fromisoformat(job[name]) for name in ("created_at", "started_at", "finished_at")]
    assert times == sorted(times)
    (attempt,) = job["attempts"]
    assert (attempt["number"], attempt["state"], attempt["survivors"]) == (1, "succeeded", 0)
    assert attempt["runner"] == job["runner"]
    assert attempt["max_rss_kb"] > 0
    assert attempt["cpu_seconds"] > 0


def test_a_changed_bot_is_a_new_version_and_history_keeps_the_old_one(system: System) -> None:
    assert system.add_bot(source="print('one')")["version"] == 1
    first = system.run()
    assert system.add_bot(source="print('one')")["version"] == 1, "the same files are no new version"
    assert system.add_bot(source="print('two')")["version"] == 2
    second = system.run()
    assert [system.log(job["id"], "stdout") for job in (first, second)] == [["one"], ["two"]]
    assert [system.job(job["id"])["version"] for job in (first, second)] == [1, 2]


def test_a_job_runs_the_version_that_was_newest_when_it_was_queued(system: System) -> None:
    system.add_bot(source="print('one')")
    job_id = system.enqueue(group=PARKED)
    system.add_bot(source="print('two')")
    system.release(job_id)
    assert system.wait_for(job_id)["version"] == 1
    assert system.log(job_id, "stdout") == ["one"]


@pytest.mark.parametrize(
    ("source", "reason", "exit_code", "words"),
    [
        ("import sys; sys.exit(3)", "exit_code", 3, "exit status 3"),
        ("raise RuntimeError('the reason')", "exit_code", 1, "exit status 1"),
        ("import os; os.kill(os.getpid(), 11)", "signal", None, "SIGSEGV"),
        ("import os; os.kill(os.getpid(), 9)", "signal", None, "SIGKILL"),
        ("import botkeep; raise botkeep.BusinessError('no invoice')", "business", 73, "business error"),
    ],
)
def test_a_failed_job_says_how_its_bot_ended(
    system: System, source: str, reason: str, exit_code: int | None, words: str
) -> None:
    system.add_bot(source=source)
    job = system.run()
    assert (job["state"], job["reason"], job["exit_code"]) == ("failed", reason, exit_code)
    assert words in job["detail"]
    assert job["attempts"][0]["detail"] == job["detail"]


def test_a_bot_of_a_command_that_does_not_exist_fails_to_start(system: System) -> None:
    system.add_bot(toml='command = ["./missing", "--fast"]\n')
    job = system.run()
    assert (job["state"], job["reason"], job["exit_code"]) == ("failed", "start_failed", None)
    assert "./missing" in job["detail"]


def test_a_bot_over_its_time_is_stopped(system: System) -> None:
    system.add_bot(source=STAYS, toml='timeout = "4s"\ngrace = "1s"\n')
    job_id = system.enqueue()
    bot = pid_of(system, job_id)
    job = system.wait_for(job_id)
    assert (job["state"], job["reason"]) == ("failed", "timeout")
    assert not bot.alive


def test_both_outputs_are_in_the_log_line_by_line(system: System) -> None:
    source = """
import sys
print("first", flush=True)
print("problem", file=sys.stderr, flush=True)
sys.stdout.write("no newline at the end")
"""
    system.add_bot(source=source)
    job = system.run()
    assert system.log(job["id"], "stdout") == ["first", "no newline at the end"]
    assert system.log(job["id"], "stderr") == ["problem"]


def test_a_value_that_a_bot_prints_is_masked(system: System) -> None:
    source = """
import base64, os, sys
value = os.environ["KLANGO_ASSET_SAP_PASSWORD"]
print("plain", value)
print("coded", base64.b64encode(value.encode()).decode(), value.encode().hex())
sys.stderr.write(value[:8]); sys.stderr.flush(); sys.stderr.write(value[8:] + "\\n")
raise RuntimeError(value)
"""
    system.add_bot(source=source)
    system.set_value("SAP.PASSWORD", "Tr0ub4dor-Canary-77")
    job = system.run()
    text = json.dumps([system.log(job["id"]), job])
    assert "plain ***" in text
    for form in ("Tr0ub4dor-Canary-77", "VHIwdWI0ZG9yLUNhbmFyeS03N", b"Tr0ub4dor-Canary-77".hex(), "dor-Canary"):
        assert form not in text


def test_a_queued_job_is_cancelled_at_once_and_never_runs(system: System) -> None:
    system.add_bot()
    job_id = system.enqueue(group=PARKED)
    answer = system.client.post(f"/api/v1/jobs/{job_id}/cancellation")
    assert (answer.status_code, answer.json()["state"], answer.json()["reason"]) == (200, "cancelled", "cancelled")
    system.release(job_id)
    marker = system.run()
    job = system.job(job_id)
    assert (marker["state"], job["state"], job["attempts"]) == ("succeeded", "cancelled", [])


def test_a_running_job_is_cancelled_with_its_bot(system: System) -> None:
    system.add_bot(source=STAYS)
    job_id = system.enqueue()
    bot = pid_of(system, job_id)
    answer = system.client.post(f"/api/v1/jobs/{job_id}/cancellation")
    assert (answer.status_code, answer.json()["cancel_requested_at"] is not None) == (200, True)
    job = system.wait_for(job_id)
    assert (job["state"], job["reason"], job["attempts"][0]["survivors"]) == ("cancelled", "cancelled", 0)
    assert not bot.alive


def test_a_bot_that_ignores_the_request_to_stop_is_killed_after_its_grace(system: System) -> None:
    system.add_bot(source=(BOTS / "ignores_term.py").read_text(), toml='grace = "0.5s"\n')
    job_id = system.enqueue()
    wait_until(lambda: system.log(job_id), 30, "the bot to start")
    system.client.post(f"/api/v1/jobs/{job_id}/cancellation")
    assert system.wait_for(job_id)["state"] == "cancelled"


def test_a_job_that_has_ended_cannot_be_cancelled(system: System) -> None:
    system.add_bot()
    job = system.run()
    answer = system.client.post(f"/api/v1/jobs/{job['id']}/cancellation")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
    assert system.job(job["id"]) == job


def test_a_retry_is_a_new_job_that_points_at_the_old_one(system: System) -> None:
    system.add_bot(source="import sys; sys.exit(4)")
    failed = system.run(environment="staging", parameters={"P": "x"})
    system.add_bot()
    answer = system.client.post(f"/api/v1/jobs/{failed['id']}/retry")
    assert answer.status_code == 201
    again = system.wait_for(answer.json()["id"])
    assert (again["retry_of"], again["environment"], again["parameters"]) == (failed["id"], "staging", {"P": "x"})
    assert (again["state"], again["attempt"], again["version"]) == ("succeeded", 1, 2)
    assert again["cause"] == {"kind": "retry", "name": "tests", "id": failed["id"]}
    assert system.job(failed["id"]) == failed, "the old job stays as it is"


def test_a_job_that_has_not_ended_cannot_be_retried(system: System) -> None:
    system.add_bot()
    job_id = system.enqueue(group=PARKED)
    answer = system.client.post(f"/api/v1/jobs/{job_id}/retry")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")


def test_a_repeated_idempotency_key_answers_the_job_that_it_made(system: System) -> None:
    system.add_bot()
    order: dict[str, Any] = {"bot": "tells", "parameters": {"N": 1}, "idempotency_key": f"key-{system.stores.name}"}
    first, second = (system.client.post("/api/v1/jobs", json=order) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["id"] == second.json()["id"]
    system.wait_for(first.json()["id"])
    assert system.client.post("/api/v1/jobs", json=order).json()["state"] == "succeeded"
    other = system.client.post("/api/v1/jobs", json={**order, "environment": "prod"})
    assert (other.status_code, other.json()["error"]["code"]) == (409, "conflict")


def test_a_burst_of_jobs_runs_each_once(system: System) -> None:
    system.add_bot(source="print('ran')")
    ids = [system.enqueue() for _ in range(20)]
    jobs = [system.wait_for(job_id) for job_id in ids]
    assert {(job["state"], job["attempt"], len(job["attempts"])) for job in jobs} == {("succeeded", 1, 1)}
    assert all(system.log(job_id, "stdout") == ["ran"] for job_id in ids)


def test_a_job_of_a_group_without_a_runner_waits(system: System) -> None:
    system.add_bot()
    waiting = system.enqueue(group=PARKED)
    assert system.run()["state"] == "succeeded"
    assert system.job(waiting)["state"] == "queued"


def test_a_message_holds_ids_and_no_parameter(system: System) -> None:
    system.add_bot()
    system.set_value("SAP.PASSWORD", "Canary-of-a-value-1")
    before = messages(system)
    job_id = system.enqueue(group=PARKED, parameters={"note": "canary-of-a-parameter", "P": "{{ASSET.SAP.PASSWORD}}"})
    after = messages(system)
    (message,) = [text for text in after if text not in before]
    headers = json.loads(message)["headers"]
    assert (headers["environment"], headers["id"] is not None) == ("dev", True)
    assert len(headers["bot_id"]) == 36
    for canary in ("canary-of-a-parameter", "SAP.PASSWORD", "Canary-of-a-value-1", "tells"):
        assert canary not in message
        assert canary not in decoded_body(message)
    assert job_id in decoded_body(message)


def messages(system: System) -> list[str]:
    """What waits in the lane that nobody serves."""
    with contextlib.closing(redis.Redis.from_url(system.stores.redis_url, decode_responses=True)) as client:
        found = client.lrange(f"botkeep:dev.{PARKED}", 0, -1)
        assert isinstance(found, list)
        return [str(item) for item in found]


def decoded_body(message: str) -> str:
    return base64.b64decode(json.loads(message)["body"]).decode()


def test_an_asset_of_the_job_is_read_through_the_endpoint_until_the_attempt_ends(system: System) -> None:
    source = """
import hashlib, json, os, urllib.request
import botkeep
request = urllib.request.Request(
    os.environ["BOTKEEP_ENDPOINT"] + "/v1/assets/SAP/PASSWORD",
    headers={"Authorization": "Bearer " + os.environ["BOTKEEP_TOKEN"]},
)
value = urllib.request.urlopen(request).read()
print(hashlib.sha256(value).hexdigest(), sorted(botkeep.assets))
print(os.environ["BOTKEEP_ENDPOINT"])
token = os.environ["BOTKEEP_TOKEN"]
open(json.load(open(os.environ["BOTKEEP_PARAMETERS_FILE"]))["keep"], "w").write(token)
print("the token is", token)
"""
    system.add_bot(source=source)
    system.set_value("SAP.PASSWORD", "value-1234")
    keep = system.shared / "kept-token"
    job = system.run(parameters={"keep": str(keep)})
    seen, url, shown = system.log(job["id"], "stdout")
    assert seen == f"{digest('value-1234')} ['SAP.PASSWORD']"
    assert shown == "the token is ***"
    answer = httpx.get(f"{url}/v1/assets", headers={"Authorization": f"Bearer {keep.read_text()}"}, trust_env=False)
    assert answer.status_code == 401, "the token ended with the attempt"
    keep.unlink()


def test_the_job_log_file_holds_what_the_api_shows(system: System) -> None:
    system.add_bot(source="print('one line')")
    job = system.run()
    (path,) = Path(system.home / "logs/jobs").rglob(f"{job['id']}.*")
    assert (path.name, path.stat().st_mode & 0o777) == (f"{job['id']}.1.log", 0o600)
    assert b"one line" in canaries.text_of(path.read_bytes())
