"""`botkeep up`: starts broker, console, scheduler and one runner, keeps them running, drains and stops them.

The order: lock, listening socket, broker, database, keys, token, console, scheduler, runner; the reverse at
the end, so that the runner can report what it drains. The socket is bound here and inherited by the console:
the port is known from the start and stays ours while the console restarts. Nothing here reads a key or opens
the database.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from cli import broker, installation, root
from cli.client import Client, Item, path_of
from cli.connection import Connection, read_client
from cli.errors import CliError, Refused
from cli.home import Home, last_lines, prepare, write_private
from cli.processes import environment, module
from cli.render import duration, parse_time
from cli.supervisor import Component, Program, Signals, Supervisor, ended, private_files

ENVIRONMENTS = ("dev", "staging", "prod")

#: Seconds until everything must be ready; a first start on a slow disk takes about ten.
READY_WITHIN = 120.0

#: Seconds until the broker must answer; loading a large append-only file takes its time.
BROKER_WITHIN = 60.0

#: Time that running bots get at the end, unless BOTKEEP_DRAIN_GRACE or `botkeep down --grace` says otherwise.
GRACE = timedelta(seconds=30)

#: Seconds for the runner's own limit, out of the way of ours: it ends its bots at our second SIGTERM, kills after
#: 10 more what ignores that, then reports.
RUNNER_GRACE, RUNNER_LAST = 86_400, 20.0

#: Seconds that every process must have lived for all to be ready: what cannot start says so within these.
SETTLED = 1.0

#: Exit status of a runner whose name another living one has (EX_TEMPFAIL, sysexits.h(3head)).
NAME_TAKEN = 75

#: Seconds for which a runner that was killed keeps its name from the next, and a little for the last try.
NAME_FREE_WITHIN = 60.0

#: Seconds between two looks at what is still missing.
PAUSE = 0.05

#: Seconds in which the console must answer whether it is ready; it takes connections before it is there.
PROBE_WITHIN = 3.0

#: Seconds that a process with nothing to drain gets to stop.
STOP_WITHIN = 10.0

#: Nothing new fires, then what runs is drained and reported, then nobody needs the broker.
STOP_ORDER = ("scheduler", "runner", "console", "broker")

#: Bytes after which a log is moved aside; looked at about once a minute.
LOG_LIMIT = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Ready:
    """What there is once everything answers."""

    url: str
    home: str
    pid: int
    #: A link for the first sign-in; `None` once somebody has signed in.
    link: str | None = None


@dataclass(frozen=True, slots=True)
class Missing:
    """What keeps the installation from being ready, and whose log says more."""

    component: str
    what: str


class _StopAskedError(Exception):
    """A signal asked us to stop while we were still starting."""


def serve(
    home: Home,
    *,
    port: int,
    environ: Mapping[str, str],
    announce: Callable[[Ready], None],
    tell: Callable[[str], None],
) -> None:
    """Run everything until a signal asks to stop; `announce` is called once when all is ready.

    Raises:
        Refused: when the home is unusable or taken, or the port is busy.
        CliError: when a component does not start; the message ends with the last lines of its log.
    """

    def say(words: str) -> None:
        with writable_or_not():
            tell(words)

    prepare(home)
    with (
        private_files(),
        installation.locked(home),
        listening(port) as listener,
        Signals() as signals,
    ):
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        if count := installation.end_leftovers(home):
            say(f"Ended {count} processes that a killed `botkeep up` had left.")
        home.grace.unlink(missing_ok=True)
        _shorten_large_logs(home)
        supervisor = Supervisor(
            signals,
            say,
            changed=lambda: _note(home, address, supervisor),
            drained=lambda component: _was_drained(component, home, environ),
        )
        try:
            with contextlib.suppress(_StopAskedError):
                _start(supervisor, home, listener=listener, environ=_environment(home, environ), address=address)
                announce(Ready(address, str(home.path), os.getpid(), _first_link(home)))
                while not signals.stops:
                    signals.wait(supervisor.keep(time.monotonic()))
                    _shorten_large_logs(home)
                grace = duration(_grace(home, environ).total_seconds())
                say(f"Stopping; running jobs get {grace}, a second signal shortens it.")
        finally:
            supervisor.stop(STOP_ORDER, grace=_grace(home, environ).total_seconds())
            home.components.unlink(missing_ok=True)
            home.grace.unlink(missing_ok=True)


@contextlib.contextmanager
def writable_or_not() -> Iterator[None]:
    """Go on where the disk is full: that is no reason to end what runs."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise


