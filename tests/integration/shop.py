"""A source distribution with a build backend of its own, for tests of virtual environments: nothing is downloaded.

The backend of the package `probe` writes down the environment that it runs in, then waits for the other end of a named
pipe where the test has made one.
"""

import io
import json
import os
import tarfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Self

from runner.dependencies import Dependencies
from runner.worker.environments import VirtualEnvironment, provide
from runner.worker.interpreters import own_interpreter
from tests.support import ProcessId, wait_until

CANARY = "canary-Sq8ZpXvT"

BACKEND = """
import json, os, subprocess, sys, zipfile

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    with open({seen!r} + ".new", "w") as file:
        json.dump({{"environ": dict(os.environ), "pids": [os.getpid(), os.getppid(), child.pid]}}, file)
    os.rename({seen!r} + ".new", {seen!r})
    if os.path.exists({gate!r}):
        open({gate!r}).read()
    child.communicate()
    name = "probe-1.0-py3-none-any.whl"
    info = "probe-1.0.dist-info/"
    with zipfile.ZipFile(os.path.join(wheel_directory, name), "w") as wheel:
        wheel.writestr("probe.py", {module!r})
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: probe\\nVersion: 1.0\\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(info + "entry_points.txt", "[console_scripts]\\nprobe-main = probe:main\\n")
        wheel.writestr(info + "RECORD", "")
    return name
"""
MODULE = "import sys\n\ndef where():\n    raise RuntimeError\n\ndef main():\n    print(sys.prefix)\n"
PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "probe"
version = "1.0"
"""


@dataclass(frozen=True, slots=True)
class Shop:
    """A folder with one source distribution, an empty root for environments, and what the backend left."""

    root: Path
    index: Path
    seen: Path
    gate: Path

    @classmethod
    def opened(cls, folder: Path) -> Self:
        """A new one below a folder."""
        shop = cls(folder / "environments", folder / "index", folder / "seen.json", folder / "gate")
        shop.index.mkdir()
        with tarfile.open(shop.index / "probe-1.0.tar.gz", "w:gz") as archive:
            for name, text in {
                "PKG-INFO": "Metadata-Version: 2.1\nName: probe\nVersion: 1.0\n",
                "pyproject.toml": PROJECT,
                "backend.py": BACKEND.format(module=MODULE, seen=str(shop.seen), gate=str(shop.gate)),
            }.items():
                member = tarfile.TarInfo(f"probe-1.0/{name}")
                member.size = len(text.encode())
                archive.addfile(member, io.BytesIO(text.encode()))
        return shop

    @property
    def environ(self) -> dict[str, str]:
        """A worker's environment, full of what a build must not see."""
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "UV_OFFLINE": "1",
            "UV_FIND_LINKS": str(self.index),
            "HOME": f"/home/{CANARY}",
            "KLANGO_ASSET_SAP_PASSWORD": CANARY,
            "KLANGO_PASSWORD": CANARY,
            "BOTKEEP_REDIS_URL": f"redis://:{CANARY}@127.0.0.1",
            "UV_PUBLISH_TOKEN": CANARY,
            "AWS_SECRET_ACCESS_KEY": CANARY,
            "LD_PRELOAD": f"/{CANARY}.so",
            "PYTHONPATH": f"/{CANARY}",
        }

    def provide(
        self,
        text: str = "probe==1.0\n",
        *,
        limit: float = 60,
        stop: threading.Event | None = None,
        tell: Callable[[str], None] = lambda _lines: None,
    ) -> VirtualEnvironment:
        return provide(
            Dependencies(text, "", "requirements.txt") if text else None,
            root=self.root,
            interpreter=own_interpreter(),
            environ=self.environ,
            limit=timedelta(seconds=limit),
            stop=stop,
            tell=tell,
        )

    @property
    def left(self) -> list[str]:
        """Environments, and what is being built."""
        return [path.name for path in self.root.glob("*") if path.name[0] != "."] + [
            path.name for path in (self.root / ".building").glob("*")
        ]

    def pids(self) -> list[ProcessId]:
        """The backend, uv and the backend's child, once they run."""
        wait_until(self.seen.exists, 30, "the build backend to start")
        found = [ProcessId.of(pid) for pid in json.loads(self.seen.read_text())["pids"]]
        return [process for process in found if process]


def wait_for_end(processes: list[ProcessId]) -> None:
    wait_until(lambda: not any(process.alive for process in processes), 5, "the build's processes to end")


def open_gate(shop: Shop) -> None:
    with shop.gate.open("w"):
        pass
