"""The console's and the scheduler's processes cannot load what decrypts, whichever way of importing is taken.

A fence stops mistakes and dependencies that grow, not code that reads the files by itself: against that stand the
missing keys and the database's grants.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT, clean_environment

#: What the fence names, and what would load with it.
OF_THE_VAULT = ("decrypt", "reader", "sights", "readings", "identities", "keyhost", "rotation", "canary")
FENCED = (*(f"vault.{name}" for name in OF_THE_VAULT), "runner.worker")
CLOSED = (*FENCED, "runner.worker.executor", "runner.worker.keyring", "runner.worker.masker")

TRY_ALL = """
import importlib
ways = {
    "import": lambda name: exec(f"import {name}"),
    "from": lambda name: exec("from {} import {}".format(*name.rpartition(".")[::2])),
    "importlib": importlib.import_module,
    "__import__": lambda name: __import__(name, fromlist=["anything"]),
}
for way, load in ways.items():
    for name in %r:
        try:
            load(name)
        except ImportError:
            print(way, name, "refused")
        else:
            print(way, name, "loaded")
"""

#: Tells of each module of ours that is looked for while the fence does not stand yet.
WATCH = """
import sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        ours = name.partition(".")[0] in ("vault", "runner", "scheduler", "console")
        if ours and not name.endswith("__main__") and name not in ("scheduler", "console"):
            if any(sys.modules.get(closed, "open") is not None for closed in %r):
                print(name)
sys.meta_path.insert(0, Watch())
"""


def said_by(program: str) -> list[str]:
    """The lines that a Python program prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def verdicts(word: str) -> list[str]:
    """What `TRY_ALL` says where it is the same for all."""
    return [f"{way} {name} {word}" for way in ("import", "from", "importlib", "__import__") for name in CLOSED]


@pytest.mark.parametrize("process", ["console", "scheduler"])
def test_the_process_cannot_load_what_decrypts(process: str) -> None:
    assert said_by(f"import {process}.__main__\n{TRY_ALL % (CLOSED,)}") == verdicts("refused")


def test_without_a_fence_the_same_modules_load() -> None:
    assert said_by(TRY_ALL % (CLOSED,)) == verdicts("loaded")


@pytest.mark.parametrize("process", ["console", "scheduler"])
def test_the_fence_stands_before_the_process_imports_anything_of_ours(process: str) -> None:
    assert said_by(f"{WATCH % (FENCED,)}\nimport {process}.__main__") == []


def test_an_import_before_the_fence_would_be_noticed() -> None:
    assert said_by(f"{WATCH % (FENCED,)}\nimport vault.names")[:1] == ["vault"]


@pytest.mark.parametrize("modules", ["console.__main__, console.server, console.app", "scheduler.__main__"])
def test_nothing_that_decrypts_is_loaded_by_the_process_itself(modules: str) -> None:
    program = f"import sys, {modules}\nprint(*(name for name, module in sys.modules.items() if module is not None))"
    (loaded,) = said_by(program)
    assert "runner.jobs" in loaded.split()
    assert [name for name in loaded.split() if name.startswith(FENCED)] == []


def selects_ciphertexts(path: Path) -> bool:
    """Whether a module takes the column of ciphertexts from its table, by whatever name it has for that."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    return any(isinstance(node, ast.alias) and node.name == "AssetValue" for node in nodes) and any(
        isinstance(node, ast.Attribute) and node.attr == "envelope" for node in nodes
    )


def test_whatever_selects_a_ciphertext_is_fenced() -> None:
    files = [path for package in ("vault", "runner", "scheduler", "console") for path in (ROOT / package).rglob("*.py")]
    found = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files if selects_ciphertexts(path)}
    assert found >= {"vault.sights", "vault.keyhost"}
    assert {name for name in found if not name.startswith(FENCED)} == set()
