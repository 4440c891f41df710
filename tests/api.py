"""A console for tests: the real application behind a real socket, on the stores of the test.

`serving` runs it in a thread of the test's process; how the process itself behaves is tested by starting
`python -m console`.
"""

import asyncio
import contextlib
import socket
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from starlette.routing import BaseRoute

from console import auth, server
from console.deps import Console
from console.settings import ConsoleSettings
from runner import jobs, runners
from runner.archive import pack
from runner.states import State
from runner.workspaces import default_workspace
from tests.support import Stores, wait_until
from vault import db, recipients
from vault.audit import Actor
from vault.decrypt import Identity
from vault.direct import Direct
from vault.names import ENVIRONMENTS

TESTER = Actor("tester")


@dataclass(frozen=True, slots=True)
class Api:
    """A running console. `client` has every right; `as_token` makes clients that have less."""

    url: str
    console: Console
    client: httpx.Client
    direct: Direct
    _clients: list[httpx.Client]

    @property
    def workspace_id(self) -> uuid.UUID:
        with db.reading(self.console.engine) as session:
            return default_workspace(session)

    def as_token(self, token: str | None) -> httpx.Client:
        """A client that shows this token."""
        return _client(self.url, token, self._clients)

    def token(self, role: str, *environments: str, name: str = "") -> str:
        """A new token, limited to these environments where there are any."""
        chosen = name or f"{role}-{uuid.uuid4().hex[:8]}"
        answer = self.client.post("/api/v1/tokens", json={"name": chosen, "role": role, "environments": environments})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["token"])

    def role(self, role: str, *environments: str) -> httpx.Client:
        """A client with a new token of this role."""
        return self.as_token(self.token(role, *environments))

    def add_bot(self, name: str = "hello", source: str = "print('hello')\n", **files: str) -> None:
        """Register a bot of one file, or of a `main.py` beside others."""
        answer = self.client.post("/api/v1/bots", params={"name": name}, content=zipped(source, files))
        assert answer.status_code in {200, 201}, answer.text

    def run(self, bot: str = "hello", **order: object) -> dict[str, Any]:
        """A new job."""
        answer = self.client.post("/api/v1/jobs", json={"bot": bot, **order})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def set_value(self, asset: str, value: bytes, environment: str = "dev", **query: str) -> dict[str, Any]:
        """The answer to a new value."""
        path = f"/api/v1/assets/{asset.replace('.', '/')}/values/{environment}"
        answer = self.client.put(path, content=value, params=query)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def claim(self, job_id: str) -> jobs.Claim:
        """Take a job, which must be the next one of its lane, as a runner does."""
        item = self.client.get(f"/api/v1/jobs/{job_id}").json()
        claim = jobs.claim(self.direct, environment=item["environment"], group=item["group"], runner="host")
        assert claim is not None
        assert str(claim.job_id) == job_id
        return claim

    def finish(self, claim: jobs.Claim, state: State = State.SUCCEEDED) -> None:
        """Report an attempt's end as a runner does."""
        report = jobs.Report(state=state, reason=None, exit_code=0)
        assert jobs.finish(self.direct, claim.job_id, attempt=claim.attempt, report=report)

    def add_runner(self, name: str, *environments: str, keys: Mapping[str, Sequence[str]] | None = None) -> None:
        """Announce a runner that is alive, and holds these keys."""
        presence = runners.Presence(
            name, uuid.uuid4(), "host", "0", environments or ENVIRONMENTS, ("default",), 4, keys=keys
        )
        with db.writing(self.console.engine) as session:
            runners.register(session, presence)

    def audit(self) -> list[dict[str, Any]]:
        """The newest audit rows, newest first."""
        return list(self.client.get("/api/v1/audit", params={"limit": 500}).json()["items"])


