"""`examples/invoices`: the queue and the workflow do what their README says, by the commands that it shows."""

import json
import os
import subprocess
import sys

import pytest

from tests.support import ROOT, clean_environment, wait_until
from tests.system import START_WITHIN, System

pytestmark = pytest.mark.timeout(240)

FOLDER = ROOT / "examples/invoices"


def botkeep(system: System, *words: str, token: str = "", status: int = 0) -> str:
    """What a command says on stdout."""
    address = {"BOTKEEP_URL": str(system.client.base_url), "BOTKEEP_TOKEN": token or system.token}
    done = subprocess.run(
        [sys.executable, "-m", "cli", *words],
        cwd=ROOT,
        env={**clean_environment(), **address, "BOTKEEP_HOME": str(system.home), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
        timeout=START_WITHIN,
    )
    assert done.returncode == status, (words, done.returncode, done.stdout, done.stderr)
    return done.stdout


@pytest.fixture
def bots(system: System) -> System:
    for name in ("collect", "check", "book", "tell"):
        botkeep(system, "bot", "add", name, str(FOLDER / f"{name}.py"))
    return system


def test_the_queue_collects_and_books(bots: System) -> None:
    said = botkeep(bots, "queue", "add", "invoices", "--file", str(FOLDER / "queue.toml"))
    assert "queue invoices version" in said
    month = f"q-{bots.stores.name}"
    said = botkeep(bots, "queue", "run", "invoices", "--param", f"month={month}", "--follow")
    assert "succeeded" in said.splitlines()[-1]
    run = json.loads(botkeep(bots, "queue", "show", said.splitlines()[0], "--json"))
    assert [(step["name"], step["state"]) for step in run["steps"]] == [
        ("collect", "succeeded"),
        ("tell", "succeeded"),
        ("book", "succeeded"),
    ]
    tray = [json.loads(line) for line in botkeep(bots, "item", "list", "invoices", "--json").splitlines()]
    mine = [item for item in tray if item["reference"].startswith(month)]
    assert [item["state"] for item in mine] == ["done"] * 3
    assert "collect" in botkeep(bots, "queue", "show", "invoices")
    assert "invoices" in botkeep(bots, "queue", "list")
    botkeep(bots, "queue", "remove", "invoices")


def test_the_workflow_asks_somebody_else_in_prod_and_takes_the_branch(bots: System) -> None:
    botkeep(bots, "workflow", "add", "booking", "--file", str(FOLDER / "workflow.toml"))
    month = f"w-{bots.stores.name}"
    run_id = botkeep(bots, "workflow", "run", "booking", "--env", "prod", "--param", f"month={month}").strip()

    def standing(step: str) -> str:
        run = bots.client.get(f"/api/v1/runs/{run_id}").json()
        return next(str(each["state"]) for each in run["steps"] if each["name"] == step)

    wait_until(lambda: standing("release") == "approval", 90, "the question")
    assert standing("book_small") == "skipped"
    assert "book them?" in botkeep(bots, "workflow", "show", run_id)
    botkeep(bots, "workflow", "approve", run_id, "release", status=4)
    body = {"name": f"ann-{bots.stores.name}", "role": "operator"}
    ann = bots.client.post("/api/v1/tokens", json=body).json()["token"]
    botkeep(bots, "workflow", "approve", run_id, "release", "--comment", "checked", token=ann)
    wait_until(lambda: bots.client.get(f"/api/v1/runs/{run_id}").json()["state"] != "running", 90, "the end")
    run = json.loads(botkeep(bots, "workflow", "show", run_id, "--json"))
    assert run["state"] == "succeeded", run
    assert {step["name"]: step["state"] for step in run["steps"]} == {
        "collect": "succeeded",
        "check": "succeeded",
        "release": "succeeded",
        "book_small": "skipped",
        "book": "succeeded",
        "alarm": "skipped",
    }
    (book,) = (step for step in run["steps"] if step["name"] == "book")
    job = bots.job(book["items"][0]["tries"][0]["job_id"])
    assert job["results"] == {"booked": 3}
    assert botkeep(bots, "workflow", "runs", "booking", "--json").count('"succeeded"') >= 1
    botkeep(bots, "workflow", "remove", "booking")
