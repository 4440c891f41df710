"""`up --detach` and `down`: an installation that runs without a terminal.

The detached process tells through a pipe when it is ready, or which component failed; whoever waits needs no
polling.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from cli.errors import BY_STATUS, CliError
from cli.home import Home, open_log, prepare, write_private
from cli.installation import holder, is_running
from cli.processes import environment, module
from cli.up import Ready

#: Seconds on top of the grace that the processes need to stop.
STOPPING = 75.0


def detach(home: Home, *, port: int, environ: Mapping[str, str]) -> Ready:
    """Start `up` in a session of its own and return when it is ready.

    Raises:
        CliError: what the detached `up` reported instead.
    """
    prepare(home)
    reader, writer = os.pipe()
    argv = module("cli", "up", "--port", str(port), "--home", str(home.path), "--report", str(writer))
    os.set_inheritable(writer, True)
    try:
        with open_log(home.log("up")) as log:
            # Not `subprocess`: the new process is to outlive us, so there is nobody to wait for it.
            started = os.posix_spawn(
                argv[0],
                argv,
                environment(environ),
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, log.fileno(), 1),
                    (os.POSIX_SPAWN_DUP2, log.fileno(), 2),
                ],
                setsid=True,
            )
    finally:
        os.close(writer)
    try:
        with os.fdopen(reader) as report:
            text = report.read()
    except KeyboardInterrupt:
        os.kill(started, signal.SIGTERM)
        raise
    return _understood(text, home.log("up"))


def report(descriptor: int, outcome: Ready | CliError) -> None:
    """Tell the process that waits in `detach`, and let go of the pipe."""
    if isinstance(outcome, CliError):
        error = {
            "status": outcome.status,
            "code": outcome.code,
            "message": outcome.message,
            "hint": outcome.hint,
        }
        content: dict[str, object] = {"error": error}
    else:
        content = {"url": outcome.url, "home": outcome.home, "pid": outcome.pid, "link": outcome.link}
    with os.fdopen(descriptor, "w") as pipe:
        json.dump(content, pipe)


def _understood(text: str, log: Path) -> Ready:
    try:
        content = json.loads(text)
    except ValueError:
        raise CliError("Botkeep ended before it was ready.", hint=f"Its log is {log}.") from None
    if error := content.get("error"):
        kind = BY_STATUS.get(error["status"], CliError)
        raise kind(error["message"], hint=error["hint"], code=error["code"])
    return Ready(content["url"], content["home"], content["pid"], content["link"])


def stop(home: Home, *, grace: float) -> int | None:
    """Ask the running `up` to stop and wait until it has; its process id, `None` when none was running.

    Raises:
        CliError: when it is still there after the grace and the time that stopping takes.
    """
    pid = holder(home)
    if not is_running(home):
        return None
    if pid is None:
        raise CliError(f"Botkeep runs in {home.path}, but its process id is not known.", hint="Try again in a moment.")
    write_private(home.grace, f"{grace}\n")
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + grace + STOPPING
    while is_running(home):
        if time.monotonic() > deadline:
            raise CliError(f"Process {pid} has not stopped yet.", hint=f"Look at {home.logs}, or run it again.")
        time.sleep(0.05)
    return pid
