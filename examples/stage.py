"""Where the demo plays: a temporary folder, the portal, an embedded Botkeep, and a record of all that was shown.

Promises that nothing that was started here survives the stage, whatever ends it: every process stays below this
one, and is ended by its identity (process id and start time). Refuses to touch an installation that exists: no
BOTKEEP_ or KLANGO_ variable of the caller is passed on.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).resolve().parent
BOTKEEP = Path(sys.executable).with_name("botkeep")
ENVIRONMENTS = ("dev", "staging", "prod")

#: Seconds that one command may take; the slowest, the first start, takes about ten.
PATIENCE = 180.0

#: linux/prctl.h: orphans of what is started here become children of this process, so that none escapes.
PR_SET_CHILD_SUBREAPER = 36


class Failed(Exception):
    """A step did not do what it shows; the message says which."""


@dataclass(slots=True)
class Stage:
    """What the demo works in; `values` are the plaintexts by asset and environment, which nobody may see."""

    folder: Path
    values: dict[tuple[str, str], str]
    environ: dict[str, str]
    shown: list[str] = field(default_factory=list)

    @property
    def reports(self) -> Path:
        """Where the portal files."""
        return self.folder / "reports"

    @property
    def database(self) -> Path:
        """What the bot `totals` fills."""
        return self.folder / "data/orders.db"

    def say(self, text: str = "", *, bold: bool = False) -> None:
        """Prints a line, and remembers it."""
        self.shown.append(text)
        print(f"\x1b[1m{text}\x1b[0m" if bold and sys.stdout.isatty() else text, flush=True)


@dataclass(frozen=True, slots=True)
class Process:
    """A process that cannot be mistaken for a later one with the same id; see proc(5), `starttime`."""

    pid: int
    started: int

    def send(self, number: signal.Signals) -> None:
        """Signals this very process, and does nothing when it is gone."""
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(self.pid)
            try:
                if self in descendants():
                    signal.pidfd_send_signal(handle, number)
            finally:
                os.close(handle)


@contextlib.contextmanager
def stage() -> Iterator[Stage]:
    """A temporary folder, and random values for two assets in each environment."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    assets = ("PORTAL.PASSWORD", "RATES.KEY")
    values = {(asset, name): secrets.token_urlsafe(18) for asset in assets for name in ENVIRONMENTS}
    environ = {name: text for name, text in os.environ.items() if not name.startswith(("BOTKEEP_", "KLANGO_"))}
    with tempfile.TemporaryDirectory(prefix="botkeep-demo-") as folder:
        # Bots write to their own folders, and to those that the runner's settings name.
        (Path(folder) / "data").mkdir()
        own = {"BOTKEEP_HOME": f"{folder}/home", "BOTKEEP_BOT_WRITABLE": json.dumps([f"{folder}/data"])}
        here = Stage(Path(folder), values, environ | own)
        if os.geteuid() == 0:
            here.environ["BOTKEEP_RUN_AS_ROOT"] = "true"
            here.say("You are root, so the bots of this demo run as root; elsewhere a runner refuses that.")
        try:
            yield here
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            end_descendants()


@contextlib.contextmanager
def portal(here: Stage) -> Iterator[str]:
    """The web service of the examples; yields its address."""
    accounts = {
        name: {"password": here.values["PORTAL.PASSWORD", name], "key": here.values["RATES.KEY", name]}
        for name in ENVIRONMENTS
    }
    command = [sys.executable, "-I", str(EXAMPLES / "portal.py"), str(here.reports)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=here.environ
    ) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            with process.stdin as pipe:
                json.dump(accounts, pipe)
            line = process.stdout.readline()
            if "ready at" not in line:
                raise Failed("the portal did not start.")
            yield line.split()[-1]
        finally:
            process.terminate()


@contextlib.contextmanager
def installation(here: Stage) -> Iterator[None]:
    """An embedded Botkeep; where a step fails, its logs are kept for whoever wants to know why."""
    try:
        botkeep(here, "up", "--detach", "--port", "0")
        yield
    except Failed as failure:
        kept = tempfile.mkdtemp(prefix="botkeep-demo-logs-")
        with contextlib.suppress(OSError):
            shutil.copytree(here.folder / "home" / "logs", kept, dirs_exist_ok=True)
        raise Failed(f"{failure} The logs are in {kept}.") from None
    botkeep(here, "down")


def botkeep(here: Stage, *arguments: str, value: str | None = None) -> str:
    """Shows a command as it is typed, runs it, shows what it says as it comes, and returns that."""
    here.say(f"  $ {'printf %s … | ' if value else ''}botkeep {' '.join(arguments)}")
    with subprocess.Popen(
        [str(BOTKEEP), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=here.environ,
        cwd=EXAMPLES.parent,
    ) as process:
        deadline = threading.Timer(PATIENCE, process.kill)
        deadline.start()
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
                pipe.write(value or "")
            lines = []
            for line in process.stdout:
                lines.append(line)
                here.say(f"    {line.rstrip()}")
            status = process.wait()
        finally:
            deadline.cancel()
            process.kill()
    if status:
        raise Failed(f"`botkeep {' '.join(arguments)}` ended with exit status {status}.")
    return "".join(lines)


def asked(here: Stage, *arguments: str) -> list[dict[str, Any]]:
    """The JSON that a command answers, an object a line; not printed, but remembered."""
    done = subprocess.run(
        [str(BOTKEEP), *arguments, "--json"],
        env=here.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    here.shown.append(done.stdout + done.stderr)
    if done.returncode:
        raise Failed(f"`botkeep {' '.join(arguments)} --json` ended with exit status {done.returncode}.")
    return [json.loads(line) for line in done.stdout.splitlines()]


def descendants() -> list[Process]:
    """Every living process below this one, parents first."""
    children: dict[int, list[Process]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            stat = (entry / "stat").read_text()
            fields = stat[stat.rindex(")") + 2 :].split()
            if fields[0] not in "ZX":
                children.setdefault(int(fields[1]), []).append(Process(int(entry.name), int(fields[19])))
    found = [*children.get(os.getpid(), [])]
    for process in found:
        found.extend(children.get(process.pid, []))
    return found


def end_descendants() -> None:
    """Ends whatever still runs below this process, politely first."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in descendants():
            process.send(number)
        if gone(within=15.0):
            return


def gone(*, within: float) -> bool:
    """Whether no process is left below this one after at most so many seconds."""
    deadline = time.monotonic() + within
    while left := descendants():
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return not left
