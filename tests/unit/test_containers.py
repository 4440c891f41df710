"""What the files of `deploy/containers` promise: who gets keys, passwords and rights; documented commands exist."""

import os
import re
import runpy
import shlex
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.worker.stopping import LAST_GRACE
from scheduler.settings import SchedulerSettings
from tests.support import ROOT
from vault.__main__ import _parser as vault_parser
from vault.names import ENVIRONMENTS

FOLDER = ROOT / "deploy" / "containers"
OURS = ("console", "scheduler", "migrate", "runner")


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    return found


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose()["services"]
    return found


def ours() -> dict[str, dict[str, Any]]:
    return {name: service for name, service in services().items() if service["image"].startswith("botkeep-")}


def stages() -> dict[str, list[tuple[str, str]]]:
    """Each stage's instructions, the first of which names what it begins with."""
    text = re.sub(r"\\\n", " ", (FOLDER / "Containerfile").read_text())
    found: dict[str, list[tuple[str, str]]] = {}
    stage: list[tuple[str, str]] = []
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        word, _, rest = line.partition(" ")
        if word == "FROM":
            start, _, name = rest.partition(" AS ")
            stage = found.setdefault(name, [])
            rest = start
        stage.append((word, rest.strip()))
    return found


def test_only_the_runners_image_is_copied_from_the_stage_that_has_what_decrypts() -> None:
    copied = {name: {rest.split()[0] for word, rest in stages()[name] if word == "COPY"} for name in OURS}
    assert copied == {
        "console": {"--from=closed-console"},
        "scheduler": {"--from=closed-scheduler"},
        "migrate": {"--from=closed-migrate"},
        "runner": {"--from=installed"},
    }
    for process in ("console", "scheduler", "migrate"):
        assert stages()[f"closed-{process}"] == [
            ("FROM", "installed"),
            ("COPY", "deploy/containers/close.py /source/close.py"),
            ("RUN", f"/opt/botkeep/bin/python /source/close.py {process}"),
        ]


@pytest.mark.parametrize("process", ["console", "scheduler"])
def test_what_a_fence_closes_is_not_in_the_image(process: str) -> None:
    removed = set(runpy.run_path(str(FOLDER / "close.py"))["DECRYPTS"])
    text = (ROOT / process / "__main__.py").read_text()
    closed = set(re.findall(r'^    "((?:vault|runner)\.\w+)",$', text, re.MULTILINE))
    assert closed
    assert removed == closed | {"vault.__main__"}


def test_an_image_has_a_user_of_its_own_and_no_key_or_password() -> None:
    users = {name: dict(stages()[name])["USER"] for name in OURS}
    assert len(set(users.values())) == len(OURS)
    assert all(int(user) > 10_000 for user in users.values())
    for name, stage in stages().items():
        if name in OURS:
            assert dict(stage)["ENTRYPOINT"].startswith('["/opt/botkeep/bin/python", "-P", "-m", ')
        for word, rest in stage:
            assert word != "ADD"
            assert word not in {"ENV", "ARG"} or not re.search(r"(?i)passw|token|database_url|redis_url", rest)


def test_what_is_sent_to_the_build_is_listed_and_holds_neither_keys_nor_passwords() -> None:
    everything, *listed = (FOLDER / "Containerfile.dockerignore").read_text().split()
    assert everything == "*"
    sent = {name[1:] for name in listed if name.startswith("!")}
    sources = {rest.split()[0] for stage in stages().values() for word, rest in stage if word == "COPY"}
    several = {word for _, rest in stages()["installed"] if "/source/" in rest for word in rest.split()[:-1]}
    named = {name for name in sources | several if not name.startswith(("--", "/", "&&"))}
    assert {name for name in named if (ROOT / name).exists()} == sent
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert {package.partition("/")[0] for package in packages["packages"]} <= sent


def test_the_images_install_what_was_tested_with_hashes() -> None:
    def pins(path: Path) -> dict[str, str]:
        return dict(
            re.findall(r"^([a-z0-9-]+)==(\S+)(?: ;[^\n\\]*)? \\\n    --hash=sha256:", path.read_text(), re.MULTILINE)
        )

    tested, installed = pins(ROOT / "requirements.lock"), pins(FOLDER / "requirements.lock")
    assert len(installed) > 60
    assert installed.items() <= tested.items()
    assert {"pytest", "playwright", "hypothesis"}.isdisjoint(installed)
    assert not re.search(r"https?://|--index-url|--find-links", (FOLDER / "requirements.lock").read_text())


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_an_environments_keys_are_its_runners_and_its_key_hosts(environment: str) -> None:
    having = {
        name: [volume for volume in service.get("volumes", []) if volume.startswith(f"keys-{environment}:")]
        for name, service in services().items()
    }
    assert {name: found for name, found in having.items() if found} == {
        f"runner-{environment}": [f"keys-{environment}:/keys:ro"],
        f"keyhost-{environment}": [f"keys-{environment}:/keys"],
    }
    command = services()[f"runner-{environment}"]["command"]
    assert command[:2] == ["--environment", environment]
    assert "--environment" not in command[2:]
    assert services()[f"keyhost-{environment}"]["profiles"] == ["keyhost"]


