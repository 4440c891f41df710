"""Keeps processes running: starts them, starts again with back-off what dies, stops them in order.

Each process is a session of its own, so Ctrl-C reaches the supervisor alone and it decides the order; each is
on a leash, so that none outlives a supervisor that was killed. What they print goes to their logs.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Self

from cli import leash
from cli.home import open_log

#: Seconds before the first restart; doubled each time up to the last figure.
FIRST_DELAY, LAST_DELAY = 0.5, 30.0

#: Seconds after which a process that ran counts as healthy, and its next death as its first.
HEALTHY = 60.0

#: Seconds that a process without anything to drain gets to stop, and again after the second signal.
SHORT = 5.0

#: Seconds that each process gets once a further signal asked to hurry.
HURRIED = 1.0

_STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Program:
    """What to run under which name, and how long it may take to stop.

    `grace`: seconds from the first SIGTERM to the second, `None` for what whoever stops it says; `last`: from
    there to SIGKILL.
    """

    name: str
    argv: tuple[str, ...]
    log: Path
    environment: Mapping[str, str]
    stdin: Path = Path(os.devnull)
    inherited: tuple[int, ...] = ()
    grace: float | None = SHORT
    last: float = SHORT


@dataclass(slots=True)
class Component:
    """A program, its process if there is one, and how it has been doing.

    `log_before`: bytes of log before that; `drained`: it ended because it was asked to, and stays away.
    """

    program: Program
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    first_started: float = 0.0
    log_before: int = 0
    deaths: int = 0
    restarts: int = 0
    due: float | None = None
    drained: bool = False

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self.process.pid if self.process and self.process.returncode is None else None


class Signals:
    """The signals that stop this process, and the deaths of children, as events to wait for.

    Used as a context; must be entered in the main thread. Inside it no such signal interrupts anything.
    """

    def __init__(self) -> None:
        self.stops = 0
        self._reader, self._writer = -1, -1
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in (*_STOPPING, signal.SIGCHLD):
            # What `nohup` or a shell's `&` told us to ignore stays ignored.
            if number == signal.SIGCHLD or signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._arrived)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        signal.set_wakeup_fd(-1)
        os.close(self._reader)
        os.close(self._writer)

    def wait(self, timeout: float) -> None:
        """Return when a signal arrived, or after `timeout` seconds."""
        select.select([self._reader], [], [], max(0.0, timeout))
        with contextlib.suppress(BlockingIOError):
            os.read(self._reader, 512)

    def _arrived(self, number: int, _: FrameType | None) -> None:
        if number in _STOPPING:
            self.stops += 1


@dataclass(slots=True)
class Supervisor:
    """The components of one installation; `tell` gets a sentence about everything that goes wrong.

    `drained` says whether a component that ended was asked to; it is then not started again.
    """

    signals: Signals
    tell: Callable[[str], None]
    changed: Callable[[], None]
    drained: Callable[[Component], bool]
    components: list[Component] = field(default_factory=list)

    def start(self, program: Program) -> Component:
        """Start a program that is to be kept running."""
        component = Component(program)
        self.components.append(component)
        self._spawn(component)
        return component

    def finish(self, programs: Sequence[Program]) -> list[Component]:
        """Run programs side by side to their ends; they are ended early when a signal asks us to stop."""
        components = [Component(program) for program in programs]
        for component in components:
            self._spawn(component)
        while any(component.pid and component.process and component.process.poll() is None for component in components):
            if self.signals.stops:
                for component in components:
                    self._end(component, grace=SHORT)
            self.signals.wait(1.0)
        return components

    def dead(self) -> list[Component]:
        """The components whose process ended since the last look."""
        waited_for = (c for c in self.components if c.process and c.due is None and not c.drained)
        return [c for c in waited_for if c.process and c.process.poll() is not None]

    def keep(self, now: float) -> float:
        """Note the dead, start again what is due; the seconds until the next thing is due."""
        for component in self.dead():
            self.bury(component, now)
        self.restart(now)
        return min((c.due - now for c in self.components if c.due is not None), default=HEALTHY)

    def bury(self, component: Component, now: float) -> None:
        """Note that a component is dead, and when it is due again."""
        name = component.program.name
        if self.drained(component):
            component.drained = True
            self.tell(f"The {name} was drained and has ended; the next `botkeep up` starts it again.")
            self.changed()
            return
        component.deaths = 1 if now - component.started > HEALTHY else component.deaths + 1
        delay = backoff(component.deaths)
        component.due = now + delay
        self.tell(f"The {name} {ended(component)}; it starts again in {delay:g} s. Its log: {component.program.log}")
        self.changed()

    def restart(self, now: float) -> None:
        """Start again what is due."""
        for component in self.components:
            if component.due is not None and component.due <= now:
                component.restarts += 1
                self._spawn(component)

    def stop(self, order: Sequence[str], *, grace: float) -> None:
        """Stop everything, one component after the other; `grace` is for those without one of their own.

        A further stopping signal shortens what is left to `HURRIED` seconds.
        """
        begun = self.signals.stops
        for name in order:
            for component in self.components:
                if component.program.name == name:
                    own = component.program.grace
                    wanted = grace if own is None else own
                    self._end(component, grace=wanted if self.signals.stops == begun else HURRIED)
        for component in self.components:
            self._end(component, grace=SHORT)

    def _spawn(self, component: Component) -> None:
        program = component.program
        with program.stdin.open("rb") as stdin, open_log(program.log) as log:
            component.log_before = log.tell()
            component.process = subprocess.Popen(
                (sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), *program.argv),
                stdin=stdin,
                stdout=log,
                stderr=log,
                env=dict(program.environment),
                pass_fds=program.inherited,
                start_new_session=True,
            )
        component.started, component.due = time.monotonic(), None
        component.first_started = component.first_started or component.started
        self.changed()

    def _end(self, component: Component, *, grace: float) -> None:
        """SIGTERM, after the grace SIGTERM again, then SIGKILL; each stopping signal of ours is a step forward."""
        component.due = None
        steps = (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL)
        step, seen, deadline = 0, self.signals.stops, time.monotonic() + grace
        _signal(component, steps[0])
        while component.process and component.process.poll() is None:
            further = self.signals.stops - seen
            if further or time.monotonic() >= deadline:
                step = min(step + max(further, 1), len(steps) - 1)
                seen, deadline = self.signals.stops, time.monotonic() + component.program.last
                _signal(component, steps[step])
            self.signals.wait(min(1.0, deadline - time.monotonic()))
        self.changed()


def backoff(deaths: int) -> float:
    """Seconds to wait before the start after this many deaths in a row."""
    return float(min(LAST_DELAY, FIRST_DELAY * 2 ** (min(deaths, 16) - 1)))


def ended(component: Component) -> str:
    """How a component's process ended, as part of a sentence."""
    code = component.process.returncode if component.process else None
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit status {code}"


@contextlib.contextmanager
def private_files() -> Iterator[None]:
    """Everything created inside is for its owner only, in children as well."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def _signal(component: Component, number: signal.Signals) -> None:
    if component.process and component.process.poll() is None:
        component.process.send_signal(number)
