"""The scheduler's loop: each duty by itself, again and again, until it is asked to stop.

Duties whose turn comes at about the same time have it together, so that one question tells which of them have anything
to do. A duty that fails is tried again with a growing pause and never ends the service or another duty.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from kombu.exceptions import KombuError
from redis import RedisError
from sqlalchemy import ColumnElement
from sqlalchemy.exc import SQLAlchemyError

from runner.errors import RunnerError
from runner.logging import logger
from vault.errors import VaultError

#: Longest pause of a duty that keeps failing, in seconds.
MAX_PAUSE = 15.0

#: How much sooner a duty may have its turn together with others, as a part of the shortest time between two turns.
SLACK = 0.25

#: What a store that is away raises; a duty waits for it. Anything else is logged with its traceback.
_AWAY = (RunnerError, VaultError, SQLAlchemyError, KombuError, RedisError, OSError)

_log = logger()


@dataclass(frozen=True, slots=True, eq=False)
class Duty:
    """One thing that the scheduler does, and how many seconds lie between two turns.

    One that `waits` for something runs at its turn only where the database says that it is there.
    """

    name: str
    run: Callable[[], object]
    every: float
    waits: ColumnElement[bool] | None = None


class Ask(Protocol):
    """Tells which of some duties have what they wait for."""

    def __call__(self, waiting: Mapping[str, ColumnElement[bool]]) -> Collection[str]: ...


def serve(duties: Sequence[Duty], stop: threading.Event, *, ask: Ask) -> None:
    """Run the duties until `stop` is set."""
    due = dict.fromkeys(duties, 0.0)
    pauses = {duty: duty.every for duty in duties}
    while not stop.is_set():
        now = time.monotonic()
        these = turns(due, now=now)
        failed = _have_their_turn(these, stop, ask=ask)
        for duty in these:
            pauses[duty] = pause(duty, before=pauses[duty], failed=duty in failed)
            due[duty] = time.monotonic() + pauses[duty]
        stop.wait(max(0.0, min(due.values()) - time.monotonic()))


def turns(due: Mapping[Duty, float], *, now: float) -> list[Duty]:
    """Those whose time has come; where it has for one, also those for whom it soon will."""
    slack = SLACK * min(duty.every for duty in due)
    return [duty for duty, at in due.items() if at <= now + slack] if min(due.values()) <= now else []


def pause(duty: Duty, *, before: float, failed: bool) -> float:
    """Seconds until its next turn: twice the pause before where it failed, up to `MAX_PAUSE`."""
    return min(2 * before, MAX_PAUSE) if failed else duty.every


def _have_their_turn(some: Sequence[Duty], stop: threading.Event, *, ask: Ask) -> set[Duty]:
    """Run those that have something to do, in their order; answers those that failed."""
    waiting = {duty.name: duty.waits for duty in some if duty.waits is not None}
    there: list[str] = []
    if waiting and not _done("ask", lambda: there.extend(ask(waiting))):
        return {duty for duty in some if duty.waits is not None} | _run(some, stop, there=())
    return _run(some, stop, there=there)


def _run(some: Sequence[Duty], stop: threading.Event, *, there: Collection[str]) -> set[Duty]:
    wanted = [duty for duty in some if duty.waits is None or duty.name in there]
    return {duty for duty in wanted if not stop.is_set() and not _done(duty.name, duty.run)}


def _done(name: str, run: Callable[[], object]) -> bool:
    try:
        run()
    except _AWAY as error:
        _log.warning("duty.delayed", duty=name, error=str(error).partition("\n")[0])
        return False
    except Exception:
        _log.exception("duty.broken", duty=name)
        return False
    return True
