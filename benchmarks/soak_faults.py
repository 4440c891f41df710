"""The faults of the soak: drawn from a seeded generator, printed with their time, never two at the same moment.

Only SIGSTOP overlaps with others: a frozen runner is woken by a timer after more than a lease.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable

from benchmarks.soak_yard import Yard, lease
from tests.support import ProcessId

#: Seconds by which a frozen runner outsleeps its lease.
BEYOND = 3.0

#: Seconds for which a store stays away, at most.
AWAY = 4.0


class Faults:
    """What goes wrong, one after the other, until `until`."""

    def __init__(self, yard: Yard, *, seed: int, every: float) -> None:
        """`every`: mean seconds between the end of one fault and the next."""
        self._yard, self._every = yard, every
        self._random = random.Random(seed)
        self._begun = time.monotonic()
        self._frozen: list[tuple[threading.Timer, ProcessId]] = []
        self.counts: Counter[str] = Counter()

    def run(self, until: float) -> None:
        """Inject faults until `until` of the monotonic clock, then wake whatever is frozen."""
        kinds = self._kinds()
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, self._random.uniform(0.2, 2 * self._every)))
            if time.monotonic() < until:
                name, fault = self._random.choice(kinds)
                what = fault()
                if what:
                    self.counts[name] += 1
                    print(f"{time.monotonic() - self._begun:7.1f} s  {name}: {what}", flush=True)
        for timer, process in self._frozen:
            timer.cancel()
            process.send(signal.SIGCONT)

    def _kinds(self) -> list[tuple[str, Callable[[], str]]]:
        kinds: list[tuple[str, Callable[[], str]]] = [
            ("runner killed", lambda: self._signal("runner", signal.SIGKILL)),
            ("runner stopped", lambda: self._signal("runner", signal.SIGTERM)),
            ("runner frozen", self._freeze),
            ("scheduler killed", lambda: self._signal("scheduler", signal.SIGKILL)),
            ("console killed", lambda: self._signal("console", signal.SIGKILL)),
            ("spawner killed", lambda: self._below(0)),
            ("launcher killed", lambda: self._below(1)),
            ("Redis killed", self._redis),
            ("Redis flushed", self._flush),
        ]
        if self._yard.postgres is not None:
            kinds += [
                ("PostgreSQL immediate", lambda: self._postgres(signal.SIGQUIT)),
                ("PostgreSQL fast", lambda: self._postgres(signal.SIGINT)),
            ]
        return kinds

    def _signal(self, prefix: str, number: signal.Signals) -> str:
        running = self._yard.running(prefix)
        if not running:
            return ""
        chosen = self._random.choice(running)
        chosen.identity.send(number)
        return f"{chosen.name} {chosen.pid}"

    def _freeze(self) -> str:
        frozen = {process for _timer, process in self._frozen}
        running = [each for each in self._yard.running("runner") if each.identity not in frozen]
        if len(running) < 2:
            return ""  # one goes on, so that jobs do
        chosen, length = self._random.choice(running), lease() + BEYOND
        chosen.identity.send(signal.SIGSTOP)
        timer = threading.Timer(length, lambda: self._wake(chosen.identity))
        timer.daemon = True
        self._frozen.append((timer, chosen.identity))
        timer.start()
        return f"{chosen.name} {chosen.pid} for {length:g} s"

    def _wake(self, process: ProcessId) -> None:
        process.send(signal.SIGCONT)
        self._frozen = [(timer, each) for timer, each in self._frozen if each != process]

    def _below(self, which: int) -> str:
        running = self._yard.running("runner")
        found = [process for runner in running for process in self._yard.below(runner)[which]]
        if not found:
            return ""
        chosen = self._random.choice(found)
        chosen.send(signal.SIGKILL)
        return f"process {chosen.pid}"

    def _redis(self) -> str:
        length = self._random.uniform(0, AWAY)
        self._yard.redis.stop()
        time.sleep(length)
        self._yard.redis.start()
        return f"away for {length:.1f} s"

    def _flush(self) -> str:
        self._yard.redis.empty()
        return "every key"

    def _postgres(self, how: signal.Signals) -> str:
        begun = time.monotonic()
        self._yard.restart_postgres(how)
        return f"restarted in {time.monotonic() - begun:.1f} s"