def test_a_process_of_ours_can_write_to_its_volumes_only_and_gain_nothing() -> None:
    assert {service["build"]["target"] for service in ours().values()} == set(OURS)
    for name, service in ours().items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not {"privileged", "cap_add", "user", "pid", "ipc", "network_mode", "environment"} & set(service), name
        assert service["image"] == f"botkeep-{service['build']['target']}", name
        for volume in service.get("volumes", []):
            assert volume.partition(":")[0] in compose()["volumes"], (name, volume)


def test_the_stores_are_on_a_network_without_a_way_out_and_only_the_console_is_published() -> None:
    assert compose()["networks"]["stores"] == {"internal": True}
    assert {name: service["ports"] for name, service in services().items() if "ports" in service} == {
        "console": ["127.0.0.1:8400:8400"]
    }
    assert services()["postgres"]["networks"] == services()["redis"]["networks"] == ["stores"]


def test_a_runner_is_given_the_time_that_it_needs_to_stop() -> None:
    for name in (name for name in services() if name.startswith("runner-")):
        assert int(services()[name]["stop_grace_period"].removesuffix("s")) >= 30 + LAST_GRACE + 10


@pytest.fixture
def prepared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Path]:
    program = runpy.run_path(str(FOLDER / "prepare.py"))
    assert program["main"](tmp_path / "private") == 0
    yield tmp_path / "private"
    before = {path: path.read_text() for path in (tmp_path / "private").rglob("*") if path.is_file()}
    assert program["main"](tmp_path / "private") == 0
    assert before == {path: path.read_text() for path in (tmp_path / "private").rglob("*") if path.is_file()}
    capsys.readouterr()


def test_what_is_prepared_is_private_and_all_that_is_mounted(prepared: Path) -> None:
    for path in (prepared, *prepared.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    for name, service in services().items():
        named = [service["env_file"]] if "env_file" in service else []
        named += [volume.split(":")[0] for volume in service.get("volumes", []) if volume.startswith("./private")]
        for path in named:
            assert (prepared.parent / path).exists(), (name, path)
    assert (ROOT / ".gitignore").read_text().splitlines().count("deploy/containers/private/") == 1


def test_each_process_is_told_of_its_own_role_alone(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, str] = {}
    for process in ("console", "scheduler", "runner", "keyhost", "migrate"):
        lines = dict(line.split("=", 1) for line in (prepared / f"{process}.env").read_text().splitlines())
        role = "owner" if process == "migrate" else process
        password = (prepared / "passwords" / role).read_text()
        assert lines["BOTKEEP_DATABASE_URL"] == f"postgresql+psycopg://botkeep_{role}:{password}@postgres/botkeep"
        drawn[process] = password
        with monkeypatch.context() as patch:
            for name, value in lines.items():
                patch.setenv(name, value)
            settings = SchedulerSettings()
            assert settings.broker().endswith("@redis:6379/0")
    assert len(set(drawn.values())) == 5
    assert f"requirepass {(prepared / 'redis' / 'password').read_text()}" in (prepared / "redis/redis.conf").read_text()


def documented() -> list[list[str]]:
    pages = [ROOT / "docs" / "OPERATIONS.md", ROOT / "deploy" / "README.md", FOLDER / "compose.yaml"]
    text = "\n".join(page.read_text() for page in pages)
    return [shlex.split(line) for line in re.findall(r"docker compose (.+?)(?:`|$)", text, re.MULTILINE)]


def test_documented_commands_name_services_that_exist_and_what_these_understand() -> None:
    assert len(documented()) > 6
    for words in documented():
        verb, *rest = words
        assert verb in {"build", "up", "run", "exec", "logs", "stop", "ps"}, words
        named = [word for word in rest if not word.startswith("-")]
        if verb in {"run", "exec"}:
            service, arguments = named[0], rest[rest.index(named[0]) + 1 :]
            assert service in services(), words
            if service.startswith("keyhost-"):
                vault_parser().parse_args(arguments)
            elif arguments[:3] == ["python", "-m", "console"]:
                # In a process of its own, since this one would have its fence.
                parsing = f"from console.__main__ import _parser; _parser().parse_args({arguments[3:]!r})"
                subprocess.run([sys.executable, "-c", parsing], cwd=ROOT, check=True)
        else:
            assert set(named) <= set(services()), words


def test_the_variables_of_an_image_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {
        name
        for stage in stages().values()
        for word, rest in stage
        if word == "ENV"
        for name in re.findall(r"\b(BOTKEEP_[A-Z_]+)=", rest)
    }
    page = (ROOT / "docs" / "SETTINGS.md").read_text()
    assert len(names) >= 4
    assert {name for name in names if f"`{name}`" not in page} == set()
    assert os.environ.keys().isdisjoint(names)
