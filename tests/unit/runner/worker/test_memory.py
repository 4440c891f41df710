"""What a worker's process does not load."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys
from runner.worker import memory
memory.save()
import runner.worker.__main__
print(*(name for name in ("rich", "psycopg") if sys.modules.get(name)))
"""


@pytest.mark.parametrize("before", ["", "memory.save = lambda: None"], ids=["saving", "not saving"])
def test_a_worker_loads_neither_looks_for_terminals_nor_the_driver_of_another_database(before: str) -> None:
    program = PROGRAM.replace("memory.save()", f"{before}\nmemory.save()")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert done.stdout.split() == (["rich"] if before else [])
