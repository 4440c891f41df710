"""`botkeep up` with everything real: on either pair of stores a person gets from nothing to a job's log."""

import os
import re
import socket
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.home import Home
from tests.conftest import Start
from tests.support import Started, Stores, descendants, wait_until
from tests.unit.cli.conftest import Botkeep, command

pytestmark = pytest.mark.timeout(240)

BOT = """
import os
import sys

print("hello from", os.environ["BOTKEEP_ENVIRONMENT"])
print("logging in with", os.environ["KLANGO_ASSET_SAP_PASSWORD"])
print("noted", file=sys.stderr)
sys.exit(3 if os.environ["BOTKEEP_ENVIRONMENT"] == "prod" else 0)
"""


@pytest.fixture
def botkeep(capsys: pytest.CaptureFixture[str]) -> Botkeep:
    return command(capsys)


@pytest.fixture
def bot(tmp_path: Path) -> Path:
    path = tmp_path / "hello.py"
    path.write_text(BOT)
    return path


def use_the_first_link(process: Started, botkeep: Botkeep) -> None:
    link = re.search(r"http://\S+/sign-in/link\?token=(\S+)", process.wait_for("Sign in for the first time"))
    assert link
    origin = {"Origin": link[0].partition("/sign-in")[0]}
    used = [httpx.post(link[0].partition("?")[0], data={"token": link[1]}, headers=origin) for _ in range(2)]
    assert [answer.status_code for answer in used] == [303, 422]
    assert botkeep("user", "list", "--json").lines[0]["name"] == "admin"


def check_the_audit(botkeep: Botkeep) -> None:
    def verified() -> dict[str, Any]:
        return dict(botkeep("audit", "verify", "--json").lines[0])

    wait_until(lambda: verified()["unsealed"] == 0, 60, "the scheduler to seal the audit")
    assert (verified()["ok"], verified()["findings"], verified()["anchors"] > 0) == (True, [], True)
    rows = botkeep("audit", "list", "--action", "asset.read", "--json").lines
    read = [row for row in rows if "values" in row["details"]]
    assert {row["environment"] for row in read} == {"staging", "prod"}
    assert all(row["details"]["values"] == [["SAP.PASSWORD", "workspace", 1]] for row in read)


def test_from_nothing_to_the_log_of_a_job(
    empty_stores: Stores, home: Path, start: Start, botkeep: Botkeep, bot: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    server = empty_stores.name == "server"
    for name, value in (empty_stores.environment if server else {}).items():
        monkeypatch.setenv(name, value)
    if os.geteuid() == 0:
        monkeypatch.setenv("BOTKEEP_RUN_AS_ROOT", "true")
    environ = {name: value for name, value in os.environ.items() if name.startswith("BOTKEEP_")}
    process = start(sys.executable, "-m", "cli", "up", "--port", "0", env=environ, name="up")
    process.wait_for("Botkeep is ready at http://127.0.0.1:", 150)

    use_the_first_link(process, botkeep)
    assert botkeep("doctor").status == 0
    names = [each["name"] for each in botkeep("status", "--json").lines[0]["components"]]
    assert names == ["broker"] * (not server) + ["console", "scheduler", "runner"]

    assert botkeep("bot", "add", "hello", bot).out.startswith("hello version 1 ")
    for environment in ("dev", "staging", "prod"):
        (tmp_path / "value").write_text(f"open-sesame-{environment}")
        line = ["asset", "set", "SAP.PASSWORD", "--env", environment, "--file", str(tmp_path / "value")]
        assert botkeep(*line).out == f"SAP.PASSWORD [{environment}] is now value 1.\n"
    followed = botkeep("run", "hello", "--env", "staging", "--follow")
    assert followed.status == 0
    assert "hello from staging\nlogging in with ***\n" in followed.out
    assert followed.out.splitlines()[-1].startswith(f"Job {followed.out.split()[0]} succeeded [staging] in ")
    waited = botkeep("run", "hello", "--env", "prod", "--wait")
    assert waited.status == 1
    assert "exit_code" in waited.out.splitlines()[-1]

    shown = botkeep("history", "--json").lines
    assert [(job["environment"], job["state"]) for job in shown] == [("prod", "failed"), ("staging", "succeeded")]
    logs = botkeep("job", "logs", followed.out.split()[0])
    assert "noted" in logs.out
    assert "sesame" not in logs.out + followed.out + botkeep("asset", "list").out
    assert botkeep("asset", "coverage", "--json").lines[0]["prod"] == "set"

    check_the_audit(botkeep)
    assert botkeep("runner", "drain", socket.gethostname()).status == 0
    process.wait_for("The runner was drained and has ended", 30)
    status = botkeep("status", "--json")
    assert status.status == 0
    assert [each["name"] for each in status.lines[0]["components"] if each["drained"]] == ["runner"]
    assert "No runner of dev.default is online: " in botkeep("run", "hello").err

    assert botkeep("down", "--grace", "5s").status == 0
    assert process.wait(60) == 0
    assert botkeep("status").status == 6
    assert not Home(home).components.exists()
    wait_until(lambda: descendants(process.pid) == [], 10, "every process to be gone")
