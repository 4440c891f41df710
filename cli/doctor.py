"""`botkeep doctor`: looks at what a new operator gets wrong and says the mend; changes nothing.

Each check answers findings; a check that cannot look says so instead of passing. No finding ever quotes a
key, a password or a token.
"""

from __future__ import annotations

import ctypes
import platform
import shutil
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from cli import processes, resp, root
from cli.client import Client, Probe
from cli.connection import connection
from cli.database_checks import check_database, check_schema
from cli.errors import CliError
from cli.finding import Finding, private
from cli.home import PASSAGE, Home, given_back, strange
from cli.key_checks import check_keys
from cli.row_checks import check_rows

#: Seconds between our clock and the console's that are noticed, and that are a fault.
CLOCK_WARN, CLOCK_FAIL = 5.0, 60.0

#: Free bytes below which a home's disk is as good as full: what one log takes before it is shortened.
FREE_FAIL = 32 * 2**20

#: The ABI of Landlock from which signals and abstract sockets are kept apart, too (Linux 6.12).
SCOPED_SINCE = 6


def examine(home: Home, environ: Mapping[str, str], *, now: Callable[[], datetime]) -> Iterator[Finding]:
    """Every finding, in the order in which a mend is best done."""
    checks = {
        "user": check_user(environ),
        "python": check_python(),
        "isolation": check_isolation(),
        "bot users": check_bot_users(home, environ),
        "home": check_home(home),
        "keys": check_keys(home, environ),
        "local values": check_local_values(home, environ),
        "database": check_database(home, environ),
        "schema": check_schema(home, environ),
        "rows": check_rows(home, environ),
        "broker": check_broker(home, environ),
        "client": check_console(home, environ, now=now),
    }
    for name, check in checks.items():
        try:
            yield from check
        except PermissionError as error:
            place = error.filename or home.path
            yield Finding(name, "fail", f"{place} cannot be looked at: {error.strerror}.", "Run this as its owner.")


