"""The scheduler's loop: each duty by itself, again and again, until it is asked to stop.

A duty that fails is tried again with a growing pause and never ends the service or another duty.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kombu.exceptions import KombuError
from redis import RedisError
from sqlalchemy.exc import SQLAlchemyError

from runner.errors import RunnerError
from runner.logging import logger
from vault.errors import VaultError

#: Longest pause of a duty that keeps failing, in seconds.
MAX_PAUSE = 15.0

#: What a store that is away raises; a duty waits for it. Anything else is logged with its traceback.
_AWAY = (RunnerError, VaultError, SQLAlchemyError, KombuError, RedisError, OSError)

_log = logger()


@dataclass(frozen=True, slots=True)
class Duty:
    """One thing that the scheduler does, and how many seconds lie between two times."""

    name: str
    run: Callable[[], object]
    every: float


def serve(duties: Sequence[Duty], stop: threading.Event) -> None:
    """Run the duties until `stop` is set."""
    due = dict.fromkeys(duties, 0.0)
    pauses = {duty: duty.every for duty in duties}
    while not stop.is_set():
        for duty in duties:
            if time.monotonic() >= due[duty] and not stop.is_set():
                pauses[duty] = duty.every if _done(duty) else min(2 * pauses[duty], MAX_PAUSE)
                due[duty] = time.monotonic() + pauses[duty]
        stop.wait(max(0.0, min(due.values()) - time.monotonic()))


def _done(duty: Duty) -> bool:
    try:
        duty.run()
    except _AWAY as error:
        _log.warning("duty.delayed", duty=duty.name, error=str(error).partition("\n")[0])
        return False
    except Exception:
        _log.exception("duty.broken", duty=duty.name)
        return False
    return True
