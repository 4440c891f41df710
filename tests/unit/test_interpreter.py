"""`make` takes the better of two Pythons, and only of one version unless the first cannot serve."""

import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy" / "interpreter.py"


@pytest.mark.parametrize(
    ("own", "system", "optimised", "taken"),
    [
        ((3, 11), (3, 11), False, True),
        ((3, 11), (3, 11), True, False),
        ((3, 12), (3, 11), False, False),
        ((3, 11), (3, 13), False, False),
        ((3, 11), None, False, False),
        ((3, 9), (3, 11), True, True),
        ((3, 9), (3, 9), False, False),
    ],
)
def test_the_systems_python_is_taken_where_it_is_better(
    own: tuple[int, int], system: tuple[int, int] | None, *, optimised: bool, taken: bool
) -> None:
    assert runpy.run_path(str(SCRIPT))["better"](own, system, optimised=optimised) is taken


def test_the_command_that_is_printed_runs_and_can_make_environments() -> None:
    command = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=True).stdout.strip()
    if shutil.which(command) is None:
        pytest.skip("there is no python3 on the path")
    subprocess.run([command, "-c", "import ensurepip, venv"], check=True)
