"""Virtual environments of bots, built by uv and kept by content below one folder.

    ROOT/{key}/bin/python     ready for use: it is only ever renamed into place whole, then marked
    ROOT/{key}/.last-used     the mark; its modification time is the last use, for whoever prunes
    ROOT/.building/           what is being built, and remains of builders that died
    ROOT/.locks/{key}         flock(2) of one builder among all threads and processes
    ROOT/.cache/              of uv, unless the operator names one: with it a rebuild needs no network

The key covers the canonical dependencies, the interpreter and the platform. Bots without dependencies share a
bare environment, so that they see nothing that is installed beside Botkeep.

Promises that an environment is built once however many ask for it at the same time; that a failed, stopped or
killed build leaves nothing that is mistaken for an environment; and that the programs of a build, which
packages may bring along, get the variables of `allowed` and no others: no asset is in their environment.
Refuses to use an interpreter that the bot's `requires-python` excludes, and to download another.
Known limit: a build runs as the worker's user and is not confined beyond its environment.

    RunnerError
    └── EnvironmentBuildFailed
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import uv
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from runner.dependencies import Dependencies
from runner.errors import RunnerError
from runner.worker.interpreters import Interpreter
from runner.worker.told import Told
from runner.worker.trust import system_certificates

#: Changed when environments are built differently, so that old ones are not taken for new ones.
FORMAT = "1"

#: What a build's commands run below.
_GUARD = str(Path(__file__).with_name("guard.py"))

#: What a build may take; set-up with compiled packages from source is minutes.
LIMIT = timedelta(minutes=15)

#: Bytes of a build's output that are kept: its end, where the error is.
MAX_LOG = 64 * 1024

#: Seconds for which an environment counts as used; marking it writes to the disk.
MARK_AFTER = 60.0

#: Lines of uv that an error shows; its explanation of a conflict is at the end.
LAST_LINES = 12

#: Seconds after which a waiting builder looks at its deadline and its `stop`.
_TICK = 0.1

_ALLOWED = re.compile(
    r"PATH|LANG|LC_[A-Z]+|TZ|SSL_CERT_FILE|SSL_CERT_DIR|REQUESTS_CA_BUNDLE|UV_[A-Z0-9_]+|PIP_[A-Z0-9_]+"
    r"|(?:HTTP|HTTPS|ALL|NO|FTP)_PROXY|(?:http|https|all|no|ftp)_proxy",
    re.ASCII,
)

#: Settings of uv that would point it elsewhere, weaken hashes, or are none of a build's business.
_NOT_FOR_BUILDS = re.compile(
    r"UV_(?:PUBLISH_.*|PROJECT.*|WORKING_DIR.*|SYSTEM_PYTHON|.*MANAGED_PYTHON|PYTHON.*|VENV_.*|NO_VERIFY_HASHES)",
    re.ASCII,
)

_CHECK = "import os, sys; sys.exit(not os.path.samefile(sys.prefix, sys.argv[1]))"


class EnvironmentBuildFailed(RunnerError):
    """A virtual environment could not be built. `log` is the build's output, for the job's log."""

    def __init__(self, message: str, *, log: str) -> None:
        super().__init__(message)
        self.log = log


@dataclass(frozen=True, slots=True)
class VirtualEnvironment:
    """An environment that is ready. `log` is the output of its build, empty when it was there already."""

    key: str
    python: Path
    log: str


def environment_key(dependencies: Dependencies | None, *, interpreter: Interpreter) -> str:
    """SHA-256, in hex, of all that decides what an environment holds."""
    parts = [
        FORMAT,
        _text(dependencies),
        str(interpreter.executable),
        interpreter.version,
        interpreter.platform,
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def allowed(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that a build may see: PATH, locale, certificates, proxies, package indexes."""
    names = [name for name in environ if _ALLOWED.fullmatch(name) and not _NOT_FOR_BUILDS.fullmatch(name)]
    return {name: environ[name] for name in names}


