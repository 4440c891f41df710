"""What a host gives to a runner's bots: what keeps them apart, a control group, a folder in memory, their own users."""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from runner.worker import bot_users, cgroups, isolation, memory_folder, presence
from runner.worker.interpreters import Interpreter
from runner.worker.launching import sdk_folder
from runner.worker.leases import BotUser, BotUsers
from runner.worker.process import Ground
from runner.worker.settings import RunnerSettings


@dataclass(frozen=True, slots=True)
class Premises:
    """What was found, once for the life of a runner; none where the host does not give it."""

    facts: isolation.Facts
    group: str | None
    memory: Path | None
    users: BotUsers | None


def found(instance: uuid.UUID, settings: RunnerSettings, users: Sequence[BotUser]) -> Premises:
    """Look at this host, prepare the users' leases, and clear what dead runners left of control groups."""
    group = _group(instance)
    memory = memory_folder.folder(os.environ, mounts=memory_folder.MOUNTS.read_text(), shared=bool(users))
    pool = bot_users.prepare(users, settings, memory) if users else None
    facts = replace(isolation.examine(users), cgroup=group is not None)
    return Premises(facts, group, memory, pool)


def _group(instance: uuid.UUID) -> str | None:
    """The control group of this runner's launchers, if it may have one; those of dead runners beside it are ended."""
    home = cgroups.home(Path("/proc/self/cgroup").read_text(), memory_folder.MOUNTS.read_text())
    for name in cgroups.instances(home):
        with suppress(ValueError):
            if presence.gone(uuid.UUID(name)):
                cgroups.end(f"{home}/{cgroups.PREFIX}{name}")
    return cgroups.make(home, instance.hex)


def ground(
    settings: RunnerSettings, facts: isolation.Facts, *, own: list[Path], interpreter: Interpreter
) -> tuple[tuple[isolation.Grant, ...], Ground | None]:
    """What a sandbox binds of this host, and what every bot's domain grants."""
    readable = [*isolation.system(interpreter.executable, sdk=sdk_folder()), *settings.bot_readable]
    writable = settings.bot_writable
    apart = isolation.granted(facts, readable=readable, writable=writable, own=[*own, isolation.OUR_SETTINGS])
    barred = isolation.OUR_SETTINGS.resolve()
    if any(one.resolve().is_relative_to(barred) for one in (settings.home, *settings.bot_readable, *writable)):
        return apart, isolation.ground(facts, apart)  # a wall would keep bots from what is theirs
    outside = [one for one in own if not one.resolve().is_relative_to(barred)]
    grants = isolation.granted(facts, readable=readable, writable=writable, own=outside)
    return apart, isolation.ground(facts, grants, isolation.wall(facts, barred))
