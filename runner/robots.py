"""A package with a robot.yaml, as Robocorp's tools make it: which command starts it, and what it depends on. Pure.

    tasks:
      consumer:
        shell: python -m robocorp.tasks run tasks.py -t consumer     # or `command`, a list, or `robotTaskName`
    environmentConfigs: [environment_linux_amd64_freeze.yaml, conda.yaml]    # or `condaConfigFile`
    artifactsDir: output
    PYTHONPATH: [.]

The dependencies are those below `pip` in the first conda file that is there and not of another system. Python's version
there is taken as the least one, since a runner has the one it has. Refuses packages of conda itself but Python, pip and
uv: a runner has no conda.

    RunnerError
    └── Invalid
        └── RobotInvalid
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from runner.errors import Invalid

FILE = "robot.yaml"

#: Bytes of a robot.yaml or conda.yaml; bounds what the parser is given. A frozen environment has some 20 KB.
MAX_SIZE = 131_072

#: Packages of conda that every virtual environment has or needs not.
_WITHOUT = {"python", "pip", "uv", "setuptools", "wheel"}

#: What the name of a frozen environment of another system than ours holds.
_ELSEWHERE = re.compile(r"windows|darwin|macos|arm64|aarch64", re.ASCII)


class RobotInvalid(Invalid):
    """The robot.yaml, or what it names, cannot be used; the message says where."""


@dataclass(frozen=True, slots=True)
class Start:
    """How a task is started: argv, and folders of the package for `PYTHONPATH`."""

    argv: tuple[str, ...]
    python_path: tuple[str, ...]


def start(files: Mapping[str, bytes], task: str | None) -> Start:
    """The start of a task, of the only one where none is named.

    Raises:
        RobotInvalid: when there is no such task, or it says nothing that can be started.
    """
    robot = _mapping(files, FILE)
    tasks = robot.get("tasks")
    if not isinstance(tasks, dict) or not tasks:
        raise RobotInvalid(f"{FILE} has no tasks.")
    if task is None and len(tasks) > 1:
        names = ", ".join(map(str, tasks))
        raise RobotInvalid(f"{FILE} has the tasks {names}. Say which: botkeep bot add NAME PATH --task TASK")
    chosen = next(iter(tasks)) if task is None else task
    if chosen not in tasks:
        raise RobotInvalid(f"{FILE} has no task {chosen[:80]!r}; it has {', '.join(map(str, tasks))}.")
    argv = _argv(str(chosen), tasks[chosen])
    listed = robot.get("PYTHONPATH") or []
    folders = [str(folder) for folder in listed] if isinstance(listed, list) else []
    return Start(argv, tuple(folder for folder in folders if _inside(folder)))


def requirements(files: Mapping[str, bytes]) -> tuple[list[str], str, str] | None:
    """The requirements, the version range of Python, and the file that says both; `None` where none is named.

    Raises:
        RobotInvalid: for what only conda can install.
    """
    robot = _mapping(files, FILE)
    named = robot.get("environmentConfigs") or [robot.get("condaConfigFile")]
    names = [str(name) for name in (named if isinstance(named, list) else [named]) if name]
    usable = [name for name in names if not _ELSEWHERE.search(name)]
    found = next((name for name in usable if name in files), None)
    if found is None:
        if usable:
            raise RobotInvalid(f"{FILE} names {usable[0][:200]!r}, which is not in the package.")
        return None
    listed = _mapping(files, found).get("dependencies") or []
    if not isinstance(listed, list):
        raise RobotInvalid(f"{found}: 'dependencies' must be a list.")
    return _split(listed, found)


def _split(listed: list[Any], source: str) -> tuple[list[str], str, str]:
    pip: list[str] = []
    python = ""
    for item in listed:
        if isinstance(item, dict):
            pip += [str(line) for line in item.get("pip") or []]
            continue
        name, _, version = str(item).partition("=")
        if name.strip() == "python":
            python = _at_least(version.strip("= "))
        elif name.strip() not in _WITHOUT:
            raise RobotInvalid(
                f"{source}: {str(item)[:80]!r} comes from conda, which no runner has. List it below `pip`, or "
                "install it on the runner's host and take the line out."
            )
    return pip, python, source


def _at_least(version: str) -> str:
    found = re.match(r"(\d+)\.(\d+)", version)
    return f">={found[1]}.{found[2]}" if found else ""


def _argv(name: str, task: object) -> tuple[str, ...]:
    if isinstance(task, dict):
        command, shell, robot_task = (task.get(key) for key in ("command", "shell", "robotTaskName"))
        if isinstance(command, list) and command:
            return tuple(str(word) for word in command)
        if isinstance(shell, str) and shell.strip():
            try:
                return tuple(shlex.split(shell))
            except ValueError as error:
                raise RobotInvalid(f"{FILE}: the shell of {name[:80]!r} cannot be read ({error}).") from None
        if isinstance(robot_task, str):
            return ("python", "-m", "robot", "--report", "NONE", "--task", robot_task, ".")
    raise RobotInvalid(f"{FILE}: the task {name[:80]!r} has neither shell, command nor robotTaskName.")


def _inside(folder: str) -> bool:
    return not folder.startswith("/") and ".." not in folder.split("/") and "\0" not in folder


def _mapping(files: Mapping[str, bytes], name: str) -> dict[str, Any]:
    content = files[name]
    if len(content) > MAX_SIZE:
        raise RobotInvalid(f"{name} has {len(content):,} bytes; it may have {MAX_SIZE:,}.")
    yaml = import_module("yaml")  # few packages have such a file, and every runner would load it
    try:
        found = yaml.safe_load(content)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise RobotInvalid(f"{name} is not valid YAML: {str(error).splitlines()[0][:200]}.") from None
    if not isinstance(found, dict):
        raise RobotInvalid(f"{name} is not a YAML mapping.")
    return found
