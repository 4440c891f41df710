"""The import contracts hold, and would notice: each row adds one forbidden import to a copy of the code."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT

PACKAGES = ("vault", "runner", "scheduler", "console", "cli", "sdk")


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    program = str(Path(sys.executable).with_name("lint-imports"))
    environment = {**os.environ, "PYTHONPATH": f"{folder}:{folder / 'sdk'}"}
    command = [program, "--no-cache", "--no-logo", "--config", str(folder / "pyproject.toml")]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_code_keeps_every_contract(copy: Path) -> None:
    done = lint_imports(copy)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("importer", "imported", "contract"),
    [
        ("console", "vault.decrypt", "The console and the scheduler cannot reach what decrypts"),
        ("scheduler", "vault.reader", "The console and the scheduler cannot reach what decrypts"),
        ("console", "vault.sights", "The console and the scheduler cannot reach what decrypts"),
        ("scheduler", "vault.readings", "The console and the scheduler cannot reach what decrypts"),
        ("console", "runner.worker", "Nothing imports the worker"),
        ("runner", "vault.decrypt", "Only the worker and the key commands import what decrypts"),
        ("runner", "vault.sights", "Only the worker and the key commands import what decrypts"),
        ("runner", "vault.identities", "Only the worker and the key commands import what decrypts"),
        ("runner", "console", "Each package knows only what is below it"),
        ("vault", "runner", "Each package knows only what is below it"),
        ("cli", "vault", "The client and the SDK import none"),
        ("console", "botkeep", "The servers import neither"),
    ],
)
def test_a_forbidden_import_is_noticed(copy: Path, importer: str, imported: str, contract: str) -> None:
    intruder = copy / importer / "intruder.py"
    intruder.write_text(f"def load() -> None:\n    import {imported}\n")
    done = lint_imports(copy)
    assert done.returncode == 1, done.stdout + done.stderr
    broken = [line for line in done.stdout.splitlines() if line.endswith("BROKEN")]
    assert any(line.startswith(contract) for line in broken), done.stdout