@contextlib.contextmanager
def listening(port: int) -> Iterator[socket.socket]:
    """A socket that listens on the loopback address; port 0 takes any free one.

    Raises:
        Refused: when the port is taken or not allowed.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        # Lets a port be used again right after a stop; it is listening at once, so nobody else can take it.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen(512)
        except OSError as error:
            what = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror}"
            raise Refused(
                f"Port {port} {what}.",
                hint="Choose another with --port, or any free one with --port 0.",
                code="conflict",
            ) from None
        yield listener


def _start(
    supervisor: Supervisor, home: Home, *, listener: socket.socket, environ: dict[str, str], address: str
) -> None:
    if not environ.get("BOTKEEP_REDIS_URL"):
        embedded = broker.configure(home)
        supervisor.start(replace(_program(home, "broker", embedded.argv, environ), stdin=embedded.configuration))
        _until(supervisor, lambda: _broker_missing(embedded.url), within=BROKER_WITHIN)
    _prepare(supervisor, {"database": _program(home, "setup", module("runner.migrate"), environ)})
    token = ("token", "--name", "local", "--role", "admin", "--client-file", str(home.client), "--if-missing")
    _prepare(
        supervisor,
        {
            "keys": _program(home, "setup", module("vault", "keygen", "--all", "--if-missing"), environ),
            "token": _program(home, "setup", module("console", *token), environ),
        },
    )
    point_client_at(home, address)
    descriptor = listener.fileno()
    console = module("console", "--fd", str(descriptor))
    supervisor.start(replace(_program(home, "console", console, environ), inherited=(descriptor,)))
    supervisor.start(_program(home, "scheduler", module("scheduler"), environ))
    served = [part for name in ENVIRONMENTS for part in ("--environment", name)]
    limit = {"BOTKEEP_DRAIN_GRACE": str(RUNNER_GRACE)}
    runner = _program(home, "runner", module("runner.worker", *served), environ | limit)
    supervisor.start(replace(runner, grace=None, last=RUNNER_LAST))
    # The row of a killed runner looks alive for a while; its time tells them apart where we share the clock.
    since = None if environ.get("BOTKEEP_DATABASE_URL") else datetime.now(UTC)
    client = Client(read_client(home.client), timeout=PROBE_WITHIN)
    try:
        _until(supervisor, lambda: _anything_missing(supervisor, client, since=since), within=READY_WITHIN)
    finally:
        client.close()


def _prepare(supervisor: Supervisor, steps: Mapping[str, Program]) -> None:
    done = supervisor.finish(list(steps.values()))
    if supervisor.signals.stops:
        raise _StopAskedError
    for what, component in zip(steps, done, strict=True):
        if component.process is None or component.process.returncode:
            raise CliError(_with_log(f"The {what} could not be prepared: this {ended(component)}.", component))
    _none_died(supervisor)


def _until(supervisor: Supervisor, missing: Callable[[], Missing | None], *, within: float) -> None:
    deadline = time.monotonic() + within
    while found := missing():
        if supervisor.signals.stops:
            raise _StopAskedError
        _none_died(supervisor)
        if time.monotonic() > deadline:
            slow = next(c for c in supervisor.components if c.program.name == found.component)
            raise CliError(_with_log(f"Botkeep was not ready within {within:g} seconds: {found.what}.", slow))
        supervisor.signals.wait(PAUSE)
        supervisor.restart(time.monotonic())


def _broker_missing(url: str) -> Missing | None:
    return None if broker.answers(url) else Missing("broker", "the broker does not answer")


def _is_new(runner: Item, since: datetime | None) -> bool:
    started = parse_time(runner.get("started_at"))
    return since is None or (started is not None and started >= since)


def _anything_missing(supervisor: Supervisor, client: Client, *, since: datetime | None) -> Missing | None:
    for component in supervisor.components:
        if time.monotonic() - component.started < SETTLED:
            return Missing(component.program.name, f"the {component.program.name} has only just started")
    try:
        status = client.probe("/readyz").status
        if status != 200:
            return Missing("console", f"the console answers with HTTP status {status}")
        runners = client.ask("GET", "/api/v1/runners").get("items") or []
    except CliError as error:
        return Missing("console", error.message.rstrip("."))
    if not any(runner.get("state") == "online" and _is_new(runner, since) for runner in runners):
        return Missing("runner", "no runner is online")
    return None


def _none_died(supervisor: Supervisor) -> None:
    for component in supervisor.dead():
        if _waits_for_its_name(component):
            supervisor.bury(component, time.monotonic())
            continue
        raise CliError(_with_log(f"The {component.program.name} did not start: it {ended(component)}.", component))


def _waits_for_its_name(component: Component) -> bool:
    """Whether this may be a runner that was refused because of one that was killed, and is not yet lost."""
    code = component.process.returncode if component.process else None
    recent = time.monotonic() - component.first_started < NAME_FREE_WITHIN
    return component.program.name == "runner" and code == NAME_TAKEN and recent


def _first_link(home: Home) -> str | None:
    """A link for the first admin, for as long as nobody was ever signed in; each start makes a new one."""
    client = Client(read_client(home.client), timeout=PROBE_WITHIN)
    try:
        answer = client.ask("POST", path_of("first-link"))
    except CliError:
        return None  # all is ready; another link is a command away
    finally:
        client.close()
    return str(answer["url"]) if answer.get("url") else None


def _was_drained(component: Component, home: Home, environ: Mapping[str, str]) -> bool:
    """Whether this is a runner that ended because the console was told to drain it."""
    if component.program.name != "runner" or component.process is None or component.process.returncode != 0:
        return False
    name = environ.get("BOTKEEP_RUNNER_NAME") or socket.gethostname()
    try:
        client = Client(read_client(home.client), timeout=PROBE_WITHIN)
        with contextlib.closing(client):
            runners = (item for page in client.pages(path_of("runners")) for item in page)
            return any(item.get("name") == name and item.get("drain_requested_at") for item in runners)
    except CliError:
        # Nobody can be asked: better a runner too many, which a second drain ends, than jobs that wait for ever.
        return False


def _with_log(message: str, component: Component) -> str:
    log = component.program.log
    lines = last_lines(log, since=component.log_before)
    shown = "".join(f"\n  {line}" for line in lines)
    return f"{message} Its log, {log}, {'ends with:' if lines else 'says nothing.'}{shown}"


def point_client_at(home: Home, address: str) -> None:
    """Make `client.toml` name this address; the token in it stays."""
    token = read_client(home.client).token if home.client.exists() else ""
    if not token:
        raise CliError(f"The console left no token in {home.client}.", hint="Look at logs/setup.log in the home.")
    write_client(home, Connection(address, token))


def write_client(home: Home, target: Connection) -> None:
    """Write `client.toml`; neither part needs escaping in TOML, which is checked."""
    if any(character in text for text in (target.url, target.token) for character in '"\\\n'):
        raise CliError("The address or the token holds a character that client.toml cannot hold.")
    write_private(home.client, f'url = "{target.url}"\ntoken = "{target.token}"\n')


def _program(home: Home, name: str, argv: tuple[str, ...], environ: dict[str, str]) -> Program:
    return Program(name, argv, home.log(name), environ, grace=STOP_WITHIN)


def _environment(home: Home, environ: Mapping[str, str]) -> dict[str, str]:
    ours = environment(environ) | {"BOTKEEP_HOME": str(home.path)}
    if os.geteuid() == 0:
        # A runner by itself refuses to be root; whoever starts everything as root was warned and meant it.
        ours.setdefault("BOTKEEP_RUN_AS_ROOT", "true")
    return ours


def _note(home: Home, address: str, supervisor: Supervisor) -> None:
    with writable_or_not():
        installation.note(home, url=address, processes=[_running(component) for component in supervisor.components])


def _running(component: Component) -> installation.Running:
    pid = component.pid
    return installation.Running(
        component.program.name,
        pid,
        installation.began(pid) if pid else None,
        component.restarts,
        component.drained,
    )


def _grace(home: Home, environ: Mapping[str, str]) -> timedelta:
    for text in (_asked_for(home), environ.get("BOTKEEP_DRAIN_GRACE", "")):
        with contextlib.suppress(ValueError, OverflowError):
            return timedelta(seconds=float(text))
    return GRACE


def _asked_for(home: Home) -> str:
    try:
        return home.grace.read_text()
    except OSError:
        return ""


def _shorten_large_logs(home: Home) -> None:
    # Copied and cut, not renamed: a process goes on writing to the file it has open, from its new end on.
    for log in home.logs.glob("*.log"):
        with contextlib.suppress(OSError):
            if log.stat().st_size > LOG_LIMIT:
                shutil.copyfile(log, log.with_suffix(".log.1"))
                os.truncate(log, 0)


def warn_about_root(tell: Callable[[str], None], environ: Mapping[str, str]) -> None:
    """Say what running as root means, when we do."""
    if words := root.warning(environ):
        tell(f"Warning: {words} Use a plain user.")
    sys.stderr.flush()
