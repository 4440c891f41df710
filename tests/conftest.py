"""Fixtures: real stores, a private home, and processes that do not outlive their test.

`stores` and `empty_stores` run a test once on each pair, `embedded` and `server`. Each test gets a database
of its own, cloned from one that was migrated once, and an empty Redis. A test that leaves a process running
fails.
"""

import contextlib
import itertools
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest
from hypothesis import HealthCheck, settings

from tests import collector, connections, nursery
from tests.browser import chromium, visitor  # noqa: F401 - fixtures
from tests.databases import mariadb, secured_postgres  # noqa: F401 - fixtures
from tests.mail_server import mail_server, shared_mail_server, user  # noqa: F401 - fixtures
from tests.nursery import Program
from tests.services import (
    PostgresServer,
    RedisServer,
    ServiceMissing,
    Services,
    new_services,
    services_required,
)
from tests.support import (
    ROOT,
    Started,
    Stores,
    adopt_orphans,
    children,
    clean_environment,
    descendants,
    kill_descendants,
    nurseries,
    start_process,
    start_reaper,
    stop_reaper,
    wait_until,
)
from tests.system import shared_system, system  # noqa: F401 - fixtures; each place that imports them starts a system

# On a busy machine an example takes as long as it takes: neither that nor slow data fails a test.
settings.register_profile("botkeep", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("botkeep")

SERVICES = pytest.StashKey[Services]()
numbers = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    for name in set(os.environ) - set(clean_environment()) - {"BOTKEEP_TEST_SERVICES"}:
        del os.environ[name]
    adopt_orphans()
    start_reaper()
    connections.watch()
    if threading.current_thread() is threading.main_thread():
        # A shell ignores SIGINT for what it starts in the background, and children would inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    worker_input: dict[str, Any] | None = getattr(config, "workerinput", None)
    if worker_input is None:
        config.stash[SERVICES] = new_services()
    else:
        config.stash[SERVICES] = Services(Path(worker_input["services"]), worker_input["services_owner"])


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    collector.resume()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:  # noqa: ANN401  (xdist's class; xdist may be absent)
    services = node.config.stash[SERVICES]
    node.workerinput.update(services=str(services.root), services_owner=services.owner)


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[SERVICES].stop()
    nursery.close()
    stop_reaper()


@pytest.fixture(scope="session", autouse=True)
def folder_of_tests(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where the tests' temporary folders lie, for `tests.system`, whose bots may write there."""
    os.environ["PYTEST_FOLDER"] = str(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def services(pytestconfig: pytest.Config) -> Services:
    """The servers of this run; prefer `stores`."""
    return pytestconfig.stash[SERVICES]


@pytest.fixture(scope="session")
def postgres(services: Services) -> PostgresServer:
    """The PostgreSQL cluster of this run. It is shared: a test that stops a server takes `own_postgres`."""
    try:
        return services.postgres()
    except ServiceMissing as missing:
        if services_required():
            raise
        pytest.skip(str(missing))


@pytest.fixture
def own_postgres(postgres: PostgresServer) -> Iterator[PostgresServer]:
    """A started, empty PostgreSQL cluster of this test only (1 s), which it may stop and start."""
    server = PostgresServer(postgres.directory.with_name(f"own-{os.getpid()}-{next(numbers)}"), os.getpid())
    server.create()
    server.start()
    yield server
    server.stop()
    shutil.rmtree(server.directory)


@pytest.fixture
def new_redis(services: Services) -> Iterator[Callable[[str], RedisServer]]:
    """Makes a started Redis of this test only, which it may stop and start: `new_redis(stores.name)`."""
    made: list[RedisServer] = []

    def make(kind: str) -> RedisServer:
        server = services.new_redis(kind, services.root / f"own-redis-{os.getpid()}-{next(numbers)}")
        server.start()
        made.append(server)
        return server

    yield make
    for server in made:
        server.stop()


@pytest.fixture(params=["embedded", "server"])
def stores(request: pytest.FixtureRequest, services: Services) -> Iterator[Stores]:
    """One migrated, empty database and one empty Redis, on each pair in turn."""
    yield from make_stores(request, services, migrated=True)


@pytest.fixture(params=["embedded", "server"])
def empty_stores(request: pytest.FixtureRequest, services: Services) -> Iterator[Stores]:
    """As `stores`, before the first migration."""
    yield from make_stores(request, services, migrated=False)


def make_stores(request: pytest.FixtureRequest, services: Services, *, migrated: bool) -> Iterator[Stores]:
    kind: str = request.param
    broker = services.redis(kind)
    broker.empty()
    if kind == "embedded":
        # Beside the servers' files: a commit waits 3 ms for a disk, and not for memory.
        folder = services.root / f"sqlite-{os.getpid()}-{next(numbers)}"
        folder.mkdir(mode=0o700)
        path = folder / "botkeep.db"
        if migrated:
            shutil.copyfile(services.migrated_sqlite(), path)
            path.chmod(0o600)
        yield Stores(kind, f"sqlite:///{path}", broker.url)
        shutil.rmtree(folder)
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name = f"test_{os.getpid()}_{next(numbers)}"
    url = server.create_database(name, template=server.migrated_template() if migrated else "template0")
    yield Stores(kind, url, broker.url)
    server.drop_database(name)


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty BOTKEEP_HOME, private (0700) and with a path short enough for Unix sockets."""
    path = Path(tempfile.mkdtemp(prefix="bk-", dir="/tmp"))
    monkeypatch.setenv("BOTKEEP_HOME", str(path))
    yield path
    shutil.rmtree(path, ignore_errors=True)


class Start(Protocol):
    """What the fixture `start` gives: `support.start_process`, with the log path made from a name."""

    def __call__(
        self, *argv: str | Path | Program, env: Mapping[str, str] | None = None, name: str = "process", cwd: Path = ROOT
    ) -> Started: ...


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a process, `start(Program("console"), env=stores.environment)`, and ends it; see `tests.nursery`.

    `BOTKEEP_HOME` is the fixture `home`'s where the test has one. After the test everything is killed that
    the process started, too.
    """
    started: list[Started] = []

    def start_one(
        *argv: str | Path | Program, env: Mapping[str, str] | None = None, name: str = "process", cwd: Path = ROOT
    ) -> Started:
        inherited = {"BOTKEEP_HOME": os.environ["BOTKEEP_HOME"]} if "BOTKEEP_HOME" in os.environ else {}
        log_path = tmp_path / f"{name}-{len(started)}.log"
        started.append(start_process(argv, log_path=log_path, env={**inherited, **(env or {})}, cwd=cwd))
        return started[-1]

    yield start_one
    for process in started:
        process.identity.kill_tree()
        process.popen.wait(10)


@pytest.fixture(autouse=True)
def no_process_is_left(request: pytest.FixtureRequest, services: Services) -> Iterator[None]:
    """Kills what a test left running; a failure, unless the test used `start`, which says it would."""
    before = children()
    yield
    known = before | services.kept | nurseries()
    if children() <= known:
        return
    if "start" not in request.fixturenames:
        with contextlib.suppress(AssertionError):  # what was asked to end may need a moment for it
            wait_until(lambda: not descendants(os.getpid(), without=known), 3, "what the test started to end")
    left = kill_descendants(without=known)
    if left and "start" not in request.fixturenames:
        pytest.fail("The test left processes running (now killed): " + "; ".join(left))
