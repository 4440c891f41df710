"""The whole system for tests: console, scheduler and runner as real processes, driven through the HTTP API.

`system` is what most tests take: one system for each pair of stores, emptied after each test, so that a test may use
any name. A test that ends processes starts a runner of its own with `start_runner`, or a system with `running`.

Promises that everything is ended by identity, and that nothing is downloaded: the packages that bots need are looked
for in the folder `index` of the home. Runs bots as whoever runs the tests, root included.
"""

import contextlib
import hashlib
import itertools
import json
import os
import shutil
import socket
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, update
from sqlalchemy.orm import Session

from console import auth
from runner.models import Job
from runner.states import FINAL
from runner.workspaces import default_workspace
from tests import leftovers
from tests.api import zipped
from tests.nursery import Program
from tests.services import PostgresServer, RedisServer, Services
from tests.support import ROOT, Start, Started, Stores, start_process, wait_until
from vault import db, keyhost
from vault.audit import Actor
from vault.names import ENVIRONMENTS
from vault.settings import VaultSettings

KINDS = ("embedded", "server")
PARTS = ("console", "scheduler", "runner")

#: A bot that prints the digests of what it was given; see there.
TELLS = (ROOT / "tests/bots/tells.py").read_text()

#: Seconds that a process of ours may take to start, on a machine with other work to do.
START_WITHIN = 200.0

#: A group that no runner of a system serves: a job in it waits until `System.release`.
PARKED = "parked"

_numbers = itertools.count(1)


