"""Runs the benchmarks: `python -m benchmarks` for all, `python -m benchmarks masker -- --seconds 2` for one.

A benchmark is a module of this package with `main(argv) -> int`, which prints its figures beside its
baseline's and returns non-zero when it missed its target. Each runs in a process of its own, below the facts
of the machine, so that a figure can be read by those who did not measure it. Refuses a name that is none.
"""

import ast
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
RUN = "import importlib, sys; sys.exit(importlib.import_module(sys.argv[1]).main(sys.argv[2:]))"


def main(argv: list[str]) -> int:
    split = argv.index("--") if "--" in argv else len(argv)
    names, words = argv[:split], argv[split + 1 :]
    known = benchmarks()
    if unknown := sorted(set(names) - set(known)):
        print(f"There is no benchmark {', '.join(unknown)}; there are: {', '.join(known)}.", file=sys.stderr)
        return 2
    for label, fact in machine_facts().items():
        print(f"{label:8} {fact}")
    missed = [name for name in names or known if run(name, words) != 0]
    if missed:
        print(f"\nMissed its target or failed: {', '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


def run(name: str, words: list[str]) -> int:
    print(f"\n== {name}", flush=True)
    command = [sys.executable, "-c", RUN, f"benchmarks.{name}", *words]
    return subprocess.run(command, cwd=FOLDER.parent, check=False).returncode


def benchmarks() -> list[str]:
    """The modules of this folder that define `main`, in order of name."""
    modules = (path for path in sorted(FOLDER.glob("*.py")) if not path.stem.startswith("_"))
    return [path.stem for path in modules if "main" in defined_functions(path)]


def defined_functions(path: Path) -> set[str]:
    return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}


def machine_facts() -> dict[str, str]:
    """What a reader needs to compare two runs; read from proc(5)."""
    cpu = field("/proc/cpuinfo", "model name") or platform.machine()
    memory_kib = int((field("/proc/meminfo", "MemTotal") or "0 kB").split()[0])
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "cpu": cpu,
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory_kib / 2**20:.1f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_version()} of {sys.base_prefix}",
    }


def field(path: str, name: str) -> str | None:
    """The first value of a `name : value` line, or None."""
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