def check_user(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Whether bots, or what builds their environments, would run with all power."""
    if words := root.warning(environ):
        yield Finding("user", "warn", words, "Use a plain user.")
    else:
        yield Finding("user", "ok", "Not root.")


def check_python() -> Iterator[Finding]:
    """Whether the Python that all our processes and most bots run on was built to be fast."""
    yield judge_python(sysconfig.get_config_var("CONFIG_ARGS") or "", prefix=sys.base_prefix)


def judge_python(arguments: str, *, prefix: str) -> Finding:
    """The finding about a Python in `prefix` that was built with these arguments of its `configure`.

    Distributions optimise theirs by other means than the argument.
    """
    version = platform.python_version()
    if "--enable-optimizations" in arguments or prefix == "/usr":
        return Finding("python", "ok", f"Python {version}, optimised.")
    message = f"Python {version} in {prefix} was built without optimisation: a job takes a fifth more of the processor."
    mend = "Install Botkeep with the system's Python, or build this one with --enable-optimizations."
    return Finding("python", "warn", message, mend)


def check_isolation() -> Iterator[Finding]:
    """What this kernel gives to keep bots apart, should this host be a runner's."""
    yield judge_landlock(_landlock())
    if shutil.which("bwrap"):
        yield Finding("sandbox", "ok", "bubblewrap is installed.")
    else:
        message = 'bubblewrap is not installed; bots with isolation "sandbox" do not start here.'
        yield Finding("sandbox", "ok", message)


def judge_landlock(version: int) -> Finding:
    """The finding about a kernel whose Landlock has this ABI, 0 for none."""
    if version >= SCOPED_SINCE:
        return Finding("landlock", "ok", f"Landlock ABI {version}: bots cannot reach each other.")
    mend = "Use Linux 6.12 or newer, or give each bot a user of its own (BOTKEEP_BOT_USERS, docs/OPERATIONS.md)."
    if version:
        message = f"Landlock ABI {version}: bots of one user can signal each other, and meet at abstract sockets."
        return Finding("landlock", "warn", message, mend)
    message = "This kernel has no Landlock, or a container's rules hide it: bots of one user can reach each other."
    return Finding("landlock", "warn", message, mend)


def check_bot_users(home: Home, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Whether each bot gets a user of its own, and whether that can work, as the runner's own code says."""
    if not environ.get("BOTKEEP_BOT_USERS"):
        message = "Bots run as the runner's user; BOTKEEP_BOT_USERS would give each a user of its own."
        yield Finding("bot users", "ok", message)
        return
    found = processes.answer_of("runner.worker.findings", home=home.path, environ=environ)
    if not isinstance(found, list):
        yield Finding("bot users", "fail", "They cannot be asked for.", "Run `python -m runner.worker.findings`.")
        return
    for each in found:
        yield Finding("bot users", each["level"], each["message"], each["mend"])


def _landlock() -> int:
    """The kernel's ABI, by landlock_create_ruleset(2) with LANDLOCK_CREATE_RULESET_VERSION."""
    zero, null = ctypes.c_long(0), ctypes.c_void_p(None)
    return max(0, int(ctypes.CDLL(None).syscall(ctypes.c_long(444), null, zero, ctypes.c_long(1))))


def check_home(home: Home) -> Iterator[Finding]:
    """Whether the home, and what is in it, is its owner's alone, and whether it has room."""
    if not home.path.is_dir():
        yield Finding("home", "warn", f"{home.path} does not exist.", "Run `botkeep up`, or set BOTKEEP_HOME.")
        return
    found = private("home", home.path, 0o700, but=PASSAGE)
    if found.level == "ok" and (foreign := strange(home)):
        found = Finding("home", "fail", f"{foreign} belongs to another user.", given_back(home))
    yield found
    yield judge_disk(home, shutil.disk_usage(home.path).free)


def judge_disk(home: Home, free: int) -> Finding:
    """The finding about so many free bytes where the home is."""
    if free < FREE_FAIL:
        mend = "Make room there: nothing can be written, and jobs wait."
        return Finding("disk", "fail", f"The disk of {home.path} has {free // 2**20} MiB left.", mend)
    return Finding("disk", "ok", f"The disk of {home.path} has room.")


def check_local_values(home: Home, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Whether values that live on this host can be opened, as their own process says; silent where there are none."""
    if not (home.path / "local" / "values.json").exists():
        return
    found = processes.answer_of("runner.worker.local", "status", "--json", home=home.path, environ=environ)
    if found is None:
        yield Finding("local values", "fail", "They cannot be asked for.", "Run `botkeep local status` to see why.")
        return
    yield judge_local_values(found)


def judge_local_values(found: Mapping[str, Any]) -> Finding:
    """The finding about local values that told about themselves."""
    error, waiting = found.get("error"), found.get("waiting") or []
    if isinstance(error, dict):
        return Finding("local values", "fail", str(error.get("message")), "See docs/LOCAL-VALUES.md.")
    if found.get("locked") and waiting:
        message = f"They are locked, and these bots need them: {', '.join(map(str, waiting))}."
        return Finding("local values", "fail", message, "Run `botkeep local unlock`.")
    if found.get("locked"):
        return Finding("local values", "warn", "They are locked; no bot needs them now.", "Run `botkeep local unlock`.")
    numbers = f"{found.get('set')} set, {found.get('missing')} missing, {found.get('orphans')} orphans"
    return Finding("local values", "ok", f"{numbers}; the key is protected as {found.get('protection')}.")


def check_broker(home: Home, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Whether the broker answers, keeps what it is told, and evicts nothing."""
    url, where = environ.get("BOTKEEP_REDIS_URL", ""), "BOTKEEP_REDIS_URL"
    if not url:
        where = str(home.broker_url)
        if not home.broker_url.exists():
            yield Finding("broker", "warn", "There is no broker yet.", "Run `botkeep up`, or set BOTKEEP_REDIS_URL.")
            return
        yield private("broker address", home.broker_url, 0o600)
        url = home.broker_url.read_text().strip()
    try:
        (text,) = resp.ask(resp.parse_address(url), ("INFO",))
    except resp.ReplyError as error:
        yield _refused_by_broker(error, where=where)
        return
    except ValueError:
        mend = "Write redis://:PASSWORD@HOST:PORT/0, with special characters of the password percent-encoded."
        yield Finding("broker", "fail", f"What is in {where} is not an address.", mend)
        return
    except OSError as error:
        reason = type(error).__name__
        yield Finding("broker", "fail", f"The broker cannot be asked ({reason}).", "Start it, or check its address.")
        return
    yield from judge_broker(dict(line.split(":", 1) for line in str(text).splitlines() if ":" in line))


def jobs_wait(home: Home, environ: Mapping[str, str]) -> str | None:
    """Why jobs would wait now though all our processes are ready, and the mend; nothing where they would start."""
    for found in check_broker(home, environ):
        if (found.name, found.level) == ("broker", "fail"):
            return f"Jobs wait until this is mended. {found.message} {found.mend}"
    return None


def _refused_by_broker(error: resp.ReplyError, *, where: str) -> Finding:
    # The first word is the kind; what follows is the server's, and may repeat what it was sent.
    kind = str(error).partition(" ")[0]
    if kind in {"WRONGPASS", "NOAUTH", "NOPERM"}:
        return Finding(
            "broker", "fail", f"The broker does not let us in ({kind}).", f"Correct user and password in {where}."
        )
    return Finding("broker", "fail", f"The broker refuses to answer ({kind}).", "Look at its log, then try again.")


def judge_broker(info: Mapping[str, str]) -> Iterator[Finding]:
    """The findings about a broker that told about itself."""
    name = "Valkey" if info.get("server_name") == "valkey" else "Redis"
    version = info.get("valkey_version") or info.get("redis_version", "?")
    yield Finding("broker", "ok", f"{name} {version} answers.")
    if info.get("aof_enabled") == "1":
        yield Finding("broker persistence", "ok", "Append-only file is on.")
    else:
        mend = "Set `appendonly yes`: without it queued jobs wait for the rescuer after a restart."
        yield Finding("broker persistence", "warn", "Append-only file is off.", mend)
    policy = info.get("maxmemory_policy", "unknown")
    if policy == "noeviction":
        yield Finding("broker eviction", "ok", "Nothing is evicted.")
    else:
        mend = "Set `maxmemory-policy noeviction`: any other drops jobs' messages."
        yield Finding("broker eviction", "fail", f"The eviction policy is {policy}.", mend)
    if info.get("cluster_enabled") == "1":
        yield Finding("broker cluster", "fail", "This is a Redis Cluster.", "Use a single server.")


def check_console(home: Home, environ: Mapping[str, str], *, now: Callable[[], datetime]) -> Iterator[Finding]:
    """Whether the client knows the console, and what the console says of its stores."""
    try:
        target = connection(environ, home)
    except CliError as error:
        yield Finding("client", "fail", error.message, error.hint)
        return
    yield Finding("client", "ok", f"The console is at {target.url}.")
    if target.url.startswith("http://") and not _is_local(target.url):
        yield Finding("client", "warn", "The token travels unencrypted.", "Use an https:// address.")
    client = Client(target)
    try:
        yield from judge_ready(client.probe("/readyz"), now=now())
        client.ask("GET", "/api/v1/bots", query={"limit": 1})
        yield Finding("token", "ok", "The console takes the token.")
    except CliError as error:
        yield Finding("console", "fail", error.message, error.hint)
    finally:
        client.close()


def judge_ready(ready: Probe, *, now: datetime) -> Iterator[Finding]:
    """The findings about a console that answered on its readiness."""
    detail = ", ".join(f"{name} {ready.body[name]}" for name in ("database", "broker") if name in ready.body)
    if ready.status == 200:
        yield Finding("console", "ok", f"It is ready ({detail})." if detail else "It is ready.")
    else:
        error = ready.body.get("error")
        said = error.get("message", "") if isinstance(error, dict) else detail
        mend = "Look at the console's log; `botkeep status` shows what runs."
        yield Finding("console", "fail", f"It is not ready (HTTP {ready.status}). {said}".strip(), mend)
    import importlib.metadata  # noqa: PLC0415 - it takes longer to import than this whole module

    ours = importlib.metadata.version("botkeep")
    theirs = ready.body.get("version")
    if theirs and theirs != ours:
        yield Finding("version", "warn", f"Here is {ours}, the console is {theirs}.", "Install the same version.")
    else:
        yield Finding("version", "ok", f"Botkeep {ours}.")
    if ready.at is not None:
        yield _clock(abs((ready.at.astimezone(UTC) - now).total_seconds()))


def _clock(difference: float) -> Finding:
    message = f"The console's clock differs by {difference:.0f} s."
    mend = "Let both hosts keep time with NTP."
    if difference >= CLOCK_FAIL:
        return Finding("clock", "fail", message, mend)
    if difference >= CLOCK_WARN:
        return Finding("clock", "warn", message, mend)
    return Finding("clock", "ok", message)


def _is_local(url: str) -> bool:
    return url.partition("://")[2].split("/")[0].split(":")[0] in ("127.0.0.1", "localhost", "[")
