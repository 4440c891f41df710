"""Facts of runs for tests of outlooks: a small world in which jobs end as a test says."""

import itertools
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from runner.states import State
from scheduler.outlook import Answer, Dispatch, Facts, Outlook, Try
from scheduler.queues import Queue
from scheduler.workflows import Workflow

BEGIN = datetime(2026, 8, 3, 9, tzinfo=UTC)


@dataclass(slots=True)
class World:
    """A run of a definition; `look` does what the outlook asks for, `end` ends a job."""

    definition: Queue | Workflow
    facts: Facts = field(default_factory=lambda: Facts(now=BEGIN))
    begun: list[tuple[str, int, int]] = field(default_factory=list)
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def look(self) -> Outlook:
        """Advance until nothing is refused any more, as the scheduler does."""
        while True:
            outlook = self.definition.look(self.facts)
            for made in outlook.dispatches:
                self._make(made)
            for step, patience in outlook.questions.items():
                answers = {**self.facts.answers, step: Answer(self.facts.now + patience)}
                self.facts = replace(self.facts, answers=answers)
            if not any(made.refusal for made in outlook.dispatches):
                return self.definition.look(self.facts)

    def _make(self, made: Dispatch) -> None:
        key = (made.step, made.item, made.number)
        assert key not in self.begun, f"{key} was begun twice"
        self.begun.append(key)
        job_id = None if made.refusal else uuid.UUID(int=next(self.numbers))
        state = State.FAILED if made.refusal else State.QUEUED
        reason = "refused" if made.refusal else None
        new = Try(made.number, self.facts.now, job_id=job_id, state=state, reason=reason, detail=made.refusal)
        self._put(made.step, made.item, (*self.tries(made.step, made.item), new))

    def tries(self, step: str, item: int = 0) -> tuple[Try, ...]:
        return tuple(self.facts.tries.get(step, {}).get(item, ()))

    def _put(self, step: str, item: int, tries: tuple[Try, ...]) -> None:
        of_step = {**self.facts.tries.get(step, {}), item: tries}
        self.facts = replace(self.facts, tries={**self.facts.tries, step: of_step})

    def end(
        self,
        step: str,
        state: State = State.SUCCEEDED,
        *,
        item: int = 0,
        reason: str | None = None,
        results: Mapping[str, Any] | None = None,
    ) -> Outlook:
        """A job of a step ends, and the run is looked at."""
        *before, last = self.tries(step, item)
        ended = replace(last, state=state, reason=reason, finished_at=self.facts.now, results=results or {})
        self._put(step, item, (*before, ended))
        return self.look()

    def later(self, **time: float) -> Outlook:
        """Time passes, and the run is looked at."""
        self.facts = replace(self.facts, now=self.facts.now + timedelta(**time))
        return self.look()

    def standing(self) -> dict[str, str]:
        """Where each step is."""
        return {name: str(status.standing) for name, status in self.look().steps.items()}
