"""Commands that become another process hand over their options and nothing else; the rest of the tree is light."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from cli.__main__ import application
from tests.support import clean_environment
from tests.unit.cli.conftest import Botkeep

PROGRAM = "import os, sys; print(__spec__.name, *sys.argv[1:], 'BOTKEEP_TOKEN' in os.environ)\n"

#: They become a process, whose options are its own.
PASSING = {"console", "scheduler", "migrate", "runner", "local"}


@pytest.mark.parametrize(
    ("line", "becomes"),
    [
        ("runner --environment dev --environment prod --group g --concurrency 3",
         "runner.worker.__main__ --environment dev --environment prod --group g --concurrency 3"),
        ("runner --environment dev --name host-b", "runner.worker.__main__ --environment dev --name host-b"),
        ("runner --environment dev --label os=linux --label team=x",
         "runner.worker.__main__ --environment dev --label=os=linux --label=team=x"),
        ("console --port 0 --anything", "console.__main__ --port 0 --anything"),
        ("console --help", "console.__main__ --help"),
        ("scheduler", "scheduler.__main__"),
        ("migrate", "runner.migrate.__main__"),
        ("key list", "vault.__main__ list"),
        ("local set BOT NAME --json", "runner.worker.local.__main__ set BOT NAME --json"),
        ("key rotate --env prod --json", "vault.__main__ rotate --env prod --json"),
        ("key rotate --env prod --prepare", "vault.__main__ rotate --env prod --prepare"),
        ("secret read API_KEY --env prod", "vault.__main__ read GLOBAL.API_KEY --env prod"),
        ("secret read GLOBAL.API_KEY", "vault.__main__ read GLOBAL.API_KEY --env dev"),
        ("secret read SAP.PASSWORD --env prod --bot b", "vault.__main__ read SAP.PASSWORD --env prod --bot b"),
        ("secret read API_KEY --workspace other", "vault.__main__ read GLOBAL.API_KEY --env dev --workspace other"),
    ],
)  # fmt: skip
def test_a_command_becomes_the_process_without_the_persons_token(tmp_path: Path, line: str, becomes: str) -> None:
    for name in ("runner", "runner/worker", "runner/worker/local", "runner/migrate", "console", "scheduler", "vault"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
        (tmp_path / name / "__main__.py").write_text(PROGRAM)
    environment = clean_environment() | {"PYTHONPATH": str(tmp_path), "BOTKEEP_TOKEN": "bk_of-a-person"}
    done = subprocess.run(
        [sys.executable, "-m", "cli", *line.split()], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{becomes} False\n"


@pytest.mark.parametrize(
    "line",
    ["runner", "runner --group g", "runner --name n", "runner --environment prod list", "runner --name n list",
     "runner --environment x", "runner --label os=linux list", "runner --environment dev --concurrency 0"],
)  # fmt: skip
def test_a_runner_command_that_makes_no_sense_is_a_usage_error(botkeep: Botkeep, line: str) -> None:
    assert botkeep(*line.split()).status == 2


def test_a_runner_takes_its_environments_from_its_variable_too(tmp_path: Path) -> None:
    (tmp_path / "runner" / "worker").mkdir(parents=True)
    (tmp_path / "runner" / "__init__.py").touch()
    (tmp_path / "runner" / "worker" / "__main__.py").write_text(PROGRAM)
    environment = clean_environment() | {"PYTHONPATH": str(tmp_path), "BOTKEEP_ENVIRONMENTS": '["prod"]'}
    done = subprocess.run(
        [sys.executable, "-m", "cli", "runner", "--group", "g"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "runner.worker.__main__ --group g False\n"


def test_the_list_of_keys_says_who_holds_them(botkeep: Botkeep) -> None:
    assert "which runners hold it" in botkeep("key", "list", "--help").out


def commands(command: Any, path: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - the library's private types
    if not (children := getattr(command, "commands", {})):
        yield path, command
    for name, child in children.items():
        yield from commands(child, f"{path} {name}".strip())


def test_every_command_takes_json_and_says_what_it_does() -> None:
    for path, command in commands(get_command(application())):
        assert command.help, path
        if path not in PASSING:
            assert "--json" in [option for parameter in command.params for option in parameter.opts], path


def test_help_loads_nothing_that_takes_long() -> None:
    heavy = ("httpx", "rich", "psycopg", "redis", "importlib.metadata")
    program = (
        "import sys; sys.argv[1:] = ['--help']\n"
        "from cli.__main__ import main\n"
        "try: main()\n"
        f"except SystemExit: print([name for name in {heavy!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "Usage: botkeep" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_version_is_that_of_the_distribution(botkeep: Botkeep) -> None:
    assert botkeep("--version").out.count(".") >= 2


def test_nothing_of_ours_but_the_client_is_imported() -> None:
    program = "import sys, cli.__main__; print({name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ)
    assert not {"vault", "runner", "scheduler", "console", "botkeep"} & set(
        done.stdout.strip("{}\n").replace("'", "").split(", ")
    )


@pytest.mark.parametrize("group", ["job", "queue", "asset"])
def test_a_groups_command_line_is_that_of_the_whole_one(group: str) -> None:
    whole, alone = (dict(commands(get_command(application(first)))) for first in ("", group))
    assert set(alone) == {path for path in whole if path.split()[0] == group}
    assert [option.opts for path in sorted(alone) for option in alone[path].params] == [
        option.opts for path in sorted(alone) for option in whole[path].params
    ]


def test_a_command_loads_neither_what_other_groups_need_nor_certificates_for_a_console_on_this_host() -> None:
    program = (
        "import ssl, sys; sys.argv[1:] = ['job', 'list']\n"
        "ssl.SSLContext.load_verify_locations = lambda *_, **__: print('certificates')\n"
        "from cli.__main__ import main\n"
        "try: main()\n"
        "except SystemExit as end: print(end.code, [name for name in ('click', 'rich') if sys.modules.get(name)])\n"
    )
    env = {**clean_environment(), "BOTKEEP_TOKEN": "bk_nothing"}
    for address, read in (("http://127.0.0.1:9", []), ("https://127.0.0.1:9", ["certificates"])):
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env={**env, "BOTKEEP_URL": address},
        )
        assert done.stdout.splitlines() == [*read, "6 []"], done.stderr