def provide(
    dependencies: Dependencies | None,
    *,
    root: Path,
    interpreter: Interpreter,
    environ: Mapping[str, str],
    limit: timedelta = LIMIT,
    stop: threading.Event | None = None,
    tell: Callable[[str], None] = lambda _lines: None,
) -> VirtualEnvironment:
    """Returns the environment for these dependencies, building it first where there is none.

    Blocks while another thread or process builds the same one. `environ` is the worker's own environment, of
    which a build gets the `allowed` part. `limit` bounds one build; `stop` ends it, or the wait for it. What the build
    prints is given to `tell` as it comes, at most `MAX_LOG` bytes and the end of them in any case, and while nothing
    comes an empty text each tick.

    Raises:
        EnvironmentBuildFailed: the interpreter does not suit, a requirement cannot be had, or it was ended.
    """
    if (found := ready(dependencies, root=root, interpreter=interpreter)) is not None:
        return found
    wanted = _wanted(dependencies, root, interpreter)
    home, stop = root / wanted.key, stop or threading.Event()
    for folder in (root, root / ".building", root / ".locks", root / ".cache"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(root / ".locks" / wanted.key, stop, tell):
        if _use(wanted):
            return wanted
        deadline = time.monotonic() + limit.total_seconds()
        told = Told(tell, limit=MAX_LOG)
        log = _build(dependencies, home, interpreter, environ=environ, deadline=deadline, stop=stop, told=told)
    return replace(wanted, log=log)


def ready(dependencies: Dependencies | None, *, root: Path, interpreter: Interpreter) -> VirtualEnvironment | None:
    """The environment for these dependencies, which then counts as used; `None` where it must be built first.

    Raises:
        EnvironmentBuildFailed: the interpreter does not suit.
    """
    wanted = _wanted(dependencies, root, interpreter)
    return wanted if _use(wanted) else None


@functools.lru_cache(maxsize=1024)
def _wanted(dependencies: Dependencies | None, root: Path, interpreter: Interpreter) -> VirtualEnvironment:
    _check_version(dependencies, interpreter)
    key = environment_key(dependencies, interpreter=interpreter)
    return VirtualEnvironment(key, root / key / "bin" / "python", "")


def _text(dependencies: Dependencies | None) -> str:
    return dependencies.text if dependencies else ""


def _check_version(dependencies: Dependencies | None, interpreter: Interpreter) -> None:
    if dependencies and not SpecifierSet(dependencies.python).contains(interpreter.version, prereleases=True):
        raise EnvironmentBuildFailed(
            f"The bot asks for Python {dependencies.python} ({dependencies.source}), but this runner has "
            f"Python {interpreter.version}. Use a runner with that Python, or widen 'requires-python'.",
            log="",
        )


def _use(environment: VirtualEnvironment) -> bool:
    """Marks an environment as used; False where there is none, or its interpreter was removed."""
    python = str(environment.python)
    mark = python.removesuffix("bin/python") + ".last-used"
    try:
        if time.time() - os.stat(mark).st_mtime > MARK_AFTER:  # noqa: PTH116 - a path object costs more than the look
            os.utime(mark)
    except FileNotFoundError:
        return False
    return os.access(python, os.X_OK)


@contextlib.contextmanager
def _locked(path: Path, stop: threading.Event, tell: Callable[[str], None]) -> Iterator[None]:
    """Holds an flock(2), which the death of its process ends. Removing the file would race."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    waits = False
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                tell("" if waits else "Waiting for another job that builds the same virtual environment.")
                waits = True
                if stop.wait(_TICK):
                    raise _stopped("") from None
        yield
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class _Build:
    """A build under way: everything of it lies in `place`. `deadline` is on the monotonic clock."""

    place: Path
    dependencies: Dependencies | None
    variables: dict[str, str]
    deadline: float
    stop: threading.Event
    told: Told

    @property
    def environment(self) -> Path:
        return self.place / "environment"

    @property
    def output(self) -> Path:
        return self.place / "output"


def _build(
    dependencies: Dependencies | None,
    home: Path,
    interpreter: Interpreter,
    *,
    environ: Mapping[str, str],
    deadline: float,
    stop: threading.Event,
    told: Told,
) -> str:
    building = home.parent / ".building"
    for remains in building.glob(f"{home.name}.*"):
        shutil.rmtree(remains, ignore_errors=True)
    place = Path(tempfile.mkdtemp(prefix=f"{home.name}.", dir=building))
    try:
        build = _Build(place, dependencies, _variables(environ, place, home.parent), deadline, stop, told)
        _introduce(build, interpreter)
        for argv in _commands(build, interpreter):
            _run(argv, build)
        _publish(build, home)
        return _log(build)
    finally:
        with contextlib.suppress(FileNotFoundError):
            told.end(place / "output")
        shutil.rmtree(place, ignore_errors=True)


def _variables(environ: Mapping[str, str], place: Path, root: Path) -> dict[str, str]:
    """Copies instead of uv's hard links: a bot that writes into its environment must not reach uv's cache."""
    for folder in ("home", "tmp"):
        (place / folder).mkdir(mode=0o700)
    defaults = {"UV_CACHE_DIR": str(root / ".cache"), "UV_LINK_MODE": "copy", **system_certificates()}
    own = {"HOME": str(place / "home"), "TMPDIR": str(place / "tmp"), "UV_PYTHON_DOWNLOADS": "never"}
    return defaults | allowed(environ) | own


def _introduce(build: _Build, interpreter: Interpreter) -> None:
    found = build.dependencies
    what = f"from {found.source}" if found and found.text else "without packages"
    build.output.write_text(f"Building a virtual environment {what} for Python {interpreter.version}.\n")


def _commands(build: _Build, interpreter: Interpreter) -> Iterator[list[str]]:
    """Relocatable, for it is renamed when done; without configuration files, which could redirect uv."""
    try:
        program = uv.find_uv_bin()
    except FileNotFoundError:
        raise EnvironmentBuildFailed("uv is missing beside Botkeep; install Botkeep again.", log="") from None
    common = ["--color", "never", "--no-progress"]
    if "UV_CONFIG_FILE" not in build.variables:
        common.append("--no-config")
    python = str(interpreter.executable)
    created = ["--quiet", "--no-project", "--relocatable", "--python", python, str(build.environment)]
    yield [program, "venv", *common, *created]
    if not (build.dependencies and build.dependencies.text):
        return
    listed = build.dependencies.text.splitlines()
    options = ["--require-hashes"] if build.dependencies.hashed else []
    options += ["--prerelease", "allow"] if "--pre" in listed else []
    requirements = build.place / "requirements.txt"
    requirements.write_text("".join(f"{line}\n" for line in listed if line not in ("--pre", "--require-hashes")))
    python = str(build.environment / "bin" / "python")
    options += ["--compile-bytecode", "--python", python, "--requirements", str(requirements)]
    yield [program, "pip", "install", *common, *options]


def _publish(build: _Build, home: Path) -> None:
    """Moves the environment into place, sees that it works there, and only then marks it as ready."""
    _discard(home, build)
    build.environment.rename(home)
    try:
        _run([str(home / "bin" / "python"), "-I", "-c", _CHECK, str(home)], build)
        (home / ".last-used").touch(mode=0o600)
    except BaseException:
        _discard(home, build)
        raise


def _discard(home: Path, build: _Build) -> None:
    """Takes an environment away in one step, so that nobody finds half of it."""
    with contextlib.suppress(FileNotFoundError):
        home.rename(Path(tempfile.mkdtemp(dir=build.place)) / "discarded")


def _run(argv: Sequence[str], build: _Build) -> None:
    """Runs one command in a process group of its own, of which nothing is left afterwards, or when we are killed."""
    with build.output.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", _GUARD, str(os.getpid()), *argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=build.variables,
            cwd=build.place,
            start_new_session=True,
        )
    try:
        ended = _ended(process.pid, build)
    finally:
        # Before the command is waited for: until then its number, which is the group's, cannot be another's.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        build.told.look(build.output)
    if not ended:
        raise (_stopped(_log(build)) if build.stop.is_set() else _failed("took too long and was stopped", build))
    if process.returncode:
        raise _failed(f"failed (exit status {process.returncode})", build)


def _ended(pid: int, build: _Build) -> bool:
    """Whether the process ended by itself before the deadline and before `stop` was set."""
    handle = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        while not poll.poll(_TICK * 1000):
            build.told.look(build.output)
            if build.stop.is_set() or time.monotonic() >= build.deadline:
                return False
        return True
    finally:
        os.close(handle)


def _log(build: _Build) -> str:
    with build.output.open("rb") as output:
        size = output.seek(0, os.SEEK_END)
        output.seek(max(0, size - MAX_LOG))
        return output.read().decode(errors="replace")


def _stopped(log: str) -> EnvironmentBuildFailed:
    message = "The build of the virtual environment was called off; run the bot again."
    return EnvironmentBuildFailed(message, log=log)


def _failed(what: str, build: _Build) -> EnvironmentBuildFailed:
    log = _log(build)
    end = "\n".join([line for line in log.splitlines()[1:] if line.strip()][-LAST_LINES:])
    source = build.dependencies.source if build.dependencies else ""
    blamed = _blamed(build.dependencies, end)
    names = f" of {', '.join(blamed)} from {source}" if blamed else ""
    return EnvironmentBuildFailed(
        f"The installation{names} {what}. Correct the requirement, or make the package available to this "
        f"runner. uv said at the end:\n{end}",
        log=log,
    )


def _blamed(dependencies: Dependencies | None, output: str) -> list[str]:
    """The requirements that uv's words name, else all of them, at most five."""
    requirements = dependencies.requirements if dependencies else ()
    said = canonicalize_name(output)
    names = {one: re.escape(canonicalize_name(Requirement(one).name)) for one in requirements}
    named = [one for one, name in names.items() if re.search(rf"(?<![\w-]){name}(?!\w|-[a-z])", said)]
    return [*(named or requirements)][:5]
