"""`python -m console` as a process: how it starts, refuses to start, serves, stops, and makes tokens."""

import socket
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests import nursery
from tests.api import prepare
from tests.conftest import Start
from tests.nursery import Program
from tests.support import ROOT, Started, Stores, clean_environment, start_process, wait_until

CONSOLE = Program("console")


def console(*arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs the console's command to its end."""
    return nursery.run(CONSOLE, *arguments, env={**clean_environment(), **env})


@pytest.fixture
def env(stores: Stores, home: Path) -> dict[str, str]:
    return {**stores.environment, "BOTKEEP_HOME": str(home)}


@pytest.fixture
def inherited(env: dict[str, str], tmp_path: Path) -> Iterator[tuple[Started, str]]:
    """A console on a socket that its parent bound, and its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = start_process(
            [CONSOLE, "--fd", str(listener.fileno())],
            log_path=tmp_path / "console.log",
            env=env,
            pass_fds=[listener.fileno()],
        )
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    process.wait_for("console.started", 40)
    yield process, address
    process.identity.kill_tree()
    process.popen.wait(10)


def test_it_serves_on_an_inherited_socket_and_leaves_with_status_0(inherited: tuple[Started, str]) -> None:
    process, address = inherited
    wait_until(lambda: answers(address), what="an answer")
    assert process.stop() == 0
    assert "console.stopped" in process.log
    assert not answers(address)


def test_it_stops_at_once_although_someone_follows_a_log(inherited: tuple[Started, str], stores: Stores) -> None:
    process, address = inherited
    headers = {"Authorization": f"Bearer {prepare(stores.database_url)}"}
    with httpx.Client(base_url=address, headers=headers, timeout=20) as client:
        from tests.api import zipped

        client.post("/api/v1/bots?name=hello", content=zipped("print(1)"))
        job = client.post("/api/v1/jobs", json={"bot": "hello"}).json()
        with client.stream("GET", f"/api/v1/jobs/{job['id']}/log/stream") as answer:
            assert answer.status_code == 200
            assert process.stop(timeout=15) == 0  # a follower is followed for minutes
            assert list(answer.iter_lines()) == []


def answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/healthz").status_code == 200
    except httpx.TransportError:
        return False


def test_it_listens_where_it_is_told(start: Start, env: dict[str, str]) -> None:
    process = start(sys.executable, "-P", "-m", "console", "--port", "0", env=env)
    log = process.wait_for("console.started", 40)
    port = int(log.partition('"port": ')[2].partition(",")[0])
    wait_until(lambda: answers(f"http://127.0.0.1:{port}"), what="an answer")
    taken = console("--port", str(port), env=env)
    assert taken.returncode == 5
    assert "--port" in taken.stderr


def test_it_cannot_import_what_decrypts() -> None:
    closed = ("vault.decrypt", "vault.reader", "vault.sights", "vault.identities", "runner.worker.masker")
    tries = "".join(
        f"\ntry:\n    importlib.import_module({name!r})\nexcept ImportError:\n    print('closed')" for name in closed
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"import importlib, console.__main__, console.server{tries}"],
        env=clean_environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["closed"] * len(closed)


def test_it_refuses_a_database_of_another_schema(empty_stores: Stores, home: Path) -> None:
    done = console("--port", "0", env={**empty_stores.environment, "BOTKEEP_HOME": str(home)})
    assert done.returncode == 5
    assert "Run: botkeep migrate" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"BOTKEEP_DATABASE_URL": "postgresql+psycopg://nobody@127.0.0.1:1/x"}, 6, "database cannot be used"),
        ({"BOTKEEP_DATABASE_URL": "mysql://x/y"}, 5, "sqlite:///PATH"),
        ({"BOTKEEP_REDIS_URL": ""}, 5, "BOTKEEP_REDIS_URL"),
        ({"BOTKEEP_CONSOLE_PORT": "many"}, 5, "BOTKEEP_CONSOLE_PORT: "),
        ({"BOTKEEP_TRUSTED_PROXIES": "x"}, 5, "BOTKEEP_TRUSTED_PROXIES is not a JSON list"),
    ],
)
def test_it_says_which_setting_keeps_it_from_starting(
    env: dict[str, str], change: dict[str, str], status: int, words: str
) -> None:
    done = console("--port", "0", env={**env, **change})
    assert (done.returncode, words in done.stderr) == (status, True), done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_token_for_the_local_client_goes_into_its_file_only(env: dict[str, str], home: Path) -> None:
    file = home / "client.toml"
    order = ("token", "--name", "local", "--role", "admin", "--client-file", str(file), "--if-missing")
    first = console(*order, "--url", "http://127.0.0.1:9", env=env)
    assert (first.returncode, first.stdout, first.stderr) == (0, "", "")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    content = tomllib.loads(file.read_text())
    assert content["url"] == "http://127.0.0.1:9"
    before = file.read_text()
    assert console(*order, env=env).returncode == 0
    assert file.read_text() == before
    assert not list(home.glob(".client.toml*"))


def test_a_lost_client_file_gets_a_new_token_and_the_old_one_dies(
    inherited: tuple[Started, str], env: dict[str, str], home: Path
) -> None:
    _process, address = inherited
    file = home / "client.toml"
    order = ("token", "--name", "local", "--role", "admin", "--client-file", str(file), "--if-missing")
    console(*order, env=env)
    old = tomllib.loads(file.read_text())["token"]
    file.unlink()
    assert console(*order, env=env).returncode == 0
    new = tomllib.loads(file.read_text())["token"]
    statuses = [
        httpx.get(f"{address}/api/v1/bots", headers={"Authorization": f"Bearer {token}"}).status_code
        for token in (old, new)
    ]
    assert statuses == [401, 200]


def test_a_token_without_a_file_is_printed_once(env: dict[str, str]) -> None:
    order = ("token", "--name", "ci", "--role", "operator", "--environment", "dev")
    first = console(*order, env=env)
    assert (first.returncode, first.stdout.startswith("bk_")) == (0, True)
    again = console(*order, env=env)
    assert (again.returncode, again.stdout) == (5, "")
    assert "ci exists" in again.stderr
    quiet = console(*order, "--if-missing", env=env)
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    wrong = console("token", "--name", "x", "--role", "king", env=env)
    assert (wrong.returncode, "no role 'king'" in wrong.stderr) == (5, True)


def test_a_token_that_cannot_be_written_down_is_not_made(env: dict[str, str], home: Path) -> None:
    order = ("token", "--name", "local", "--role", "admin", "--client-file")
    failed = console(*order, str(home / "no" / "client.toml"), env=env)
    assert failed.returncode == 5
    assert "cannot be written" in failed.stderr
    assert console(*order, str(home / "client.toml"), env=env).returncode == 0
