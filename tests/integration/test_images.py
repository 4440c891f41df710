"""The processes as their images have them: installed from the wheel, without what decrypts, started and asked.

`deploy/containers/close.py` makes these installations as the images' build does.
"""

import os
import runpy
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.api import zipped
from tests.conftest import Start
from tests.services import PostgresServer, Services, locked, postgres_binary
from tests.support import ROOT, Started, Stores, clean_environment, free_port, wait_until

FOLDER = ROOT / "deploy" / "containers"

#: What no image but the runner's may hold, as files.
DECRYPTS = {
    "vault/decrypt.py",
    "vault/reader.py",
    "vault/sights.py",
    "vault/readings.py",
    "vault/identities.py",
    "vault/keyhost.py",
    "vault/rotation.py",
}

PROCESSES = ("console", "scheduler", "migrate")

TRY = """
import importlib, sys, vault.names, runner.jobs
print(None not in sys.modules.values())
for name in ("vault.decrypt", "vault.reader", "vault.sights", "runner.worker.executor", "vault.__main__"):
    try:
        importlib.import_module(name)
    except ImportError as error:
        print(error)
"""

EVERY_SECOND = {"bot": "hello", "schedule": {"every": "1s"}, "environment": "prod"}


@dataclass(frozen=True, slots=True)
class Image:
    """What an image has at /opt/botkeep: an environment of its own, with libraries that are this one's."""

    root: Path
    packages: Path

    @property
    def python(self) -> Path:
        return self.root / "bin" / "python"

    @property
    def files(self) -> set[str]:
        """Of Botkeep's packages and its list."""
        return {str(path.relative_to(self.packages)) for path in self.packages.rglob("*") if path.is_file()}

    def say(self, program: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([self.python, "-I", "-c", program], capture_output=True, text=True, check=False)

    def close(self, process: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.python), str(FOLDER / "close.py"), process]
        return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def wheel(services: Services) -> Path:
    """Built by the first process of the run that asks."""
    folder = services.root / "wheel"
    with locked(services.root / "wheel.lock"):
        if not folder.exists():
            command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
            subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (found,) = folder.glob("*.whl")
    return found


def image(root: Path) -> Image:
    (packages,) = root.glob("lib/python*/site-packages")
    return Image(root, packages)


@pytest.fixture(scope="session")
def installed(services: Services, wheel: Path) -> Path:
    """An installation before anything is taken from it, compiled; made by the first process of the run that asks."""
    folder = services.root / "installed"
    with locked(services.root / "installed.lock"):
        if not folder.exists():
            draft = services.root / "draft-of-installed"
            venv.create(draft, symlinks=True)
            packages = image(draft).packages
            (packages / "libraries.pth").write_text(sysconfig.get_path("purelib"))
            zipfile.ZipFile(wheel).extractall(packages)
            subprocess.run([sys.executable, "-m", "compileall", "-q", "."], cwd=packages, check=True)
            draft.rename(folder)
    return folder


def copied(installed: Path, root: Path) -> Image:
    """Another installation."""
    shutil.copytree(installed, root, symlinks=True)
    return image(root)


@pytest.fixture(scope="session")
def images(services: Services, installed: Path) -> dict[str, Image]:
    """An image for each process, made by the first process of the run that asks."""
    folder = services.root / "images"
    with locked(services.root / "images.lock"):
        if not folder.exists():
            draft = folder.with_name("draft")
            for process in PROCESSES:
                closed = copied(installed, draft / process).close(process)
                assert (closed.returncode, closed.stderr) == (0, ""), process
            draft.rename(folder)
    return {process: image(folder / process) for process in PROCESSES}


@pytest.mark.parametrize("process", PROCESSES)
def test_no_file_of_an_image_decrypts(images: dict[str, Image], wheel: Path, process: str) -> None:
    before = set(zipfile.ZipFile(wheel).namelist())
    assert before >= DECRYPTS
    left = images[process].files
    assert not {name for name in left if name.startswith("runner/worker/")}
    assert not DECRYPTS & left
    assert not {name for name in left if Path(name).name.split(".")[0] in {Path(gone).stem for gone in DECRYPTS}}
    assert not (images[process].packages / "runner" / "worker").exists()
    (record,) = images[process].packages.glob("botkeep-*.dist-info/RECORD")
    assert {line.split(",")[0] for line in record.read_text().splitlines()} == left & before
    assert {name.partition("/")[0] for name in left if ".dist-info" not in name} - {"libraries.pth"} == {
        "console": {"vault", "runner", "scheduler", "console", "cli", "botkeep"},
        "scheduler": {"vault", "runner", "scheduler"},
        "migrate": {"vault", "runner"},
    }[process]


@pytest.mark.parametrize("process", PROCESSES)
def test_without_any_fence_there_is_nothing_to_load_that_decrypts(images: dict[str, Image], process: str) -> None:
    said = images[process].say(TRY)
    missing = ("vault.decrypt", "vault.reader", "vault.sights", "runner.worker", "vault.__main__")
    assert said.stdout.splitlines() == ["True", *(f"No module named '{name}'" for name in missing)], said.stderr


def test_a_process_that_needs_what_was_taken_is_no_image(installed: Path, tmp_path: Path) -> None:
    broken = copied(installed, tmp_path / "botkeep")
    with (broken.packages / "console" / "server.py").open("a") as file:
        file.write("\nfrom vault import envelope, reader\n")
    closed = broken.close("console")
    assert closed.returncode == 1
    assert "reader" in closed.stderr


