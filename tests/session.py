"""A session with a running Botkeep: all that people and bots do with values, and a record of all it left.

Promises that every value is a canary that `planted` names, that bots print all they are given, and that each
request goes through the recording proxy. Refuses to judge: what may be found where is the test's to say.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import redis

from tests import canaries
from tests.canaries import Canary, Place
from tests.recorder import Exchange, Seen
from tests.support import ROOT, wait_until

ENVIRONMENTS = ("dev", "staging", "prod")
BOTKEEP = Path(sys.executable).with_name("botkeep")
#: Where values that must be files lie while their bot runs.
MEMORY = Path("/dev/shm")

#: A bot that is no Python program: it has its values in its environment from its start. Builtins only, so that no
#: other process has them, too.
SHELL_BOT = r"""read -r line < '{gate}'
set
while read -r line; do printf '%s\n' "$line"; done < "$BOTKEEP_PARAMETERS_FILE"
"""
SHELL_COMMAND = b"sh\0shows.sh\0"


@dataclass(slots=True)
class Session:
    """A started Botkeep, where it keeps everything, and what was said so far."""

    home: Path
    database_url: str
    broker: "redis.Redis"
    #: Folders outside the home that hold what the stores keep.
    stores: tuple[Path, ...]
    #: The temporary files of all its processes, and the bots' sources.
    folder: Path
    environ: dict[str, str] = field(repr=False)
    client: httpx.Client
    exchanges: list[Exchange] = field(repr=False)
    said: list[bytes] = field(default_factory=list, repr=False)
    planted: list[Canary] = field(default_factory=list, repr=False)

    def cli(self, *arguments: str | Path, value: bytes = b"") -> bytes:
        """What a command says that must succeed."""
        done = subprocess.run(
            [BOTKEEP, *arguments], input=value, capture_output=True, env=self.environ, check=False, timeout=60
        )
        self.said += [done.stdout, done.stderr]
        assert done.returncode == 0, (arguments, done.returncode, done.stderr[-500:])
        return done.stdout

    def ask(self, method: str, path: str, *, status: int = 200, **request: Any) -> Any:  # noqa: ANN401 - JSON
        """The answer's JSON, or its text where it is none."""
        answer = self.client.request(method, f"/api/v1/{path}", **request)
        assert answer.status_code == status, (method, path, answer.status_code, answer.text[:500])
        return answer.json() if answer.headers.get("Content-Type") == "application/json" else answer.text

    def put(self, asset: str, environment: str, canary: Canary, *, bot: str = "", status: int = 200) -> None:
        """Send a value by HTTP."""
        self.planted.append(canary)
        path = f"assets/{asset.replace('.', '/')}/values/{environment}"
        query = {"bot": bot} if bot else {}
        self.ask("PUT", path, content=canary.value, params=query, status=status)

    def enqueue(self, bot: str, environment: str, **parameters: str) -> str:
        """The id of a new job."""
        order = {"bot": bot, "environment": environment, "parameters": parameters}
        return str(self.ask("POST", "jobs", json=order, status=201)["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        """A job at its end."""

        def ended() -> dict[str, Any] | None:
            job: dict[str, Any] = self.ask("GET", f"jobs/{job_id}")
            return job if job["state"] in {"succeeded", "failed", "cancelled"} else None

        found = wait_until(ended, 90, f"job {job_id} to end")
        assert found is not None
        return found

    def kept(self) -> Iterator[Place]:
        """What is in every file of it, and in every row of its database."""
        yield from canaries.files(self.home, self.folder, *self.stores, *MEMORY.glob("botkeep-*"))
        yield from canaries.rows(self.database_url)


def add_bots(session: Session) -> None:
    """A Python bot and a shell script, which both show all they have."""
    session.cli("bot", "add", "leaks", ROOT / "tests/bots/leaks.py")
    source = session.folder / "shows"
    source.mkdir()
    gate = session.folder / "shows.gate"
    (source / "bot.toml").write_text('name = "shows"\ncommand = ["sh", "shows.sh"]\n[parameters.token]\n')
    (source / "shows.sh").write_text(SHELL_BOT.format(gate=gate))
    session.cli("bot", "add", "shows", source)


def set_values(session: Session) -> None:
    """Every kind of value in every environment: by stdin, from a file and by HTTP."""
    login, blob = canaries.text("LOGIN.PASSWORD, dev"), canaries.binary("BLOB.FILE, dev")
    session.planted += [login, blob]
    file = session.folder / "blob"
    file.write_bytes(blob.value)
    described = ("--description", "of the portal")
    session.cli("asset", "set", "LOGIN.PASSWORD", "--env", "dev", *described, value=login.value)
    session.cli("asset", "set", "BLOB.FILE", "--env", "dev", "--file", file)
    file.unlink()
    for environment in ENVIRONMENTS:
        if environment != "dev":
            session.put("LOGIN.PASSWORD", environment, canaries.text(f"LOGIN.PASSWORD, {environment}"))
            session.put("BLOB.FILE", environment, canaries.binary(f"BLOB.FILE, {environment}"))
        session.put("SSH.KEY", environment, canaries.lines(f"SSH.KEY, {environment}"))
        session.put("GLOBAL.APIKEY", environment, canaries.plain(f"GLOBAL.APIKEY, {environment}"))
    session.put("GLOBAL.APIKEY", "staging", canaries.text("a bot's own value"), bot="leaks")
    session.put("LOGIN.PASSWORD", "prod", canaries.text("a second value"))
    session.ask("POST", "assets/LOGIN/PASSWORD/values/prod/rollback", json={"number": 1})


def set_refused_values(session: Session) -> None:
    """Values that are not taken, for every reason."""
    session.put("LOGIN.NO-NAME", "dev", canaries.text("a wrong name"), status=422)
    session.put("LOGIN.PASSWORD", "nowhere", canaries.text("a wrong environment"), status=422)
    session.put("GLOBAL.APIKEY", "dev", canaries.text("a wrong bot"), bot="nobody", status=404)
    session.put("GLOBAL.ASSET_LOGIN_PASSWORD", "dev", canaries.text("a colliding name"), status=409)
    client = session.client
    client.headers["Authorization"], token = "Bearer bk_wrong", client.headers["Authorization"]
    session.put("LOGIN.PASSWORD", "dev", canaries.text("a wrong token"), status=401)
    client.headers["Authorization"] = token


def run_bots(session: Session, seen: set[Seen]) -> list[str]:
    """Jobs that leak and end in every way, two of them while the recorder looks at them; their ids."""
    jobs = [session.enqueue("leaks", "dev", token="x{{ASSET.GLOBAL.APIKEY}}y", user="secret://LOGIN/PASSWORD")]
    jobs += [session.enqueue("leaks", "staging", end=end) for end in ("raise", "exit", "business")]
    jobs.append(session.enqueue("leaks", "prod", end="signal"))
    jobs.append(session.enqueue("leaks", "dev", file="secret://BLOB/FILE"))
    jobs.append(run_watched(session, seen, bot="leaks", shown=b"bootstrap.py\0"))
    jobs.append(run_watched(session, seen, bot="shows", shown=SHELL_COMMAND))
    reasons = [session.job(job)["reason"] for job in jobs]
    assert reasons == [None, "exit_code", "exit_code", "business", "signal", "asset_missing", None, None]
    jobs.append(json.loads(session.cli("job", "retry", jobs[1], "--json"))["id"])
    assert session.job(jobs[-1])["reason"] == "exit_code"
    return jobs


def run_watched(session: Session, seen: set[Seen], *, bot: str, shown: bytes) -> str:
    """A job that goes on when its process was seen with what `shown` says of its command line."""
    gate = session.folder / f"{bot}.gate"
    os.mkfifo(gate)
    given = {"token": "secret://APIKEY"}
    job = session.enqueue(bot, "prod", **given, **({"gate": str(gate)} if bot == "leaks" else {}))
    with gate.open("wb") as pipe:  # opens when the bot opens its end
        wait_until(lambda: any(shown in each.cmdline for each in set(seen)), 60, f"{bot} in /proc")
        pipe.write(b"go on\n")
    return job


def ask_for_everything(session: Session, jobs: list[str]) -> None:
    """What people and scripts ask afterwards, wrong questions included."""
    for text, status in (("{{ASSET.NO.SUCH}}", 422), ("{{ASSET.LOGIN", 422), ("secret://NO/SUCH", 422)):
        session.ask("POST", "jobs", json={"bot": "leaks", "parameters": {"x": text}}, status=status)
    session.cli("run", "leaks", "--env", "dev", "--param", "token={{ASSET.GLOBAL.APIKEY}}", "--follow")
    session.cli("asset", "list")
    session.cli("asset", "show", "LOGIN.PASSWORD")
    session.cli("history", "--json")
    session.cli("job", "show", jobs[0])
    session.cli("job", "logs", jobs[1])
    session.cli("audit", "list")
    session.cli("doctor")
    for job in jobs:
        session.ask("GET", f"jobs/{job}/log", params={"limit": 5000})
        session.ask("GET", f"jobs/{job}/log/stream")
    for path in ("assets?bot=leaks", "assets/SSH/KEY", "coverage", "bots/leaks", "jobs", "runners", "audit", "tokens"):
        session.ask("GET", path)
    for path in ("/readyz", "/metrics", "/api/v1/openapi.json"):
        assert session.client.get(path).status_code == 200