@contextlib.contextmanager
def serving(stores: Stores, folder: Path, *, set_up_as: str = "", **more: object) -> Iterator[Api]:
    """A console on `stores`, with keys for every environment, its logs below `folder`.

    Where the console's own database role could not make the keys, `set_up_as` is the address of one that can. `more`
    are settings besides.
    """
    token = prepare(set_up_as or stores.database_url)
    given = settings(stores, folder, **more)
    console = server.build(given)
    direct = Direct(console.engine)
    clients: list[httpx.Client] = []
    try:
        with listening(console, given) as url:
            yield Api(url, console, _client(url, token, clients), direct, clients)
    finally:
        for client in clients:
            client.close()
        direct.close()
        console.engine.dispose()


def _client(url: str, token: str | None, clients: list[httpx.Client]) -> httpx.Client:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    # There is no TLS here, and to load the certificates takes longer than most tests.
    clients.append(httpx.Client(base_url=url, headers=headers, timeout=30, verify=False))
    return clients[-1]


def prepare(database_url: str) -> str:
    """Makes the environments' keys and a token that may do everything; answers the token."""
    engine = db.engine(database_url)
    now = datetime.now(UTC)
    with db.writing(engine) as session:
        for environment in ENVIRONMENTS:
            recipients.register(session, Identity.generate(environment).recipient, now=now)
        workspace_id = default_workspace(session)
        _row, token = auth.create(
            session, "root", grant=auth.Grant.of("admin"), workspace_id=workspace_id, actor=TESTER, now=now
        )
    engine.dispose()
    return token


def settings(stores: Stores, folder: Path, **more: object) -> ConsoleSettings:
    """The settings of a console on these stores."""
    given: Mapping[str, Any] = {
        "home": folder,
        "database_url": stores.database_url,
        "redis_url": stores.redis_url,
        **more,
    }
    return ConsoleSettings(**given)


@contextlib.contextmanager
def listening(console: Console, given: ConsoleSettings) -> Iterator[str]:
    """Serves the console's application on a free port, in a thread; gives its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    config = server.configured(console, given)
    _share_routes(config.app)
    running = PromptServer(config)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        wait_until(lambda: running.started, 10, "the console to start")
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        console.stopping.set()
        running.leave()
        thread.join(60)  # what it still answers holds a connection, and the engine is about to let go of them
        listener.close()


#: Those of the first application in this process, with what FastAPI made of each when it was asked for.
_routes: list[BaseRoute] = []


def _share_routes(application: Any) -> None:  # noqa: ANN401 - of whatever kind uvicorn serves
    """Give an application the routes of the first one: to make all of them anew takes 0.4 s of a processor."""
    assert isinstance(application, FastAPI)
    if _routes:
        application.router.routes[:] = _routes
    else:
        _routes.extend(application.router.routes)


class PromptServer(uvicorn.Server):
    """Stops when it is told to and has answered. uvicorn looks ten times a second, and rests 0.1 s when it stops."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop, self._told = asyncio.get_running_loop(), asyncio.Event()
        await super().startup(sockets)

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self._told.wait()

    def leave(self) -> None:
        """Stop; called by another thread, once it has started."""
        self._loop.call_soon_threadsafe(self._told.set)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for listener in (*self.servers, *(sockets or ())):
            listener.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        state = self.server_state
        await asyncio.to_thread(wait_until, lambda: not (state.connections or state.tasks), 30, "the last answer")
        await self.lifespan.shutdown()


def zipped(source: str, files: Mapping[str, str] | None = None) -> bytes:
    """A package of a `main.py` and other files."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        for name, text in {"main.py": source, **(files or {})}.items():
            Path(folder, name).write_text(text)
        return pack(Path(folder))


def error_of(answer: httpx.Response) -> str:
    """The message of an answer that is an error, in the one shape that errors have."""
    found = answer.json()["error"]
    assert set(found) == {"code", "message", "hint"}
    assert found["message"].endswith((".", "?")) or "`" in found["message"] or ":" in found["message"], found
    return str(found["message"])
