"""The Python that bots are started with."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

#: Without sysconfig.get_config_var: Python 3.11 shows other threads its table before it is filled.
_DESCRIBE = (
    "import json, platform, sys, sysconfig; print(json.dumps([platform.python_version(), "
    "sysconfig.get_platform(), sys.implementation.cache_tag + sys.abiflags]))"
)


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python that bots are started with. `platform` tells builds apart whose wheels differ."""

    executable: Path
    version: str
    platform: str


def own_interpreter() -> Interpreter:
    """The interpreter that this process's own virtual environment was made from."""
    executable = Path(getattr(sys, "_base_executable", None) or sys.executable)
    platform = f"{sysconfig.get_platform()} {sys.implementation.cache_tag}{sys.abiflags}"
    return Interpreter(executable, sys.version.split()[0].rstrip("+"), platform)


def inspect_interpreter(executable: Path) -> Interpreter:
    """Asks another interpreter what it is; OSError or CalledProcessError when it cannot be run."""
    answer = subprocess.run([executable, "-I", "-c", _DESCRIBE], capture_output=True, check=True, timeout=30)
    version, platform, abi = json.loads(answer.stdout)
    return Interpreter(executable, version.rstrip("+"), f"{platform} {abi}")
