"""The schedule and the webhook of `examples/triggers` do what their README says, on both pairs of stores."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from runner.triggers import Trigger
from tests.support import ROOT, clean_environment, wait_until
from tests.system import System

FOLDER = ROOT / "examples" / "triggers"
BOTKEEP = Path(sys.executable).with_name("botkeep")

Cli = Callable[..., Any]


@pytest.fixture
def cli(system: System) -> Cli:
    """Runs `botkeep`, which must succeed, and gives its JSON."""
    token = system.client.headers["Authorization"].removeprefix("Bearer ")
    connection = {"BOTKEEP_URL": str(system.client.base_url).rstrip("/"), "BOTKEEP_TOKEN": token}

    def run(*words: str | Path) -> Any:  # noqa: ANN401 - JSON
        command = [str(BOTKEEP), *map(str, words), "--json"]
        environment = {**clean_environment(), **connection}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        found = [json.loads(line) for line in done.stdout.splitlines()]
        return found[0] if len(found) == 1 else found

    run("bot", "add", "greet", FOLDER / "greet.py")
    return run


def started(system: System, job_id: str) -> str:
    """What the bot printed, once it has succeeded."""
    job = system.wait_for(job_id)
    assert job["state"] == "succeeded", job
    return "\n".join(system.log(job_id))


@pytest.mark.timeout(180)
def test_the_schedule_is_previewed_fires_and_is_run_now(system: System, cli: Cli) -> None:
    assert cli("calendar", "set", "holidays", "--file", FOLDER / "holidays.txt")["days"][0] == "2027-01-01"
    cli("trigger", "add", "mornings", "--file", FOLDER / "schedule.toml")
    coming = cli("trigger", "preview", "mornings", "--count", "200")
    locals_ = [datetime.fromisoformat(item["local"]) for item in coming]
    assert {(one.hour, one.minute) for one in locals_} == {(7, 0)}
    assert {one.weekday() for one in locals_} == {0, 1, 2, 3, 4}
    assert len({one.utcoffset() for one in locals_}) == 2, "summer and winter"
    now = cli("trigger", "run", "mornings")
    assert "Hello early birds, this is the schedule." in started(system, now["started"]["id"])
    # As if nothing had fired for a week: the newest instant that was missed still counts.
    with system.edit() as session:
        waited = datetime.fromisoformat(coming[0]["instant"]) - timedelta(days=7)
        changed = update(Trigger).where(Trigger.name == "mornings")
        session.execute(changed.values(next_instant=waited, next_fire_at=waited))
    fired = wait_until(lambda: fired_by_itself(cli), 60, "the scheduler to fire it")
    assert "Hello early birds" in started(system, fired["started"]["id"])


def fired_by_itself(cli: Cli) -> Any:  # noqa: ANN401 - JSON
    found = cli("trigger", "firings", "mornings")
    rows = found if isinstance(found, list) else [found]
    return next((row for row in rows if not row["key"].startswith("run:") and row["started"]), None)


@pytest.mark.timeout(180)
def test_the_webhook_takes_what_send_signs_and_makes_one_job_of_it(system: System, cli: Cli, tmp_path: Path) -> None:
    cli("trigger", "add", "hook", "--file", FOLDER / "webhook.toml")
    made = cli("trigger", "key", "hook")
    address = str(system.client.base_url).rstrip("/") + made["hook"]

    def send(key: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(FOLDER / "send.py"), address, str(FOLDER / "event.json")]
        environment = {"PATH": os.environ["PATH"]}
        return subprocess.run(command, input=key, capture_output=True, text=True, check=False, env=environment)

    first, again, wrong = send(made["key"]), send(made["key"]), send("another key altogether")
    assert first.returncode == again.returncode == 0, (first.stderr, again.stderr)
    assert "401" in wrong.stderr
    job_id = json.loads(first.stdout)["started"]["id"]
    assert json.loads(again.stdout)["started"]["id"] == job_id
    assert "Hello Ada, this is the webhook." in started(system, job_id)
    assert cli("trigger", "show", "hook")["last_firing"]["started"]["id"] == job_id
