"""Hints: what an entry of a lane says, and how a busy worker takes the next one without Celery's loop.

A thread asks when its bot has ended and takes the answer when the end is to be written down: so neither it nor the loop
wakes up for it. What was answered to a process that died is announced again by the rescuer, as all that it had fetched.
Promises that a Redis which is away is none at all: then nothing waits, and Celery's loop deals with it.
"""

from __future__ import annotations

import base64
import json
import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from celery import Celery

from runner import lanes
from runner.lanes import TASK, Line
from runner.signals import AWAY


@dataclass(frozen=True, slots=True)
class Hint:
    """That a job may be ready in a lane; which one it named does not matter, unless it goes back."""

    environment: str
    group: str
    give_back: Callable[[], object]


def job_named(entry: Any) -> str | None:  # noqa: ANN401 - whatever JSON holds
    """The id of the job that an entry of a lane names; nothing where it names none."""
    try:
        (wanted,), _, _ = json.loads(base64.b64decode(entry["body"], validate=True))
        return str(uuid.UUID(wanted)) if entry["headers"]["task"] == TASK else None
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError):
        return None


class Hints:
    """Of the lanes of one worker; each thread that asks has a connection of its own."""

    def __init__(self, app: Celery, places: Sequence[str]) -> None:
        self._app, self._places = app, list(places)
        self._own = threading.local()
        self._questions: dict[str, list[bytes]] = {}

    def ask(self, before: Hint, *, connect: bool = True) -> None:
        """Ask for the next hint, unless this thread has; the lanes behind that of `before` have their turn first.

        Without `connect` over a connection that stands, or not at all: a Redis that takes its time is not waited for.
        """
        own = self._own
        if getattr(own, "asks", False):
            return
        line = getattr(own, "line", None)
        if not connect and (line is None or not line.is_connected):
            return
        try:
            if line is None:  # one that nobody else speaks on: the answer may wait there for a while
                line = own.line = lanes.line(self._app)
            question = self._question(line, lanes.lane(before.environment, before.group))
            line.send_packed_command(question, check_health=False)  # which would wait for an answer first
        except AWAY:
            return
        own.asks = True

    def answered(self, *, patience: float) -> bool:
        """Whether `answer` would not wait, or not longer than some seconds from now."""
        own = self._own
        if not getattr(own, "asks", False):
            return False
        try:
            return bool(own.line.can_read(patience))
        except AWAY:
            own.asks = False
            return False

    def answer(self) -> Hint | None:
        """What was answered to this thread; nothing where no hint waits, and where it did not ask."""
        own = self._own
        if not getattr(own, "asks", False):
            return None
        own.asks = False
        try:
            found: Any = own.line.read_response()
        except AWAY:
            return None
        if not found:
            return None
        key, (entry,) = found
        place = key.decode().removeprefix(lanes.PREFIX)
        environment, _, group = place.partition(".")
        return Hint(environment, group, partial(lanes.give_back, self._app, place, entry))

    def _question(self, line: Line, last: str) -> list[bytes]:
        known = self._questions.get(last)
        if known is None:
            behind = self._places.index(last) + 1
            turns = [*self._places[behind:], *self._places[:behind]]
            known = self._questions[last] = lanes.oldest(line, turns)
        return known
