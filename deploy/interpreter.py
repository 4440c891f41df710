"""Prints the Python that `make` builds its environment with: `python3`, or the system's where that is the better one.

That is so where `python3` is too old, or where both are of one version and `python3` was built without optimisation, as
pyenv does unless it is told otherwise: a job takes a fifth more processor then (benchmarks/RESULTS.md).
`make PYTHON=python3` takes it all the same. Runs on old versions of Python, too, whose user is told by `make` then.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig

SYSTEM = "/usr/bin/python3"
OLDEST = (3, 11)
#: It must be able to make environments, too, which Debian delivers in a package of its own.
ASKED = "import ensurepip, sys, venv; print(*sys.version_info[:2])"


def is_optimised(arguments: str, prefix: str) -> bool:
    """Whether a Python is that was built with these arguments of `configure`; distributions see to it in other ways."""
    return "--enable-optimizations" in arguments or prefix == "/usr"


def better(own: tuple[int, int], system: tuple[int, int] | None, *, optimised: bool) -> bool:
    """Whether the system's Python is better than our own, of which it is said whether it is `optimised`."""
    if system is None or system < OLDEST:
        return False
    return own < OLDEST or (own == system and not optimised)


def system_version() -> tuple[int, int] | None:
    """The version of the system's Python; `None` where there is none that can make environments."""
    try:
        major, minor = subprocess.check_output([SYSTEM, "-c", ASKED], stderr=subprocess.DEVNULL).split()
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None
    return int(major), int(minor)


def main() -> None:
    """Print the command."""
    optimised = is_optimised(sysconfig.get_config_var("CONFIG_ARGS") or "", sys.base_prefix)
    print(SYSTEM if better(sys.version_info[:2], system_version(), optimised=optimised) else "python3")


if __name__ == "__main__":
    main()
