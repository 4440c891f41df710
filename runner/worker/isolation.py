"""What this host gives to keep bots apart, and what every bot may reach in it.

Promises that nothing of the runner's own (home, keys, database, credentials) is below a folder that bots are granted:
where a granted folder would hold some of it, what is beside it is granted in its stead, as it is at the runner's start.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from runner.states import Isolation, Reason
from runner.worker import landlock
from runner.worker.leases import BotUser, valet
from runner.worker.memory_folder import SHARED
from runner.worker.process import HERE, Ground
from runner.worker.refusal import Refusal

#: Readable and executable for every bot: programs, libraries, their configuration, and how names are resolved.
SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/nix/store", "/etc", "/proc", "/sys"),
    *("/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager", "/run/current-system"),
    *("/var/cache/fontconfig", "/var/lib/ca-certificates"),
)

#: Devices that hold nothing of anybody's.
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")

#: Where operators are told to keep the settings of Botkeep's services.
OUR_SETTINGS = Path("/etc/botkeep")

_STRICTNESS = {one: number for number, one in enumerate(Isolation)}

#: A path, with a slash at its end for a folder, and Landlock's rights below it.
Grant = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Facts:
    """What this kernel gives; the runner's row holds it.

    `landlock` is the ABI, 0 for none; `signal_scope` whether it also keeps signals and abstract sockets apart;
    `bubblewrap` the program's path where it works for bots; `root` whether these are root; `cgroup` whether launchers
    get control groups; `users` how many users there are of which each bot has one for itself.
    """

    landlock: int
    signal_scope: bool
    bubblewrap: str | None
    root: bool
    cgroup: bool = False
    users: int = 0

    def document(self) -> dict[str, object]:
        """As the database keeps it."""
        return asdict(self)

    def missing(self, asked: Isolation) -> str | None:
        """What a job that asks for this lacks here; `None` when nothing."""
        if asked is Isolation.LANDLOCK and not self.landlock:
            return "its kernel has no Landlock"
        if asked is Isolation.USER and not self.users:
            return "its bots have no users of their own (BOTKEEP_BOT_USERS)"
        if asked is Isolation.SANDBOX and self.bubblewrap is None:
            return "bubblewrap is not installed, or its user may not make namespaces"
        return None


def require(facts: Facts, *asked: Isolation) -> Isolation:
    """The strictest of what is asked for. Raises `Refusal` where this host does not give all of it."""
    strictest_first = sorted(asked, key=_STRICTNESS.__getitem__, reverse=True)
    for one in strictest_first:
        if missing := facts.missing(one):
            raise Refusal(
                Reason.ISOLATION,
                f"This runner cannot isolate the bot: isolation {one.value!r} is asked for, and {missing}. Nothing "
                "was decrypted or started.",
            )
    return strictest_first[0]


def examine(users: Sequence[BotUser] = ()) -> Facts:
    """Looks at this host; takes some milliseconds where bubblewrap is installed. `users` are those of bots' own."""
    version = landlock.abi()
    return Facts(
        landlock=version,
        signal_scope=version >= landlock.SCOPED_SINCE,
        bubblewrap=_bubblewrap(next(iter(users), None)),
        root=os.geteuid() == 0 and not users,
        users=len(users),
    )


def ground(facts: Facts, grants: tuple[Grant, ...], wall: tuple[Grant, ...] = ()) -> Ground | None:
    """What the domain of every bot grants, within the `wall`, for the spawner; `None` without Landlock."""
    return (facts.landlock, grants, wall) if facts.landlock else None


def wall(facts: Facts, barred: Path) -> tuple[Grant, ...]:
    """All that is not `barred`, as it is now, with all rights: a second domain that keeps every bot out of there.

    As `granted` would by what is beside it; but that may be a hundred rules, and a wall is built once, not per bot.
    """
    everything = landlock.rights(facts.landlock)
    return tuple(
        (f"{part}/" if part.is_dir() else str(part), everything)
        for entry in sorted(Path("/").iterdir())
        if not entry.is_symlink()
        for part in beside(entry, [barred])
    )


def granted(
    facts: Facts, *, readable: Iterable[Path], writable: Iterable[Path], own: Sequence[Path]
) -> tuple[Grant, ...]:
    """The paths that every bot may reach, and how; `own` are the runner's files and folders."""
    everything = landlock.rights(facts.landlock)
    grants = [*((path, landlock.READ) for path in readable), *((path, everything) for path in writable)]
    parts = list(dict.fromkeys((part, right) for path, right in grants for part in beside(path, own)))
    rules = [
        (f"{part}/" if part.is_dir() else str(part), right)
        for part, right in parts
        if not any((above, right) in parts for above in part.parents)
    ]
    rules += [(device, landlock.DEVICE) for device in DEVICES]
    if not any(one.is_relative_to(SHARED) for one in own):
        rules.append((f"{SHARED}/", landlock.SHARED))
    return tuple(rules)


def system(interpreter: Path, *, sdk: Path) -> list[Path]:
    """The folders that every bot reads: the system, its interpreter, our start, the SDK."""
    prefixes = {Path(sys.base_prefix), interpreter.resolve().parent.parent}
    ours = {HERE, sdk}
    system = [Path(path) for path in SYSTEM]
    return [*system, *sorted(one for one in prefixes | ours if not any(one.is_relative_to(each) for each in system))]


def beside(folder: Path, own: Sequence[Path]) -> Iterator[Path]:
    """`folder`, or, where something of `own` is below it, all in it that does not lead there."""
    real = folder.resolve()
    if real == Path("/") or not os.access(real, os.F_OK):
        return
    inside = [one for one in (path.resolve() for path in own) if one.is_relative_to(real)]
    if not inside:
        yield real
    elif real not in inside and real.is_dir():
        for entry in sorted(real.iterdir()):
            if not entry.is_symlink():
                yield from beside(entry, inside)


def _bubblewrap(user: BotUser | None) -> str | None:
    """The program, if bots may use it: kernels and their settings differ in what they let users do.

    Not as root: bots have no capabilities, and without CAP_SETFCAP user 0 cannot be mapped (user_namespaces(7)).
    """
    program = shutil.which("bwrap", path="/usr/local/bin:/usr/bin:/bin")
    if program is None or (os.geteuid() == 0 and user is None):
        return None
    attempt = [program, "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "true"]
    try:
        if user is not None:
            return program if valet("run", *user.told[:2], *attempt).returncode == 0 else None
        done = subprocess.run(attempt, capture_output=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return program if done.returncode == 0 else None