@dataclass(slots=True)
class System:
    """A running system; `client` is an admin's. `env` configures a further process of it."""

    stores: Stores
    home: Path
    env: dict[str, str]
    engine: Engine
    client: httpx.Client
    token: str = field(repr=False)
    processes: dict[str, Started] = field(default_factory=dict)
    broker: RedisServer | None = None
    services: Services | None = None

    @property
    def shared(self) -> Path:
        """A folder that bots may write to; so are the temporary folders of tests on the shared system."""
        return self.home / "shared"

    @property
    def runner(self) -> Started:
        return self.processes["runner"]

    def add_bot(self, name: str = "tells", source: str = TELLS, *, toml: str = "", **files: str) -> dict[str, Any]:
        """Register a bot of a `main.py`, a bot.toml where one is given, and other files."""
        extra = {**files, **({"bot.toml": toml} if toml else {})}
        answer = self.client.post("/api/v1/bots", params={"name": name}, content=zipped(source, extra))
        assert answer.status_code in {200, 201}, answer.text
        return dict(answer.json())

    def put_value(
        self, asset: str, value: bytes | str, environment: str = "dev", *, bot: str | None = None
    ) -> httpx.Response:
        """The answer to a new value, refusals too."""
        path = f"/api/v1/assets/{asset.replace('.', '/')}/values/{environment}"
        content = value.encode() if isinstance(value, str) else value
        return self.client.put(path, content=content, params={"bot": bot} if bot else {})

    def set_value(
        self, asset: str, value: bytes | str, environment: str = "dev", *, bot: str | None = None
    ) -> dict[str, Any]:
        """What saving a value answered."""
        answer = self.put_value(asset, value, environment, bot=bot)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def enqueue(self, bot: str = "tells", environment: str | None = None, **order: object) -> str:
        """The id of a new job; without an environment the request names none."""
        chosen = {} if environment is None else {"environment": environment}
        answer = self.client.post("/api/v1/jobs", json={"bot": bot, **chosen, **order})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def refused(self, bot: str = "tells", **order: object) -> tuple[int, str]:
        """Status and message of a job that is not accepted."""
        answer = self.client.post("/api/v1/jobs", json={"bot": bot, **order})
        assert answer.status_code >= 400, answer.text
        return answer.status_code, str(answer.json()["error"]["message"])

    def job(self, job_id: str) -> dict[str, Any]:
        """A job with its attempts and readings."""
        answer = self.client.get(f"/api/v1/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def wait_for(self, job_id: str, *states: str, timeout: float = 90) -> dict[str, Any]:
        """The job once it is in one of these states, or in a final one where none is named."""
        wanted = states or tuple(FINAL)

        def reached() -> bool:
            return self.job(job_id)["state"] in wanted

        try:
            wait_until(reached, timeout, f"job {job_id} to be {' or '.join(wanted)}")
        except AssertionError as error:
            logs = "".join(f"\n--- {each.name}\n{each.log[-3000:]}" for each in self.processes.values())
            raise AssertionError(f"{error}\n{self.job(job_id)}{logs}") from None
        return self.job(job_id)

    def run(self, bot: str = "tells", environment: str | None = None, **order: object) -> dict[str, Any]:
        """A new job at its end."""
        return self.wait_for(self.enqueue(bot, environment, **order))

    def release(self, job_id: str, environment: str | None = None) -> None:
        """Move a parked job into the lanes of the system's runner; the rescuer announces it."""
        moved: dict[str, Any] = {"group_name": "default", "published_at": None}
        if environment is not None:
            moved["environment"] = environment
        with db.writing(self.engine) as session:
            session.execute(update(Job).where(Job.id == uuid.UUID(job_id)).values(**moved))

    def runners(self) -> list[dict[str, Any]]:
        """Every runner that was ever there."""
        return self._items("/api/v1/runners")

    def log(self, job_id: str, stream: str | None = None) -> list[str]:
        """The texts of a job's log, of one stream or of all."""
        answer = self.client.get(f"/api/v1/jobs/{job_id}/log", params={"limit": 5000})
        assert answer.status_code == 200, answer.text
        return [line["text"] for line in answer.json()["items"] if stream in {None, line["stream"]}]

    def told(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """What the bot `tells` said in a job that succeeded."""
        lines = self.log(job["id"])
        assert job["state"] == "succeeded", (job, lines)
        return dict(json.loads(lines[-1]))

    @contextlib.contextmanager
    def edit(self) -> Iterator[Session]:
        """A transaction of somebody who changes the database by hand."""
        with db.writing(self.engine) as session:
            yield session

    @contextlib.contextmanager
    def without_redis(self) -> Iterator[None]:
        """Redis is away for the time of the block."""
        assert self.broker is not None
        assert self.services is not None
        self.broker.stop()
        try:
            yield
        finally:
            self.broker.start()
            self.services.keep(self.broker.guard)

    def flush_redis(self) -> None:
        """Redis forgets everything."""
        assert self.broker is not None
        self.broker.empty()

    def policy(self, environment: str, unset: str) -> None:
        """What happens with values that are unset there."""
        answer = self.client.put(f"/api/v1/environments/{environment}", json={"unset": unset})
        assert answer.status_code == 200, answer.text

    def check(self) -> None:
        """Fail when a process has ended."""
        for process in self.processes.values():
            assert process.popen.poll() is None, f"{process.name} ended with {process.popen.returncode}:\n{process.log}"

    def clear(self) -> None:
        """End what runs, and remove every trigger, bot, asset, data source and policy."""
        left = leftovers.names(self.engine)
        if left["triggers"]:
            self._delete(*(f"triggers/{name}" for name in left["triggers"]))
            left = leftovers.names(self.engine)  # one may just have fired
        self._delete(*(f"calendars/{name}" for name in left["calendars"]))
        for job_id in map(uuid.UUID, left["jobs"]):
            self.client.post(f"/api/v1/jobs/{job_id}/cancellation")
            self.wait_for(str(job_id))
        self._delete(*(f"bots/{name}" for name in left["bots"]))
        if left["assets"]:  # those of bots went with them
            self._delete(*(f"assets/{asset['group']}/{asset['name']}" for asset in self._items("/api/v1/assets")))
        self._delete(*(f"sources/{name}" for name in left["sources"]))
        for environment in left["environments"]:
            self.policy(environment, "warn")

    def _delete(self, *paths: str) -> None:
        for path in paths:
            assert self.client.delete(f"/api/v1/{path}").status_code == 204, path

    def _items(self, path: str, **query: str) -> list[dict[str, Any]]:
        answer = self.client.get(path, params={"limit": 500, **query})
        assert answer.status_code == 200, answer.text
        return list(answer.json()["items"])


def digest(value: bytes | str) -> str:
    """What the bot `tells` says of a value."""
    return hashlib.sha256(value.encode() if isinstance(value, str) else value).hexdigest()


def start_runner(
    system: System,
    start: Start,
    *,
    name: str,
    group: str,
    environments: tuple[str, ...] = ("dev",),
    env: Mapping[str, str] | None = None,
    code: str = "",
    more: Sequence[str] = (),
    executed: bool = False,
) -> Started:
    """A further runner of the system's host, ready; `code` runs in its process before the real worker.

    `more` are further words of its command line. It is forked where it is not to be `executed`, see `tests.nursery`.
    """
    served = [part for environment in environments for part in ("--environment", environment)]
    words = [*served, "--group", group, "--name", name, *more]
    program = Program("runner.worker", code)
    begin = program.command if executed else (program,)
    started = start(*begin, *words, env={**system.env, **(env or {})}, name=name)
    started.wait_for("runner.ready", START_WITHIN)
    return started


@contextlib.contextmanager
def running(
    stores: Stores, *, parts: tuple[str, ...] = PARTS, env: Mapping[str, str] | None = None, forked: bool = False
) -> Iterator[System]:
    """A system on migrated stores, with new keys for every environment and a home of its own.

    Its processes may be `forked`, see `tests.nursery`.
    """
    home = Path(tempfile.mkdtemp(prefix="bk-", dir="/tmp"))
    (home / "shared").mkdir()
    writable = [str(home / "shared"), *filter(None, [os.environ.get("PYTEST_FOLDER")])]
    own = {
        **stores.environment,
        "BOTKEEP_HOME": str(home),
        "BOTKEEP_RUN_AS_ROOT": "true",
        "BOTKEEP_TICK": "0.5",
        "BOTKEEP_REPUBLISH_AFTER": "2",
        "BOTKEEP_CONCURRENCY": "4",
        "BOTKEEP_HEARTBEAT": "0.5",
        # For bots that tell a test something beside their output.
        "BOTKEEP_BOT_WRITABLE": json.dumps(writable),
        "UV_OFFLINE": "1",
        "UV_FIND_LINKS": str(home / "index"),
        **(env or {}),
    }
    started: dict[str, Started] = {}
    engine = db.engine(stores.database_url)
    try:
        yield from _started(stores, engine, home, own, parts=parts, started=started, forked=forked)
    finally:
        engine.dispose()
        for process in started.values():
            process.identity.kill_tree()
            process.popen.wait(10)
        shutil.rmtree(home, ignore_errors=True)


def _started(
    stores: Stores,
    engine: Engine,
    home: Path,
    env: dict[str, str],
    *,
    parts: Sequence[str],
    started: dict[str, Started],
    forked: bool,
) -> Iterator[System]:
    logs = home / "process-logs"
    logs.mkdir()
    (home / "index").mkdir()
    token = _prepare(engine, home)

    def begin(name: str, program: str, *words: str, pass_fds: tuple[int, ...] = ()) -> None:
        command = (Program(program),) if forked else Program(program).command
        started[name] = start_process([*command, *words], log_path=logs / f"{name}.log", env=env, pass_fds=pass_fds)

    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        served = [part for environment in ENVIRONMENTS for part in ("--environment", environment)]
        if "runner" in parts:
            begin("runner", "runner.worker", *served)
        if "console" in parts:
            begin("console", "console", "--fd", str(listener.fileno()), pass_fds=(listener.fileno(),))
        if "scheduler" in parts:
            begin("scheduler", "scheduler")
        for name, word in zip(PARTS, ("console.started", "scheduler.ready", "runner.ready"), strict=True):
            if name in parts:
                started[name].wait_for(word, START_WITHIN)
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30) as client:
        yield System(stores, home, env, engine, client, token, started)


def _prepare(engine: Engine, home: Path) -> str:
    """Key pairs for every environment, and an admin's token, without the second that a process takes for each."""
    settings = VaultSettings(home=home)
    now = datetime.now(UTC)
    for environment in ENVIRONMENTS:
        keyhost.make_key(engine, environment, settings=settings, protect=False, if_missing=False, now=now)
    with db.writing(engine) as session:
        workspace_id = default_workspace(session)
        tester = Actor("tester")
        _row, token = auth.create(
            session, "tests", grant=auth.Grant.of("admin"), workspace_id=workspace_id, actor=tester, now=now
        )
    return token


@contextlib.contextmanager
def new_stores(
    services: Services, postgres: Callable[[], PostgresServer], kind: str
) -> Iterator[tuple[Stores, RedisServer]]:
    """A migrated database and a Redis that no other test uses."""
    name = f"system_{os.getpid()}_{next(_numbers)}"
    broker = services.new_redis(kind, services.root / f"redis-{name}")
    broker.start()
    try:
        if kind == "embedded":
            path = services.root / f"{name}.db"
            shutil.copyfile(services.migrated_sqlite(), path)
            path.chmod(0o600)
            yield Stores(kind, f"sqlite:///{path}", broker.url), broker
        else:
            server = postgres()
            url = server.create_database(name, template=server.migrated_template())
            yield Stores(kind, url, broker.url), broker
            server.drop_database(name)
    finally:
        broker.stop()


@contextlib.contextmanager
def lasting(
    request: pytest.FixtureRequest,
    services: Services,
    *,
    parts: tuple[str, ...] = PARTS,
    env: Mapping[str, str] | None = None,
    forked: bool = False,
) -> Iterator[System]:
    """A system of several tests, on the pair of stores that the fixture's parameter names; `clear` it after each."""
    with (
        new_stores(services, lambda: request.getfixturevalue("postgres"), request.param) as (stores, broker),
        running(stores, parts=parts, env=env, forked=forked) as system,
    ):
        kept = {process.identity for process in system.processes.values()}
        services.kept.update(kept)
        system.broker, system.services = broker, services
        yield system
        services.kept.difference_update(kept)


@pytest.fixture(scope="session", params=KINDS)
def shared_system(request: pytest.FixtureRequest, services: Services) -> Iterator[System]:
    """The system of this process's tests on one pair of stores; take `system` instead."""
    with lasting(request, services) as system:
        yield system


@pytest.fixture
def system(shared_system: System) -> Iterator[System]:
    """A running system without bots and assets, on each pair of stores."""
    shared_system.check()
    yield shared_system
    shared_system.check()
    shared_system.clear()
