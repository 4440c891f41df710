"""What a worker's process does not load."""

import subprocess
import sys
from types import ModuleType

import pytest

from runner.worker.memory import undocumented

PROGRAM = """
import sys
from runner.worker import memory
memory.save()
import runner.worker.__main__
asked = ("rich", "yaml", "opentelemetry", "redis.asyncio.client", "click.core", "psycopg")
print(*(name for name in asked if sys.modules.get(name)))
"""


@pytest.mark.parametrize("before", ["", "memory.save = lambda: None"], ids=["saving", "not saving"])
def test_a_worker_loads_nothing_that_it_has_no_use_for_nor_the_driver_of_another_database(before: str) -> None:
    program = PROGRAM.replace("memory.save()", f"{before}\nmemory.save()")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    loaded = ["rich", "yaml", "opentelemetry", "redis.asyncio.client", "click.core"]
    assert done.stdout.split() == (loaded if before else [])


SOURCE = '''
"""A module."""

def plain(value):
    """What it says of itself."""
    return value + 1

def silent(value):
    return f"silent {value}"

def echo():
    "said twice"
    return "said twice"

def comprehended(values):
    """Words."""
    return ["%s" % one for one in values], {"only" for _ in values}, list("gen" for _ in values), (lambda: "alone")()

class Thing:
    """A class."""

    def method(self):
        """Inside."""
        def inner():
            """Deeper."""
            return "deep"
        return inner
'''


def test_code_does_without_its_documentation_what_it_did_with_it() -> None:
    module = ModuleType("module")
    exec(undocumented(compile(SOURCE, "module.py", "exec")), module.__dict__)
    method = module.Thing().method
    assert (module.plain(1), module.silent(2), module.echo()) == (2, "silent 2", "said twice")
    assert module.comprehended(["a"]) == (["a"], {"only"}, ["gen"], "alone")
    assert method()() == "deep"
    said = [one.__doc__ for one in (module.plain, module.comprehended, method, method(), module.silent)]
    assert said == [".", ".", ".", ".", None]
    assert (module.__doc__, module.Thing.__doc__) == ("A module.", "A class.")
