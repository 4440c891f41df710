"""How the process of a bot is started: its argv, its limits, and which way its environment takes."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, lru_cache
from pathlib import Path

from runner.limits import Limits
from runner.manifest import Manifest
from runner.states import Isolation
from runner.worker.bounds import Bounds
from runner.worker.environment import Folders
from runner.worker.isolation import Facts, Grant
from runner.worker.launch import Launch, python_argv
from runner.worker.outcomes import Entry
from runner.worker.sandbox import wrapped

#: Names that hold no value and that an interpreter needs from its first instruction.
_AT_EXEC = ("PATH", "LANG", "TZ")


@dataclass(frozen=True, slots=True)
class Confined:
    """How far a bot is kept apart, by what this host gives, and what it may use of it."""

    isolation: Isolation
    facts: Facts
    grants: tuple[Grant, ...]
    limits: Limits


def launch_of(
    manifest: Manifest,
    folders: Folders,
    entry: Entry,
    *,
    public: Mapping[str, str],
    python: Path | None,
    confined: Confined,
    claimed: float,
    kept_at: float,
    patience: timedelta,
) -> Launch:
    """What the spawner is asked for.

    A Python bot starts through `bootstrap.py`, which reads its environment from a pipe, so that
    `/proc/PID/environ` holds no value; another command gets its environment at exec.
    """
    argv = manifest.command or ()
    if manifest.entry is not None and python is not None:
        argv = python_argv(python, folders.package, manifest.entry, sdk=sdk_folder())
    readable = _readable(folders, python)
    sandbox = confined.isolation is Isolation.SANDBOX
    if sandbox and confined.facts.bubblewrap is not None:
        argv = wrapped(
            argv,
            bubblewrap=confined.facts.bubblewrap,
            grants=confined.grants,
            readable=readable,
            writable=(folders.root,),
            cwd=folders.package,
            network=manifest.network,
        )
    return Launch(
        argv=argv,
        cwd=folders.package,
        bounds=_bounds(confined.limits),
        deadline=manifest.timeout,
        grace=manifest.grace,
        entry=entry,
        environment_fd_mode="exec" if manifest.entry is None else "bootstrap",
        base_environment={name: public[name] for name in _AT_EXEC},
        claimed=claimed,
        kept_at=kept_at,
        patience=patience,
        readable=readable,
        writable=(folders.root,),
        sandbox=sandbox,
        owned=(folders.root, folders.assets),
    )


@lru_cache(maxsize=1024)
def _bounds(limits: Limits) -> Bounds:
    return Bounds(
        open_files=limits.open_files,
        memory_bytes=limits.memory,
        cpu_seconds=None if limits.cpu_time is None else math.ceil(limits.cpu_time.total_seconds()),
        processes=limits.processes,
        disk_bytes=limits.disk,
    )


def _readable(folders: Folders, python: Path | None) -> tuple[Path, ...]:
    """What is the attempt's own and not below its root: its values, its virtual environment, a shared package."""
    package = () if folders.package.parent == folders.root else (folders.package,)
    return (folders.assets, *package, *(() if python is None else (_virtual_environment(python),)))


@lru_cache(maxsize=1024)
def _virtual_environment(python: Path) -> Path:
    return python.parent.parent


@cache
def sdk_folder() -> Path:
    """The folder of the `botkeep` package that bots import.

    Raises:
        ModuleNotFoundError: when the installation is incomplete.
    """
    found = importlib.util.find_spec("botkeep")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("The SDK package `botkeep` is missing; install Botkeep again.")
    return Path(found.submodule_search_locations[0])
