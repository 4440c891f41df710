"""The home of an embedded installation: where its files are, and who may read them.

`prepare` makes the folders for their owner alone. It refuses a folder that belongs to someone else, and one
that other users can enter and that already holds something: closing it could lock others out of what is
theirs.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from cli.errors import Refused

#: Bits that let a group or everyone do anything.
OTHERS = stat.S_IRWXG | stat.S_IRWXO

#: Right of others to pass through a folder, without which those to list and to write in it are none.
PASSAGE = 0o011

#: What the processes write at their start. What else lies there (`lost+found`) may be anybody's, and below `work` bots'
#: own users own files.
_NEEDED = (
    "botkeep.db", "botkeep.db-*", "client.toml", "audit", "broker", "broker/*", "console", "environments", "keys",
    "keys/*.key", "local", "logs", "logs/*.log", "logs/jobs", "outcomes", "packages", "run", "run/*", "work",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Home:
    """The places in a home; none needs to exist."""

    path: Path

    @property
    def database(self) -> Path:
        """The embedded SQLite database."""
        return self.path / "botkeep.db"

    @property
    def keys(self) -> Path:
        """The folder of the private keys, one file per environment."""
        return self.path / "keys"

    @property
    def broker(self) -> Path:
        """The folder of the embedded broker: configuration, password, address, append-only file."""
        return self.path / "broker"

    @property
    def broker_url(self) -> Path:
        """The file with the embedded broker's address, password included."""
        return self.broker / "url"

    @property
    def logs(self) -> Path:
        """The folder of the processes' logs."""
        return self.path / "logs"

    @property
    def client(self) -> Path:
        """The file with the local console's address and a token."""
        return self.path / "client.toml"

    @property
    def run(self) -> Path:
        """The folder of what is true only while `botkeep up` runs."""
        return self.path / "run"

    @property
    def lock(self) -> Path:
        """The file that a running `botkeep up` holds a lock on."""
        return self.run / "up.lock"

    @property
    def pid(self) -> Path:
        """The file with the process id of the running `botkeep up`."""
        return self.run / "up.pid"

    @property
    def components(self) -> Path:
        """The file in which `botkeep up` notes its processes."""
        return self.run / "components.json"

    @property
    def grace(self) -> Path:
        """The file in which `botkeep down` leaves how many seconds running jobs may still take."""
        return self.run / "grace"

    def log(self, component: str) -> Path:
        """The log of one of the processes."""
        return self.logs / f"{component}.log"


def locate(environ: Mapping[str, str], *, override: Path | None = None) -> Home:
    """The home that `--home`, `BOTKEEP_HOME`, `XDG_DATA_HOME` or the user's home name, in this order."""
    chosen = override or environ.get("BOTKEEP_HOME")
    if not chosen:
        data = environ.get("XDG_DATA_HOME") or Path(environ.get("HOME") or Path.home()) / ".local" / "share"
        chosen = Path(data) / "botkeep"
    return Home(Path(chosen).expanduser().absolute())


def prepare(home: Home) -> None:
    """Create the home and the folders that `botkeep up` needs, for their owner only.

    Raises:
        Refused: when the home cannot be made, it or what is in it belongs to someone else, or it is open to others and
            not empty.
    """
    try:
        home.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _close(home.path)
        if foreign := strange(home):
            raise Refused(f"{foreign} belongs to another user.", hint=given_back(home))
        for folder in (home.broker, home.logs, home.run):
            folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise Refused(
            f"The home {home.path} cannot be used: {error.strerror}.",
            hint="Choose another folder with --home or BOTKEEP_HOME.",
        ) from None


def strange(home: Home) -> Path | None:
    """What Botkeep needs in the home and belongs to another user: it was copied or started there as root, mostly.

    For root it is `None`: root may use it, whoever's it is.
    """
    if os.geteuid() == 0:
        return None
    for pattern in _NEEDED:
        for path in sorted(home.path.glob(pattern)):
            if path.lstat().st_uid != os.geteuid():
                return path
    return None


def given_back(home: Home) -> str:
    """How what belongs to another user in a home becomes the caller's."""
    return f"Give it back: sudo chown -R {os.geteuid()} {shlex.quote(str(home.path))}"


def _close(path: Path) -> None:
    status = path.stat()
    if status.st_uid != os.geteuid():
        raise Refused(
            f"The home {path} belongs to another user.",
            hint="Run Botkeep as its owner, or choose another folder with --home.",
        )
    # A runner lets bots' own users pass through its home, and list nothing (BOTKEEP_BOT_USERS).
    if not status.st_mode & OTHERS & ~PASSAGE:
        return
    if any(path.iterdir()):
        raise Refused(f"The home {path} is open to other users.", hint=f"Close it first: chmod 700 {path}")
    path.chmod(0o700)


def write_private(path: Path, content: str) -> None:
    """Replace a file at once (temporary name, rename); only its owner can read it, from its first byte on."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def open_log(path: Path) -> BinaryIO:
    """A file that appends to a log which only its owner can read; the caller closes it."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "ab")


def last_lines(path: Path, count: int = 10, *, since: int = 0) -> list[str]:
    """The last lines of a log after its first `since` bytes, none when there is no log."""
    #: Far more than ten lines of a log, far less than a log.
    window = 16 * 1024
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(since, file.tell() - window))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()][-count:]
