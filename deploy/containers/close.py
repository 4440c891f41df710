"""Takes from an installed Botkeep what the image of a process shall not have, and tries that the process still loads.

    /opt/botkeep/bin/python close.py console|scheduler|migrate

Whatever else goes, all that decrypts or selects ciphertexts does. Ends with 1, and so the build of the image, where a
module is left that should not be, or one is gone that the process needs. It belongs into a stage of its own: a layer
still holds what a later one removes. Works on the installation of the interpreter that runs it. Standard library only.
"""

from __future__ import annotations

import csv
import subprocess
import sys
import sysconfig
from pathlib import Path

#: What decrypts or selects ciphertexts, and what only serves that; the fences in `__main__` of console and scheduler
#: name it, too.
DECRYPTS = (
    "runner.worker",
    "vault.__main__",
    "vault.canary",
    "vault.decrypt",
    "vault.identities",
    "vault.keyhost",
    "vault.reader",
    "vault.readings",
    "vault.rotation",
    "vault.sights",
)

#: What else a process has no use for.
OTHERS = {
    "console": (),
    "scheduler": ("botkeep", "cli", "console"),
    "migrate": ("botkeep", "cli", "console", "scheduler"),
}

#: What a process loads at its start.
LOADS = {
    "console": ("console.__main__", "console.server"),
    "scheduler": ("scheduler.__main__",),
    "migrate": ("runner.migrate",),
}


def main(process: str) -> int:
    """Remove, then look."""
    packages = Path(sysconfig.get_path("purelib"))
    names = (*DECRYPTS, *OTHERS[process])
    for name in names:
        remove(packages, name)
    forget(packages)
    left = tried(f"from importlib.util import find_spec\nprint(*filter(find_spec, {names!r}))")
    loaded = tried("import " + ", ".join(LOADS[process]))
    for problem in (left.stdout.strip(), left.stderr, loaded.stderr):
        if problem:
            print(problem, file=sys.stderr)
    return 1 if left.stdout.strip() or left.returncode or loaded.returncode else 0


def remove(packages: Path, name: str) -> None:
    """Remove a module or a package, and what was compiled of it."""
    path = packages.joinpath(*name.split("."))
    found = [
        *path.rglob("*"),
        *path.parent.glob(f"{path.name}.py"),
        *path.parent.glob(f"__pycache__/{path.name}.*.pyc"),
    ]
    for one in sorted(found, reverse=True):
        if one.is_dir():
            one.rmdir()
        else:
            one.unlink()
    if path.is_dir():
        path.rmdir()


def forget(packages: Path) -> None:
    """Strike out of the installation's list what is no longer there."""
    for record in packages.glob("botkeep-*.dist-info/RECORD"):
        with record.open(newline="") as file:
            kept = [row for row in csv.reader(file) if (packages / row[0]).exists()]
        with record.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(kept)


def tried(program: str) -> subprocess.CompletedProcess[str]:
    """What a new process of the same installation does with a program."""
    return subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
