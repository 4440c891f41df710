"""`botkeep up` with everything real: on either pair of stores a person gets from nothing to a job's log."""

import os
import socket
import sys
from pathlib import Path

import pytest

from cli.home import Home
from tests.conftest import Start
from tests.support import Stores, descendants, wait_until
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
