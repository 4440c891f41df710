"""An attempt as a line: how long each step took, as lengths to draw and as words; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from console.pages import words
from runner.models import Attempt

#: Length of a whole line, in the units that it is drawn with, and of the shortest step that can be seen.
LENGTH, SHORTEST = 1000.0, 4.0

#: What each step of `runner.worker.executor` does.
STEPS = {
    "wait": "waited for a runner",
    "claim": "was taken by its runner",
    "preflight": "was checked",
    "prepare": "package and environment were made ready",
    "resolve": "values were read",
    "start": "the bot was started",
    "first_output": "the bot ran",
    "end": "what it left was collected",
    "report": "the end was reported",
}


@dataclass(frozen=True, slots=True)
class Part:
    """One step: what happened, in seconds from the beginning of the line, and where it is drawn."""

    name: str
    meaning: str
    begin: float
    seconds: float
    x: float
    width: float

    @property
    def length(self) -> str:
        """How long it took, in words."""
        return f"{self.seconds * 1000:.0f} ms" if self.seconds < 1 else words.lasting(self.seconds)


def parts(attempt: Attempt, *, asked_at: datetime | None, now: datetime) -> list[Part]:
    """The steps of an attempt in their order; with `asked_at`, when the job was made, also the wait before it.

    A running attempt says its steps when it has ended; until then its line is one part.
    """
    waited = 0.0 if asked_at is None else max(0.0, (attempt.claimed_at - asked_at).total_seconds())
    lasted = max(0.0, ((attempt.finished_at or now) - attempt.claimed_at).total_seconds())
    begins = [("wait", 0.0)] if waited >= 0.001 else []
    begins += [(name, waited + at) for name, at in _steps(attempt)]
    end = max(waited + lasted, begins[-1][1])
    ends = [begin for _name, begin in begins[1:]] + [end]
    return _drawn([(name, begin, stop - begin) for (name, begin), stop in zip(begins, ends, strict=True)])


def _steps(attempt: Attempt) -> Sequence[tuple[str, float]]:
    if not attempt.steps:
        return [("claim" if attempt.finished_at else "first_output", 0.0)]
    # PostgreSQL keeps no order of keys.
    return sorted(((name, float(at)) for name, at in attempt.steps.items()), key=lambda step: step[1])


def _drawn(steps: Sequence[tuple[str, float, float]]) -> list[Part]:
    whole = sum(seconds for _name, _begin, seconds in steps) or 1.0
    room = LENGTH - SHORTEST * len(steps)
    found, x = [], 0.0
    for name, begin, seconds in steps:
        width = SHORTEST + room * seconds / whole
        found.append(Part(name, STEPS.get(name, name.replace("_", " ")), begin, seconds, round(x, 1), round(width, 1)))
        x += width
    return found