def test_an_image_in_which_something_is_left_is_none(installed: Path, tmp_path: Path) -> None:
    broken = copied(installed, tmp_path / "botkeep")
    other = tmp_path / "other" / "vault"
    shutil.copytree(broken.packages / "vault", other)
    (broken.packages / "zz.pth").write_text(f"import vault; vault.__path__.append({str(other)!r})\n")
    closed = broken.close("scheduler")
    assert closed.returncode == 1
    assert "vault.decrypt" in closed.stderr


@pytest.fixture
def console(images: dict[str, Image], stores: Stores, home: Path, start: Start, tmp_path: Path) -> Started:
    argv = (images["console"].python, "-P", "-m", "console", "--port", "0")
    process = start(*argv, env=stores.environment, name="console", cwd=tmp_path)
    process.wait_for("console.started", 60)
    return process


def test_console_and_scheduler_serve_without_what_decrypts(
    images: dict[str, Image], stores: Stores, home: Path, start: Start, tmp_path: Path, console: Started
) -> None:
    keys = {**clean_environment(), **stores.environment, "BOTKEEP_HOME": str(tmp_path / "keyhost")}
    subprocess.run(
        [sys.executable, "-m", "vault", "keygen", "--all"], cwd=ROOT, env=keys, check=True, capture_output=True
    )
    token = subprocess.run(
        [images["console"].python, "-P", "-m", "console", "token", "--name", "first", "--role", "admin"],
        env={**clean_environment(), **stores.environment, "BOTKEEP_HOME": str(home)},
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    port = console.log.partition('"port": ')[2].split(",")[0]
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30, verify=False) as client:
        assert wait_until(lambda: client.get("/readyz"), 20).json()["ready"] is True
        assert client.get("/sign-in").status_code == 200
        saved = client.put("/api/v1/assets/SAP/PASSWORD/values/prod", content=b"not a real password")
        assert saved.status_code == 200, saved.text
        assert client.post("/api/v1/bots?name=hello", content=zipped("print('hello')\n")).status_code == 201
        made = client.post("/api/v1/triggers", json={"name": "often", "definition": EVERY_SECOND})
        assert made.status_code == 201, made.text
        scheduler = start(
            images["scheduler"].python, "-P", "-m", "scheduler", env=stores.environment, name="scheduler", cwd=tmp_path
        )
        fired = wait_until(lambda: client.get("/api/v1/jobs").json()["items"], 60, "the scheduler to fire")
        assert {(job["bot"], job["state"]) for job in fired} == {("hello", "queued")}
    assert scheduler.stop() == 0
    assert console.stop() == 0
    for process in (console, scheduler):
        assert "ImportError" not in process.log
        assert "Traceback" not in process.log


def test_the_image_that_migrates_makes_the_schema(
    images: dict[str, Image], empty_stores: Stores, tmp_path: Path
) -> None:
    done = subprocess.run(
        [images["migrate"].python, "-P", "-m", "runner.migrate"],
        env={**clean_environment(), **empty_stores.environment},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def cluster(postgres: PostgresServer) -> Iterator[PostgresServer]:
    """An empty cluster whose users need passwords over TCP, as that of the image does."""
    server = PostgresServer(postgres.directory.with_name(f"image-{os.getpid()}"), os.getpid(), port=free_port())
    server.create()
    (server.data / "pg_hba.conf").write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
    server.start()
    yield server
    server.stop()
    shutil.rmtree(server.directory)


def test_each_role_logs_in_with_what_was_prepared_for_its_process(
    cluster: PostgresServer, images: dict[str, Image], tmp_path: Path
) -> None:
    runpy.run_path(str(FOLDER / "prepare.py"))["main"](tmp_path / "private")
    passwords = tmp_path / "private" / "passwords"

    def run(database: str, *files: Path) -> None:
        named = [word for file in files for word in ("-f", str(file))]
        psql = [str(postgres_binary("psql")), "-X", "-q", "-d", database, *named]
        where = {"PGHOST": str(cluster.directory), "PGPORT": str(cluster.port), "PGUSER": "postgres"}
        env = {**clean_environment(), **where, "PASSWORDS": str(passwords)}
        done = subprocess.run(psql, env=env, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")

    def address(process: str) -> str:
        line = (tmp_path / "private" / f"{process}.env").read_text().splitlines()[0]
        return line.partition("=")[2].replace("@postgres/", f"@127.0.0.1:{cluster.port}/")

    for _ in range(2):  # as at the first start, and as at every later one
        run("postgres", FOLDER / "database.sql")
        subprocess.run(
            [images["migrate"].python, "-P", "-m", "runner.migrate"],
            env={**clean_environment(), "BOTKEEP_DATABASE_URL": address("migrate")},
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )
        run("botkeep", ROOT / "deploy" / "postgres" / "roles.sql", FOLDER / "logins.sql")
    for process in ("console", "scheduler", "runner", "keyhost"):
        with psycopg.connect(address(process).replace("+psycopg", "")) as connection:
            assert connection.execute("SELECT current_user").fetchone() == (f"botkeep_{process}",)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(
                    "SELECT password FROM users" if process != "console" else "SELECT envelope FROM asset_values"
                )
    wrong = address("console").replace("+psycopg", "").replace("botkeep_console:", "botkeep_console:not")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(wrong)
