"""The processes of the soak, each started again after its death, and the stores under them, private servers."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from runner.jobs import LEASE
from runner.worker.settings import RunnerSettings
from tests.services import PostgresServer, RedisServer, Services
from tests.support import ProcessId, Started, Stores, descendants, start_process, wait_until

#: Seconds after its death until a process is started again.
AGAIN = 0.5

#: Seconds of a lease in the soak, where it is a setting; shorter than in operation, so that more happens.
SHORT_LEASE, SHORT_HEARTBEAT = 10, 2

#: Bots at the same time on each of the two runners.
CONCURRENCY = 4

#: The processes that are kept: name to command line.
PARTS = {
    "runner-1": ("runner.worker", "--environment", "dev", "--name", "runner-1"),
    "runner-2": ("runner.worker", "--environment", "dev", "--name", "runner-2"),
    "scheduler-1": ("scheduler",),
    "scheduler-2": ("scheduler",),
    "console": ("console", "--fd", "LISTENER"),
}


def lease() -> float:
    """Seconds of a lease in this soak: short where it can be set."""
    return SHORT_LEASE if "lease" in RunnerSettings.model_fields else LEASE.total_seconds()


@dataclass(slots=True)
class Part:
    """One kept process; `due` is when it is started again."""

    argv: tuple[str, ...]
    started: Started | None = None
    due: float = 0.0
    starts: int = 0


@dataclass(slots=True)
class Yard:
    """Everything that the soak breaks."""

    home: Path
    stores: Stores
    env: dict[str, str]
    redis: RedisServer
    postgres: PostgresServer | None
    listener: socket.socket
    parts: dict[str, Part] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The console's address; it stays while the console is started again."""
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def token(self) -> str:
        """An admin's token, which set-up left in the home."""
        return str(tomllib.loads((self.home / "client.toml").read_text())["token"])

    def set_up(self) -> None:
        """The schema, a key and a token."""
        token = (
            "console",
            "token",
            "--name",
            "soak",
            "--role",
            "admin",
            "--client-file",
            str(self.home / "client.toml"),
        )
        for words in (("runner.migrate",), ("vault", "keygen", "--env", "dev"), token):
            argv = [sys.executable, "-m", *words]
            done = start_process(argv, env=self.env, log_path=self.home / "process-logs" / "setup.log")
            if done.wait(120):
                raise RuntimeError(f"Set-up failed: {done.log}")

    def keep(self) -> None:
        """Start every process, and again whenever one dies."""
        self.parts = {name: Part(argv) for name, argv in PARTS.items()}
        self._thread = threading.Thread(target=self._run, name="yard", daemon=True)
        self._thread.start()

    def running(self, prefix: str) -> list[Started]:
        """The living processes whose name begins so."""
        found = [part.started for name, part in self.parts.items() if name.startswith(prefix) and part.started]
        return [each for each in found if each.popen.poll() is None]

    def below(self, runner: Started) -> tuple[list[ProcessId], list[ProcessId]]:
        """The spawner of a runner, and the launchers below it; recognised by their command line."""
        ours = [process for process in descendants(runner.pid) if "spawner.py" in process.command]
        spawners = [process for process in ours if _parent(process.pid) == runner.pid]
        return spawners, [process for process in ours if process not in spawners]

    def restart_postgres(self, how: signal.Signals) -> None:
        """SIGQUIT is an immediate, SIGINT a fast shutdown (postgresql.org/docs/current/server-shutdown.html)."""
        assert self.postgres is not None
        assert self.postgres.guard is not None
        postmaster = int((self.postgres.data / "postmaster.pid").read_text().splitlines()[0])
        os.kill(postmaster, how)
        self.postgres.guard.wait(60)
        self.postgres.start()

    def servers(self) -> set[ProcessId]:
        """The stores' processes; what else is below this one belongs to the soak."""
        guards = [self.redis.guard, *([self.postgres.guard] if self.postgres else [])]
        found = [ProcessId.of(guard.pid) for guard in guards if guard is not None]
        return {each for each in found if each is not None}

    def stop(self, patience: float) -> None:
        """End every process in order, and kill what does not end."""
        self._stop.set()
        if self._thread:
            self._thread.join()
        for part in self.parts.values():
            if part.started:
                part.started.identity.send(signal.SIGCONT)
                part.started.identity.send(signal.SIGTERM)
        deadline = time.monotonic() + patience
        for name, part in self.parts.items():
            if part.started and not _ended(part.started, deadline):
                print(f"{name} did not end within {patience:g} s of SIGTERM and was killed")
                part.started.identity.send(signal.SIGKILL)
                part.started.popen.wait(10)

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            for name, part in self.parts.items():
                if part.started is not None and part.started.popen.poll() is None:
                    continue
                if not part.due:
                    part.due = time.monotonic() + AGAIN * bool(part.started)
                if time.monotonic() >= part.due:
                    self._start(name, part)

    def _start(self, name: str, part: Part) -> None:
        argv = [str(self.listener.fileno()) if word == "LISTENER" else word for word in part.argv]
        part.started = start_process(
            [sys.executable, "-m", *argv],
            env=self.env,
            log_path=self.home / "process-logs" / f"{name}.log",
            pass_fds=(self.listener.fileno(),) if name == "console" else (),
        )
        part.due, part.starts = 0.0, part.starts + 1


@contextmanager
def yard(services: Services, home: Path, kind: str) -> Iterator[Yard]:
    """A yard on the embedded stores (SQLite, Valkey) or on servers (PostgreSQL, Redis), set up and not running yet."""
    (home / "process-logs").mkdir(parents=True)
    (home / "book").mkdir()
    home.chmod(0o700)
    redis = services.new_redis(kind, services.root / "soak-redis")
    redis.start()
    postgres = None
    url = f"sqlite:///{home / 'botkeep.db'}"
    if kind == "server":
        postgres = PostgresServer(services.root / "soak-postgres", os.getpid())
        postgres.create()
        postgres.start()
        url = postgres.create_database("soak")
    stores = Stores(kind, url, redis.url)
    env = {
        **stores.environment,
        "BOTKEEP_HOME": str(home),
        "BOTKEEP_RUN_AS_ROOT": "true",
        "BOTKEEP_BOT_WRITABLE": json.dumps([str(home / "book")]),
        "BOTKEEP_CONCURRENCY": str(CONCURRENCY),
        "BOTKEEP_DRAIN_GRACE": "5",
        "BOTKEEP_TICK": "0.5",
        "BOTKEEP_REPUBLISH_AFTER": "5",
        "BOTKEEP_LEASE": str(SHORT_LEASE),
        "BOTKEEP_HEARTBEAT": str(SHORT_HEARTBEAT),
        "UV_OFFLINE": "1",
    }
    try:
        with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
            made = Yard(home, stores, env, redis, postgres, listener)
            made.set_up()
            yield made
    finally:
        redis.stop()
        if postgres is not None:
            postgres.stop()


def _parent(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(text.rpartition(")")[2].split()[1])


def _ended(process: Started, deadline: float) -> bool:
    try:
        wait_until(lambda: process.popen.poll() is not None, max(0.1, deadline - time.monotonic()), process.name)
    except AssertionError:
        return False
    return True
