"""bubblewrap's command line around a bot's: processes, IPC and a view of the files of its own; pure but for links.

In it are the bot's own folders, what every bot may read (the rest of the host is not there at all), private /proc,
/dev, /dev/shm and /tmp, and, where the bot renounces it, no network. The bot is no longer the child of its launcher but
two below it; bubblewrap hands on its exit status, a signal as 128 and its number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from runner.worker.isolation import SYSTEM, Grant
from runner.worker.landlock import DEVICE, READ, SHARED

#: What bubblewrap makes anew.
_ITS_OWN = ("/proc", "/dev", "/tmp")  # noqa: S108 - the one in the sandbox


def wrapped(
    argv: Sequence[str],
    *,
    bubblewrap: str,
    grants: Iterable[Grant],
    readable: Iterable[Path],
    writable: Iterable[Path],
    cwd: Path,
    network: bool,
) -> tuple[str, ...]:
    """The command line that starts `argv` in a sandbox."""
    options = ["--die-with-parent", "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts"]
    options += [] if network else ["--unshare-net"]
    options += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108 - the one in the sandbox
    options += list(_binds(grants))
    for paths, bind in ((readable, "--ro-bind-try"), (writable, "--bind")):
        for path in paths:
            options += [bind, str(path), str(path)]
    return (bubblewrap, *options, "--chdir", str(cwd), "--", *argv)


def _binds(grants: Iterable[Grant]) -> Iterator[str]:
    for name in SYSTEM:
        path = Path(name)
        if path.is_symlink():
            yield from ("--symlink", str(path.readlink()), name)
    for name, right in grants:
        place = name.rstrip("/")
        if right in {DEVICE, SHARED} or place in _ITS_OWN:
            continue
        yield from ("--ro-bind-try" if right == READ else "--bind-try", place, place)
